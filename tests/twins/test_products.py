"""Products of branches: who is the signal, who the gate, and what each rule gives them."""

import keras
import numpy as np
import pytest
from keras import ops

import tf_lrp
from tf_lrp import rules, select

pytestmark = pytest.mark.eager


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def shares(product, rule=None, shapes=((4,), (4,))):
    """Relevance of two inputs of a product, from R = y everywhere."""
    inputs = [keras.Input(s, dtype="float64") for s in shapes]
    with_type = keras.Model(inputs, product(*inputs))
    x = [numbers(2, *s, seed=n) for n, s in enumerate(shapes)]
    preset = tf_lrp.Preset([*([(select.kind("product", "matmul"), rule)] if rule else []), (select.all(), rules.ZRule())])
    analyzer = tf_lrp.Analyzer(with_type, preset, strip_softmax=False)
    y = np.asarray(with_type(x))
    np.testing.assert_allclose(analyzer.twin(x), y, rtol=1e-12)
    return y, *analyzer.analyze(x, "all")


GATES = {
    "sigmoid": lambda a, b: a * ops.sigmoid(b),
    "sigmoid first": lambda b, a: ops.sigmoid(b) * a,
    "hard sigmoid layer": lambda a, b: keras.layers.Multiply(dtype="float64")(
        [a, keras.layers.Activation("hard_sigmoid", dtype="float64")(b)]
    ),
    "one minus": lambda a, b: a * (1 - ops.sigmoid(b)),
    "sigmoid against tanh": lambda a, b: ops.tanh(a) * ops.sigmoid(b),
    "silu": lambda a, b: a * ops.silu(b),
    "relu6": lambda a, b: ops.relu(a) * (ops.relu6(b + 3) / 6),
    "softmax": lambda a, b: a * ops.softmax(b),
    "reshaped": lambda a, b: a * ops.reshape(ops.expand_dims(ops.sigmoid(b), 1), (-1, 4)),
}


@pytest.mark.parametrize("name", GATES)
def test_the_signal_takes_all(name):
    y, *of_inputs = shares(GATES[name])
    signal, gate = of_inputs if name != "sigmoid first" else of_inputs[::-1]
    np.testing.assert_allclose(signal, y, rtol=1e-12)
    assert not gate.any()


@pytest.mark.parametrize("name", GATES)
def test_by_the_uniform_rule_they_share(name):
    y, first, second = shares(GATES[name], rules.Uniform())
    if name != "softmax":  # which passes relevance on among its entries
        np.testing.assert_allclose(second, y / 2, rtol=1e-12)
    np.testing.assert_allclose(first, y / 2, rtol=1e-12)


def test_branches_that_look_alike_share():
    y, first, second = shares(lambda a, b: a * b)
    np.testing.assert_allclose(first, y / 2, rtol=1e-12)
    np.testing.assert_allclose(second, y / 2, rtol=1e-12)


@pytest.mark.parametrize("rule", [None, rules.Uniform()])
@pytest.mark.parametrize(
    "quotient",
    [
        lambda a, b: a / b,
        lambda a, b: a * ops.rsqrt(ops.square(b) + 1),
        lambda a, b: ops.reciprocal(b) * a,
        lambda a, b: a * (1 / b),
    ],
    ids=range(4),
)
def test_a_normalizer_takes_nothing_under_any_rule(quotient, rule):
    y, numerator, denominator = shares(quotient, rule)
    np.testing.assert_allclose(numerator, y, rtol=1e-9)
    assert not denominator.any()


SELF_GATES = {
    "swish": lambda x: x * ops.sigmoid(x),
    "scaled": lambda x: 0.5 * x * (1 + ops.erf(x / 1.4142)),
    "tanh form": lambda x: 0.5 * x * (1 + ops.tanh(0.79788 * (x + 0.044715 * x**3))),
    "after relu": lambda x: ops.relu(x) * ops.sigmoid(1.7 * ops.relu(x)),
}


@pytest.mark.parametrize("rule", [rules.SignalTakesAll(), rules.Uniform()])
@pytest.mark.parametrize("name", SELF_GATES)
def test_a_function_of_its_own_signal_passes_relevance(name, rule):
    y, first, _second = shares(lambda a, b: SELF_GATES[name](a) + 0 * b, rule)
    np.testing.assert_allclose(first, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [rules.SignalTakesAll(), rules.Uniform()])
