"""What names a selector and ``layers=`` know: of every step and every use of a layer."""

import keras
import numpy as np
import pytest
from small_models import pictures

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import Epsilon, Flat, Gamma

GAMMA = Gamma(0.5)


def chosen(model, selector, rule=GAMMA):
    """Names of the nodes that a selector means."""
    analyzer = tf_lrp.Analyzer(model, tf_lrp.Preset([(selector, rule), (select.all(), Epsilon())]))
    return [name for name, _, of_layer, _ in analyzer.rules() if of_layer == str(rule)]


@pytest.fixture(scope="module")
def shared():
    layer = keras.layers.SeparableConv2D(3, 3, padding="same", activation="relu", name="s")
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(layer(layer(inputs)))))


def test_a_shared_separable_convolution_is_meant_in_both_steps_of_every_use(shared):
    both = ["s_depthwise", "s", "s_depthwise.2", "s.2"]
    for selector in (select.name("s"), select.name(shared.get_layer("s")), select.name("s*"), select.name("?")):
        assert chosen(shared, selector) == both
    assert chosen(shared, select.name("s_depthwise")) == both[::2]
    assert chosen(shared, select.name("s.2")) == both[2:]
    assert chosen(shared, select.name("s_depthwise.2")) == ["s_depthwise.2"]
    assert chosen(shared, ~select.name("s") & select.kind("weights")) == ["out"]


def test_relevance_at_steps_and_uses(shared):
    analyzer = tf_lrp.Analyzer(shared, "epsilon")
    maps = analyzer.analyze(pictures(2), 0, layers=["s", "s_depthwise", "s_activation"])
    assert [len(maps[name]) for name in ("s", "s_depthwise", "s_activation")] == [2, 2, 2]
    np.testing.assert_array_equal(maps["s"], maps["s_activation"])


def test_uses_inside_nested_models():
    def block(name):
        conv = keras.layers.SeparableConv2D(3, 3, padding="same", name="s")
        return keras.Sequential([keras.Input((8, 8, 3)), conv, keras.layers.MaxPooling2D(2, 1, "same", name="pool")], name=name)

    inputs, inner = keras.Input((8, 8, 3)), block("inner")
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(block("other")(inner(inner(inputs))))))
    of_inner = ["inner.s_depthwise", "inner.s", "inner.s_depthwise.2", "inner.s.2"]
    assert chosen(model, select.name("inner")) == chosen(model, select.name("inner.s")) == of_inner
    assert chosen(model, select.name("s")) == [*of_inner, "other.s_depthwise", "other.s"]
    assert chosen(model, select.name("inner.s_depthwise")) == of_inner[::2]
    assert chosen(model, select.name("inner.s.2")) == of_inner[2:]
    assert chosen(model, select.name("pool"), Flat()) == ["inner.pool", "inner.pool.2", "other.pool"]


def test_a_dot_in_a_name_is_no_path():
    inputs, layer = keras.Input((4,)), keras.layers.Dense(4, activation="relu", name="a.b")
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(layer(layer(inputs))))
    assert chosen(model, select.name("a.b")) == chosen(model, select.name(layer)) == ["a.b", "a.b.2"]
    assert chosen(model, select.name("b")) == ["b"]
    assert chosen(model, select.name("a")) == []


def test_a_step_may_be_called_like_another_layer():
    inputs = keras.Input((4,))
    model = keras.Model(
        inputs, keras.layers.Dense(2, name="d_activation")(keras.layers.Dense(3, activation="relu", name="d")(inputs))
    )
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert [name for name, *_ in analyzer.rules()] == ["d", "d_activation_", "d_activation"]
    maps = analyzer.analyze(np.ones((1, 4), "float32"), 0, layers=["d", "d_activation", "d_activation_"])
    assert maps["d_activation"].shape == (1, 2)
    np.testing.assert_array_equal(maps["d"], maps["d_activation_"])
