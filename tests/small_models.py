"""Small models with seeded weights of both signs and batch normalizations whose statistics are not the defaults."""

import keras
import numpy as np
from keras import layers


def randomize(model, seed=0):
    """Seeded weights for every layer, nested models included; returns the model."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomize(layer, seed + 1)
        elif isinstance(layer, layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([rng.uniform(-1, 1, w.shape) for w in others] + [rng.uniform(0.5, 2, variance.shape)])
        elif layer.weights and not isinstance(layer, layers.Normalization):
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


def convnet(size=8, classes=5, activation=None, dtype="float32"):
    """conv - relu - max-pool - conv - batch norm - relu - average pool - dense."""
    inputs = keras.Input((size, size, 3), name="picture", dtype=dtype)
    h = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1", dtype=dtype)(inputs)
    h = layers.MaxPooling2D(2, name="pool1", dtype=dtype)(h)
    h = layers.Conv2D(6, 3, use_bias=False, name="conv2", dtype=dtype)(h)
    h = layers.BatchNormalization(name="bn2", dtype=dtype)(h)
    h = layers.ReLU(name="relu2", dtype=dtype)(h)
    h = layers.GlobalAveragePooling2D(name="pool2", dtype=dtype)(h)
    return randomize(
        keras.Model(inputs, layers.Dense(classes, activation=activation, name="scores", dtype=dtype)(h), name="convnet")
    )


def without_biases(model):
    """The model with its biases and the shifts of its batch normalizations at zero."""
    for layer in model.layers:
        if getattr(layer, "use_bias", False):
            layer.bias.assign(0 * layer.bias)
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(0 * layer.moving_mean)
            layer.beta.assign(0 * layer.beta)
    return model


def pictures(n=3, size=8, seed=1, dtype="float32"):
    return np.random.default_rng(seed).normal(size=(n, size, size, 3)).astype(dtype)
