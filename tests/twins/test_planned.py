"""The shortcuts of divisions whose denominator's sign is known."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_lrp import Stabilizer
from tf_lrp.rules.stabilizer import floor
from tf_lrp.twins.planned import divide, ratio

pytestmark = pytest.mark.compiled

STABILIZERS = [Stabilizer(), Stabilizer(0.1), Stabilizer(0.1, clip=True), Stabilizer(0.1, norm_scale=True), Stabilizer(1e-30)]
values = st.lists(st.sampled_from([0.0, -0.0, 1e-25, -1e-25, 0.1, -0.1, 3.0, -2.0, 1e30]), min_size=1, max_size=6)


@given(st.sampled_from(STABILIZERS), values, st.sampled_from([0, 1, -1]), st.booleans())
def test_quotients_are_those_of_the_stabilizer(stabilizer, values, sign, exact):
    z = np.array([values], "float32")
    z = tf.constant(np.abs(z) * sign if sign else z)
    relevance = tf.constant(np.linspace(-1, 2, z.shape[1], dtype="float32")[None])
    # Where the stabilizer adds with the sign of a zero, +1, a known sign adds its own.
    signed = np.asarray(z) != 0 if sign < 0 else np.ones(z.shape, bool)
    found = np.asarray(divide(stabilizer, relevance, z, sign, exact and bool(sign)))
    np.testing.assert_allclose(found[signed], np.asarray(stabilizer.divide(relevance, z))[signed], rtol=1e-6, atol=1e-7)
    expected = np.asarray(stabilizer.divide(z, z))
    left = np.asarray(ratio(stabilizer, z, sign, exact and bool(sign)))
    np.testing.assert_allclose(left, expected, rtol=1e-6, atol=1e-7)
    assert (left >= 0).all() and (left <= 1).all()


@pytest.mark.parametrize("stabilizer", STABILIZERS)
def test_what_rounding_left_on_the_other_side_is_zero(stabilizer):
    z, one = tf.constant([[-1e-9, 2.0]], "float64"), tf.ones((1, 2), "float64")
    found, clean = divide(stabilizer, one, z, sign=1), divide(stabilizer, one, tf.nn.relu(z), sign=1)
    if stabilizer.epsilon:
        np.testing.assert_allclose(found, clean, rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], stabilizer.divide(one, z)[0, 1])


def test_where_relevance_vanishes_with_the_denominator_the_floor_is_enough():
    z = tf.constant([-1.0, 0.0, 0.99, 1.01], "float32") * floor(tf.float32)
    relevance = tf.nn.relu(z) * 3
    found = divide(Stabilizer(), relevance, z, sign=1, vanishing=True)
    np.testing.assert_allclose(found, [0, 0, 2.97, 3], rtol=1e-6)
