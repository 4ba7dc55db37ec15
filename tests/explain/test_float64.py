"""In float64 a twin computes what the model computes, to the last digits: also where Keras rounds its constants to float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tf_lrp

pytestmark = pytest.mark.compiled

SHAPE = (5, 6, 4)
F64 = {"dtype": "float64"}

FUNCTIONS = {
    "rescaling": lambda: layers.Rescaling(0.7, offset=0.3, **F64),
    "rescaling by lists": lambda: layers.Rescaling([0.7, 0.1, 0.2, 0.3], offset=[0.1, 0.2, 0.3, 0.4], **F64),
    "rescaling by an array": lambda: layers.Rescaling(np.array([0.7, 0.1, 0.2, 0.3]), offset=0.3, **F64),
    "normalization": lambda: layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[0.3, 0.0, 0.1, 0.2], **F64),
    "inverted normalization": lambda: layers.Normalization(
        mean=[0.1, 0.2, 0.3, 0.4], variance=[0.3, 0.0, 0.1, 0.2], invert=True, **F64
    ),
    "bilinear": lambda: layers.UpSampling2D((2, 3), interpolation="bilinear", **F64),
    "resizing": lambda: layers.Resizing(4, 9, **F64),
    "arithmetic": lambda: lambda h: (h * 0.3 + 0.1) / 0.7 - 0.2,
    "clip": lambda: lambda h: ops.clip(h, -0.3, 0.7),
    "maximum": lambda: lambda h: ops.maximum(h, 0.3),
    "leaky": lambda: layers.LeakyReLU(0.3, **F64),
    "batch normalization": lambda: layers.BatchNormalization(epsilon=0.1, **F64),
    "layer normalization": lambda: layers.LayerNormalization(epsilon=0.1, **F64),
    "convolution": lambda: layers.Conv2D(3, 3, **F64),
    "interpolation, then convolution": lambda: (
        lambda h: layers.Conv2D(3, 3, **F64)(layers.UpSampling2D(interpolation="bilinear", **F64)(h))
    ),
}


def twin_and_model(function):
    inputs = keras.Input(SHAPE, **F64)
    model = keras.Model(inputs, function(inputs))
    return tf_lrp.Analyzer(model, "z").twin, model, tf.constant(np.random.default_rng(2).normal(size=(3, *SHAPE)))


#: Those that TensorFlow rounds to float32, and their twins do not.
ROUNDED = ("bilinear", "resizing", "interpolation, then convolution")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_twin_computes_what_the_model_does(name):
    twin, model, x = twin_and_model(FUNCTIONS[name]())
    expected = model(x).numpy()
    assert expected.dtype == twin(x).numpy().dtype == "float64"
    bound = 2.0**-23 if name in ROUNDED else 1e-14
    np.testing.assert_allclose(twin(x), expected, rtol=0, atol=bound * np.abs(expected).max())


def test_a_rescaling_is_what_keras_computes_when_channels_come_first():
    keras.config.set_image_data_format("channels_first")
    try:
        twin, model, x = twin_and_model(layers.Rescaling([0.7, 0.1, 0.2, 0.3, 0.5], **F64))
        np.testing.assert_array_equal(twin(x), model(x))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("compiled", [False, True])
def test_interpolation_is_explained_in_float64(compiled):
    twin, model, x = twin_and_model(layers.UpSampling2D(2, interpolation="bilinear", **F64))
    rounded = model(x)
    np.testing.assert_array_equal(rounded, tf.cast(tf.cast(rounded, "float32"), "float64"))  # by TensorFlow

    @tf.function(jit_compile=compiled)
    def explain(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = twin(x)
        return y, tape.gradient(y, x, output_gradients=tf.abs(y))

    y, relevance = explain(x)
    down, across = (tf.image.resize(np.eye(n)[None, :, :, None], (2 * n, n))[0, :, :, 0].numpy() for n in SHAPE[:2])
    np.testing.assert_allclose(y, np.einsum("nyxc,Yy,Xx->nYXc", x, down, across), rtol=1e-13, atol=1e-13)
    shared = np.einsum("nyxc,Yy,Xx,nYXc->nyxc", x, down, across, np.sign(y))
    np.testing.assert_allclose(relevance, shared, rtol=1e-12, atol=1e-12)
    assert float(tf.reduce_sum(relevance)) == pytest.approx(float(tf.reduce_sum(tf.abs(y))), rel=1e-12)
