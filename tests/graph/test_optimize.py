"""The optimizing pass changes no relevance, and every optimization saves what it says."""

import copy
import functools
import pickle
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from keras import layers
from random_networks import X, float64, networks, passed, presets, rewritten, settle  # noqa: F401
from small_models import randomize

import tf_lrp
from tf_lrp import select
from tf_lrp.conservation import CAUSES
from tf_lrp.graph import optimize
from tf_lrp.graph.optimize import OPTIMIZATIONS
from tf_lrp.graph.optimize.network import Network
from tf_lrp.graph.optimize.relu import zero_below_zero
from tf_lrp.graph.optimize.terms import additive, complement, sign
from tf_lrp.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Pass,
    Sign,
    Stop,
    Unified,
    WSquare,
    ZBox,
    ZPlus,
    ZRule,
    identity,
)
from tf_lrp.twins import DEFAULT_PLAN

pytestmark = pytest.mark.eager

RULES = [Epsilon(0.1), ZRule(), ZRule(bias=False), Epsilon(0.1, clip=True), Epsilon(0.1, norm_scale=True),
         Epsilon(0.1, bias_factor=1.0), ZPlus(), ZPlus(stabilizer=0), AlphaBeta(2, 1), AlphaBeta(2, 1, bias=False),
         AlphaBeta(3, 2, stabilizer=0), Gamma(), Gamma(2.0, bias=False), Gamma(0.5, stabilizer=0), WSquare(), Flat(),
         ZBox(-3, 3), Sign(), Stop(), Unified(gamma1=1, epsilon=0.1)]  # fmt: skip
NAMED = sorted(tf_lrp.presets.names())


def network():
    """Residual blocks, a shared layer, a sum of one tensor with itself, both poolings, branches that ReLUs do not cut off."""

    def layer(kind, *args, **kwargs):
        return kind(*args, dtype="float64", **kwargs)

    def block(x, name):
        h = layer(layers.ReLU)(
            layer(layers.BatchNormalization)(layer(layers.Conv2D, 4, 3, padding="same", name=f"{name}_1")(x))
        )
        h = layer(layers.Conv2D, 4, 1, name=f"{name}_2")(h)
        return layer(layers.ReLU, name=f"{name}_out")(layer(layers.Add, name=f"{name}_sum")([x, h]))

    inputs = keras.Input((8, 8, 2), dtype="float64")
    x = block(block(layer(layers.Conv2D, 4, 3, name="stem")(inputs), "a"), "b")
    x = layer(layers.MaxPooling2D, 2)(layer(layers.ZeroPadding2D, 1)(x))
    shared = layer(layers.Conv2D, 4, 1, activation="tanh", name="shared")
    x = layer(layers.Add, name="both")([shared(x), shared(shared(x))])
    x = layer(layers.Average, name="twice")([x, x])
    h = layer(layers.Conv2D, 4, 1, name="seen")(x)  # taken by a ReLU and by a sum
    x = layer(layers.Subtract, name="difference")([layer(layers.ReLU)(h), h])
    x = layer(layers.Flatten)(layer(layers.AveragePooling2D, 2)(x))
    x = layer(layers.Dense, 600, activation="relu", name="wide")(x)
    return randomize(keras.Model(inputs, layer(layers.Dense, 3, name="logits")(layer(layers.ReLU)(layer(layers.Dense, 5)(x)))))


MODEL = network()
PICTURES = np.random.default_rng(1).normal(size=(3, 8, 8, 2))
NAMES = ["stem", "a_1", "a_2", "a_sum", "shared", "both", "twice", "seen", "difference", "wide", "*"]


# -- the same relevance -----------------------------------------------------------------------------------------------

#: All together, one alone, or some.
selections = st.one_of(
    st.just(OPTIMIZATIONS),
    st.sampled_from(OPTIMIZATIONS).map(lambda f: (f,)),
    st.sets(st.sampled_from(OPTIMIZATIONS)).map(lambda chosen: tuple(f for f in OPTIMIZATIONS if f in chosen)),
)


