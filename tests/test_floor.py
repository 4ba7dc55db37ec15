"""What the oldest supported Keras and TensorFlow must do as well; `make test-floor` runs this in an environment of theirs.

Nothing but pytest is needed beside the library's own requirements.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_lrp
from tf_lrp import methods, select
from tf_lrp.rules import Epsilon, Flat


def seeded(model):
    """A network whose values neither grow nor vanish from layer to layer, the same with every version."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if len(weight.shape) > 1:
            inputs = weight.shape[:-2] if "depthwise" in weight.path else weight.shape[:-1]
            weight.assign(rng.normal(scale=np.sqrt(2 / np.prod(inputs)), size=weight.shape))
        elif "variance" not in weight.path:
            weight.assign(weight + rng.normal(scale=0.1, size=weight.shape))
    return model


def convolutional():
    inputs = keras.Input((12, 12, 3))
    h = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False, name="first")(inputs)))
    h = layers.Add()([h, layers.Conv2D(6, 3, padding="same", activation="relu")(h)])
    h = layers.MaxPooling2D(2)(layers.SeparableConv2D(5, 3, activation="relu")(h))
    h = layers.AveragePooling2D(2)(layers.UpSampling2D(2, interpolation="bilinear")(h))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(4, name="logits")(layers.Flatten()(h))))


def pictures(samples=2, shape=(12, 12, 3)):
    return np.random.default_rng(3).normal(size=(samples, *shape)).astype("float32")


def assert_account_closes(analyzer, x):
    """What each layer receives is what it passes on and what stays behind in it, from the score down to the inputs."""
    balance, relevance = analyzer.conservation(x), analyzer.analyze(x)
    scale = max(abs(balance.output), *(abs(layer.received) for layer in balance.layers))
    assert np.isfinite(relevance).all() and np.abs(relevance).max() > 1e-6 and abs(balance.output) > 1e-3
    assert abs(relevance.sum(dtype="float64") - balance.input) <= 1e-4 * scale
    for layer in balance.layers:
        assert abs(layer.rounding) <= 1e-3 * scale, layer


def test_epsilon_is_its_formula():
    inputs = keras.Input((5,))
    model = seeded(keras.Model(inputs, layers.Dense(3)(inputs)))
    x = pictures(2, (5,))
    kernel, bias = (w.numpy() for w in model.weights)
    z = x @ kernel + bias
    expected = x[:, :, None] * kernel / (z + 0.25 * np.where(z >= 0, 1, -1))[:, None] * z[:, None]
    found = tf_lrp.Analyzer(model, Epsilon(0.25)).analyze(x, np.tile(np.arange(3), (2, 1)))
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1), rtol=1e-4, atol=1e-6)


def test_presets_on_a_convolutional_network():
    model, x = seeded(convolutional()), pictures()
    logits = keras.Model(model.input, model.get_layer("logits").output)
    for name in ("cmp_a2_flat", "epsilon_gamma_box", "deep_taylor"):
        analyzer = tf_lrp.Analyzer(model, name)
        np.testing.assert_allclose(np.asarray(analyzer.twin(x)), np.asarray(logits(x)), rtol=1e-3, atol=1e-4)
        assert_account_closes(analyzer, x)
    maps = tf_lrp.Analyzer(model, "cmp_a2_flat").analyze(x, [1, 2], layers=["first"])
    assert maps["first"].shape == (2, 12, 12, 6)
    own = tf_lrp.Preset([(select.first(1), Flat()), (select.all(), Epsilon())])
    assert tf_lrp.Preset.from_json(own.to_json()) == own
    assert_account_closes(tf_lrp.Analyzer(model, own), x)


def attention():
    tokens = keras.Input((6,), dtype="int32")
    e = layers.Embedding(20, 8)(tokens)
    h = layers.LayerNormalization()(e + layers.MultiHeadAttention(2, 4)(e, e))
    h = layers.GlobalAveragePooling1D()(layers.Dense(8, activation="gelu")(h))
    return keras.Model(tokens, layers.Dense(3)(h))


class Block(keras.Model):
    """Opened by its own call."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = layers.Dense(6), layers.Dense(3)

    def call(self, x):
        h = keras.ops.relu(self.inner(x))
        return self.head(keras.ops.concatenate([h, keras.ops.mean(h, axis=1, keepdims=True)], axis=1))


def subclassed():
    model = Block()
    model(np.ones((1, 5), "float32"))
    return model


@pytest.mark.parametrize(
    ("build", "preset", "x"),
    [
        (attention, "attnlrp", np.arange(12).reshape(2, 6)),
        (lambda: keras.Sequential([keras.Input((6, 4)), layers.LSTM(5), layers.Dense(2)]), "epsilon", pictures(2, (6, 4))),
        (subclassed, "epsilon", pictures(2, (5,))),
    ],
    ids=["attention", "lstm", "subclassed"],
)
def test_other_networks(build, preset, x):
    assert_account_closes(tf_lrp.Analyzer(seeded(build()), preset), x)


def test_mobilenet():
    model, x = seeded(keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=5)), pictures(1, (32, 32, 3))
    analyzer = tf_lrp.Analyzer(model, "cmp_a1_flat")
    scores = np.asarray(analyzer.twin(x))
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(), np.asarray(model(x)), rtol=1e-3, atol=1e-5)
    relevance = analyzer.analyze(x)
    assert relevance.shape == x.shape and np.isfinite(relevance).all() and np.abs(relevance).max() > 1e-6


def test_a_saved_model_runs_without_the_library(tmp_path):
    model, x = seeded(convolutional()), pictures()
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    analyzer.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    found = loaded.signatures["serving_default"](tf.constant(x))["relevance"]
    expected = analyzer.analyze(x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name", ["gradient", "integrated_gradients", "guided_backprop", "grad_cam", "occlusion", "pattern_net"]
)
def test_methods(name):
    inputs = keras.Input((12, 12, 3))
    h = layers.Flatten()(layers.MaxPooling2D(2)(layers.Conv2D(4, 3, activation="relu")(inputs)))
    model, x = seeded(keras.Model(inputs, layers.Dense(3)(h))), pictures()
    explainer = methods.explainer(name, model)
    if hasattr(explainer, "fit"):
        explainer.fit(x)
    relevance = explainer.analyze(x)
    assert relevance.shape == x.shape and np.isfinite(relevance).all() and np.abs(relevance).max() > 0
