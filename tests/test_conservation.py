"""The balance of a pass: every unit of relevance is found again."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import presets, select
from tf_lrp.conservation import CAUSES
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Sign, Stop, Unified, Uniform, ZRule

pytestmark = pytest.mark.eager


def padded(dtype="float64"):
    inputs = keras.Input((8, 8, 3), dtype=dtype)
    h = layers.ZeroPadding2D(2, name="pad", dtype=dtype)(inputs)
    h = layers.Conv2D(4, 3, activation="relu", name="conv", dtype=dtype)(h)
    s = layers.Conv2D(4, 1, name="short", dtype=dtype)(h)
    h = layers.BatchNormalization(name="bn", dtype=dtype)(h + s)
    h = layers.GlobalAveragePooling2D(dtype=dtype)(layers.ReLU(dtype=dtype)(h))
    return randomize(keras.Model(inputs, layers.Dense(4, name="fc", dtype=dtype)(h)))


@pytest.mark.parametrize("preset", presets.names())
@pytest.mark.parametrize("build", [pytest.param(convnet, marks=pytest.mark.compiled), padded])
def test_every_layer_balances(preset, build):
    model, x = build(dtype="float64"), pictures(dtype="float64")
    analyzer = tf_lrp.Analyzer(model, preset)
    balance = analyzer.conservation(x)
    scale = max(abs(balance.output), *(abs(v) for b in balance.layers for v in (b.received, b.passed, b.bias)))
    np.testing.assert_allclose(balance.input, analyzer.analyze(x).sum(), rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(balance.output, model(x).numpy().max(axis=1).sum(), rtol=1e-12)
    for layer in balance.layers:
        assert abs(layer.rounding) <= 1e-9 * scale, layer
    assert abs(balance.rounding) <= 1e-9 * scale


def test_what_is_kept_is_named():
    model, x = padded(), pictures(dtype="float64")
    plain = tf_lrp.Analyzer(model, ZRule()).conservation(x)
    by_name = {b.name: b for b in plain.layers}
    assert abs(by_name["fc"].bias) > 1e-3
    assert by_name["pad"].padding == pytest.approx(0, abs=1e-9)
    flat = {b.name: b for b in tf_lrp.Analyzer(model, Flat()).conservation(x).layers}
    assert abs(flat["pad"].padding) > 1e-3, "flat sends relevance to padded zeros"
    damped = {b.name: b for b in tf_lrp.Analyzer(model, Epsilon(1.0)).conservation(x).layers}
    assert abs(damped["fc"].stabilizer) > 1e-3
    no_bias = tf_lrp.Analyzer(model, tf_lrp.Preset([(select.all(), ZRule(bias=False))])).conservation(x)
    assert {b.name: b.bias for b in no_bias.layers}["fc"] == 0


def test_the_balance_of_a_dense_layer_by_hand():
    inputs = keras.Input((2,), dtype="float64")
    model = keras.Model(inputs, layers.Dense(1, name="fc", dtype="float64")(inputs))
    model.get_layer("fc").set_weights([np.array([[2.0], [3.0]]), np.array([5.0])])
    balance = tf_lrp.Analyzer(model, Epsilon(10.0)).conservation(np.array([[1.0, 1.0]]))
    (layer,) = balance.layers
    # z = 10, R = 10, denominator 20: the inputs get 1 and 1.5, the bias 2.5, epsilon 5
    assert (layer.received, layer.passed, layer.bias, layer.stabilizer) == pytest.approx((10, 2.5, 2.5, 5))
    assert balance.padding == 0


def test_the_table_is_readable_and_targets_are_checked():
    analyzer, x = tf_lrp.Analyzer(convnet(), "cmp_a2_flat"), pictures()
    text = str(analyzer.conservation(x, neuron_selection=2))
    for part in ("scores", "passed on", "whole model", "Flat()"):
        assert part in text
    with pytest.raises(ValueError, match="one target per sample"):
        analyzer.conservation(x, neuron_selection=np.array([[0, 1]] * 3))


@pytest.mark.compiled
def test_repeated_calls_trace_once(caplog):
    analyzer, x = tf_lrp.Analyzer(convnet(), "z"), pictures(1)
    first = analyzer.conservation(x)
    for _ in range(6):
        assert analyzer.conservation(x).input == first.input
    assert not [r for r in caplog.records if "retracing" in r.message]


@pytest.mark.compiled
def test_many_analyzers_do_not_count_as_retracing(caplog):
    for name in ("z", "epsilon", "gamma", "flat", "w2", "zplus", "cmp_a1"):
        tf_lrp.Analyzer(convnet(), name).analyze(pictures(1))
    assert not [r for r in caplog.records if "retracing" in r.message]


def kept(balance):
    """What each cause kept, for those that kept anything."""
    return {cause: getattr(balance, cause) for cause in CAUSES if abs(getattr(balance, cause)) > 1e-9}


def closed(model, preset, x, explained=True, **options):
    """The balance, which closes at every layer and as a whole, and (``explained``) is that of `analyze`."""
    analyzer = tf_lrp.Analyzer(model, preset)
    balance = analyzer.conservation(x, **options)
    scale = max(abs(balance.output), *(abs(b.received) for b in balance.layers))
    assert max(abs(b.rounding) for b in (balance, *balance.layers)) <= 1e-9 * scale
    if explained:
        found = sum(np.sum(r) for r in keras.tree.flatten(analyzer.analyze(x, **options)))
        np.testing.assert_allclose(balance.input, found, rtol=1e-9, atol=1e-9 * scale)
    return balance


def dense_network(*sizes, seed=0):
    x = h = keras.Input((sizes[0],), dtype="float64")
    for n, size in enumerate(sizes[1:], 1):
        h = layers.Dense(size, activation="relu" if n < len(sizes) - 1 else None, dtype="float64", name=f"d{n}")(h)
    return randomize(keras.Model(x, h), seed)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_a_bias_factor_by_hand(factor):
    model, epsilon = dense_network(3, 5, 2), 0.5
    x = np.random.default_rng(2).normal(size=(4, 3))
    expected = {name: dict.fromkeys(("received", "passed", "bias", "stabilizer"), 0.0) for name in ("d1", "d2")}
    weights = [model.get_layer(name).get_weights() for name in ("d1", "d2")]
    for sample in x:
        values = [sample]
        for n, (w, b) in enumerate(weights):
            z = np.array([sum(values[-1][i] * w[i, j] for i in range(len(w))) + b[j] for j in range(len(b))])
            values.append(np.maximum(z, 0) if n == 0 else z)
        relevance = np.where(np.arange(2) == np.argmax(values[-1]), values[-1], 0.0)
        for name, (w, b), a in reversed(list(zip(("d1", "d2"), weights, values, strict=False))):
            books, handed = expected[name], np.zeros(len(a))
            for j, r in enumerate(relevance):
                z = sum(a[i] * w[i, j] for i in range(len(a))) + b[j]
                stabilizer = epsilon if z >= 0 else -epsilon
                for i in range(len(a)):
                    handed[i] += (a[i] * w[i, j] + factor * (b[j] + stabilizer) / len(a)) / (z + stabilizer) * r
                books["received"] += r
                books["bias"] += (1 - factor) * b[j] / (z + stabilizer) * r
                books["stabilizer"] += (1 - factor) * stabilizer / (z + stabilizer) * r
            books["passed"] += handed.sum()
            relevance = handed
    balance = closed(model, Epsilon(epsilon, bias_factor=factor), x)
    for layer in balance.layers:
        if layer.name in expected:
            for part, value in expected[layer.name].items():
                assert getattr(layer, part) == pytest.approx(value, rel=1e-9, abs=1e-12), (layer.name, part)
    assert balance.zero_denominator == balance.formula == 0
    assert (balance.bias == 0) == (factor == 1)


def single(rule, weights, x, bias=(0.0,)):
    """The balance of one dense layer with one output."""
    inputs = keras.Input((len(weights),), dtype="float64")
    model = keras.Model(inputs, layers.Dense(1, name="d", dtype="float64")(inputs))
    model.get_layer("d").set_weights([np.array(weights)[:, None], np.array(bias)])
    return closed(model, rule, np.array([x]), explained=False, neuron_selection=np.array([[10.0]]))


def test_what_has_nothing_to_share_by_is_no_stabilizers_affair():
    """R = 10. Where all contributions are positive, beta's share of 10 has nowhere to go: it is gained."""
    for stabilizer in (0.0, 1e-6):
        layer = single(AlphaBeta(2, 1, stabilizer=stabilizer), [1.0, 2.0], [3.0, 4.0]).layers[0]
        assert layer.zero_denominator == pytest.approx(-10)
        assert layer.passed == pytest.approx(20, rel=1e-6)
        assert layer.stabilizer == pytest.approx(20 * stabilizer / 11, rel=1e-3)
    assert kept(single(ZRule(), [1.0, -1.0], [3.0, 3.0])) == pytest.approx({"zero_denominator": 10})
    assert kept(single(Epsilon(0.1), [1.0, -1.0], [3.0, 3.0])) == pytest.approx({"zero_denominator": 10})
    assert kept(single(Epsilon(0.1), [1.0, -1.0], [3.0, 2.9])) == pytest.approx({"stabilizer": 5})
    assert kept(single(Gamma(), [1.0, -1.0], [3.0, 3.0])) == pytest.approx({"zero_denominator": 10})
    # bias -2, z+ = 3 and z- = -1 - 2
    layer = single(AlphaBeta(2, 1, stabilizer=0.0), [1.0, -1.0], [3.0, 1.0], [-2.0]).layers[0]
    assert kept(layer) == pytest.approx({"bias": -10 * 2 / 3})
    assert kept(single(Unified(alpha=2.0, beta=0.5, gamma1=1), [1.0, 2.0], [3.0, 4.0])) == pytest.approx({"formula": -5})


