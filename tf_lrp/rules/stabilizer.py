"""How a denominator z is kept away from zero."""

from __future__ import annotations

import numbers
import sys
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Stabilizer:
    """Moves a denominator away from zero, keeping its sign, with sign(0) = +1.

    ==================  =====================================================
    default             z + epsilon * sign(z)
    ``clip``            sign(z) * max(abs(z), epsilon)
    ``norm_scale``      epsilon is replaced by epsilon * sqrt(mean(z**2)), the
                        mean of each sample over all axes but the batch
    ==================  =====================================================

    With ``epsilon=0`` only the numerical floor is left: a denominator smaller than the square root of the
    smallest normal number of its type (1e-19 in float32) counts as zero, and what is divided by zero is 0.

    Args:
        epsilon: float >= 0, in units of z.
        clip: bool.
        norm_scale: bool.

    Raises:
        ValueError: if ``epsilon`` is negative or not finite.
        TypeError: if it is no number, or the others are no bools.
    """

    epsilon: float = 0.0
    clip: bool = False
    norm_scale: bool = False

    def __post_init__(self):
        if not isinstance(self.epsilon, numbers.Real) or isinstance(self.epsilon, bool):
            raise TypeError(f"A stabilizer needs a number as epsilon, got {self.epsilon!r}.")
        for name in ("clip", "norm_scale"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"A stabilizer needs True or False as {name}, got {getattr(self, name)!r}.")
        if not 0 <= self.epsilon <= sys.float_info.max:
            raise ValueError(f"A stabilizer needs a finite epsilon >= 0, got epsilon={self.epsilon!r}.")

    def __call__(self, z, sign=0, exact=False):
        """The stabilized denominator: same shape and type as ``z``; 0 only where z vanishes and epsilon does too.

        Args:
            z: tensor.
            sign: 1 or -1 where z is known to have that sign (what rounding may have left on the other side is read as 0),
                0 where it is not known.
            exact: whether nothing is on the other side.
        """
        if self.epsilon:
            epsilon = tf.constant(self.epsilon, z.dtype)  # tf.cast would round it to float32 on the way to float64
            if self.norm_scale:
                epsilon *= tf.sqrt(tf.reduce_mean(z**2, axis=list(range(1, z.shape.rank)), keepdims=True))
            if sign:
                known = z if exact else tf.nn.relu(z) if sign > 0 else tf.minimum(z, 0)
                limit = tf.maximum if sign > 0 else tf.minimum
                z = limit(known, sign * epsilon) if self.clip else known + sign * epsilon
            elif self.clip:
                z = tf.where(z < 0, tf.minimum(z, -epsilon), tf.maximum(z, epsilon))
            else:
                z += tf.where(z < 0, -epsilon, epsilon)
        return z if self._bounds(z.dtype) else tf.where(tf.abs(z) < floor(z.dtype), tf.zeros((), z.dtype), z)

    def divide(self, relevance, z, sign=0, exact=False, vanishing=False):
        """relevance / stabilized z, and 0 where the stabilized z is 0.

        Args:
            relevance, z: tensors of one shape.
            sign, exact: of z, see `__call__`.
            vanishing: whether relevance is known to be 0 wherever z <= 0, and no more than a moderate multiple of z elsewhere.
        """
        if vanishing and not self.epsilon:
            return relevance / tf.maximum(z, floor(z.dtype))
        stable = self(z, sign, exact)
        return relevance / stable if self._bounds(z.dtype) else tf.math.divide_no_nan(relevance, stable)

    def kept(self, z, sign=0, exact=False, vanishing=False):
        """z / stabilized z, from 0 to 1: what is left of the relevance that was z's. 0 where the stabilized z is 0.

        Args:
            z, sign, exact, vanishing: see `divide`.
        """
        if sign or self.clip or not self._bounds(z.dtype):
            return self.divide(z, z, sign, exact, vanishing)
        size = tf.abs(z)
        return size / (size + tf.constant(self.epsilon, z.dtype))

    def _bounds(self, dtype):
        """Whether epsilon alone keeps every denominator above the floor."""
        return self.epsilon >= floor(dtype) and not self.norm_scale


def floor(dtype):
    """Below this R / z could overflow, and infinity times a zero activation is NaN."""
    return np.sqrt(np.finfo(dtype.as_numpy_dtype).tiny)
