"""Rules that reproduce what the LRP Toolbox's Caffe program computes where that differs from the formulas it is named after.

They are used with ``faithful=True`` only; docs/caffe.md describes each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import tensorflow as tf

from tf_lrp.rules import AlphaBeta, Flat


@dataclass(frozen=True)
class FlatPerPosition(Flat):
    """Flat in which each input channel takes as much as if it were the only one.

    R_i = sum_j R_j / (kernel height x kernel width), so that relevance is multiplied by the number of channels of a group.

    Args:
        channels: input channels of one group.
    """

    channels: int = 1

    def terms(self, nonnegative):
        return tuple(replace(term, coefficient=float(self.channels)) for term in super().terms(nonnegative))


@dataclass(frozen=True)
class FirstGroupsBias(AlphaBeta):
    """Alpha-beta in which the output channels of all groups have the biases of the first group.

    Args:
        groups: of the convolution.
    """

    groups: int = 1

    def terms(self, nonnegative):
        return tuple(replace(term, bias=_OfFirstGroup(self.groups, term.bias)) for term in super().terms(nonnegative))


@dataclass(frozen=True)
class _OfFirstGroup:
    """A map of a bias: ``part`` of the first group's entries, repeated for each group."""

    groups: int
    part: object

    def __call__(self, bias):
        return self.part(tf.tile(bias[: bias.shape[-1] // self.groups], [self.groups]))