def by_the_formula(model, preset, x):
    """The twin that computes the formula, its values and relevance for x, and relevance for an x that is shaken a little."""
    try:
        plain = rewritten(model, preset, ())
    except ValueError as refusal:  # Taylor at a layer that is no softmax, and the like
        assume("Pass()" not in str(refusal))
        raise
    return plain, *passed(plain, x), passed(plain, x * (1 + 1e-12))[1]


@functools.lru_cache
def textbook(preset):
    return by_the_formula(MODEL, preset, PICTURES)


def assert_the_same(model, preset, optimizations, x):
    """Relevance at the input and at what every layer returns, up to 1e-9 of the largest, and the outputs."""
    # Where a denominator is nothing but rounding, so is what is divided by it: samples that shake much tell nothing.
    plain, true_values, expected, shaken = (
        textbook(preset) if isinstance(preset, str) and x is PICTURES else by_the_formula(model, preset, x)
    )
    twin = rewritten(model, preset, optimizations)
    values, found = passed(twin, x)
    (output,), (true_output,) = twin.model.outputs, plain.model.outputs
    np.testing.assert_allclose(values[id(output)], true_values[id(true_output)], rtol=1e-9, atol=1e-9)
    pairs = [(twin.model.inputs[0], plain.model.inputs[0], "the input")]
    pairs += [
        (t, true, step.facts.name)
        for step, plain_step in zip(twin.steps, plain.steps, strict=True)
        for t, true in zip(step.outputs, plain_step.outputs, strict=True)
    ]
    tells = np.ones(len(x), bool)
    for t, true, name in reversed(pairs):  # from the output to the input: what told nothing above tells nothing below
        if id(true) not in expected:
            assert not np.any(found.get(id(t), 0)), name
            continue
        r, e, s = (np.asarray(a).reshape(len(x), -1) for a in (found[id(t)], expected[id(true)], shaken[id(true)]))
        scale = np.abs(e).max(axis=1)
        tells &= np.abs(s - e).max(axis=1) <= 1e-10 * scale
        np.testing.assert_array_less(np.abs(r - e).max(axis=1)[tells], 1e-9 * scale[tells] + 1e-12, err_msg=name)
    return tells


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # smaller ones tell no more
@given(networks(), presets, selections)
def test_random_networks_have_the_relevance_of_the_formula(model, preset, optimizations):
    assert_the_same(model, preset, optimizations, X[::20])


@pytest.mark.parametrize("preset", NAMED)
def test_named_presets_have_the_relevance_of_the_formula(preset):
    assert assert_the_same(MODEL, preset, OPTIMIZATIONS, PICTURES).any()


@pytest.mark.parametrize("optimization", OPTIMIZATIONS, ids=lambda f: f.__name__)
def test_each_optimization_alone_changes_no_relevance(optimization):
    for preset in ("epsilon", "cmp_a2_flat", "lrp_overview"):
        assert_the_same(MODEL, preset, (optimization,), PICTURES)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.sampled_from(NAMES), selections)
def test_mixed_rules_have_the_relevance_of_the_formula(rule, other, name, optimizations):
    preset = tf_lrp.Preset([(select.name(name), rule), (select.kind("weights", "merge", "pooling"), other)])
    assert_the_same(MODEL, preset, optimizations, PICTURES)