def test_a_black_picture():
    """Alpha-beta without a single contribution: what is lost is neither a bias's nor a stabilizer's."""
    x = keras.Input((1, 1, 3), dtype="float64")
    h = layers.Conv2D(4, 1, use_bias=False, activation="relu", dtype="float64")(x)
    h = layers.Conv2D(4, 3, padding="same", activation="relu", dtype="float64")(h)
    model = randomize(keras.Model(x, layers.Dense(3, use_bias=False, dtype="float64")(layers.Flatten(dtype="float64")(h))))
    balance = closed(model, AlphaBeta(2, 1, stabilizer=0.0), np.zeros((1, 1, 1, 3)))
    assert balance.output > 0.1 and balance.input == 0
    assert balance.bias + balance.zero_denominator == pytest.approx(balance.output)
    assert balance.stabilizer == 0


def test_what_a_stop_took():
    x = keras.Input((4,), dtype="float64")
    branches = [layers.Dense(3, name=name, dtype="float64")(x) for name in "ab"]
    h = layers.Concatenate(name="both", dtype="float64")(branches)
    model = randomize(keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(h)))
    inputs = np.random.default_rng(1).normal(size=(2, 4))
    balance = closed(model, tf_lrp.Preset([(select.name("b"), Stop()), (select.all(), ZRule())]), inputs)
    by_name = {layer.name: layer for layer in balance.layers}
    assert by_name["b"].stopped == pytest.approx(by_name["b"].received) and abs(by_name["b"].stopped) > 1e-3
    assert set(kept(balance)) == {"bias", "stopped"}
    whole = closed(model, tf_lrp.Preset([(select.name("both"), Stop()), (select.all(), ZRule())]), inputs)
    assert kept(whole) == pytest.approx({"stopped": whole.output}) and whole.input == 0
    for part in ("stops kept", "biases kept"):
        assert part in str(balance)
    assert "padding" not in str(balance) and "zero denominators" not in str(balance)


