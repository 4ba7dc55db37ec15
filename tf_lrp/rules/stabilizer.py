"""Stabilizers keep a denominator z away from zero."""

from __future__ import annotations

import numbers
import sys
from dataclasses import dataclass

import numpy as np


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
        TypeError: if ``epsilon`` is not a number, or ``clip`` or ``norm_scale`` not a bool.
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

    def __call__(self, z):
        """The stabilized denominator: same shape and type as ``z``; 0 only where z vanishes and epsilon does too."""
        return _floored(self, self._moved(z))

    def divide(self, relevance, z):
        """relevance / stabilized z, and 0 where the stabilized z is 0; ``relevance`` and ``z`` are tensors of one shape."""
        return divide_stable(self, relevance, self._moved(z))

    def _moved(self, z):
        if not self.epsilon:
            return z
        import tensorflow as tf

        epsilon = margin(self, z)
        if self.clip:
            return tf.where(z < 0, tf.minimum(z, -epsilon), tf.maximum(z, epsilon))
        return z + tf.where(z < 0, -epsilon, epsilon)


def margin(stabilizer, z, sign=1):
    """sign * epsilon of a stabilizer for a denominator z, as a tensor that broadcasts against it."""
    import tensorflow as tf

    epsilon = tf.constant(sign * stabilizer.epsilon, z.dtype)  # tf.cast would round it to float32 on the way to float64
    if stabilizer.norm_scale:
        epsilon *= tf.sqrt(tf.reduce_mean(z**2, axis=list(range(1, z.shape.rank)), keepdims=True))
    return epsilon


def divide_stable(stabilizer, relevance, stable):
    """relevance / stable, for a denominator that the stabilizer has moved away from zero already; 0 where it is still 0."""
    if never_zero(stabilizer, stable.dtype):
        return relevance / stable
    import tensorflow as tf

    return tf.math.divide_no_nan(relevance, _floored(stabilizer, stable))


def _floored(stabilizer, stable):
    if never_zero(stabilizer, stable.dtype):
        return stable
    import tensorflow as tf

    return tf.where(tf.abs(stable) < floor(stable.dtype), tf.zeros((), stable.dtype), stable)


def never_zero(stabilizer, dtype):
    """Whether a stabilizer's epsilon alone keeps every denominator above the `floor`."""
    return stabilizer.epsilon >= floor(dtype) and not stabilizer.norm_scale


def floor(dtype):
    """The smallest size of a denominator that counts: below it R / z could overflow, and infinity times 0 is NaN."""
    return np.sqrt(np.finfo(dtype.as_numpy_dtype).tiny)
