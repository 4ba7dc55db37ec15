"""The formula that holds the classic rules as special cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_lrp.rules.base import Rule, Term, as_numbers
from tf_lrp.rules.maps import negative, ones, positive, square
from tf_lrp.rules.stabilizer import Stabilizer


@dataclass(frozen=True)
class Unified(Rule):
    """The ten-parameter formula that holds the classic rules as special cases. [5]

    R_i = sum_j [ alpha N_ij / (epsilon + sum_i N_ij) - beta M_ij / (epsilon + sum_i M_ij) ] R_j,
    N_ij = (theta0 + theta1 a_i) (gamma0 + gamma1 w_ij + gamma1p w_ij+ + gamma1n w_ij- + gamma2 w_ij^2).

    epsilon takes the sign of its denominator. The bias joins the denominators through the weights' own terms,
    theta1 (gamma1 b + gamma1p b+ + gamma1n b-), so that each special case equals the named rule to the last digit
    (those that split signs: for inputs >= 0):

    =============  ==========================================================
    Epsilon        gamma1 = 1, epsilon
    ZPlus          gamma1p = 1
    AlphaBeta      alpha, beta; gamma1p = 1; m = (0, 0, 0, 1, 0)
    Gamma          gamma1 = 1, gamma1p = gamma            (for z_j > 0)
    WSquare        theta0 = 1, theta1 = 0, gamma2 = 1
    Flat           theta0 = 1, theta1 = 0, gamma0 = 1
    =============  ==========================================================

    Args:
        alpha, beta: floats, the weights of the two fractions. alpha - beta = 1 is not required.
        epsilon: float >= 0.
        theta0, theta1: floats, the effect of the activation.
        gamma0, gamma1, gamma1p, gamma1n, gamma2: floats, the effect of the weight in N.
        m: five floats (gamma0, gamma1, gamma1p, gamma1n, gamma2) for M, or None for those of N.
        bias: False leaves the bias out of the denominators.
    """

    alpha: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.0
    theta0: float = 0.0
    theta1: float = 1.0
    gamma0: float = 0.0
    gamma1: float = 0.0
    gamma1p: float = 0.0
    gamma1n: float = 0.0
    gamma2: float = 0.0
    m: tuple[float, float, float, float, float] | None = None
    bias: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.m is not None:
            m = as_numbers(self.m)
            if m is None or m.shape != (5,) or not np.isfinite(m).all():
                raise ValueError(
                    f"Unified needs m = (gamma0, gamma1, gamma1p, gamma1n, gamma2) of five numbers, all finite, got {self.m!r}."
                )
            object.__setattr__(self, "m", tuple(m.tolist()))
        n = (self.gamma0, self.gamma1, self.gamma1p, self.gamma1n, self.gamma2)
        if not any(n) or not (self.theta0 or self.theta1):
            raise ValueError(
                "Unified needs at least one of theta0, theta1 and one of gamma0, gamma1, gamma1p, gamma1n, gamma2 to be "
                f"different from 0, got {self}: every contribution would vanish."
            )

    def terms(self, nonnegative):
        def effect_of_activation(a):
            return self.theta0 + self.theta1 * a

        activation = ones if (self.theta0, self.theta1) == (1, 0) else effect_of_activation
        n = (self.gamma0, self.gamma1, self.gamma1p, self.gamma1n, self.gamma2)

        def fraction(gammas, coefficient):
            g0, g1, g1p, g1n, g2 = gammas

            def kernel(w):
                return g0 + g1 * w + g1p * positive(w) + g1n * negative(w) + g2 * square(w)

            def bias(b):
                return self.theta1 * (g1 * b + g1p * positive(b) + g1n * negative(b))

            parts = ((activation, kernel),)
            return Term(parts, coefficient, bias if self.bias else None, Stabilizer(self.epsilon))

        terms = [fraction(n, self.alpha)]
        if self.beta:
            terms.append(fraction(self.m or n, -self.beta))
        return tuple(terms)