def test_what_comparisons_and_places_took():
    x = keras.Input((4,), dtype="float64")
    largest = ops.cast(ops.one_hot(ops.argmax(x, axis=-1), 4), "float64")
    only = randomize(keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(largest)))
    inputs = np.random.default_rng(1).normal(size=(2, 4))
    balance = closed(only, "z", inputs)
    assert kept(balance) == pytest.approx({"stopped": balance.output}) and balance.input == 0
    partly = layers.Add(dtype="float64")([x, ops.cast(x > 0, "float64")])
    partly = randomize(keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(partly)))
    balance = closed(partly, "z", inputs)
    assert set(kept(balance)) == {"stopped"} and balance.input != 0


FILLED = [
    (lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]], constant_values=2), "padding"),
    (lambda x: layers.ZeroPadding1D(1, dtype="float64")(x), "padding"),
    (lambda x: ops.where(x > 0, x, 2.0), "bias"),
    (lambda x: ops.add(x, keras.Variable(np.array([[1.0, -2.0]]), dtype="float64")), "bias"),
]


@pytest.mark.parametrize(("fill", "cause"), FILLED)
def test_what_constants_took(fill, cause):
    x = keras.Input((3, 2), dtype="float64")
    h = layers.Flatten(dtype="float64")(fill(x))
    model = randomize(keras.Model(x, layers.Dense(2, use_bias=False, name="d", dtype="float64")(h)))
    # The flat rule gives zeros a share as well.
    assert set(kept(closed(model, Flat(), np.random.default_rng(1).normal(size=(2, 3, 2))))) == {cause}


