"""Rules for the first layer: w^2, flat, z^B and LRP-SIGN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_lrp.rules.base import Rule, Term, as_numbers, as_stabilizer, nested_tuple
from tf_lrp.rules.maps import identity, negative, ones, positive, square
from tf_lrp.rules.stabilizer import Stabilizer


@dataclass(frozen=True)
class WSquare(Rule):
    """LRP-w^2: R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j, over the inputs i inside the image. [2]

    Args:
        bias: True adds b_j^2 to the denominator (as zennit does); the paper has none.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    bias: bool = False
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        return (Term(((ones, square),), bias=square if self.bias else None, stabilizer=as_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class Flat(Rule):
    """LRP-flat: R_i = sum_j R_j / n_j, with n_j the number of inputs of j inside the image. [4]

    Args:
        bias: True counts the bias as one more input.
        stabilizer: float or `Stabilizer` of the denominator n_j.
    """

    bias: bool = False
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        return (Term(((ones, ones),), bias=ones if self.bias else None, stabilizer=as_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class ZBox(Rule):
    """LRP-z^B, for inputs known to lie in a box: low_i <= a_i <= high_i. [2]

    R_i = sum_j (a_i w_ij - low_i w_ij+ - high_i w_ij-) / sum_i (a_i w_ij - low_i w_ij+ - high_i w_ij-) R_j.
    The bias cancels (b - b+ - b- = 0), so this rule has no parameter for it.

    Args:
        low, high: smallest and largest possible value of the layer's input: floats, or nested sequences or arrays that
            broadcast against it, such as one value per channel. None (both) takes each sample's own smallest and
            largest value: the smallest box that is valid for any preprocessing.
        stabilizer: float or `Stabilizer` of the denominator.

    Raises:
        ValueError: if only one bound is given, or a low bound is not below its high bound.
    """

    low: float | tuple | None = None
    high: float | tuple | None = None
    stabilizer: float | Stabilizer = 0.0

    def __post_init__(self):
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise ValueError(f"ZBox needs both bounds or none, got low={self.low!r}, high={self.high!r}.")
        if self.low is None:
            return
        low, high = as_numbers(self.low), as_numbers(self.high)
        if not (
            low is not None and high is not None and np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()
        ):
            raise ValueError(f"ZBox needs finite bounds with low < high, got low={self.low!r}, high={self.high!r}.")
        # Tuples keep the rule hashable, comparable and JSON-ready.
        object.__setattr__(self, "low", nested_tuple(low.tolist()))
        object.__setattr__(self, "high", nested_tuple(high.tolist()))

    def terms(self, nonnegative):
        import tensorflow as tf

        def above(bound, extreme):
            def less_bound(a):
                if bound is None:
                    return a - extreme(a, axis=list(range(1, a.shape.rank)), keepdims=True)
                return a - tf.broadcast_to(tf.constant(bound, a.dtype), tf.shape(a))

            return less_bound

        # a w - low w+ - high w- = (a - low) w+ + (a - high) w- is exactly 0 where an input lies on its bound, as all inputs
        # of a constant image do if its bounds are its own.
        parts = ((above(self.low, tf.reduce_min), positive), (above(self.high, tf.reduce_max), negative))
        return (Term(parts, stabilizer=as_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class Sign(Rule):
    """LRP-SIGN, for the first layer: the input counts by its sign alone, not by its size. [9]

    R_i = s(a_i) sum_j w_ij / z_j R_j, with s(a) = +1 where a >= mu and -1 where a < mu, z_j = sum_i a_i w_ij + b_j.

    It is `ZRule` (with ``stabilizer``, `Epsilon`) with the factor a_i replaced by s(a_i), so that an input of 0, a black pixel,
    takes its share like any other. For mu = 0 the result is that of LRP-z divided by |a_i|; it is not multiplied by s(a_i).
    Relevance is not conserved, and its unit is the score's divided by the input's. The rule is meant for layers that take the
    model's inputs: ``Preset([(select.first(1), Sign()), (select.all(), Epsilon())])``.

    Args:
        mu: threshold between positive and negative evidence, in units of the layer's input (after the model's `Rescaling`, if
            it has one): a finite number, or nested sequences or an array that broadcast against the input, such as one value
            per channel.
        bias: False leaves b_j out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    mu: float | tuple = 0
    bias: bool = True
    stabilizer: float | Stabilizer = 0.0

    def __post_init__(self):
        super().__post_init__()
        mu = as_numbers(self.mu)
        if mu is None or not np.isfinite(mu).all():
            raise ValueError(f"Sign needs a finite mu, a number or an array that fits the input, got mu={self.mu!r}.")
        object.__setattr__(self, "mu", nested_tuple(mu.tolist()))

    def terms(self, nonnegative):
        def sign(a):
            import tensorflow as tf

            one = tf.ones((), a.dtype)
            return tf.where(a >= tf.constant(self.mu, a.dtype), one, -one)

        bias = identity if self.bias else None
        return (
            Term(((identity, identity),), bias=bias, stabilizer=as_stabilizer(self.stabilizer), shares=((sign, identity),)),
        )
