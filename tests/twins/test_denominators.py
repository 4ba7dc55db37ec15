"""What is known of denominators beforehand never changes the relevance: it only saves work."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Unified, WSquare, ZBox, ZPlus, ZRule, identity
from tf_lrp.twins import denominators

RULES = [Epsilon(0.1), ZRule(), ZPlus(), ZPlus(stabilizer=0), AlphaBeta(2, 1), AlphaBeta(2, 1, bias=False),
         AlphaBeta(3, 2, stabilizer=0), Gamma(), Gamma(2.0, bias=False), Gamma(0.5, stabilizer=0), WSquare(), Flat(),
         ZBox(-3, 3), Epsilon(0.1, clip=True), Epsilon(0.1, norm_scale=True), Unified(gamma1=1, epsilon=0.1)]  # fmt: skip


def unknown(x):
    """A ReLU that no one recognizes."""
    return ops.maximum(x, 0 * x)


def network(activation, last="linear"):
    """Convolutions, normalization, a residual sum, both poolings; the same weights whatever the activation."""
    x = inputs = keras.Input((9, 9, 2))
    x = layers.Activation(activation)(layers.Conv2D(4, 3, name="conv1")(x))
    h = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="conv2")(x))
    x = layers.Activation(activation)(layers.Add(name="sum")([x, h]))
    x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x))
    x = layers.Activation(activation)(layers.DepthwiseConv2D(2, name="depthwise")(x))
    x = layers.Dropout(0.5)(layers.AveragePooling2D(2)(x))
    x = layers.Activation(activation)(layers.Dense(6, name="dense")(layers.Flatten()(x)))
    model = keras.Model(inputs, layers.Activation(last)(layers.Dense(3, name="logits")(x)))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


X = np.random.default_rng(1).normal(size=(3, 9, 9, 2)).astype("float32")


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.sampled_from(["conv2", "depthwise", "logits", "*"]))
def test_a_recognized_relu_changes_no_relevance(rule, other, name):
    preset = tf_lrp.Preset([(select.name(name), rule), (select.all(), other)])
    known = tf_lrp.Analyzer(network("relu"), preset)
    expected = tf_lrp.Analyzer(network(unknown), preset).analyze(X)
    np.testing.assert_allclose(known.analyze(X), expected, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_allclose(known.twin(X), network("relu")(X), rtol=1e-3, atol=1e-4)


def steps(preset):
    return {step.facts.name: step.twin for step in tf_lrp.Analyzer(network("relu"), preset)._rewritten.steps}


def test_relevance_vanishes_below_a_relu_unless_the_next_rule_gives_to_zeros():
    found = steps("epsilon")
    only = {name for name, twin in found.items() if hasattr(twin, "known") and twin.known.only_positive}
    assert only == {"conv1", "sum", "depthwise", "dense"}
    flat_on_top = steps(tf_lrp.Preset([(select.name("logits"), Flat()), (select.all(), Epsilon())]))
    assert not flat_on_top["dense"].known.only_positive
    assert flat_on_top["depthwise"].known.only_positive


def test_the_start_of_a_pass_may_be_anything():
    """A model that ends in a ReLU: the start at a zero is not lost."""
    model = keras.Model(m := keras.Input((3,)), layers.Dense(2, activation="relu", use_bias=False, name="d")(m))
    model.set_weights([-np.ones((3, 2), "float32")])
    start = np.ones((1, 2), "float32")
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").analyze(np.ones((1, 3)), start).sum(), 2, rtol=1e-6)


@pytest.mark.parametrize("rule", [rule for rule in RULES if not isinstance(rule, ZBox)], ids=str)  # its bounds need a batch
@pytest.mark.parametrize("nonnegative", [True, False])
def test_signs_and_sums_hold(rule, nonnegative):
    rng = np.random.default_rng(2)
    a, w, b = rng.normal(size=50), rng.normal(size=(50, 40)), rng.normal(size=40)
    a = np.abs(a) if nonnegative else a
    z, terms, found = a @ w + b, rule.terms(nonnegative), []
    for term in terms:
        of_term = sum(np.asarray(f(a)) @ np.asarray(g(w)) for f, g in term.parts)
        of_term = of_term + (0 if term.bias is None else np.asarray(term.bias(b)))
        addressed = {"all": z == z, "positive": z > 0, "negative": z < 0}[term.where]
        assert (denominators.sign(term) * of_term[addressed] >= 0).all()
        derived = denominators.from_others(term, z, found)
        assert derived is None or np.allclose(derived, of_term)
        found.append((term, of_term))
    if denominators.additive(terms):
        np.testing.assert_allclose(sum(s for _, s in found) + (b if terms[0].bias is None else 0), z)


def test_what_is_known_of_a_rule_is_not_believed_of_its_variant():
    excitation, inhibition = AlphaBeta(2, 1).terms(True)
    assert denominators.additive((excitation, inhibition)) and denominators.sign(inhibition) == -1
    variant = [replace(term, bias=identity) for term in (excitation, inhibition)]
    assert not denominators.additive(variant) and denominators.sign(variant[0]) == 0
    first, second = Gamma().terms(True)
    assert denominators.from_others(second, 1.0, [(first, 2.0)]) == pytest.approx(2.25 - 2.0)
    assert denominators.from_others(second, 1.0, [(excitation, 2.0)]) is None
    assert denominators.from_others(replace(second, bias=identity), 1.0, [(first, 2.0)]) is None
