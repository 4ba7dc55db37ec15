"""Rules that treat positive and negative contributions differently: alpha-beta, z+ and gamma."""

from __future__ import annotations

from dataclasses import dataclass

from tf_lrp.rules.base import Rule, Term, as_stabilizer
from tf_lrp.rules.maps import AddGamma, negative, positive, split_by_sign
from tf_lrp.rules.stabilizer import Stabilizer


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-alpha-beta: R_i = sum_j (alpha z_ij+ / z_j+  -  beta z_ij- / z_j-) R_j. [1]

    z_ij = a_i w_ij is split by its sign, z_j+ = sum_i z_ij+ + max(b_j, 0), z_j- = sum_i z_ij- + min(b_j, 0). Inputs of
    mixed sign are split exactly: z_ij+ = a_i+ w_ij+ + a_i- w_ij-. A denominator of zero contributes 0.

    Args:
        alpha: float >= 1.
        beta: float >= 0, with alpha - beta = 1.
        bias: False leaves b_j out of both denominators.
        stabilizer: float or `Stabilizer` of both denominators; 0 is the bare formula.

    Raises:
        ValueError: if alpha - beta != 1, alpha < 1 or beta < 0.
    """

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def __post_init__(self):
        super().__post_init__()
        if not (self.alpha >= 1 and self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-9):
            raise ValueError(
                f"AlphaBeta needs alpha - beta = 1 with alpha >= 1 and beta >= 0, got alpha={self.alpha!r}, beta={self.beta!r}."
            )

    def terms(self, nonnegative):
        return _terms(self.alpha, -self.beta, self.bias, self.stabilizer, nonnegative)


def _terms(of_positive, of_negative, bias, stabilizer, nonnegative):
    """The terms of positive and of negative contributions with these coefficients, without the one that is 0."""
    stabilizer = as_stabilizer(stabilizer)
    excitation = Term(split_by_sign(positive, negative, nonnegative), of_positive, positive if bias else None, stabilizer)
    inhibition = Term(split_by_sign(negative, positive, nonnegative), of_negative, negative if bias else None, stabilizer)
    return tuple(term for term in (excitation, inhibition) if term.coefficient)


@dataclass(frozen=True)
class Alpha(Rule):
    """The alpha-decomposition of the LRP Toolbox: R_i = sum_j (alpha z_ij+ / z_j+  +  (1 - alpha) z_ij- / z_j-) R_j. [10]

    From alpha = 1 on this is `AlphaBeta(alpha, alpha - 1, stabilizer=0)`; the toolbox takes any alpha.

    Args:
        alpha: float, the weight of the positive contributions.
    """

    alpha: float = 2.0

    def terms(self, nonnegative):
        return _terms(self.alpha, 1 - self.alpha, True, 0, nonnegative)


@dataclass(frozen=True)
class ZPlus(Rule):
    """LRP-z+: R_i = sum_j z_ij+ / z_j+ R_j, which is `AlphaBeta(1, 0)`. [2]

    Args:
        bias: False leaves max(b_j, 0) out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator; 0 is the bare formula.
    """

    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def terms(self, nonnegative):
        return AlphaBeta(1.0, 0.0, self.bias, self.stabilizer).terms(nonnegative)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-gamma: positive contributions count (1 + gamma) times. [3]

    R_i = sum_j a_i (w_ij + gamma w_ij+) / (sum_i a_i (w_ij + gamma w_ij+) + b_j + gamma b_j+) R_j for a_i >= 0, z_j > 0.
    In general, with W+ = w + gamma max(w, 0), W- = w + gamma min(w, 0), the contributions are a_i+ W+ + a_i- W- for an
    output with z_j > 0 and a_i+ W- + a_i- W+ for one with z_j < 0 (where negative contributions count more). An output with
    z_j = 0 passes no relevance on. The sign is that of the pre-activation with its bias, also for ``bias=False``.

    Args:
        gamma: float >= 0.
        bias: False leaves the bias out of the denominators.
        stabilizer: float or `Stabilizer` of the denominators; 0 is the bare formula.
    """

    gamma: float = 0.25
    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def terms(self, nonnegative):
        upper, lower = AddGamma(self.gamma, positive), AddGamma(self.gamma, negative)
        stabilizer = as_stabilizer(self.stabilizer)
        return tuple(
            Term(split_by_sign(same, opposite, nonnegative), 1.0, same if self.bias else None, stabilizer, where)
            for same, opposite, where in ((upper, lower, "positive"), (lower, upper, "negative"))
        )
