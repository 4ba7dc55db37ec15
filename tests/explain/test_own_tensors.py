"""Relevance at a layer is what arrives through it, also where it was merged, left out or returns its input as it is."""

import keras
import numpy as np
import pytest
from small_models import pictures

import tf_lrp
from tf_lrp import methods, select
from tf_lrp.graph import canonize, unroll
from tf_lrp.rules import AlphaBeta, Epsilon, Gamma, ZRule

pytestmark = pytest.mark.eager


def positive(model):
    rng = np.random.default_rng(0)
    for w in model.weights:
        w.assign(np.abs(rng.normal(size=w.shape)) + 0.2)
    return model


def values(n=2):
    return np.random.default_rng(1).normal(size=(n, 4))


def test_a_normalization_merged_forward_has_no_part_of_the_skip():
    x = keras.Input((4,))
    h = keras.layers.Dense(4, name="d")(keras.layers.BatchNormalization(name="bn")(x))
    model = positive(keras.Model(x, keras.layers.Dense(2, name="o")(keras.layers.Add(name="sum")([x, h]))))
    preset = tf_lrp.Preset([(select.all(), Epsilon(1e-9))])
    analyzer = tf_lrp.Analyzer(model, preset)
    assert "bn" not in [name for name, *_ in analyzer.rules()]
    maps = analyzer.analyze(values(), 0, layers=["bn", "sum", "d"])
    total = np.asarray(keras.Model(x, model.get_layer("sum").output)(values()))
    skip = maps["sum"] * values() / total
    np.testing.assert_allclose(maps["bn"], maps["input"] - skip, rtol=1e-3, atol=1e-4)
    # by hand: a_i s_i w_ij / z_j R_j
    bn, d = model.get_layer("bn"), model.get_layer("d")
    scale = np.asarray(bn.gamma / np.sqrt(bn.moving_variance + bn.epsilon))
    z = np.asarray(keras.Model(x, h)(values()))
    by_hand = values() * scale * (maps["d"] / z @ np.asarray(d.kernel).T)
    np.testing.assert_allclose(maps["bn"], by_hand, rtol=1e-3, atol=1e-4)
    # what the layer hands to its input, where it is not merged
    apart = tf_lrp.Analyzer(model, preset, fold_batchnorm=False).conservation(values(), 0)
    passed = {b.name: b.passed for b in apart.layers}["bn"]
    np.testing.assert_allclose(maps["bn"].sum(), passed, rtol=1e-3)
    balance = {b.name: b for b in analyzer.conservation(values(), 0).layers}
    np.testing.assert_allclose(balance["bn_output"].received, passed, rtol=1e-3)
    np.testing.assert_allclose(balance["bn_output"].passed, passed, rtol=1e-3)


def test_no_tensor_is_spent_where_nothing_else_takes_the_input():
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="d")], name="inner")
    model = positive(
        keras.Model(
            x, keras.layers.Dense(2, activation="softmax", name="o")(inner(keras.layers.BatchNormalization(name="bn")(x)))
        )
    )
    graph = canonize(unroll(model))
    assert [n.name for n in graph.nodes] == ["d", "o"]
    maps = tf_lrp.Analyzer(model, "epsilon").analyze(values(), 0, layers=["bn", "inner", "o"])
    np.testing.assert_array_equal(maps["bn"], maps["input"])
    assert maps["o"].shape == (2, 2)


