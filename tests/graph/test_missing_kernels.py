"""Convolutions with channels first: said at construction where TensorFlow has no kernel for them, and nowhere else."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_lrp
from tf_lrp.graph import kernels

FIRST = {"data_format": "channels_first"}
LAYERS = {
    "convolution": lambda: layers.Conv2D(4, 3, name="convolution", **FIRST),
    "transposed": lambda: layers.Conv2DTranspose(4, 3, name="transposed", **FIRST),
    "depthwise": lambda: layers.DepthwiseConv2D(3, **FIRST),
    "pooling": lambda: layers.MaxPooling2D(**FIRST),
}


def network(name):
    inputs = keras.Input((3, 8, 8))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(LAYERS[name]()(inputs))))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("explainer", [tf_lrp.Analyzer, tf_lrp.methods.Gradient])
def test_the_warning_is_true(name, explainer, recwarn):
    """It is given where the model itself does not run, and not where it does."""
    model, x = network(name), np.ones((1, 3, 8, 8), np.float32)
    try:
        model(x)
        runs = True
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        runs = False
    made = explainer(model)
    told = [str(w.message) for w in recwarn if "channels first" in str(w.message)]
    assert len(told) == (not runs) and all(repr(name) in text for text in told)
    if runs:
        assert made.analyze(x).shape == x.shape


def test_models_with_channels_last_are_not_tried(monkeypatch):
    monkeypatch.setattr(kernels, "_runs", None)
    inputs = keras.Input((8, 8, 3))
    tf_lrp.Analyzer(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3)(inputs)))))


@pytest.mark.slow
@pytest.mark.parametrize("on", ["0", "1"])
def test_with_and_without_onednn(on):
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "is_true"],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": on},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