@pytest.mark.parametrize("constant_first", [False, True])
def test_a_learned_constant_that_is_subtracted(constant_first):
    """z = x - c or c - x: with R = z, the input's relevance is x or -x, and the constant's the rest."""
    x = keras.Input((2,), dtype="float64")
    c = keras.Variable(np.array([[1.0, -2.0]]), dtype="float64", name="c")
    model = keras.Model(x, ops.subtract(c, x) if constant_first else ops.subtract(x, c))
    inputs = np.array([[3.0, 5.0]])
    sign = -1 if constant_first else 1
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").analyze(inputs, "all"), sign * inputs)
    balance = closed(model, "z", inputs, neuron_selection="all")
    assert kept(balance) == pytest.approx({"bias": -sign * (1.0 - 2.0)})


@pytest.mark.compiled
def test_a_recurrent_layer_says_what_took_what():
    def network(**options):
        x = keras.Input((4, 3), dtype="float64")
        h = layers.Masking(dtype="float64")(x)
        h = layers.SimpleRNN(5, return_sequences=True, zero_output_for_mask=True, dtype="float64", name="rnn", **options)(h)
        return randomize(keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(layers.Flatten(dtype="float64")(h))))

    x = np.random.default_rng(3).normal(size=(2, 4, 3))
    x[0, 1], x[1, 3] = 0, 0  # masked
    assert set(kept(closed(network(use_bias=False), ZRule(), x))) == set()
    assert set(kept(closed(network(use_bias=False), Epsilon(0.1), x, False))) == {"stabilizer"}
    assert set(kept(closed(network(), ZRule(), x, False))) == {"bias"}
    # Shared evenly also with the initial state, and with what a mask set to zero.
    assert set(kept(closed(network(), Epsilon(0.1, bias_factor=1.0), x, False))) == {"bias", "padding"}
    zeros = tf_lrp.Preset([(select.kind("dense"), Flat()), (select.all(), ZRule())])
    assert set(kept(closed(network(use_bias=False), zeros, x, False))) == {"padding"}


def test_one_step_of_a_recurrent_layer_is_a_dense_layer():
    x = keras.Input((1, 3), dtype="float64")
    layer = layers.SimpleRNN(2, activation=None, dtype="float64")
    recurrent = keras.Model(x, layer(x))
    dense = dense_network(3, 2)
    recurrent.set_weights([dense.weights[0], np.ones((2, 2)), dense.weights[1]])
    inputs = np.random.default_rng(3).normal(size=(2, 3))
    expected, found = closed(dense, Epsilon(0.3), inputs), closed(recurrent, Epsilon(0.3), inputs[:, None])
    assert kept(found) == pytest.approx(kept(expected)) and found.input == pytest.approx(expected.input)


