"""Rules that share by contribution: LRP-z and LRP-epsilon."""

from __future__ import annotations

from dataclasses import dataclass

from tf_lrp.rules.base import Rule, Term, as_stabilizer
from tf_lrp.rules.maps import identity
from tf_lrp.rules.stabilizer import Stabilizer


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: R_i = sum_j a_i w_ij / (z_j + epsilon sign(z_j)) R_j, with z_j = sum_i a_i w_ij + b_j. [1]

    The share of the bias and of epsilon is dropped, or distributed evenly over the N inputs of j: with ``bias_factor`` 1,
    R_i = sum_j (a_i w_ij + (b_j + epsilon sign(z_j)) / N) / (z_j + epsilon sign(z_j)) R_j conserves relevance. [6]

    Args:
        epsilon: float >= 0, in units of the pre-activation.
        bias: False leaves b_j out of the denominator (iNNvestigate's IgnoreBias).
        clip, norm_scale: other forms of the stabilizer, see `Stabilizer`.
        bias_factor: float from 0 to 1, the part of what bias and stabilizer keep that goes to the inputs.
    """

    epsilon: float = 1e-6
    bias: bool = True
    clip: bool = False
    norm_scale: bool = False
    bias_factor: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.bias_factor <= 1:
            raise ValueError(f"Epsilon needs a bias_factor from 0 to 1, got bias_factor={self.bias_factor!r}.")

    def terms(self, nonnegative):
        stabilizer = Stabilizer(self.epsilon, self.clip, self.norm_scale)
        bias = identity if self.bias else None
        return (Term(((identity, identity),), bias=bias, stabilizer=stabilizer, bias_factor=self.bias_factor),)


@dataclass(frozen=True)
class ZRule(Rule):
    """LRP-z, also LRP-0: R_i = sum_j a_i w_ij / z_j R_j, with z_j = sum_i a_i w_ij + b_j. [1]

    No epsilon is added to z_j. Where z_j is zero (below the numerical floor), its relevance is dropped.

    Args:
        bias: False leaves b_j out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    bias: bool = True
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        bias = identity if self.bias else None
        return (Term(((identity, identity),), bias=bias, stabilizer=as_stabilizer(self.stabilizer)),)
