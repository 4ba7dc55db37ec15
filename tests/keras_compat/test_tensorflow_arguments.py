"""Operations of graphs under arguments that Hypothesis chooses: values and relevance are those of Keras's own functions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from tensorflow_layers import Computes, assert_equal, numbers, relevance_of

pytestmark = pytest.mark.eager
lengths = st.integers(2, 5)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def compare(raw, own, shape, seed):
    """A layer of TensorFlow and one of Keras, between two dense layers, on numbers of both signs with zeros among them."""
    x = numbers(2, *shape, seed=seed)
    x[np.abs(x) < 0.2] = 0
    inputs, found = keras.Input(shape), {}
    first, flat = layers.Dense(shape[-1], use_bias=False), layers.Reshape((-1,))
    hidden = first(inputs)
    first.set_weights([np.random.default_rng(seed + 1).normal(size=(shape[-1], shape[-1]))])
    for kind, function in (("raw", raw), ("own", own)):
        output = flat(Computes(function, name=kind)(hidden))
        kernel = np.random.default_rng(seed + 2).normal(size=(output.shape[-1], 2))
        dense = layers.Dense(2, use_bias=False)
        model = keras.Model(inputs, dense(output))
        dense.set_weights([kernel])
        found[kind] = (*relevance_of(model, "epsilon", x), *relevance_of(model, "zplus", x))
        assert_equal(found[kind][1], model(x))
    for got, want in zip(found["raw"], found["own"], strict=True):
        assert_equal(got, want, 2e-5)


pictures = st.tuples(lengths, lengths, st.integers(1, 3))
seeds = st.integers(0, 99)


@FEW
@given(pictures, st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 3), st.integers(1, 2)),
       st.sampled_from(["SAME", "VALID"]), st.sampled_from(["max", "avg"]), seeds)  # fmt: skip
def test_pooling(shape, size, strides, padding, kind, seed):
    if padding == "VALID":
        size = tuple(min(s, n) for s, n in zip(size, shape, strict=False))
    raw = getattr(tf.nn, f"{kind}_pool2d")
    own = {"max": layers.MaxPooling2D, "avg": layers.AveragePooling2D}[kind](size, strides, padding.lower())
    compare(lambda x: raw(x, size, strides, padding), own, shape, seed)


@FEW
@given(st.tuples(lengths, lengths, lengths), st.sets(st.integers(-3, 3), min_size=1, max_size=3), st.booleans(),
       st.sampled_from(["sum", "mean", "max", "min", "prod"]), seeds)  # fmt: skip
def test_reductions(shape, axes, keepdims, kind, seed):
    axes = sorted({axis % 4 for axis in axes} - {0}) or [1]
    axes = axes[:1] if kind == "prod" else axes  # a product has a rule along one axis
    raw, own = getattr(tf, f"reduce_{kind}"), getattr(ops, kind)
    compare(lambda x: raw(x, axes, keepdims=keepdims), lambda x: own(x, tuple(axes), keepdims=keepdims), shape, seed)


@FEW
@given(st.tuples(lengths, lengths, lengths), st.permutations([1, 2, 3]), seeds)
def test_transposes_and_reshapes(shape, order, seed):
    joined = (shape[0] * shape[1], shape[2])
    axes = (0, *order)
    compare(
        lambda x: tf.reshape(tf.transpose(x, axes), (-1, *joined)),
        lambda x: ops.reshape(ops.transpose(x, axes), (-1, *joined)), shape, seed,
    )  # fmt: skip


@st.composite
def parts(draw):
    """(shape, a slice of it)"""
    shape = draw(st.tuples(lengths, lengths))
    slices = []
    for length in shape:
        first, last = sorted(draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)))
        step = draw(st.integers(1, 2))
        negative = draw(st.booleans())
        slices.append(slice(first - length if negative and first else first, last, step))
    return shape, tuple(slices)


@FEW
@given(parts(), seeds)
def test_strided_slices(part, seed):
    shape, slices = part
    compare(lambda x: tf.identity(x)[(slice(None), *slices)], lambda x: x[(slice(None), *slices)], shape, seed)


@FEW
@given(
    st.tuples(lengths, lengths),
    st.tuples(*[st.integers(0, 1)] * 4),
    st.sampled_from(["CONSTANT", "REFLECT", "SYMMETRIC"]),
    seeds,
)
def test_padding(shape, widths, mode, seed):
    around = [[0, 0], widths[:2], widths[2:]]
    compare(lambda x: tf.pad(x, around, mode), lambda x: ops.pad(x, around, mode=mode.lower()), shape, seed)


@FEW
@given(st.tuples(lengths, lengths), st.integers(1, 2), st.lists(st.integers(0, 1), min_size=1, max_size=4), seeds)
def test_gathering_and_joining(shape, axis, indices, seed):
    compare(
        lambda x: tf.concat([tf.gather(x, indices, axis=axis), x], axis),
        lambda x: ops.concatenate([ops.take(x, indices, axis=axis), x], axis), shape, seed,
    )  # fmt: skip


@FEW
@given(pictures, lengths, lengths, st.sampled_from(["bilinear", "nearest"]), seeds)
def test_resizing(shape, height, width, method, seed):
    compare(
        lambda x: tf.image.resize(x, (height, width), method),
        lambda x: ops.image.resize(x, (height, width), method), shape, seed,
    )  # fmt: skip


@FEW
@given(st.tuples(lengths, lengths), st.sampled_from(["relu", "relu6", "elu", "tanh", "softplus", "selu", "silu"]),
       st.sampled_from([(), (1,), "whole"]), st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]),
       seeds)  # fmt: skip
def test_two_operands(shape, function, broadcast, kind, seed):
    """f(x) and a constant, or a part of x, that is broadcast."""
    size = shape if broadcast == "whole" else (*broadcast, shape[1]) if broadcast else ()
    constant = np.abs(numbers(*size, seed=seed)).astype("float32") + 0.5
    raw, own = getattr(tf.nn, function) if function != "tanh" else tf.tanh, getattr(ops, function)
    compare(lambda x: getattr(tf, kind)(raw(x), constant), lambda x: getattr(ops, kind)(own(x), constant), shape, seed)
