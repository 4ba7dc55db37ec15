"""The networks behind the golden values, built from the arrays that came with them, and how a map is compared.

Every layer gets its type as an argument, so a float64 network leaves Keras's global settings alone.
"""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parent
#: Types of the compared maps: the formulas to the last digits, and what users run, in a graph.
DTYPES = (pytest.param("float64", marks=pytest.mark.eager), "float32")


@functools.cache
def load(archive):
    """The arrays of ``tests/golden/<archive>.npz`` (or of a path) by key."""
    path = archive if isinstance(archive, Path) else FOLDER / f"{archive}.npz"
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def error(got, want):
    """The largest deviation, relative to the largest entry of the golden map; infinite if anything is not finite."""
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if not np.isfinite(got).all():
        return np.inf
    deviation, largest = np.abs(np.asarray(got, "float64") - want).max(), np.abs(want).max()
    return float(deviation / largest) if largest else float(deviation)


def assert_agree(found, golden, dtype, bound):
    """That maps agree with the golden ones.

    Args:
        found: dict key -> map.
        golden: dict with these keys, too.
        dtype: type that the maps must have.
        bound: the largest error allowed.
    """
    assert found
    assert {ours.dtype.name for ours in found.values()} == {dtype}
    errors = {key: error(ours, golden[key]) for key, ours in found.items()}
    too_far = {key: f"{e:.1e}" for key, e in errors.items() if not e <= bound}
    assert not too_far, f"off by more than {bound:g} of the maximum: {too_far}"


def rounding(model, backward=False):
    """What float32 may lose between the inputs of a model and its outputs, relative to the numbers that are summed.

    Half an epsilon for each product in a sum, whatever the order in which a processor adds them up (Higham 2002, section
    3.1), for one layer after the other; on the way back the sums run over a layer's outputs.
    """
    kernels = [w.shape for w in model.trainable_weights if len(w.shape) > 1]
    products = sum(np.prod(shape[:-1]) for shape in kernels)
    if backward:
        products += sum(np.prod(shape) // shape[-2] for shape in kernels)
    return float(products * np.finfo("float32").eps / 2)


def assert_accounted(relevances, tested, excused):
    """That every relevance of an archive is either tested or excused with a reason, and that none of these is made up.

    Args:
        relevances: keys of an archive.
        tested: keys.
        excused: dict key -> the reason why it is not tested.
    """
    named = [*tested, *excused]
    forgotten, made_up = set(relevances) - set(named), set(named) - set(relevances)
    assert not forgotten, f"neither tested nor excused: {sorted(forgotten)}"
    assert not made_up, f"not in the archive: {sorted(made_up)}"
    assert len(named) == len(set(named)), "named twice"
    assert all(excused.values()), "excused without a reason"


def under(archive, *prefixes):
    """Keys that begin with one of the prefixes."""
    return [key for key in archive if key.startswith(prefixes)]


def assert_copied(archive, folder, added=()):
    """That an archive here holds what the original of that name in ``folder`` holds, bit for bit; returns the original.

    Args:
        archive: name.
        folder: path.
        added: what the keys of arrays begin with that only the copy has.
    """
    copy, original = load(archive), load(folder / f"{archive}.npz")
    for key in set(copy) - set(under(copy, *added) if added else ()):
        assert copy[key].dtype == original[key].dtype
        np.testing.assert_array_equal(copy[key], original[key], err_msg=key)
    return original


class _Layers:
    """`keras.layers` with the type of every layer set."""

    def __init__(self, dtype):
        self.dtype = dtype

    def Input(self, shape):
        return keras.Input(shape, dtype=self.dtype)

    def __getattr__(self, layer_class):
        return functools.partial(getattr(keras.layers, layer_class), dtype=self.dtype)


def _with_weights(model, weights_of):
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights_of(layer.name))
    return model


# --- zennit ----------------------------------------------------------------------------------------------------------


def _zennit_cnn(L):
    x = L.Input((12, 12, 3))
    h = L.ReLU(name="relu1")(L.Conv2D(6, 3, padding="same", name="conv1")(x))
    h = L.Conv2D(8, 3, name="conv2")(L.MaxPooling2D(2, name="maxpool1")(h))
    h = L.AveragePooling2D(2, name="avgpool2")(L.ReLU(name="relu2")(h))
    h = L.ReLU(name="relu3")(L.Dense(10, name="fc1")(L.Flatten(name="flatten")(h)))
    return keras.Model(x, L.Dense(5, name="fc2")(h))


