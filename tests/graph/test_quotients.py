"""Relevance that travels divided by its value: nobody who asks sees anything but relevance."""

from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import randomize

import tf_lrp
from tf_lrp import Stabilizer, select
from tf_lrp.conservation import CAUSES
from tf_lrp.graph import quotients
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Stop, WSquare, ZBox, ZPlus, ZRule

RULES = [Epsilon(0.1), ZRule(), ZRule(bias=False), Epsilon(0.1, clip=True), Epsilon(0.1, norm_scale=True),
         Epsilon(0.1, bias_factor=1.0), ZPlus(), AlphaBeta(2, 1), Gamma(), WSquare(), Flat(), ZBox(-3, 3), Stop()]  # fmt: skip


def network():
    """Residual blocks, a shared layer, a sum of one tensor with itself, both poolings, branches that ReLUs do not cut off."""

    def layer(kind, *args, **kwargs):
        return kind(*args, dtype="float64", **kwargs)

    def block(x, name):
        h = layer(keras.layers.ReLU)(
            layer(keras.layers.BatchNormalization)(layer(keras.layers.Conv2D, 4, 3, padding="same", name=f"{name}_1")(x))
        )
        h = layer(keras.layers.Conv2D, 4, 1, name=f"{name}_2")(h)
        return layer(keras.layers.ReLU, name=f"{name}_out")(layer(keras.layers.Add, name=f"{name}_sum")([x, h]))

    inputs = keras.Input((8, 8, 2), dtype="float64")
    x = block(block(layer(keras.layers.Conv2D, 4, 3, name="stem")(inputs), "a"), "b")
    x = layer(keras.layers.MaxPooling2D, 2)(layer(keras.layers.ZeroPadding2D, 1)(x))
    shared = layer(keras.layers.Conv2D, 4, 1, activation="tanh", name="shared")
    x = layer(keras.layers.Add, name="both")([shared(x), shared(shared(x))])
    x = layer(keras.layers.Average, name="twice")([x, x])
    h = layer(keras.layers.Conv2D, 4, 1, name="seen")(x)  # taken by a ReLU and by a sum
    x = layer(keras.layers.Subtract, name="difference")([layer(keras.layers.ReLU)(h), h])
    x = layer(keras.layers.Flatten)(layer(keras.layers.AveragePooling2D, 2)(x))
    return randomize(keras.Model(inputs, layer(keras.layers.Dense, 3, name="logits")(x)))


MODEL = network()
X = np.random.default_rng(1).normal(size=(3, 8, 8, 2))
NAMES = ["stem", "a_1", "a_2", "a_sum", "shared", "both", "twice", "seen", "difference", "*"]


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.sampled_from(NAMES), st.sampled_from([None, [0, 2]]))
def test_all_relevance_is_as_if_nothing_were_divided(rule, other, name, targets):
    preset = tf_lrp.Preset([(select.name(name), rule), (select.kind("weights", "merge", "pooling"), other)])
    with mock.patch.object(quotients, "gather", return_value=set()):
        plain = tf_lrp.Analyzer(MODEL, preset)
    assert not plain._rewritten.divided
    found, layers = tf_lrp.Analyzer(MODEL, preset), list(plain.layer_outputs)
    selection = None if targets is None else np.tile(targets, (3, 1))
    expected = plain.analyze(X, selection, layers=layers)
    for key, relevance in found.analyze(X, selection, layers=layers).items():
        for r, e in zip(*(t if isinstance(t, list) else [t] for t in (relevance, expected[key])), strict=True):
            np.testing.assert_allclose(r, e, atol=1e-10 * np.abs(e).max(), err_msg=key)
    balance, true = found.conservation(X), plain.conservation(X)
    scale = 1e-9 * max(abs(value) for b in true.layers for value in (b.received, b.passed, b.bias, b.stabilizer))
    for layer, of_plain in zip(balance.layers, true.layers, strict=True):
        for part in ("received", "passed", *CAUSES):
            assert getattr(layer, part) == pytest.approx(getattr(of_plain, part), abs=scale), (layer, part)


def divided(preset):
    """Names of the layers whose outputs' relevance travels divided."""
    rewritten = tf_lrp.Analyzer(MODEL, preset)._rewritten
    return {step.facts.name for step in rewritten.steps if any(id(t) in rewritten.divided for t in step.outputs)}


def test_it_travels_divided_between_layers_that_multiply_and_divide():
    every = divided("epsilon")
    assert {"a_1", "a_2", "a_sum", "a_out", "b_2", "both"} <= every
    assert not every & {"logits", "seen", "shared", "flatten"}, "an output, a value that is seen uncut, activations, routing"
    assert "b_sum" not in every, "max-pooling hands on relevance"
    assert {"a_2", "b_2", "a_sum"} & divided(tf_lrp.Preset([(select.name("*_1"), ZPlus()), (select.all(), Epsilon())])) == {
        "a_2", "b_2", "a_sum",
    }  # fmt: skip
    # The flat rule gives to zeros, and where it divides, it does not by the output.
    mixed = divided(tf_lrp.Preset([(select.name("b_1"), Flat()), (select.all(), Epsilon())]))
    assert "a_sum" not in mixed and "a_1" in mixed
    assert not divided(tf_lrp.Preset([(select.all(), Flat()), (select.kind("merge", "pooling"), Flat())]))
    assert not divided(tf_lrp.Preset([(select.kind("weights", "merge", "pooling"), Epsilon(0.1, bias_factor=1.0))]))


def test_activations_that_pass_are_not_taken_for_rectifiers():
    passing = tf_lrp.Preset([(select.kind("batch_normalization"), Pass()), (select.all(), Epsilon())])
    assert "both" in divided(passing)


STABILIZERS = [Stabilizer(), Stabilizer(0.1), Stabilizer(0.1, clip=True), Stabilizer(0.1, norm_scale=True), Stabilizer(1e-30)]


@given(
    st.sampled_from(STABILIZERS),
    st.lists(st.sampled_from([0.0, -0.0, 1e-25, -1e-25, 0.1, -0.1, 3.0, -2.0, 1e30]), min_size=1, max_size=6),
    st.sampled_from([0, 1, -1]),
)
def test_what_a_stabilizer_leaves_is_the_quotient(stabilizer, values, sign):
    z = np.array([values], "float32")
    z = np.abs(z) * sign if sign else z
    stable = np.asarray(stabilizer(z_tensor := keras.ops.convert_to_tensor(z)), np.float64)
    expected = np.divide(z, stable, out=np.zeros_like(stable), where=stable != 0)
    for exact in {False, bool(sign)}:
        found = np.asarray(stabilizer.kept(z_tensor, sign, exact))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        assert (found >= 0).all() and (found <= 1).all()
