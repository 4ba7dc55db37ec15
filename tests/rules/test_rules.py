"""Rules as values: what they refuse, how they print and compare. Their numbers are checked against references elsewhere."""

import numpy as np
import pytest
import tensorflow as tf

from tf_lrp import Stabilizer
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Unified, WinnerTakesAll, WSquare, ZBox, ZPlus, ZRule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlphaBeta(2, 2), r"alpha - beta = 1.*alpha=2, beta=2"),
        (lambda: AlphaBeta(0.5, -0.5), "alpha >= 1 and beta >= 0"),
        (lambda: AlphaBeta(float("nan"), 1), "finite alpha, got alpha=nan"),
        (lambda: Epsilon(-1e-6), "finite epsilon >= 0, got epsilon=-1e-06"),
        (lambda: Epsilon(float("inf")), "finite epsilon >= 0"),
        (lambda: Gamma(-0.1), "finite gamma >= 0"),
        (lambda: ZPlus(stabilizer=-1), "finite epsilon >= 0"),
        (lambda: Stabilizer(float("nan")), "finite epsilon >= 0"),
        (lambda: ZBox(1, -1), "low < high"),
        (lambda: ZBox(low=0), "both bounds or none"),
        (lambda: ZBox(0, np.inf), "finite bounds"),
        (lambda: Unified(gamma1=1, epsilon=-1), "finite epsilon >= 0"),
        (lambda: Unified(), "every contribution would vanish"),
        (lambda: Unified(gamma1=1, theta1=0), "every contribution would vanish"),
        (lambda: Unified(gamma1=1, m=(1, 2)), "five numbers"),
        (lambda: WinnerTakesAll("last"), 'ties="first" or ties="share"'),
    ],
)
def test_impossible_parameters_name_the_constraint(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: Epsilon("much"), lambda: AlphaBeta("2", 1), lambda: ZRule(stabilizer="a")])
def test_what_is_no_number_is_refused(make):
    with pytest.raises(TypeError, match="needs a number as"):
        make()


def test_rules_compare_hash_and_print():
    assert AlphaBeta(2, 1) == AlphaBeta(2.0, 1.0) != AlphaBeta(1, 0)
    box = ZBox(np.array([-1.0, 0.0]), [1, 2])
    assert box == ZBox((-1, 0), (1, 2))
    assert len({box, ZBox([-1, 0], [1, 2]), Flat(), WSquare(), Pass()}) == 4
    assert str(Epsilon(0.1, bias=False)) == "Epsilon(epsilon=0.1, bias=False)"
    assert str(Epsilon()) == "Epsilon()"


def test_known_signs_halve_the_work():
    for rule in (AlphaBeta(2, 1), ZPlus(), Gamma(0.25)):
        assert all(len(term.parts) == 2 for term in rule.terms(nonnegative=False))
        assert all(len(term.parts) == 1 for term in rule.terms(nonnegative=True))
    assert len(AlphaBeta(1, 0).terms(nonnegative=True)) == 1


@pytest.mark.parametrize(("dtype", "floor"), [("float32", 1.0842021724855044e-19), ("float64", 1.4916681462400413e-154)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_denominator_counts_from_the_root_of_the_smallest_normal_number(dtype, floor, sign):
    above, below = (tf.constant([sign * factor * floor], dtype) for factor in (1.01, 0.99))
    relevance = tf.constant([1.0], dtype)
    stabilizer = Stabilizer()
    assert stabilizer(above)[0] == above[0] and stabilizer(below)[0] == 0
    np.testing.assert_allclose(stabilizer.divide(relevance, above), relevance / above)
    assert stabilizer.divide(relevance, below)[0] == 0
    # An epsilon below it is no help, and one above it is.
    assert Stabilizer(0.5 * floor).divide(relevance, tf.zeros(1, dtype))[0] == 0
    assert np.isfinite(Stabilizer(2 * floor).divide(relevance, tf.zeros(1, dtype))[0])