class Unchanged(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class DropPath(keras.layers.Layer):
    def call(self, inputs, training=False):
        return 0 * inputs if training else inputs


@pytest.mark.parametrize(
    "make",
    [
        keras.layers.Identity,
        lambda **k: keras.layers.Dropout(0.3, **k),
        lambda **k: keras.layers.GaussianNoise(0.3, **k),
        lambda **k: keras.layers.Activation("linear", **k),
        lambda **k: keras.layers.ZeroPadding2D(0, **k),
        lambda **k: keras.layers.UpSampling2D(1, **k),
        lambda **k: keras.layers.AveragePooling2D(1, **k),
        Unchanged,
        DropPath,
    ],
)
def test_a_layer_that_does_nothing_has_no_part_of_the_skip(make):
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.Conv2D(3, 3, padding="same", use_bias=False, name="before")(inputs)
    beyond = keras.layers.Conv2D(3, 1, use_bias=False, name="beyond")(make(name="nothing")(h))
    summed = keras.layers.Flatten()(keras.layers.Add(name="sum")([h, beyond]))
    model = positive(keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="o")(summed)))
    x = np.abs(pictures(2))
    analyzer = tf_lrp.Analyzer(model, ZRule())
    maps = analyzer.analyze(x, 0, layers=["nothing", "before", "beyond"])
    np.testing.assert_allclose(maps["nothing"].sum((1, 2, 3)), maps["beyond"].sum((1, 2, 3)), rtol=1e-4)
    assert maps["before"].sum() > 1.1 * maps["nothing"].sum()
    balance = analyzer.conservation(x, 0)
    assert max(abs(b.rounding) for b in balance.layers) < 1e-4 * balance.output
    gradients = methods.Gradient(model).analyze(x, 0, layers=["nothing", "before"])
    kernel = np.asarray(model.get_layer("o").kernel)[:, 0].reshape(8, 8, 3)
    np.testing.assert_allclose(
        gradients["nothing"][0], kernel @ np.asarray(model.get_layer("beyond").kernel)[0, 0].T, rtol=1e-4
    )
    np.testing.assert_allclose(gradients["before"] - gradients["nothing"], np.stack([kernel] * 2), rtol=1e-3, atol=1e-4)


def test_a_nested_model_s_output_is_what_arrives_from_outside():
    j, i = keras.Input((4,)), keras.Input((4,))
    first = keras.layers.Dense(4, activation="relu", name="first")(j)
    inner = keras.Model(j, [first, keras.layers.Dense(4, name="second")(first)], name="inner")
    a, b = inner(i)
    model = positive(keras.Model(i, keras.layers.Dense(2, name="o")(keras.layers.Add(name="sum")([a, b]))))
    x = np.abs(values()).astype("float32")
    preset = tf_lrp.Preset([(select.name("inner"), Gamma(0.0)), (select.all(), Epsilon(1e-9))])
    maps = tf_lrp.Analyzer(model, preset).analyze(x, 0, layers=["inner", "sum", "second", "first"])
    np.testing.assert_allclose(maps["inner"] + maps["second"], maps["sum"], rtol=1e-4)
    assert maps["first"].sum() > 1.05 * maps["inner"].sum()


def test_scores_that_something_else_takes_are_not_what_the_head_returned():
    i = keras.Input((4,))
    scores = keras.layers.Dense(3, name="scores")(i)
    model = positive(keras.Model(i, [keras.layers.Softmax(name="head")(scores), keras.layers.Dense(2, name="other")(scores)]))
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    maps = analyzer.analyze(values(), 1, output=1, layers=["head", "scores"])
    assert not maps["head"].any()
    assert maps["scores"].any()
    maps = analyzer.analyze(values(), 1, output=0, layers=["head", "scores"])
    np.testing.assert_array_equal(maps["head"], maps["scores"])


def test_normalizations_fold_through_layers_that_do_nothing():
    def net(step):
        inputs = keras.Input((8, 8, 3))
        h = keras.layers.ReLU()(
            keras.layers.BatchNormalization(name="b1")(step(keras.layers.Conv2D(3, 3, name="c1", use_bias=False)(inputs)))
        )
        h = keras.layers.Conv2D(2, 3, name="c2")(step(keras.layers.BatchNormalization(name="b2")(h)))
        model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
        rng = np.random.default_rng(1)
        for w in model.weights:
            w.assign(rng.uniform(0.3, 1.3, w.shape) * (1 if "variance" in w.path else rng.choice([-1, 1], w.shape)))
        return tf_lrp.Analyzer(model, AlphaBeta(2, 1))

    folded = net(lambda t: keras.layers.Identity()(keras.layers.SpatialDropout2D(0.1)(keras.layers.Activation("linear")(t))))
    assert not {"b1", "b2"} & {name for name, *_ in folded.rules()}
    np.testing.assert_allclose(folded.analyze(pictures(2), 0), net(lambda t: t).analyze(pictures(2), 0), rtol=1e-5, atol=1e-5)
