"""The z-box rule where inputs lie on their bounds: what is exactly 0 on paper is exactly 0."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from small_models import randomize

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import Epsilon, ZBox

pytestmark = pytest.mark.eager


def first_layers(dtype="float32"):
    """A layer of each kind that may come first."""
    return {
        "conv": lambda: layers.Conv2D(4, 3, padding="same", dtype=dtype),
        "strided": lambda: layers.Conv2D(4, 3, strides=2, dtype=dtype),
        "grouped": lambda: layers.Conv2D(4, 3, groups=2, dtype=dtype),
        "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, dtype=dtype),
        "separable": lambda: layers.SeparableConv2D(3, 3, dtype=dtype),
        "transposed": lambda: layers.Conv2DTranspose(3, 3, strides=2, dtype=dtype),
        "dense": lambda: layers.Dense(5, dtype=dtype),
        "einsum": lambda: layers.EinsumDense("abcd,de->abce", output_shape=(6, 6, 3), dtype=dtype),
        "normalized": lambda: keras.Sequential([layers.BatchNormalization(dtype=dtype), layers.Conv2D(3, 3, dtype=dtype)]),
    }


def network(first, dtype="float32"):
    x = keras.Input((6, 6, 2), dtype=dtype)
    h = layers.Flatten(dtype=dtype)(layers.ReLU(dtype=dtype)(first_layers(dtype)[first]()(x)))
    return randomize(keras.Model(x, layers.Dense(3, dtype=dtype)(h)))


PRESET = tf_lrp.Preset([(select.first(), ZBox()), (select.all(), Epsilon(1e-3))])


def relevance(model, preset, x):
    """At the input, of all outputs, without tracing."""
    return tf_lrp.Analyzer(model, preset, trace="never").analyze(x, "all")


@pytest.mark.parametrize("first", list(first_layers()))
def test_a_constant_picture_has_no_relevance(first):
    constants = np.array([0.0, 0.5, 0.7, -1.3, 1e-12, 1e12, 255.0], "float32")
    x = np.broadcast_to(constants[:, None, None, None], (7, 6, 6, 2)).copy()
    if first == "separable":  # what its second step takes is not constant
        x = x[:, :1, :1]
        model = keras.Sequential([keras.Input((1, 1, 2)), layers.DepthwiseConv2D(1), layers.Flatten(), layers.Dense(3)])
        assert not relevance(randomize(model), PRESET, x).any()
        return
    assert not relevance(network(first), PRESET, x).any()


def test_one_picture_of_a_batch_is_constant():
    model = network("conv")
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    x[1] = 0.3
    found = relevance(model, PRESET, x)
    assert found[0].any() and not found[1].any() and found[2].any()
    np.testing.assert_allclose(found[[0]], relevance(model, PRESET, x[:1]), rtol=1e-5, atol=1e-6)


def by_hand(w, a, low, high, r):
    """R_i of a dense layer, with loops."""
    found = np.zeros(len(a))
    for j in range(w.shape[1]):
        shares = [a[i] * w[i, j] - low[i] * max(w[i, j], 0) - high[i] * min(w[i, j], 0) for i in range(len(a))]
        if sum(shares) != 0:
            found += np.array(shares) / sum(shares) * r[j]
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1e-7, 1e-4, 1.0]), st.booleans())
def test_nearly_constant_pictures_lose_no_digits(seed, step, given_bounds):
    """Multiples of a small step above a constant: in float32 the differences from the bounds are exact."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((5,))
    model = randomize(keras.Model(inputs, layers.Dense(3, use_bias=False)(inputs)), seed)
    ulp = np.spacing(np.float32(0.5)) if step == 1e-7 else np.float32(step)
    a = (np.float32(0.5) + ulp * rng.integers(0, 8, size=(1, 5)).astype("float32")).astype("float32")
    a[0, 0] = 0.5  # one at the bound
    low, high = (a.min(), a.max() + np.float32(ulp)) if given_bounds else (a.min(), a.max())
    rule = ZBox(float(low), float(high)) if given_bounds else ZBox()
    (w,) = model.get_weights()
    exact = [v.astype("float64") for v in (w, a[0])]
    r = exact[1] @ exact[0]
    expected = by_hand(*exact, np.full(5, float(low)), np.full(5, float(high)), r)
    found = relevance(model, rule, a)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(r).max())


def test_bounds_of_each_channel():
    rng = np.random.default_rng(1)
    inputs = keras.Input((4,), dtype="float64")
    model = randomize(keras.Model(inputs, layers.Dense(3, dtype="float64")(inputs)))
    a, low, high = rng.normal(size=4), np.array([-3.0, -2.0, -4.0, -3.0]), np.array([3.0, 5.0, 4.0, 2.0])
    w, b = model.get_weights()
    found = relevance(model, ZBox(low, high), a[None])[0]
    np.testing.assert_allclose(found, by_hand(w, a, low, high, a @ w + b), rtol=1e-10)
    with pytest.raises(Exception, match="shape"):
        relevance(model, ZBox(low[:3], high[:3]), a[None])
