"""Softmax and sigmoid at the outputs give way to all that only moves values; where they cannot, a warning says so."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import tf_lrp
from tf_lrp import methods, select
from tf_lrp.graph import canonize, unroll
from tf_lrp.rules import Epsilon, Uniform

pytestmark = pytest.mark.eager

SIGMOID, SOFTMAX = keras.layers.Activation("sigmoid"), keras.layers.Softmax()
MESSAGE = "A probability is explained"


def x(n=3):
    return np.random.default_rng(0).normal(size=(n, 6)).astype("float32")


def ending(head, route):
    """(the model that ends head - route, the model that ends in route alone), of the same weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    scores = keras.layers.Reshape((2, 3))(
        keras.layers.Dense(6, name="scores")(keras.layers.Dense(8, activation="relu")(inputs))
    )
    return keras.Model(inputs, route(head(scores))), keras.Model(inputs, route(scores))


def agrees(found, expected):
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)


MOVES = {
    "reshape": keras.layers.Reshape((6,)),
    "flatten": keras.layers.Flatten(),
    "identity": keras.layers.Identity(),
    "dropout": keras.layers.Dropout(0.5),
    "noise": keras.layers.GaussianNoise(0.1),
    "permute": keras.layers.Permute((2, 1)),
    "row": lambda t: t[:, 0],
    "columns": lambda t: t[:, :, 1:],
    "reversed": lambda t: t[..., ::-1],
    "squeeze": lambda t: ops.squeeze(ops.expand_dims(t, 1), 1),
    "cast": keras.layers.Activation("linear", dtype="float32"),
    "split": lambda t: ops.split(t, 3, axis=2)[1],
    "unstack": lambda t: ops.unstack(t, axis=1)[1],
    "repeat": keras.layers.UpSampling1D(2),
    "no padding": keras.layers.ZeroPadding1D(0),
    "joined": lambda t: ops.stack([t[:, 0], t[:, 1]], axis=1),
    "nested": keras.Sequential([keras.Input((2, 3)), keras.layers.Permute((2, 1)), keras.layers.Dropout(0.1)]),
    "largest": keras.layers.GlobalMaxPooling1D(),
    "sorted": lambda t: ops.sort(t, axis=1),
    "two outputs": lambda t: {"a": t[:, 0], "b": keras.layers.Flatten()(t)},
}
MIXES = ("reshape", "flatten", "largest", "sorted", "two outputs")  # entries of several distributions lie side by side


