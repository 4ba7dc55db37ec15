"""Layers of Caffe that have no weights, against what Caffe's documentation says of them: loops and formulas on (N, C, H, W)."""

import keras
import numpy as np
import pytest
from locations import TESTS

import tf_lrp

pytestmark = pytest.mark.eager

INPUT = "input: 'x' input_dim: 1 input_dim: 4 input_dim: 6 input_dim: 5 "


def layer(kind, options="", bottoms=("x",), tops=("y",)):
    blobs = "".join(f"bottom: '{b}' " for b in bottoms) + "".join(f"top: '{t}' " for t in tops)
    return f"layer {{ name: '{tops[0]}' type: '{kind}' {blobs}{options} }} "


def within_channel(x, size, alpha, beta):
    """x / (1 + alpha mean of the squares in a window)^beta, where the window's size counts its part in the padding."""
    y, half = np.empty_like(x), size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (half, half), (half, half)))
    for row, column in np.ndindex(*x.shape[2:]):
        window = padded[:, :, row : row + size, column : column + size]
        y[:, :, row, column] = x[:, :, row, column] * (1 + alpha * (window**2).mean((2, 3))) ** -beta
    return y


def across_channels(x, size, alpha, beta, k):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(c - size // 2, 0) : c + size // 2 + 1]
        y[:, c] = x[:, c] * (k + alpha / size * (near**2).sum(1)) ** -beta
    return y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: (Caffe keeps numbers as float32.) The layers behind the input x, the name of the output, and its values.
CASES = {
    "Sigmoid": (layer("Sigmoid"), sigmoid),
    "TanH": (layer("TanH"), np.tanh),
    "BNLL": (layer("BNLL"), lambda x: np.log1p(np.exp(x))),
    "AbsVal": (layer("AbsVal"), np.abs),
    "ELU": (layer("ELU", "elu_param { alpha: 0.75 }"), lambda x: np.where(x > 0, x, 0.75 * np.expm1(x))),
    "ReLU": (layer("ReLU", "relu_param { negative_slope: 0.125 }"), lambda x: np.where(x > 0, x, 0.125 * x)),
    "Power": (layer("Power", "power_param { power: 2 scale: 0.5 shift: 2 }"), lambda x: (2 + 0.5 * x) ** 2),
    "Softmax": (layer("Softmax"), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "Flatten": (layer("Flatten"), lambda x: x.reshape(len(x), -1)),
    "Flatten of the last axes": (layer("Flatten", "flatten_param { axis: 2 }"), lambda x: x.reshape(len(x), 4, 30)),
    "Reshape": (
        layer("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 5 } }"),
        lambda x: x.reshape(len(x), 2, 12, 5),
    ),
    "Reshape to a row": (layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"), lambda x: x.reshape(len(x), -1)),
    "Slice": (
        layer("Slice", "slice_param { slice_point: 1 }", tops=("a", "b")) + layer("Flatten", bottoms="a", tops=("c",))
        + layer("Flatten", bottoms="b") + layer("Concat", bottoms=("y", "c"), tops=("z",)),
        lambda x: np.concatenate([x[:, 1:].reshape(len(x), -1), x[:, :1].reshape(len(x), -1)], 1),
    ),
    "Crop": (
        layer("Pooling", "pooling_param { pool: MAX kernel_size: 3 }", tops=("small",))
        + layer("Crop", "crop_param { offset: 1 offset: 2 }", bottoms=("x", "small")),
        lambda x: x[:, :, 1:5, 2:5],
    ),
    "Eltwise PROD": (
        layer("Sigmoid", tops=("s",)) + layer("Eltwise", "eltwise_param { operation: PROD }", bottoms=("x", "s")),
        lambda x: x * sigmoid(x),
    ),
    "Eltwise MAX": (
        layer("Sigmoid", tops=("s",)) + layer("Eltwise", "eltwise_param { operation: MAX }", bottoms=("x", "s")),
        lambda x: np.maximum(x, sigmoid(x)),
    ),
    "Eltwise SUM": (
        layer("Sigmoid", tops=("s",)) + layer("Eltwise", "eltwise_param { coeff: 2 coeff: -1 }", bottoms=("x", "s")),
        lambda x: 2 * x - sigmoid(x),
    ),
    "Scale by a blob": (
        layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", tops=("mean",))
        + layer("Scale", "scale_param { axis: 0 }", bottoms=("x", "mean")),
        lambda x: x * x.mean((2, 3), keepdims=True),
    ),
    "LRN": (
        layer("LRN", "lrn_param { local_size: 3 alpha: 0.625 beta: 0.75 k: 2 }"),
        lambda x: across_channels(x, 3, 0.625, 0.75, 2),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def loaded(text, folder):
    (folder / "net.prototxt").write_text(INPUT + text)
    return tf_lrp.caffe.load(folder / "net.prototxt", TESTS / "golden" / "caffe" / "mini_group.caffemodel")  # none is used


@pytest.mark.parametrize("name", CASES)
def test_layers_compute_what_caffe_computes(name, tmp_path):
    text, function = CASES[name]
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 5))
    want = function(x)
    got = np.asarray(loaded(text, tmp_path)(np.moveaxis(x, 1, -1)))
    got = np.moveaxis(got, -1, 1) if got.ndim == 4 else got
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_relevance_is_accounted_for(name, tmp_path):
    model = loaded(CASES[name][0], tmp_path)
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 4))
    balance = tf_lrp.Analyzer(model, "epsilon", verbose=False).conservation(x, "all")
    assert abs(balance.rounding) <= 1e-9 * max(abs(balance.output), abs(balance.input), 1e-9)


def test_normalization_within_a_channel(tmp_path):
    model = loaded(layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.625 beta: 0.75 }"), tmp_path)
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 5))
    got = np.moveaxis(np.asarray(model(np.moveaxis(x, 1, -1))), -1, 1)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(got[inner], within_channel(x, 3, 0.625, 0.75)[inner], rtol=1e-12)
    # Padding counts as entries, up to the size of the padded picture: here everywhere.
    np.testing.assert_allclose(got, within_channel(x, 3, 0.625, 0.75), rtol=1e-12)
