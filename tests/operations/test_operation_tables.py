"""What the tables say of layers and operations holds, and everything that asks them follows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tf_lrp
from tf_lrp import rules, select
from tf_lrp.graph.canonize import canonize
from tf_lrp.graph.facts import infer_facts
from tf_lrp.graph.unroll import unroll
from tf_lrp.operations.activation_table import ALONG_AXIS_CLASSES, ELEMENTWISE_CLASSES, activation_name, activation_of, is_relu
from tf_lrp.twins.registry import _TWIN_OF_LAYER

#: More than any function needs to show its sign: zeros of both signs, tiny and huge numbers.
GRID = np.concatenate([np.linspace(-30, 30, 4001), [0.0, -0.0, 1e-30, -1e-30, 1e-5, 700.0, -700.0]])


def user_function(x):
    return x - 1


def _instances():
    """Everything in the table that can be made: (what is asked of the table, the function)."""
    made = []
    for name, function in vars(keras.activations).items():
        if callable(function) and name not in ("get", "serialize", "deserialize", "glu", "threshold"):
            made.append((layers.Activation(name), function))
    arguments = {"Threshold": (1.0, 0.0), "Clip": (-1.0, 1.0), "Power": None, "Celu": (0.5,), "SoftShrink": (-0.3,)}
    for kind in (*ELEMENTWISE_CLASSES, *ALONG_AXIS_CLASSES):
        given = arguments.get(kind.__name__, ())
        if kind is layers.Activation or given is None:
            continue
        try:
            made.append((operation := kind(*given), operation.call))
            operation.call(tf.constant([0.5]))
        except (AttributeError, TypeError, ValueError):  # a function of two tensors, or a layer that is not built
            made = [pair for pair in made if type(pair[0]) is not kind]
    return [
        *made,
        *((layer, layer.call) for layer in (layers.ReLU(threshold=1.0, max_value=2.0), layers.ELU(-1.0))),
        (layers.ReLU(max_value=0.5, negative_slope=0.5), layers.ReLU(max_value=0.5, negative_slope=0.5).call),
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_table_of_activations_is_true(dtype):
    x = GRID.astype(dtype)
    checked = 0
    for asked, function in _instances():
        holds, name = activation_of(asked), f"{activation_name(asked)} by {asked}"
        y = np.asarray(function(tf.constant(x)))
        assert holds.name, name
        assert not holds.nonnegative or (y >= 0).all(), name
        assert not holds.keeps_nonnegative or (y[x >= 0] >= 0).all(), name
        assert not holds.zero_at_zero or (y[x == 0] == 0).all(), name
        assert not holds.zero_below_zero or (y[x <= 0] == 0).all(), name
        assert not holds.is_relu or np.array_equal(y, np.maximum(x, 0)), name
        if holds.probability and not holds.along_axis:
            assert (np.diff(y[:4001]) >= 0).all(), name
        checked += 1
    assert checked > 80


def test_functions_of_a_user_are_unknown():
    assert activation_name(layers.Activation(user_function)) == ""
    assert is_relu(layers.Activation(layers.ReLU())) and not is_relu(layers.Activation(layers.ReLU(max_value=0.5)))

    class Shifted(layers.ReLU):
        def call(self, x):
            return super().call(x) - 1

    assert activation_of(Shifted()).name == ""


def test_every_twin_of_the_library_declares_its_kinds():
    twins = {twin for twin in _TWIN_OF_LAYER.values() if twin.__module__.startswith("tf_lrp.")}
    assert len(twins) > 25
    assert not [twin.__name__ for twin in twins if not twin.kinds]


def facts_of(function, shape=(4,), count=1):
    inputs = [keras.Input(shape) for _ in range(count)]
    return infer_facts(canonize(unroll(keras.Model(inputs, function(*inputs))), strip_heads=False))[-1]


@pytest.mark.parametrize(
    ("function", "count", "kinds", "rule"),
    [
        (lambda x: ops.maximum(x, 0), 1, {"activation"}, rules.Pass()),
        (ops.maximum, 2, {"merge", "maximum"}, rules.WinnerTakesAll()),
        (lambda x, y: layers.Minimum()([x, y]), 2, {"merge", "minimum"}, rules.WinnerTakesAll()),
        (lambda x: 2 * x, 1, {"structural"}, rules.Pass()),
        (ops.multiply, 2, {"product"}, rules.SignalTakesAll()),
        (lambda x: 1 / x, 1, {"structural"}, rules.Pass()),
        (ops.divide, 2, {"product"}, rules.SignalTakesAll()),
        (lambda x: x + 1, 1, {"structural"}, rules.Pass()),
        (ops.add, 2, {"merge", "add"}, rules.ZRule()),
        (ops.logaddexp, 2, {"activation"}, rules.Pass()),
        (ops.softmax, 1, {"activation", "softmax"}, rules.Pass()),
        (layers.Activation("log_softmax"), 1, {"activation", "softmax"}, rules.Pass()),
        (layers.UnitNormalization(), 1, {"normalization"}, rules.Pass()),
        (lambda x: ops.max(x, 1), 1, {"pooling", "max_pooling", "global_pooling"}, rules.WinnerTakesAll()),
        (lambda x: ops.top_k(x, 2)[0], 1, {"structural"}, rules.Pass()),
        (layers.Dropout(0.5), 1, {"structural"}, rules.Pass()),
        (lambda x: ops.matmul(x, ops.transpose(x)), 1, {"matmul"}, rules.SignalTakesAll()),
    ],
)
def test_kinds_and_default_rules(function, count, kinds, rule):
    facts = facts_of(function, count=count)
    assert facts.kinds == kinds
    assert facts.default_rule == rule


def test_a_twin_without_kinds_has_those_of_the_class_that_the_layer_extends():
    class Pool(layers.MaxPooling1D):
        def call(self, x):
            return tf.nn.max_pool1d(x, 2, 2, "VALID")

    @tf_lrp.register_twin(Pool)
    class PoolTwin(tf_lrp.twins.Twin):
        def call(self, x):
            return self.compute(x)

    facts = facts_of(Pool(2), (4, 3))
    assert facts.kinds == {"pooling", "max_pooling"}
    assert facts.default_rule == rules.WinnerTakesAll()


def test_the_cross_product_of_positive_vectors_may_be_negative():
    x, y = keras.Input((3,)), keras.Input((3,))
    product = ops.cross(ops.relu(x), ops.relu(y))
    model = keras.Model([x, y], layers.Dense(1, name="last")(product))
    assert not infer_facts(canonize(unroll(model)))[-1].nonnegative
    weights = np.array([1.0, 2.0, 3.0], "float32")
    model = keras.Model(x, layers.Dense(1, name="last")(ops.cross(ops.relu(x), weights)))
    assert not infer_facts(canonize(unroll(model)))[-1].nonnegative


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.sparsemax, layers.Activation("log_softmax")])
def test_taylor_is_gradient_times_input(function):
    """R_i = x_i sum_j df_j/dx_i R_j / f_j, where R = f at the output."""
    inputs = keras.Input((5,))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    preset = tf_lrp.Preset([(select.kind("softmax"), rules.Taylor()), (select.all(), rules.ZRule())])
    analyzer = tf_lrp.Analyzer(keras.Model(inputs, function(inputs)), preset, strip_softmax=False)
    with tf.GradientTape() as tape:
        t = tf.constant(x)
        tape.watch(t)
        y = function(t)
    ones = tf.cast(y != 0, tf.float32)  # 0 has no relevance to pass on
    np.testing.assert_allclose(analyzer.analyze(x, "all"), x * tape.gradient(y, t, ones), rtol=1e-4, atol=1e-6)


class Gate(layers.Layer):
    """min(max(x, 0), 1), by TensorFlow"""

    def call(self, x):
        return tf.clip_by_value(x, 0.0, 1.0)


def swoosh(x):
    return tf.math.softplus(x) - 0.05 * x


def rules_of(output, inputs, preset="alpha2_beta1"):
    table = tf_lrp.Analyzer(keras.Model(inputs, output), preset).rules()
    return {row[0]: row[2] for row in table}, dict(zip([row[0] for row in table], table.nonnegative, strict=True))


def test_a_registered_activation_is_known_everywhere():
    inputs = keras.Input((4,))
    signal, gate = layers.Dense(4, name="signal")(inputs), Gate(name="mine")(layers.Dense(4, name="gate")(inputs))
    tf_lrp.register_activation(Gate, nonnegative=True, zero_below_zero=True, gate="gate")
    chosen, _ = rules_of(layers.Dense(2)(signal * gate), inputs)
    assert (chosen["signal"], chosen["gate"]) == ("AlphaBeta()", "Stop()")
    _, nonnegative = rules_of(layers.Dense(2, name="last")(gate), inputs)
    assert nonnegative["last"]

    tf_lrp.register_activation(swoosh, keeps_nonnegative=True)
    _, nonnegative = rules_of(layers.Dense(2, name="last")(layers.Activation(swoosh)(ops.relu(inputs))), inputs)
    assert nonnegative["last"]
    with pytest.raises(ValueError, match="gate is one of 'activation', 'bounded', 'gate', got 'open'"):
        tf_lrp.register_activation(Gate, gate="open")


def test_a_twin_that_keeps_nonnegative_numbers_nonnegative():
    class Halved(layers.Layer):
        def call(self, x):
            return tf.abs(x) / 2 - tf.nn.relu(-x)  # x / 2 for x >= 0

    class HalvedTwin(tf_lrp.twins.PassTwin):
        keeps_nonnegative = True

    tf_lrp.register_twin(Halved)(HalvedTwin)
    inputs = keras.Input((4,))
    for rectified in (True, False):
        below = ops.relu(inputs) if rectified else inputs
        _, nonnegative = rules_of(layers.Dense(2, name="last")(Halved()(below)), inputs)
        assert nonnegative["last"] == rectified
