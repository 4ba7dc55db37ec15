"""Gradient operations written with forward ones give what TensorFlow's own give."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tf_lrp.export.explicit import lower

SIZES = st.integers(1, 9)
PADDING = st.sampled_from(["SAME", "VALID"])


def check(function, *arrays, seed=0, tolerance=1e-5, matrix=None):
    """The gradient of a function for a random one of its result: as TensorFlow's own operations, and lowered.

    With ``matrix`` (inputs, outputs of one sample) the function is linear, and its gradient that of the matrix: not every
    processor has TensorFlow's own.
    """
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder("float32", a.shape, f"input_{n}") for n, a in enumerate(arrays)]
        y = function(*inputs)
        relevance = rng.normal(size=y.shape).astype("float32")
        start = tf.constant(relevance)
        gradient = tf.identity(tf.gradients(y, inputs[0], start)[0], "gradient")
    if matrix is None:
        with tf.compat.v1.Session(graph=graph) as session:
            expected = session.run(gradient, dict(zip(inputs, arrays, strict=True)))
    else:
        expected = (relevance.reshape(len(relevance), -1) @ matrix.T).reshape(arrays[0].shape)
    lowered, feeds, results = lower(graph.as_graph_def(), [t.op.name for t in inputs], {"gradient": gradient.name})
    kinds = {op.type for op in lowered.get_operations()}
    assert not {k for k in kinds if k.endswith("Grad") or "BackpropInput" in k} - {"Conv2DBackpropInput"}
    with tf.compat.v1.Session(graph=lowered) as session:
        found = session.run(results["gradient"], dict(zip(feeds, arrays, strict=True)))
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))


def numbers(*shape):
    return np.random.default_rng(7).normal(size=shape).astype("float32")


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), PADDING, st.booleans())
def test_max_pooling(height, width, size, stride, other_stride, padding, ties):
    assume(padding == "SAME" or min(height, width) >= size)
    x = numbers(2, height, width, 2)
    x = np.round(x) if ties else x
    check(lambda t: tf.nn.max_pool2d(t, size, (stride, other_stride), padding), x)


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), PADDING)
def test_average_pooling(height, width, size, stride, other_stride, padding):
    assume(padding == "SAME" or min(height, width) >= size)
    check(lambda t: tf.nn.avg_pool2d(t, size, (stride, other_stride), padding), numbers(2, height, width, 2))


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), PADDING)
def test_depthwise_convolution(height, width, size, stride, dilation, multiplier, padding):
    assume(stride == 1 or dilation == 1)
    assume(padding == "SAME" or min(height, width) >= (size - 1) * dilation + 1)
    kernel = tf.constant(numbers(size, size, 3, multiplier)).numpy()

    def convolve(t):
        return tf.nn.depthwise_conv2d(t, kernel, (1, stride, stride, 1), padding, dilations=(dilation, dilation))

    check(convolve, numbers(2, height, width, 3))


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), PADDING)
def test_convolution(height, width, size, stride, dilation, padding):
    assume(stride == 1 or dilation == 1)
    assume(padding == "SAME" or min(height, width) >= (size - 1) * dilation + 1)
    kernel = numbers(size, size, 3, 4)
    x = numbers(2, height, width, 3)
    matrix = reference.conv(kernel, None, x.shape[1:], (stride,) * 2, (dilation,) * 2, padding.lower()).weights
    check(lambda t: tf.nn.conv2d(t, kernel, stride, padding, dilations=dilation), x, matrix=matrix)
    if stride == 1:  # which goes through batches of pieces where it is dilated
        check(lambda t: tf.nn.convolution(t, kernel, 1, padding, dilations=dilation), x, matrix=matrix)


@pytest.mark.parametrize(
    "piece",
    [np.s_[:, 1:-1:2], np.s_[..., ::3], np.s_[:, 2, None, ::2], np.s_[:, ::-2], np.s_[:1, ..., None, 1], np.s_[:, -3:-1]],
    ids=str,
)
def test_slices(piece):
    check(lambda t: t[piece], numbers(2, 7, 5, 3))


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(9, 4), (3, 12), (6, 5)])
def test_resizing(method, size):
    check(lambda t: tf.image.resize(t, size, method), numbers(2, 6, 5, 3))


def test_division_and_error_functions():
    x, y = numbers(50), np.where(numbers(50) > 0, numbers(50), 0).astype("float32")
    check(lambda a, b: a * tf.math.divide_no_nan(a, b), x, y)
    check(lambda a: tf.math.erf(a) * tf.math.erfc(3 * a), x)


def test_sums_over_many_axes():
    def function(t):
        parts = tf.reshape(t, (1, 2, 3, 1, 4, 5, 1))
        return tf.tile(parts[:, :, :1, :, :, :1], (1, 1, 2, 3, 1, 2, 1)) * tf.reduce_sum(parts, [2, 5], keepdims=True)

    check(function, numbers(120))