@pytest.mark.parametrize("route", MOVES)
def test_a_sigmoid_gives_way(route):
    model, of_scores = ending(SIGMOID, MOVES[route])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert agrees(analyzer.twin(x()), of_scores(x()))
    if route in ("reshape", "permute", "largest"):
        expected = tf_lrp.Analyzer(of_scores, "epsilon").analyze(x(), "all")
        np.testing.assert_allclose(analyzer.analyze(x(), "all"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("route", MOVES)
def test_a_softmax_gives_way_where_its_classes_stay_side_by_side(route):
    model, of_scores = ending(SOFTMAX, MOVES[route])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert [MESSAGE in str(w.message) for w in caught] == [True] * (route in MIXES)
    if route not in MIXES:
        assert agrees(analyzer.twin(x()), of_scores(x()))
    elif route != "two outputs":
        assert agrees(analyzer.twin(x()), model(x()))


def test_one_class_of_a_softmax_is_explained_by_its_score():
    model, of_scores = ending(SOFTMAX, lambda t: t[..., 1])
    assert agrees(tf_lrp.Analyzer(model, "epsilon").twin(x()), of_scores(x()))
    model, of_scores = ending(keras.layers.Softmax(axis=1), keras.layers.Permute((2, 1)))
    assert agrees(tf_lrp.Analyzer(model, "epsilon").twin(x()), of_scores(x()))


ARITHMETIC = {
    "clip": lambda t: ops.clip(t, 0.1, 0.9),
    "1 - p": lambda t: 1 - t,
    "2 p": lambda t: t * 2,
    "[p, 1 - p]": lambda t: ops.stack([t, 1 - t], -1),
    "p q": lambda t: t[:, 0] * t[:, 1],
    "percent": keras.layers.Rescaling(100.0),
    "log": ops.log,
    "mean": keras.layers.GlobalAveragePooling1D(),
    "ensemble": lambda t: keras.layers.Average()([t, keras.layers.Activation("tanh")(t)]),
    "padded": keras.layers.ZeroPadding1D(1),
    "with a constant": lambda t: ops.concatenate([t, ops.zeros_like(t)], 1),
    "where": lambda t: ops.where(t > 0.5, t, 0.0),
    "at least 0": lambda t: ops.maximum(t, 0),
    "clip below reshape": lambda t: keras.layers.Flatten()(ops.clip(t, 0.1, 0.9)),
}


@pytest.mark.parametrize("route", ARITHMETIC)
def test_a_probability_that_stays_is_told_once(route):
    model, _ = ending(SIGMOID, ARITHMETIC[route])
    with pytest.warns(UserWarning, match=r"(?s)A probability is explained, not a score.*get_layer") as caught:
        analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert agrees(analyzer.twin(x()), model(x()))


def test_every_method_tells_of_probabilities_unless_the_head_is_wanted():
    model, _ = ending(SIGMOID, lambda t: 1 - t)
    for build in (methods.Gradient, methods.DeepTaylor):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            build(model)
        assert sum(MESSAGE in str(w.message) for w in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tf_lrp.Analyzer(model, "epsilon", strip_softmax=False)
        methods.Gradient(model, strip_softmax=False)
    model, of_scores = ending(SIGMOID, keras.layers.Flatten())
    np.testing.assert_allclose(
        methods.Gradient(model).analyze(x(), "all"), methods.Gradient(of_scores).analyze(x(), "all"), rtol=1e-5, atol=1e-6
    )
    with pytest.warns(methods.MethodWarning, match="turns scores into probabilities"):
        methods.Gradient(model, strip_softmax=False)


def test_a_masked_probability_is_one():
    inputs, mask = keras.Input((3,), name="x"), keras.Input((3,), dtype="int32", name="mask")
    p = keras.layers.Dense(3, activation="sigmoid")(inputs)
    with pytest.warns(UserWarning, match=MESSAGE):
        tf_lrp.Analyzer(keras.Model([inputs, mask], p * ops.cast(mask, "float32")), "epsilon")


def test_gates_and_regression_heads_are_no_probabilities():
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.Conv2D(4, 3)(inputs)
    gate = keras.layers.Reshape((1, 1, 4))(
        keras.layers.Dense(4, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(h))
    )
    flat = keras.layers.Flatten()(h)
    outputs = [
        keras.layers.Multiply()([h, gate]),
        keras.layers.GlobalAveragePooling2D()(keras.layers.Multiply()([h, gate])),
        h * ops.sigmoid(h),
        ops.sum(ops.softmax(flat) * flat, 1),
        ops.sum(keras.layers.Dense(5, activation="softmax")(flat) * np.arange(5.0), 1),
        keras.layers.Dense(1, activation="softplus")(flat),
        keras.layers.Dense(1)(gate),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tf_lrp.Analyzer(keras.Model(inputs, outputs), "epsilon")


def test_heads_of_a_detector_give_way_beside_its_boxes():
    inputs = keras.Input((6,))
    h = keras.layers.Dense(8, activation="relu")(inputs)
    classes, box = keras.layers.Dense(3, activation="softmax", name="classes")(h), keras.layers.Dense(4, name="box")(h)
    there = keras.layers.Dense(1, activation="sigmoid", name="there")(h)
    model = keras.Model(inputs, keras.layers.Concatenate(name="joined")([classes, box, there]))
    layers = [model.get_layer(name) for name in ("classes", "box", "there")]
    values = keras.Model(inputs, h)(x())
    expected = np.concatenate([values @ layer.kernel + layer.bias for layer in layers], axis=1)
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    np.testing.assert_allclose(analyzer.twin(x()), expected, rtol=1e-4, atol=1e-5)
    maps = analyzer.analyze(x(), 1, layers=["classes", "joined", "there"])
    np.testing.assert_allclose(maps["classes"], expected[:, :3] * [0, 1, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps["joined"], expected * np.eye(8)[1], rtol=1e-4, atol=1e-5)
    assert not maps["there"].any()


def test_heads_in_every_step_give_way():
    inputs = keras.Input((5, 6))
    h = keras.layers.SimpleRNN(4, return_sequences=True)(inputs)
    value = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    for head in (
        keras.layers.Dense(3, activation="softmax"),
        keras.Sequential([keras.layers.Dense(3), keras.layers.Softmax()]),
    ):
        model = keras.Model(inputs, keras.layers.TimeDistributed(head)(h))
        scores = tf_lrp.Analyzer(model, "epsilon").twin(value)
        np.testing.assert_allclose(ops.softmax(scores), model(value), rtol=1e-4, atol=1e-6)
        assert np.abs(scores - model(value)).max() > 0.1


def test_a_head_that_is_a_gate_as_well_stays_for_those_inside():
    inputs = keras.Input((6,))
    head = keras.layers.Activation("sigmoid", name="head")(keras.layers.Dense(6, name="scores")(inputs))
    inside = keras.layers.Dense(2, name="inside")(keras.layers.Multiply(name="product")([inputs, head]))
    model = keras.Model(inputs, [keras.layers.Reshape((2, 3), name="routed")(head), inside])
    preset = tf_lrp.Preset([(select.kind("product"), Uniform()), (select.all(), Epsilon(1e-9))])
    analyzer = tf_lrp.Analyzer(model, preset)
    scores, other = analyzer.twin(x())
    expected = keras.Model(inputs, model.get_layer("scores").output)(x())
    np.testing.assert_allclose(np.reshape(scores, (-1, 6)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other, model(x())[1], rtol=1e-4, atol=1e-5)
    maps = analyzer.analyze(x(), "all", output=0, layers=["head", "routed"])
    np.testing.assert_allclose(maps["head"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps["routed"], scores, rtol=1e-4, atol=1e-5)
    maps = analyzer.analyze(x(), 1, output=1, layers=["head", "product"])
    np.testing.assert_allclose(maps["head"], maps["product"] / 2, rtol=1e-4, atol=1e-5)


def test_what_scores_go_through_keeps_its_name():
    model, _ = ending(SIGMOID, lambda t: keras.layers.Flatten(name="flat")(keras.layers.Permute((2, 1), name="turned")(t)))
    graph = canonize(unroll(model))
    assert [n.name for n in graph.nodes][-2:] == ["turned", "flat"]
    assert not [n for n in graph.nodes if n.placeholder]
    maps = tf_lrp.Analyzer(model, "epsilon").analyze(x(), 4, layers=["flat", "turned", SIGMOID.name])
    assert {name: r.shape for name, r in maps.items()} == {
        "input": (3, 6), "flat": (3, 6), "turned": (3, 3, 2), SIGMOID.name: (3, 2, 3),
    }  # fmt: skip
