"""Every kind of convolution is explained alike, eagerly, in a graph and compiled, in both types, with oneDNN or without.

TensorFlow has other kernels for each of these, and for some geometries none: its dilated transposed convolutions run on a
CPU in float32 with oneDNN alone, and in float64 when compiled alone.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_lrp
from tf_lrp.rules import AlphaBeta

pytestmark = pytest.mark.compiled

LAYERS = {
    "dilated": (layers.Conv2D, (7, 6, 4), {"filters": 4, "kernel_size": 3, "dilation_rate": (2, 1)}),
    "dilated, same": (layers.Conv2D, (7, 6, 4), {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
    "strided, same": (layers.Conv2D, (7, 6, 4), {"filters": 4, "kernel_size": 3, "strides": (2, 3), "padding": "same"}),
    "a group for each channel": (layers.Conv2D, (7, 6, 3), {"filters": 6, "kernel_size": 3, "groups": 3, "padding": "same"}),
    "the same, strided": (layers.Conv2D, (7, 6, 3), {"filters": 3, "kernel_size": 3, "groups": 3, "strides": (1, 2)}),
    "the same, causal": (layers.Conv1D, (8, 3), {"filters": 6, "kernel_size": 3, "groups": 3, "padding": "causal"}),
    "grouped, dilated": (layers.Conv2D, (7, 6, 4), {"filters": 4, "kernel_size": 3, "groups": 2, "dilation_rate": 2}),
    "causal": (layers.Conv1D, (8, 4), {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "causal"}),
    "dilated 3-D": (layers.Conv3D, (5, 5, 4, 2), {"filters": 3, "kernel_size": 2, "dilation_rate": 2}),
    "grouped 3-D": (layers.Conv3D, (4, 4, 4, 2), {"filters": 4, "kernel_size": 2, "groups": 2}),
    "depthwise, dilated": (layers.DepthwiseConv2D, (7, 6, 3), {"kernel_size": 3, "depth_multiplier": 2, "dilation_rate": 2}),
    "depthwise, strided": (layers.DepthwiseConv2D, (7, 6, 3), {"kernel_size": 3, "strides": 2, "padding": "same"}),
    "depthwise 1-D": (layers.DepthwiseConv1D, (8, 3), {"kernel_size": 3, "dilation_rate": 2}),
    "separable": (layers.SeparableConv2D, (7, 6, 3), {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
    "transposed": (layers.Conv2DTranspose, (4, 3, 4), {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}),
    "transposed, dilated": (layers.Conv2DTranspose, (5, 4, 4), {"filters": 3, "kernel_size": (3, 2), "dilation_rate": (2, 3)}),
    "transposed, dilated, same": (
        layers.Conv2DTranspose, (5, 4, 4), {"filters": 3, "kernel_size": (3, 2), "dilation_rate": (2, 3), "padding": "same"},
    ),
    "transposed, dilated 1-D": (layers.Conv1DTranspose, (6, 4), {"filters": 3, "kernel_size": 3, "dilation_rate": 2}),
    "transposed, dilated 3-D": (layers.Conv3DTranspose, (4, 3, 3, 2), {"filters": 2, "kernel_size": 2, "dilation_rate": 2}),
}  # fmt: skip

#: A few, as this takes seconds.
COMPILED = ("dilated", "transposed, dilated")


def explanations(name, dtype):
    """The relevance of a layer's inputs for random relevance of its outputs: as it is, in a graph and perhaps compiled."""
    layer_class, shape, arguments = LAYERS[name]
    rng = np.random.default_rng(11)
    inputs = keras.Input(shape, dtype=dtype)
    model = keras.Model(inputs, layer_class(dtype=dtype, **arguments)(inputs))
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    x = tf.constant(rng.normal(size=(2, *shape)), dtype)
    twin = tf_lrp.Analyzer(model, AlphaBeta(2, 1)).twin
    start = tf.constant(rng.normal(size=(2, *model.output_shape[1:])), dtype)

    def relevance(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = twin(x)
        return tape.gradient(y, x, output_gradients=start)

    compiled = [tf.function(relevance, jit_compile=True)] if name in COMPILED and dtype == "float64" else []
    return [f(x).numpy() for f in (relevance, tf.function(relevance), *compiled)]


@pytest.mark.parametrize("name", LAYERS)
def test_convolutions_are_explained_alike(name):
    exact, *others = explanations(name, "float64")
    largest = np.abs(exact).max()
    for found in others:
        np.testing.assert_allclose(found, exact, atol=1e-13 * largest)
    # Sums of one sign: of at most 40 products forward and 40 back, with each a rounding of half an epsilon, and quotients.
    for found in explanations(name, "float32"):
        np.testing.assert_allclose(found, exact, atol=100 * np.finfo("float32").eps * largest)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_dilated_transposed_convolution_of_keras_ops(padding):
    """What the twin computes is what Keras computes where it can: compiled."""
    rng = np.random.default_rng(12)
    kernel = rng.normal(size=(3, 2, 3, 4))

    def transpose(x):
        return keras.ops.conv_transpose(x, kernel, padding=padding, dilation_rate=(2, 3))

    inputs = keras.Input((5, 4, 4), dtype="float64")
    twin = tf_lrp.Analyzer(keras.Model(inputs, transpose(inputs)), "z").twin
    x = tf.constant(rng.normal(size=(2, 5, 4, 4)))
    np.testing.assert_allclose(twin(x), tf.function(transpose, jit_compile=True)(x), rtol=1e-12, atol=1e-13)
