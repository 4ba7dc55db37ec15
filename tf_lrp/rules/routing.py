"""Rules without terms: they say where relevance goes, not in which proportions weights share it."""

from __future__ import annotations

from dataclasses import dataclass

from tf_lrp.rules.base import Rule


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance of the output = relevance of the input, for layers whose input and output have the same shape."""


@dataclass(frozen=True)
class Stop(Rule):
    """R_i = 0: no relevance goes to the inputs. The rule of masks, gates and what depends on no input of the model."""


@dataclass(frozen=True)
class SignalTakesAll(Rule):
    """For a product of a signal and a gate, and for attention: the signal takes all, the gate (the weights) none. [6, 7]

    Where no factor is more likely to be the gate than the others, they share evenly.
    """


@dataclass(frozen=True)
class Uniform(Rule):
    """For a product of branches, and for attention: each factor takes an equal share. [8]

    R_a = R_b = R / 2 for a * b; for a matrix product each factor takes half by LRP-z,
    R_a[i, k] = 1/2 sum_j a_ik b_kj / z_ij R_ij.
    """


@dataclass(frozen=True)
class Taylor(Rule):
    """For softmax: the first-order Taylor decomposition R_i = x_i (R_i - s_i sum_j R_j). [8]

    Its zeroth-order term is dropped, so it does not conserve relevance.
    """


@dataclass(frozen=True)
class Renormalization(Rule):
    """For local response normalization, y_k = x_k / s_k^beta: the first-order Taylor decomposition around x_k alone. [11]

    R_i = sum_k q_ik / y_k R_k, where q_kk is what y_k would be without its neighbours, and q_ik = x_i dy_k/dx_i for the
    others, which only reduce y_k. Relevance is conserved as far as the q_ik add up to y_k, which they do to first order. (The
    default rule of such a layer is `Pass`: s_k is a constant of the sample, and relevance is conserved.)

    Args:
        divided: False leaves out the division by y_k, as the LRP Toolbox's Caffe program does: relevance is then scaled by
            about y_k, in every such layer.
    """

    divided: bool = True


@dataclass(frozen=True)
class WinnerTakesAll(Rule):
    """For max-pooling and maximum: the largest input takes the relevance of its output.

    Args:
        ties: "first" gives it to the first of equals in row-major order (as TensorFlow's gradient does), "share" splits
            it evenly among them (as the LRP Toolbox does).
    """

    ties: str = "first"

    def __post_init__(self):
        super().__post_init__()
        if self.ties not in ("first", "share"):
            raise ValueError(f'WinnerTakesAll needs ties="first" or ties="share", got ties={self.ties!r}.')