@settings(max_examples=2, deadline=None)
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.sampled_from(NAMES))
def test_all_relevance_that_is_asked_for_is_that_of_the_formula(rule, other, name):
    """Compiled, for several targets, at layers; and the balance."""
    preset = tf_lrp.Preset([(select.name(name), rule), (select.kind("weights", "merge", "pooling"), other)])
    plain, found = tf_lrp.Analyzer(MODEL, preset, optimize=False), tf_lrp.Analyzer(MODEL, preset)
    assert not plain._rewritten.ratios
    selection, names = np.tile([0, 2], (3, 1)), ["stem", "a_2", "a_sum", "b_out", "shared", "twice", "seen"]
    expected = plain.analyze(PICTURES, selection, layers=names)
    for key, relevance in found.analyze(PICTURES, selection, layers=names).items():
        for r, e in zip(*(t if isinstance(t, list) else [t] for t in (relevance, expected[key])), strict=True):
            np.testing.assert_allclose(r, e, atol=1e-9 * np.abs(e).max(), err_msg=key)
    balance, true = found.conservation(PICTURES), plain.conservation(PICTURES)
    scale = 1e-9 * max(abs(value) for b in true.layers for value in (b.received, b.passed, b.bias, b.stabilizer))
    for layer, of_plain in zip(balance.layers, true.layers, strict=True):
        assert abs(of_plain.rounding) <= scale
        for part in ("received", "passed", *CAUSES):
            assert getattr(layer, part) == pytest.approx(getattr(of_plain, part), abs=scale), (layer, part)


def test_recurrent_layers_have_the_relevance_of_the_formula():
    sequence = keras.Input((5, 3))
    model = settle(keras.Model(sequence, layers.Dense(2)(layers.LSTM(4, activation="relu")(sequence))))
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    for rule in (Epsilon(0.1, bias_factor=1.0), Gamma()):
        expected = tf_lrp.Analyzer(model, rule, optimize=False).analyze(x)
        np.testing.assert_allclose(tf_lrp.Analyzer(model, rule).analyze(x), expected, atol=1e-9 * np.abs(expected).max())


