"""Layers and models whose calls are functions of TensorFlow."""

import keras
import numpy as np
from keras import layers

import tf_lrp


class Computes(layers.Layer):
    """A layer that computes a function of tensors, with TensorFlow or keras.ops.

    Args:
        function: of tensors.
    """

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, *inputs):
        return self.function(*inputs)


def raw_model(function, *shapes, dtype="float32"):
    """The model that is one layer of TensorFlow."""
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    return keras.Model(inputs, Computes(function, name="raw")(*inputs))


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def relevance_of(model, preset, x):
    """The relevance of all outputs, and the outputs of the twin."""
    analyzer = tf_lrp.Analyzer(model, preset, verbose=False)
    return analyzer.analyze(x, neuron_selection="all"), np.asarray(analyzer.twin(x))


def assert_equal(got, want, tolerance=1e-5):
    """Equal to a part of the largest number."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    assert np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-30)