def test_a_broadcast_factor_takes_the_sum(rule):
    y, signal, gate = shares(lambda a, b: a * ops.sigmoid(b), rule, shapes=((3, 4), (1, 4)))
    part = 0.5 if rule == rules.Uniform() else 1.0
    np.testing.assert_allclose(signal, part * y, rtol=1e-12)
    np.testing.assert_allclose(gate, (1 - part) * y.sum(axis=1, keepdims=True), rtol=1e-12, atol=1e-15)


def test_a_factor_broadcast_along_an_unknown_length():
    a, b = keras.Input((None, 4)), keras.Input((1, 4))
    model = keras.Model([a, b], ops.sum(a * b, axis=1))
    x = [numbers(2, 5, 4), numbers(2, 1, 4, seed=1)]
    analyzer = tf_lrp.Analyzer(model, tf_lrp.Preset([(select.kind("product"), rules.Uniform()), (select.all(), rules.ZRule())]))
    first, second = analyzer.analyze(x, "all")
    np.testing.assert_allclose(first, x[0] * x[1] / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(second, (x[0] * x[1] / 2).sum(1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_a_mask_of_integers_is_a_gate():
    a, mask = keras.Input((5, 4), dtype="float64"), keras.Input((5,), dtype="int32")
    model = keras.Model([a, mask], a * ops.expand_dims(ops.cast(mask, "float64"), -1))
    x = [numbers(2, 5, 4), np.array([[1, 1, 0, 0, 1], [0, 1, 1, 1, 1]])]
    first, second = tf_lrp.Analyzer(model, "z").analyze(x, "all")
    np.testing.assert_allclose(first, np.asarray(model(x)))
    assert not second.any()


def test_matrix_products_of_branches():
    for product in (ops.matmul, lambda a, b: ops.einsum("nij,njk->nik", a, b)):
        y, first, second = shares(product, rules.Uniform(), shapes=((3, 4), (4, 2)))
        a, b = numbers(2, 3, 4), numbers(2, 4, 2, seed=1)
        np.testing.assert_allclose(first, 0.5 * a * np.einsum("njk->nj", b)[:, None], rtol=1e-9)
        np.testing.assert_allclose(second, 0.5 * b * np.einsum("nij->nj", a)[:, :, None], rtol=1e-9)
        y, first, second = shares(lambda a, b, p=product: p(ops.softmax(a), b), shapes=((3, 4), (4, 2)))
        assert not first.any()
        np.testing.assert_allclose(second.sum((1, 2)), y.sum((1, 2)), rtol=1e-9)


def test_a_gates_own_layers_need_no_rule_and_take_nothing():
    inputs = keras.Input((8, 8, 4))
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = keras.layers.Conv2D(4, 1, activation="sigmoid", name="gate")(
        ops.arctan2(keras.layers.Conv2D(4, 1)(squeezed), inputs)
    )
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs * gate)))
    analyzer = tf_lrp.Analyzer(model, "z")
    assert ("gate", "Conv2D", "Stop()", "takes no relevance") in list(analyzer.rules())
    maps = analyzer.analyze(numbers(2, 8, 8, 4), layers=["gate"])
    assert not maps["gate"].any() and maps["input"].any()
    only = tf_lrp.Preset([(select.kind("product"), rules.Uniform()), (select.all(), rules.ZRule())])
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="Arctan2"):
        tf_lrp.Analyzer(model, only)


def test_a_branch_can_be_stopped():
    inputs = keras.Input((4,), dtype="float64")
    branch = keras.layers.Dense(4, name="branch", dtype="float64")(inputs)
    model = keras.Model(inputs, branch + 2 * inputs)
    x = numbers(2, 4)
    preset = tf_lrp.Preset([(select.name("branch"), rules.Stop()), (select.all(), rules.ZRule())])
    maps = tf_lrp.Analyzer(model, preset).analyze(x, "all", layers=["branch"])
    np.testing.assert_allclose(maps["input"], 2 * x, rtol=1e-9)
