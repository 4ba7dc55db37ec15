"""Every operation that is accepted is explained: values, static shapes, finite relevance, and x df/dx where it is linear."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from operation_samples import SAMPLES

import tf_lrp
from tf_lrp.affine.base import _AFFINE_OF_LAYER
from tf_lrp.graph.unroll import unroll, unroll_cell
from tf_lrp.keras_compat.keras_classes import operation_classes
from tf_lrp.keras_compat.own_operations import SplitTime
from tf_lrp.twins import Twin
from tf_lrp.twins.registry import _TWIN_OF_LAYER
from tf_lrp.twins.structural import PlacingTwin

pytestmark = pytest.mark.compiled

#: Registered, but Keras 3.15 itself cannot build a model with them: it infers the wrong shapes or mixes up the arguments.
_BROKEN_IN_KERAS = {"ConvTranspose", "AdaptiveAveragePool", "AdaptiveMaxPool"}
_BASE_CLASSES = {"ConvLSTM"}
#: Takes vectors alone, without an axis of samples.
_OF_VECTORS = {"Meshgrid"}
#: What test_operations and test_categories have tables of.
_SAMPLED_ELSEWHERE = {"tf_lrp.affine.transforms", "tf_lrp.twins.categories"}


def _groups():
    """Names of samples that fit one model: of one number of samples."""
    by_batch = {}
    for name, sample in SAMPLES.items():
        by_batch.setdefault((sample.batch or 2, "LSTM" in name or "GRU" in name or "RNN" in name), []).append(name)
    for (batch, recurrent), names in by_batch.items():
        size = 8 if recurrent else 24
        for start in range(0, len(names), size):
            yield pytest.param(
                names[start : start + size], id=f"{batch}-{'recurrent' if recurrent else 'other'}-{start // size}"
            )


def _model(names):
    inputs, features = [], []
    for name in names:
        own = [keras.Input(batch_shape=(SAMPLES[name].batch, *s)) for s in SAMPLES[name].shapes]
        features += SAMPLES[name].features(own)
        inputs += own
    head = layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    return keras.Model(inputs, head(ops.concatenate(features, -1)))


def _reset(model):
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_states()


@pytest.fixture
def traced(monkeypatch):
    """List of (twin, static shapes of what it returned in a graph), filled while graphs are traced."""
    found, call = [], Twin.__call__

    def noting(self, *inputs, **options):
        outputs = call(self, *inputs, **options)
        leaves = keras.tree.flatten(outputs)
        if not tf.executing_eagerly() and all(tf.is_tensor(t) for t in leaves):
            found.append((self, [t.shape for t in leaves]))
        return outputs

    monkeypatch.setattr(Twin, "__call__", noting)
    return found


@pytest.mark.parametrize("names", list(_groups()))
def test_every_operation_is_explained(names, traced):
    keras.utils.set_random_seed(0)
    model = _model(names)
    drawn = [SAMPLES[name].inputs(seed) for seed, name in enumerate(names)]
    analyzer = tf_lrp.Analyzer(model, "z", jit_compile=False, trace="always")
    for sign in (1, -1):
        of_sample = [[sign * v for v in x] if SAMPLES[n].kind == "any" else x for n, x in zip(names, drawn, strict=True)]
        x = list(itertools.chain(*of_sample))
        degrees = list(itertools.chain(*([SAMPLES[n].degree] * len(own) for n, own in zip(names, of_sample, strict=True))))
        tensors = [tf.constant(t) for t in x]
        _reset(model)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([t for t, degree in zip(tensors, degrees, strict=True) if degree])
            values = model(tensors, training=False)
            score = values[:, 0]
        _reset(model)
        np.testing.assert_allclose(analyzer.twin(x), values, atol=1e-5 * np.abs(values).max())
        relevance = keras.tree.flatten(analyzer.analyze(x, 0))
        of_input = itertools.chain(*([n] * len(own) for n, own in zip(names, of_sample, strict=True)))
        for name, r, t, slope, degree in zip(of_input, relevance, x, tape.gradient(score, tensors), degrees, strict=True):
            assert np.isfinite(r).all(), name
            if degree:
                expected = t * slope / degree
                np.testing.assert_allclose(r, expected, atol=2e-5 * max(1, np.abs(expected).max()), err_msg=name)
    assert len(traced) > len(names)
    for twin, shapes in traced:
        specified = [t.shape for t in keras.tree.flatten(twin.output)]
        for shape, spec in zip(shapes, specified, strict=True):
            assert shape.is_subtype_of(tf.TensorShape(spec)), f"{twin.name}: {shape} traced, {spec} specified"


def test_every_registered_class_has_a_sample():
    seen = set()
    for sample in SAMPLES.values():
        own = [keras.Input(batch_shape=(sample.batch, *s)) for s in sample.shapes]
        model = keras.Model(own, sample.features(own))
        nodes = list(unroll(model).nodes)
        for node in list(nodes):
            if isinstance(node.operation, layers.RNN):
                nodes += unroll_cell(node.operation, node.inputs[0]).nodes
        seen |= {type(node.operation) for node in nodes}
    conversions = set(
        operation_classes("ConvertToTensor", "Copy", "Cast", "View")
    )  # leave no node where the type stays the same
    registered = {**_TWIN_OF_LAYER, **_AFFINE_OF_LAYER}
    own = {c: made for c, made in registered.items() if c.__module__.startswith(("keras", "tf_lrp"))}
    elsewhere = {c for c, made in own.items() if made.__module__ in _SAMPLED_ELSEWHERE or made is PlacingTwin}
    elsewhere |= {c for c in own if ".tensorflow_graphs." in c.__module__}  # tests/keras_compat compares these with Keras's
    missing = {c.__name__ for c in set(own) - seen - conversions - elsewhere}
    assert missing <= _BROKEN_IN_KERAS | _BASE_CLASSES | _OF_VECTORS
    assert SplitTime in seen


def test_a_slice_that_is_replaced():
    """What lay below the slice gets nothing; the slice gets its own."""
    x, y = keras.Input(batch_shape=(2, 3, 4)), keras.Input(batch_shape=(2, 2, 2))
    head = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model([x, y], head(ops.reshape(ops.slice_update(x, (0, 1, 3), y), (2, -1))))  # moved inside: (0, 1, 2)
    values = [np.arange(1.0, 25).reshape(2, 3, 4).astype("float32"), -np.arange(1.0, 9).reshape(2, 2, 2).astype("float32")]
    of_x, of_y = tf_lrp.Analyzer(model, "z").analyze(values)
    expected = values[0].copy()
    expected[:, 1:3, 2:4] = 0
    np.testing.assert_allclose(of_x, expected, rtol=1e-6)
    np.testing.assert_allclose(of_y, values[1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area", "lanczos5"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_interpolation_in_every_type_and_under_xla(interpolation, dtype, data_format):
    x = keras.Input((4, 6, 3), dtype=dtype)
    layer = layers.Resizing(7, 3, interpolation=interpolation, data_format=data_format, dtype=dtype)
    head = layers.Dense(2, use_bias=False, dtype=dtype, kernel_initializer=keras.initializers.RandomNormal(seed=0))
    model = keras.Model(x, head(layers.Flatten(dtype=dtype)(layer(x))))
    values = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(dtype)
    scores = np.asarray(model(values))[:, 0]
    units = np.eye(72, dtype=dtype).reshape(72, 4, 6, 3)
    expected = values * np.asarray(model(units))[:, 0].reshape(4, 6, 3)  # x_i times the score of the i-th unit vector
    for compiled in (False, True):
        relevance = tf_lrp.Analyzer(model, "z", jit_compile=compiled).analyze(values, 0)
        np.testing.assert_allclose(relevance, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(relevance.sum((1, 2, 3)), scores, rtol=1e-4)
        assert relevance.dtype == dtype


def test_separable_convolutions_channels_first_on_any_device():
    """The same numbers as channels last."""
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("float32")
    models = []
    for data_format, axes in (("channels_first", (0, 1, 2, 3)), ("channels_last", (0, 2, 3, 1))):
        layer = layers.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, data_format=data_format)
        inputs = keras.Input(x.transpose(axes).shape[1:])
        models.append(keras.Model(inputs, layers.GlobalAveragePooling2D(data_format=data_format)(layer(inputs))))
    models[1].set_weights(models[0].get_weights())
    for preset in ("z", "cmp_a2_flat"):
        first = tf_lrp.Analyzer(models[0], preset).analyze(x, 1)
        last = tf_lrp.Analyzer(models[1], preset).analyze(x.transpose(0, 2, 3, 1), 1)
        np.testing.assert_allclose(first.transpose(0, 2, 3, 1), last, rtol=1e-4, atol=1e-6)