def _zennit_dense(L):
    x = L.Input((12,))
    h = L.ReLU(name="relu1")(L.Dense(16, name="fc1")(x))
    h = L.Activation("tanh", name="tanh2")(L.Dense(10, name="fc2")(h))
    return keras.Model(x, L.Dense(6, name="fc3")(h))


def _zennit_resnet(L, add=None):
    add = add or (lambda name, *inputs: L.Add(name=name)(inputs))

    def conv(h, filters, size, strides, name):
        return L.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(h)

    def norm(h, name):
        return L.BatchNormalization(epsilon=1e-3, name=name)(h)

    x = L.Input((9, 9, 3))
    h = L.ReLU(name="relu")(norm(conv(x, 4, 3, 1, "conv1"), "bn1"))
    for block, filters, strides in (("block1", 4, 1), ("block2", 8, 2)):
        y = norm(conv(h, filters, 3, strides, f"{block}.conv1"), f"{block}.bn1")
        y = norm(conv(L.ReLU(name=f"{block}.relu1")(y), filters, 3, 1, f"{block}.conv2"), f"{block}.bn2")
        if strides > 1:
            h = norm(conv(h, filters, 1, strides, f"{block}.downsample.0"), f"{block}.downsample.1")
        h = L.ReLU(name=f"{block}.relu2")(add(f"{block}.add", h, y))
    return keras.Model(x, L.Dense(5, name="fc")(L.GlobalAveragePooling2D(name="avgpool")(h)))


def _zennit_resnet_plus(L):
    """The sums written as a bare +."""
    return _zennit_resnet(L, add=lambda name, a, b: a + b)


_ZENNIT = {
    "cnn": _zennit_cnn,
    "dense": _zennit_dense,
    "resnet": _zennit_resnet,
    "resnet_plus": _zennit_resnet_plus,
}


@functools.cache
def zennit(net, dtype):
    """A network of ``zennit_<net>.npz``; "resnet_plus" is the resnet with sums that are no Keras layers."""
    archive = load(f"zennit_{net.removesuffix('_plus')}")

    def weights(name):
        names = ("kernel_hwio", "kernel_io", "bias", "gamma", "beta", "moving_mean", "moving_variance")
        return [archive[f"W/{name}/{w}"] for w in names if f"W/{name}/{w}" in archive]

    return _with_weights(_ZENNIT[net](_Layers(dtype)), weights)


# --- iNNvestigate ----------------------------------------------------------------------------------------------------


def _innvestigate_a(L):
    x = L.Input((10, 10, 3))
    h = L.MaxPooling2D(2, name="pool1")(L.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(x))
    h = L.Flatten(name="flat")(L.Conv2D(8, 3, strides=2, activation="relu", name="conv2")(h))
    return keras.Model(x, L.Dense(5, name="logits")(L.Dense(10, activation="relu", name="fc1")(h)))


def _innvestigate_b(L):
    def norm(h, name):
        return L.BatchNormalization(epsilon=1e-3, name=name)(h)

    x = L.Input((8, 8, 3))
    shortcut = L.Activation("relu")(norm(L.Conv2D(6, 3, padding="same", name="conv1")(x), "bn1"))
    h = L.Activation("relu")(norm(L.Conv2D(6, 3, padding="same", use_bias=False, name="conv2")(shortcut), "bn2"))
    h = norm(L.Conv2D(6, 3, padding="same", name="conv3")(h), "bn3")
    h = L.GlobalAveragePooling2D()(L.Activation("relu")(L.Add()([shortcut, h])))
    return keras.Model(x, L.Dense(4, name="logits")(h))


def _innvestigate_c(L):
    x = L.Input((8, 8, 3))
    stem = L.Conv2D(6, 3, padding="same", activation="relu", name="stem")(x)
    b1 = L.Conv2D(4, 1, activation="relu", name="b1")(stem)
    b2 = L.Conv2D(4, 1, activation="relu", name="b2_red")(stem)
    b2 = L.Conv2D(5, 3, padding="same", activation="relu", name="b2")(b2)
    b3 = L.AveragePooling2D(3, strides=1, padding="same", name="b3_pool")(stem)
    b3 = L.Conv2D(3, 1, activation="relu", name="b3")(b3)
    h = L.AveragePooling2D(2, name="pool")(L.Concatenate(name="cat")([b1, b2, b3]))
    h = L.Flatten(name="flat")(L.Conv2D(6, 3, activation="relu", name="head")(h))
    return keras.Model(x, L.Dense(4, name="logits")(h))