# -- the textbook -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["epsilon", "cmp_a2_flat", "lrp_overview", "w2"])
def test_gradients_in_the_textbook_s_twin_are_relevance(preset):
    """And its inner tensors have the model's values."""
    analyzer = tf_lrp.Analyzer(MODEL, preset, optimize=False)
    names = ["a_1", "a_2", "a_sum", "b_out", "both", "twice", "seen", "difference", "wide"]
    maps = analyzer.analyze(PICTURES, 1, layers=names)
    twin = analyzer.twin
    inner = keras.Model(twin.inputs, [*(analyzer.layer_outputs[name][0] for name in names), twin.output])
    x = tf.constant(PICTURES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        *tensors, output = inner(x)
        explained = output[:, 1]
    gradients = tape.gradient(explained, tensors, output_gradients=explained)
    for name, gradient in zip(names, gradients, strict=True):
        np.testing.assert_allclose(gradient, maps[name], rtol=1e-12, atol=1e-12 * np.abs(maps[name]).max(), err_msg=name)
    values = keras.Model(MODEL.inputs, [MODEL.get_layer(name).output for name in ("a_2", "wide", "b_sum")])(PICTURES)
    found = keras.Model(twin.inputs, [analyzer.layer_outputs[name][0] for name in ("a_2", "wide", "b_sum")])(PICTURES)
    for value, expected in zip(found, values, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


def test_a_copy_of_a_textbook_is_one():
    analyzer = tf_lrp.Analyzer(
        chain(layers.Dense(3, activation="relu"), layers.Dense(2), shape=(4,)), "epsilon", optimize=False
    )
    for again in (copy.deepcopy(analyzer), pickle.loads(pickle.dumps(analyzer))):
        assert not again._rewritten.ratios
        assert not any(step.twin.plan != DEFAULT_PLAN for step in again._rewritten.steps if hasattr(step.twin, "plan"))
    assert tf_lrp.Analyzer(chain(layers.Dense(3, activation="relu"), layers.Dense(2), shape=(4,)), "epsilon")._rewritten.ratios


def test_methods_by_name_take_the_option():
    model = chain(layers.Dense(3, activation="relu"), layers.Dense(2), shape=(4,))
    assert tf_lrp.create_analyzer("lrp.epsilon", model)._rewritten.ratios
    assert not tf_lrp.create_analyzer("lrp.epsilon", model, optimize=False)._rewritten.ratios


# -- savings ----------------------------------------------------------------------------------------------------------


def measured(model, preset, optimizations, targets=1):
    """Costs of a traced pass: operations, linear maps, elements of their results, tensors stored for the backward pass.

    Only operations that the results depend on count.
    """
    with mock.patch("tf_lrp.analyzer.OPTIMIZATIONS", optimizations):
        twin = tf_lrp.Analyzer(model, preset).twin

    def explain(x, *starts):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = twin(x)
        return y, *[tape.gradient(y, x, output_gradients=start) for start in starts]

    specs = [tf.TensorSpec((4, *t.shape[1:]), t.dtype) for t in (*twin.inputs, *[twin.output] * targets)]
    graph = tf.function(explain, autograph=False).get_concrete_function(*specs).graph
    needed, pending = set(), [t.op for t in graph.outputs]
    while pending:
        op = pending.pop()
        if op not in needed:
            needed.add(op)
            pending += [t.op for t in op.inputs]
    late, placeholders = set(), {t.op for t in graph.inputs[1 : 1 + targets]}
    for op in graph.get_operations():  # in topological order
        if op in placeholders or any(o in late for o in (*(t.op for t in op.inputs), *op.control_inputs)):
            late.add(op)
    maps = [op for op in needed if op.type in ("Conv2D", "MatMul", "Conv2DBackpropInput")]
    return {
        "operations": len(needed),
        "maps": len(maps),
        "elements": sum(op.outputs[0].shape.num_elements() or 0 for op in needed if op.type in ("Conv2D", "MatMul", "Mul")),
        "stored": len({_source(t).ref() for op in needed & late for t in op.inputs if t.op not in late and t.shape.rank}),
    }


def _source(tensor):
    """The tensor that this one is the same memory as."""
    while tensor.op.type in ("Identity", "IdentityN", "StopGradient"):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def chain(*made, shape=(8, 8, 2)):
    x = inputs = keras.Input(shape)
    for layer in made:
        x = layer(x)
    return settle(keras.Model(inputs, x))


def rectified(activation="relu"):
    conv = [layers.Conv2D(3, 3, activation=activation), layers.Conv2D(3, 3, activation=activation)]
    return chain(*conv, layers.Flatten(), layers.Dense(2))


def normalized():
    return chain(layers.Dense(50), layers.BatchNormalization(), layers.Activation("tanh"), layers.Dense(2), shape=(40,))


def pointwise(channels):
    """A convolution from 4 channels of both signs to more or to fewer."""
    return chain(layers.Conv2D(channels, 1), layers.Flatten(), layers.Dense(2), shape=(8, 8, 4))


SAVINGS = {
    "skip_negative_inputs": (rectified, AlphaBeta(2, 1), "maps"),
    "use_signs": (rectified, AlphaBeta(2, 1), "operations"),
    "reuse_output": (rectified, Epsilon(0.1), "maps"),
    "subtract_from_output": (lambda: rectified("tanh"), Gamma(), "maps"),
    "sum_over_one_sample": (rectified, Flat(), "elements"),
    "add_up_to_output": (lambda: chain(layers.Dense(2), shape=(600,)), AlphaBeta(2, 1), "maps"),
    "fold_terms": (lambda: pointwise(8), AlphaBeta(2, 1), "maps"),
    "recompute_denominators": (rectified, ZPlus(), "stored"),
    "share_denominators": (rectified, ZPlus(), "maps"),
    "scale_outputs": (normalized, Epsilon(0.1), "elements"),
    "skip_negative_outputs": (rectified, Gamma(), "maps"),
    "clamp_outputs": (rectified, "epsilon", "stored"),
    "fuse_divisions": (rectified, "epsilon", "operations"),
}


@pytest.mark.compiled
@pytest.mark.parametrize("optimization", OPTIMIZATIONS, ids=lambda f: f.__name__)
def test_each_optimization_saves_something(optimization):
    make, preset, what = SAVINGS[optimization.__name__]
    model, targets = make(), 3 if optimization.__name__ == "share_denominators" else 1
    # Two of them save what others have left: denominators that are stored, ReLUs between a multiplication and a division.
    needs = {
        "clamp_outputs": (optimize.reuse_output, optimize.recompute_denominators),
        "fuse_divisions": (optimize.reuse_output, optimize.clamp_outputs),
    }
    before = needs.get(optimization.__name__, ())
    plain = measured(model, preset, before, targets)
    assert measured(model, preset, (*before, optimization), targets)[what] < plain[what]


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("rule", [AlphaBeta(2, 1), AlphaBeta(3, 2, bias=False), Gamma(0.5)], ids=str)
def test_joined_pointwise_convolutions_are_the_formula(rule, channels):
    model, x = pointwise(channels), np.random.default_rng(channels).normal(size=(3, 8, 8, 4)).astype("float32")
    found, formula = (tf_lrp.Analyzer(model, rule, optimize=optimized).analyze(x, 1) for optimized in (True, False))
    np.testing.assert_allclose(found, formula, rtol=1e-4, atol=1e-5 * np.abs(formula).max())


@pytest.mark.compiled
@pytest.mark.parametrize("preset", ["epsilon", "gamma", "cmp_a2_flat"])
def test_together_they_save_work(preset):
    model = rectified()
    plain, found = measured(model, preset, ()), measured(model, preset, OPTIMIZATIONS)
    assert found["maps"] < plain["maps"] and found["stored"] <= plain["stored"] and found["operations"] < plain["operations"]


# -- relevance below ReLUs --------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(networks(), presets)
def test_relevance_is_zero_where_it_is_said_to_be(model, preset):
    try:
        plain = rewritten(model, preset, ())
    except ValueError as refusal:
        assume("Pass()" not in str(refusal))
        raise
    values, relevance = passed(plain, X)
    graph = mock.Mock(nodes=[step.node for step in plain.steps], outputs=[plain.steps[-1].node.output])
    zeros = zero_below_zero(Network(graph, [s.facts for s in plain.steps], [s.choice.rule for s in plain.steps]))
    for step, is_zero in zip(plain.steps, zeros, strict=True):
        for t in step.outputs:
            if is_zero and id(t) in relevance:
                assert not np.any(np.asarray(relevance[id(t)])[np.asarray(values[id(t)]) <= 0]), step.facts.name
    twin = rewritten(model, preset)
    values, _ = passed(twin, X[::20])
    for step in twin.steps:
        if getattr(step.twin, "plan", None) and step.twin.plan.is_identity:
            assert np.all(values[id(step.inputs[0])] >= 0), step.facts.name


def plans(preset, model=MODEL):
    return {step.facts.name: step.twin.plan for step in rewritten(model, preset).steps if hasattr(step.twin, "plan")}


def test_relevance_vanishes_below_a_relu_unless_the_next_rule_gives_to_zeros():
    zeros = {name for name, plan in plans("epsilon").items() if plan.zero_below_zero}
    assert zeros >= {"a_1", "b_1", "a_sum", "b_sum", "wide"}
    assert not zeros & {"seen", "logits", "shared", "stem", "a_2"}
    flat_on_top = plans(tf_lrp.Preset([(select.name("a_2"), Flat()), (select.all(), Epsilon())]))
    assert not flat_on_top["a_1"].zero_below_zero and not flat_on_top["a_1"].clamp_output
    assert flat_on_top["b_1"].zero_below_zero and flat_on_top["b_1"].clamp_output


def test_a_stabilizer_in_units_of_the_output_needs_its_negative_part():
    scaled = plans(tf_lrp.Preset([(select.all(), Epsilon(0.1, norm_scale=True))]))
    assert scaled["a_1"].zero_below_zero and not scaled["a_1"].clamp_output


def test_the_start_of_a_pass_may_be_anything():
    """A model that ends in a ReLU: the start at a zero is not lost."""
    model = keras.Model(m := keras.Input((3,)), layers.Dense(2, activation="relu", use_bias=False, name="d")(m))
    model.set_weights([-np.ones((3, 2))])
    start = np.ones((1, 2))
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").analyze(np.ones((1, 3)), start).sum(), 2, rtol=1e-6)


def test_relevance_below_a_relu_does_not_vanish_where_biases_are_shared_evenly():
    """With a bias factor, the next layer gives something to units that are 0."""
    x = keras.Input((6,))
    h = layers.Dense(7, activation="relu", name="h2")(layers.Dense(8, activation="relu", name="h1")(x))
    model = settle(keras.Model(x, layers.Dense(3)(h)))
    rule = Epsilon(0.1, bias_factor=0.25)
    assert_the_same(model, rule, OPTIMIZATIONS, np.random.default_rng(1).normal(size=(20, 6)))
    assert not any(plan.zero_below_zero or plan.clamp_output for plan in plans(rule, model).values())


# -- division fusion --------------------------------------------------------------------------------------------------


def fused(preset):
    """Names of the layers at whose outputs R / z arrives."""
    twin = rewritten(MODEL, preset)
    return {step.facts.name for step in twin.steps if any(id(t) in twin.ratios for t in step.outputs)}


def test_relevance_travels_as_ratio_between_layers_that_multiply_and_divide():
    every = fused("epsilon")
    assert {"a_1", "a_2", "a_sum", "a_out", "b_2", "both"} <= every
    assert not every & {"logits", "seen", "shared", "flatten"}, "an output, a value that is seen uncut, activations, routing"
    assert "b_sum" not in every, "max-pooling hands on relevance"
    assert {"a_2", "b_2", "a_sum"} <= fused(tf_lrp.Preset([(select.name("*_1"), ZPlus()), (select.all(), Epsilon())]))
    # The flat rule gives to zeros, and where it divides, it does not by the output.
    mixed = fused(tf_lrp.Preset([(select.name("b_1"), Flat()), (select.all(), Epsilon())]))
    assert "a_sum" not in mixed and "a_1" in mixed
    assert not fused(tf_lrp.Preset([(select.all(), Flat()), (select.kind("merge", "pooling"), Flat())]))
    assert not fused(tf_lrp.Preset([(select.kind("weights", "merge", "pooling"), Epsilon(0.1, bias_factor=1.0))]))


def test_activations_that_pass_are_not_taken_for_rectifiers():
    passing = tf_lrp.Preset([(select.kind("batch_normalization"), Pass()), (select.all(), Epsilon())])
    assert "both" in fused(passing)


# -- what holds of terms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [r for r in RULES if not isinstance(r, ZBox | Stop)], ids=str)  # a box needs a batch
@pytest.mark.parametrize("nonnegative", [True, False])
def test_signs_and_sums_hold(rule, nonnegative):
    rng = np.random.default_rng(2)
    a, w, b = rng.normal(size=50), rng.normal(size=(50, 40)), rng.normal(size=40)
    a = np.abs(a) if nonnegative else a
    z, terms, sums = a @ w + b, rule.terms(nonnegative), []
    for term in terms:
        of_term = sum(np.asarray(f(a)) @ np.asarray(g(w)) for f, g in term.parts)
        of_term = of_term + (0 if term.bias is None else np.asarray(term.bias(b)))
        addressed = {"all": z == z, "positive": z > 0, "negative": z < 0}[term.where]
        assert (sign(term) * of_term[addressed] >= 0).all()
        factor = complement(terms[len(sums) - 1], term) if sums else None
        assert factor is None or np.allclose(factor * z - sums[-1], of_term)
        sums.append(of_term)
    if additive(terms):
        np.testing.assert_allclose(sum(sums) + (b if terms[0].bias is None else 0), z)


def test_what_holds_of_a_rule_is_not_believed_of_its_variant():
    excitation, inhibition = AlphaBeta(2, 1).terms(True)
    assert additive((excitation, inhibition)) and sign(inhibition) == -1
    variant = [replace(term, bias=identity) for term in (excitation, inhibition)]
    assert not additive(variant) and sign(variant[0]) == 0
    first, second = Gamma().terms(True)
    assert complement(first, second) == pytest.approx(2.25)
    assert complement(excitation, second) is None
    assert complement(first, replace(second, bias=identity)) is None
