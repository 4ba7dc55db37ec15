"""What is claimed of tensors and of relevance before anything runs holds for whatever is run."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from keras import ops
from random_networks import OPERATIONS, SURE, Reflected, X, float64, networks, passed, presets, relu, rewritten, settle  # noqa: F401

import tf_lrp
from tf_lrp.graph import signs


def claimed(steps):
    """Names of the nodes whose outputs are claimed to be >= 0."""
    known = signs.nonnegative_tensors(SimpleNamespace(nodes=[step.node for step in steps]))
    return [step for step in steps if all(id(t) in known for t in step.node.outputs)]


@pytest.mark.parametrize("rectified", [True, False])
def test_signs_of_every_operation(rectified):
    x = keras.Input((4, 4, 2))
    h = keras.layers.ReLU(name="first")(x) if rectified else x
    outputs = {name: make(h) for name, make in OPERATIONS.items()}
    model = settle(keras.Model(x, outputs))
    twin = tf_lrp.Analyzer(model, "z", strip_softmax=False, optimize=False)._rewritten
    found = twin.model(X)
    known = signs.nonnegative_tensors(SimpleNamespace(nodes=[step.node for step in twin.steps]))
    known = {
        id(new) for step in twin.steps for old, new in zip(step.node.outputs, step.outputs, strict=True) if id(old) in known
    }
    of_outputs = {name: id(t) in known for name, t in zip(sorted(outputs), keras.tree.flatten(twin.model.outputs), strict=True)}
    for name, sure in of_outputs.items():
        assert not sure or np.all(found[name] >= 0), name
    if not rectified:
        assert not of_outputs["maximum with a variable"], "it may change"
    else:
        assert {name for name, sure in of_outputs.items() if sure} == set(SURE)


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # smaller ones tell no more
@given(networks())
def test_what_is_claimed_of_signs_holds(model):
    plain = rewritten(model, "z", ())
    values, _ = passed(plain, X)
    for step in claimed(plain.steps):
        for t in step.outputs:
            assert np.all(values[id(t)] >= 0), step.facts.name


def test_a_limit_within_an_activation_layer_is_kept():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="d"),
            keras.layers.Activation(keras.layers.ReLU(max_value=0.1)),
            keras.layers.Dense(2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(tf_lrp.Analyzer(settle(model), "epsilon").twin(x), model(x), rtol=1e-12)


def test_what_a_user_made_of_a_sum_is_what_is_explained():
    a, b = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([a, b], keras.layers.Dense(1, use_bias=False)(Reflected()([a, b])))
    model.layers[-1].set_weights([np.ones((2, 1))])
    x = [np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]])]
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x), model(x))
    of_a, of_b = analyzer.analyze(x)
    np.testing.assert_allclose((of_a, of_b), ([[3, 1]], [[-2, -4]]), rtol=1e-6)


def test_the_constant_that_wins_a_maximum_keeps_what_it_wins():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(ops.max(x, axis=1, keepdims=True, initial=2.0)))
    model.layers[-1].set_weights([np.ones((1, 1))])
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(
        analyzer.analyze(np.array([[1.0, 0.0, -1.0], [1.0, 3.0, 0.0]])), [[0, 0, 0], [0, 3, 0]], rtol=1e-6
    )
    assert analyzer.conservation(np.array([[1.0, 0.0, -1.0]])).bias == pytest.approx(2)
