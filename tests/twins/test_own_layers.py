"""Layers with weights that users wrote themselves: a twin that says what it is, or a description as an affine map."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import randomize

import tf_lrp
from tf_lrp import rules, select

pytestmark = pytest.mark.eager


class Opaque(keras.layers.Layer):
    """x W + b, written with TensorFlow, so that it cannot be opened."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], self.units), name="matrix")
        self.shift = self.add_weight(shape=(self.units,), name="shift", initializer="zeros")

    def call(self, x):
        return tf.linalg.matmul(x, tf.convert_to_tensor(self.matrix)) + tf.convert_to_tensor(self.shift)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)


class Described(Opaque):
    """The same, explained through a description."""

    def call(self, x):
        return super().call(x)


class Gated(Opaque):
    """sigmoid(x U) (x W + b): its gate has weights of its own."""

    def build(self, shape):
        super().build(shape)
        self.gate = self.add_weight(shape=(shape[-1], self.units), name="gate")

    def call(self, x):
        return tf.sigmoid(tf.linalg.matmul(x, tf.convert_to_tensor(self.gate))) * super().call(x)


class OfOpaque(tf_lrp.affine.Affine):
    kinds = frozenset({"dense", "weights"})

    def kernel(self, dtype):
        return tf.cast(self.layer.matrix, dtype)

    def bias(self, inputs, kernel):
        return tf.cast(self.layer.shift, kernel.dtype)

    def apply(self, inputs, kernel):
        return tf.linalg.matmul(inputs[0], kernel)


@tf_lrp.affine.affine_for(Described)
class OfDescribed(OfOpaque):
    pass


@tf_lrp.register_twin(Opaque, Gated)
class OpaqueTwin(tf_lrp.twins.Twin):
    """The preset's rule at x W + b; a gate is a constant, and takes nothing."""

    kinds = frozenset({"dense", "weights"})

    def call(self, x):
        linear = tf_lrp.twins.Propagation(OfOpaque(self.operation), self.rule, [x], self.compute_dtype)
        return tf_lrp.twins.with_relevance(self.compute(x), [x], linear.propagate)


def network(layer):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, activation="relu", name="below")(inputs)
    hidden = keras.layers.ReLU(name="relu")(layer(5, name="mine")(hidden))
    return randomize(keras.Model(inputs, keras.layers.Dense(3, name="top")(hidden)))


def rules_of(model, preset):
    return {name: rule for name, _, rule, _ in tf_lrp.Analyzer(model, preset).rules()}


@pytest.mark.parametrize("layer", [Opaque, Described, Gated])
def test_presets_reach_a_layer_of_ones_own_and_count_it(layer):
    model = network(layer)
    assert rules_of(model, "epsilon")["mine"] == "Epsilon()"
    mixed = tf_lrp.Preset(
        [
            (select.index(0), rules.Flat()),
            (select.index(1), rules.Gamma(1.0)),
            (select.kind("dense") & select.last(1), rules.ZRule()),
        ]
    )
    assert rules_of(model, mixed) == {
        "below": "Flat()", "below_activation": "Pass()", "mine": "Gamma(gamma=1.0)", "relu": "Pass()", "top": "ZRule()",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no rule for the layer 'mine'"):
        tf_lrp.Analyzer(model, tf_lrp.Preset([(~select.name("mine"), rules.Epsilon())]))


@pytest.mark.parametrize("layer", [Opaque, Described])
@pytest.mark.parametrize("preset", ["epsilon", "gamma", "alpha2_beta1", "epsilon_plus_flat", "w2"])
def test_relevance_is_that_of_the_layer_of_keras(layer, preset):
    model, same = network(layer), network(keras.layers.Dense)
    same.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(model(x), same(x), rtol=1e-5)
    expected = tf_lrp.Analyzer(same, preset).analyze(x)
    np.testing.assert_allclose(tf_lrp.Analyzer(model, preset).analyze(x), expected, rtol=1e-4, atol=1e-5)


def test_the_rule_at_a_gated_layer():
    model = network(Gated)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    found = tf_lrp.Analyzer(model, rules.ZRule(bias=False)).analyze(x, layers=["below", "mine"])
    a = model.get_layer("below")(x).numpy()
    matrix = model.get_layer("mine").matrix.numpy()
    expected = np.zeros_like(a)
    for n, i, j in np.ndindex(3, 6, 5):
        expected[n, i] += a[n, i] * matrix[i, j] / (a[n] @ matrix[:, j]) * found["mine"][n, j]
    np.testing.assert_allclose(found["below"], expected, rtol=1e-4, atol=1e-5)


def test_a_default_rule_and_the_inputs_that_take_relevance():
    class Selected(keras.layers.Layer):
        """max over time of x where a mask is 1."""

        def call(self, x, mask_values):
            return tf.reduce_max(tf.where(mask_values > 0, x, -1e9), axis=1)

        def compute_output_shape(self, x_shape, mask_values_shape):
            return (x_shape[0], x_shape[2])

    @tf_lrp.register_twin(Selected)
    class SelectedTwin(tf_lrp.twins.Twin):
        kinds = frozenset({"pooling", "max_pooling"})
        default_rule = rules.WinnerTakesAll()

        @classmethod
        def takers(cls, signals):
            return (signals[0], False)

        def call(self, x, mask_values):
            y = self.compute(x, mask_values)
            won = tf.cast(tf.equal(x, y[:, tf.newaxis]), x.dtype)
            return tf_lrp.twins.with_relevance(y, [x], lambda relevance: [won * relevance[:, tf.newaxis]])

    x, mask = keras.Input((5, 3), name="x"), keras.Input((5, 3), name="mask")
    scores = keras.layers.Dense(2, name="scores")(
        Selected(name="pool")(keras.layers.ReLU()(x), keras.layers.Dense(3, name="of_mask")(mask))
    )
    model = randomize(keras.Model([x, mask], scores))
    found = rules_of(model, "epsilon")
    assert found["pool"] == "WinnerTakesAll()" and found["of_mask"] == "Stop()"
    addressed = tf_lrp.Preset([(select.kind("max_pooling"), rules.WinnerTakesAll("share")), (select.all(), rules.Epsilon())])
    assert rules_of(model, addressed)["pool"] == "WinnerTakesAll(ties='share')"
    # A pool of non-negative numbers may be negative here: nothing is said of signs that the twin does not say.
    table = tf_lrp.Analyzer(model, "epsilon").rules()
    assert not dict(zip([row[0] for row in table], table.nonnegative, strict=True))["scores"]


def test_kinds_that_are_none():
    for kinds, error, message in (
        ("dense", TypeError, "a set of words"),
        (frozenset({"dance"}), ValueError, "are among conv, .*; got dance"),
    ):
        twin = type("WrongTwin", (tf_lrp.twins.Twin,), {"kinds": kinds})
        with pytest.raises(error, match=message):
            tf_lrp.register_twin(type("Another", (keras.layers.Layer,), {}))(twin)


def test_a_rule_of_ones_own_at_a_layer_of_ones_own():
    @dataclass(frozen=True)
    class Magnitude(rules.Rule):
        def terms(self, nonnegative):
            return (rules.Term(((tf.abs, tf.abs),)),)

    model, same = network(Opaque), network(keras.layers.Dense)
    same.set_weights(model.get_weights())
    x = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    found, expected = (tf_lrp.Analyzer(m, Magnitude()).analyze(x) for m in (model, same))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