def _innvestigate_d(L):
    x = L.Input((12,))
    h = L.Dense(8, activation="relu", name="fc2")(L.Dense(16, activation="relu", name="fc1")(x))
    return keras.Model(x, L.Dense(3, name="logits")(h))


_INNVESTIGATE = {"a": _innvestigate_a, "b": _innvestigate_b, "c": _innvestigate_c, "d": _innvestigate_d}


@functools.cache
def innvestigate(net, dtype):
    """A network of ``innvestigate_net_<net>.npz``."""
    archive = load(f"innvestigate_net_{net}")

    def weights(name):
        names = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
        return [archive[f"w/{name}/{w}"] for w in names if f"w/{name}/{w}" in archive]

    return _with_weights(_INNVESTIGATE[net](_Layers(dtype)), weights)


# --- LRP Toolbox -----------------------------------------------------------------------------------------------------
# Its SumPool returns sum / sqrt(n) for a window of n values, AveragePooling returns sum / n: the factor sqrt(n) between
# them goes into the kernel of the next layer.


def toolbox_lenet5(weights, dtype):
    """Layers are named after the toolbox's modules.

    Args:
        weights: dict "conv1_W", "conv1_b" ... "conv4_b".
    """
    L = _Layers(dtype)
    x = h = L.Input((32, 32, 1))
    for n, (filters, size) in enumerate(((10, 5), (25, 5), (100, 4), (10, 1))):
        h = L.Conv2D(filters, size, name=f"{3 * n:02d}_Convolution")(h)
        if n < 3:
            h = L.ReLU(name=f"{3 * n + 1:02d}_Rect")(h)
            h = L.AveragePooling2D(2, name=f"{3 * n + 2:02d}_SumPool")(h)
    model = keras.Model(x, L.Flatten(name="10_Flatten")(h))

    def kernel_and_bias(name):
        n = int(name[:2]) // 3 + 1
        return [weights[f"conv{n}_W"] * (1 if n == 1 else 2), weights[f"conv{n}_b"]]

    return _with_weights(model, kernel_and_bias)


def toolbox_xor(archive, dtype):
    """Layers are named after the toolbox's modules.

    Args:
        archive: arrays "W0", "B0", "W2" ... "B4".
    """
    L = _Layers(dtype)
    x = h = L.Input((2,))
    for n in (0, 2, 4):
        h = L.Dense(len(archive[f"B{n}"]), name=f"{n:02d}_Linear")(h)
        if n < 4:
            h = L.Activation("tanh", name=f"{n + 1:02d}_Tanh")(h)
    return _with_weights(
        keras.Model(x, L.Softmax(name="05_SoftMax")(h)), lambda name: [archive[f"{w}{int(name[:2])}"] for w in "WB"]
    )


@functools.cache
def toolbox_all_modules(dtype):
    """The network of ``toolbox_all_modules.npz``."""
    archive = load("toolbox_all_modules")
    L = _Layers(dtype)
    x = L.Input((8, 8, 2))
    h = L.MaxPooling2D(2, name="maxpool")(L.ReLU()(L.Conv2D(4, 3, name="conv")(x)))
    h = L.AveragePooling2D(2, strides=1, name="sumpool")(L.Activation("tanh")(h))
    h = L.ReLU()(L.Dense(6, name="linear1")(L.Flatten()(h)))
    model = keras.Model(x, L.Softmax()(L.Dense(3, name="linear2")(h)))
    factors = {"linear1": 2}
    return _with_weights(model, lambda name: [archive[f"W/{name}"] * factors.get(name, 1), archive[f"B/{name}"]])


@functools.cache
def toolbox_module(case, dtype):
    """The single layer of a case of ``toolbox_modules.npz``; where the toolbox has SumPool its output is y / sqrt(n)."""
    archive = load("toolbox_modules")
    arrays = {key.removeprefix(f"{case}/"): value for key, value in archive.items() if key.startswith(f"{case}/")}
    L = _Layers(dtype)
    strides = tuple(map(int, arrays["stride"])) if "stride" in arrays else None
    if case.startswith("linear"):
        layer = L.Dense(arrays["W"].shape[1])
    elif case.startswith("conv"):
        layer = L.Conv2D(arrays["W"].shape[3], arrays["W"].shape[:2], strides=strides)
    else:
        pooling = L.MaxPooling2D if case.startswith("maxpool") else L.AveragePooling2D
        layer = pooling(tuple(map(int, arrays["pool"])), strides=strides)
    x = L.Input(arrays["x"].shape[1:])
    return _with_weights(keras.Model(x, layer(x)), lambda name: [arrays["W"], arrays["B"]])