def test_attention_by_taylor_and_its_bias():
    """Query and key get a quarter of x dy/dx R / y each, values and an additive bias half; the rest is Taylor's."""
    rng = np.random.default_rng(4)
    q, k, v, b = (rng.normal(size=s) for s in ((1, 3, 1, 2), (1, 4, 1, 2), (1, 4, 1, 2), (1, 1, 3, 4)))
    v = np.abs(v) + 0.1
    scores = 0.5 * np.einsum("nthd,nshd->nhts", q, k) + b
    a = np.exp(scores - scores.max(-1, keepdims=True))
    a /= a.sum(-1, keepdims=True)
    y = np.einsum("nhts,nshd->nthd", a, v)
    # R = y, so that R / y = 1 at each output: G = dy / da summed over outputs, H at the scores
    g = np.einsum("nthd,nshd->nhts", np.ones_like(y), v)
    h = a * (g - (a * g).sum(-1, keepdims=True))
    of_scores = 0.25 * (h * (scores - b)).sum()
    expected = 0.5 * y.sum() + 2 * of_scores + 0.5 * (h * b).sum()
    inputs = [keras.Input(t.shape[1:], dtype="float64") for t in (q, k, v, b)]
    model = keras.Model(inputs, ops.dot_product_attention(*inputs[:3], bias=inputs[3], scale=0.5))
    uniform = tf_lrp.Preset([(select.kind("attention"), Uniform())])
    balance = closed(model, uniform, [q, k, v, b], neuron_selection="all")
    assert balance.input == pytest.approx(expected)
    assert kept(balance) == pytest.approx({"formula": y.sum() - expected})
    np.testing.assert_allclose(tf_lrp.Analyzer(model, uniform).analyze([q, k, v, b], "all")[3], 0.5 * h * b, rtol=1e-9)
    # A bias that is no input of the model is a constant: what it takes stays with it.
    alone = keras.Model(inputs[:3], ops.dot_product_attention(*inputs[:3], bias=b, scale=0.5))
    assert kept(closed(alone, uniform, [q, k, v], False, neuron_selection="all")).keys() == {"formula"}


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_the_relevance_of_an_index_is_that_of_what_it_looked_up(axis, shape):
    table = np.arange(1.0, 13.0).reshape(3, 4) if axis == 0 else np.arange(1.0, 5.0)
    x = keras.Input(shape, dtype="int32")
    model = keras.Model(x, ops.take(table, x, axis=axis))
    indices = np.random.default_rng(5).integers(0, 3, size=(2, *shape))
    expected = table.sum(axis=1)[indices] if axis == 0 else table[indices]
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").analyze(indices, "all"), expected, rtol=1e-6)


@pytest.mark.parametrize("merge", [layers.Average, layers.Add, layers.Subtract, layers.Multiply])
@pytest.mark.parametrize("rule", [Sign(), Epsilon(0.1), Gamma(0.5)])
def test_a_layer_that_takes_one_tensor_twice(merge, rule):
    inputs = keras.Input((6,), dtype="float64")
    h = layers.Dense(5, dtype="float64")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(3, dtype="float64")(merge(dtype="float64", name="twice")([h, h]))))
    preset = tf_lrp.Preset([(select.kind("merge"), rule), (select.all(), Epsilon(0.1))])
    for optimize in (True, False):
        balance = tf_lrp.Analyzer(model, preset, optimize=optimize).conservation(np.random.default_rng(0).normal(size=(2, 6)))
        scale = max(abs(v) for b in balance.layers for v in (b.received, b.passed, b.formula))
        assert max(abs(b.rounding) for b in balance.layers) <= 1e-9 * scale
