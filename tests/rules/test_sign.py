"""LRP-SIGN: the first layer's inputs count by their signs."""

import keras
import numpy as np
import pytest
from keras import layers
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import AlphaBeta, Epsilon, Sign, ZRule

pytestmark = pytest.mark.eager


def at_input(rule, above=None):
    return tf_lrp.Preset([(select.first(1), rule), (select.all(), above or Epsilon())])


def test_it_is_lrp_z_divided_by_the_size_of_the_input():
    model, x = convnet(), pictures(3)
    for above in (Epsilon(), AlphaBeta(2, 1)):
        plain = tf_lrp.Analyzer(model, at_input(ZRule(), above)).analyze(x)
        found = tf_lrp.Analyzer(model, at_input(Sign(), above)).analyze(x)
        np.testing.assert_allclose(found, plain / np.abs(x), rtol=1e-3, atol=1e-4 * np.abs(found).max())


def test_inputs_of_zero_take_their_share_and_mu_turns_signs():
    layer = layers.Dense(1)
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.set_weights([np.array([[1.0], [2.0], [-1.0]]), np.array([0.5])])
    x = np.array([[0.0, 1.0, -1.0]], "float32")  # z = 2 + 1 + 0.5
    analyze = {mu: tf_lrp.Analyzer(model, Sign(mu)).analyze(x) for mu in (0.0, 0.5, (1.0, 1.5, -1.0))}
    # The logit is R_j: s(a_i) w_i / z R_j = s(a_i) w_i.
    np.testing.assert_allclose(analyze[0.0], [[1, 2, 1]], rtol=1e-6)
    np.testing.assert_allclose(analyze[0.5], [[-1, 2, 1]], rtol=1e-6)
    np.testing.assert_allclose(analyze[1.0, 1.5, -1.0], [[-1, -2, -1]], rtol=1e-6)
    without = tf_lrp.Analyzer(model, Sign(bias=False)).analyze(x)
    np.testing.assert_allclose(without, np.array([[1, 2, 1]]) * 3.5 / 3, rtol=1e-6)


def test_one_mu_for_each_channel():
    model, x = convnet(), pictures(2)
    means = np.array([-0.5, 0.0, 0.5], "float32")
    found = tf_lrp.Analyzer(model, at_input(Sign(means))).analyze(x)
    plain = tf_lrp.Analyzer(model, at_input(ZRule())).analyze(x)
    expected = np.where(x >= means, 1, -1) * plain / x
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(found).max())
    assert Sign(means).mu == (-0.5, 0.0, 0.5) and str(Sign()) == "Sign()"


@pytest.mark.parametrize("above", [Epsilon(), Sign(0.1)])
def test_the_books_close(above):
    model = randomize(
        keras.Sequential(
            [keras.Input((6, 6, 3)), layers.Conv2D(4, 3, padding="same", activation="relu"), layers.Flatten(), layers.Dense(3)]
        )
    )
    books = tf_lrp.Analyzer(model, at_input(Sign(), above)).conservation(pictures(2, size=6))
    assert abs(books.rounding) < 1e-4 * max(abs(books.output), abs(books.input))


def test_a_mu_that_is_none():
    for mu in ("x", np.nan, [1, np.inf], [[1], [1, 2]], None):
        with pytest.raises(ValueError, match="needs a finite mu"):
            Sign(mu)
