"""Maps of activations, kernels and biases: plain functions, so that terms can be read and compared.

TensorFlow is imported where it computes: presets can be listed, read and written without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def identity(t):
    return t


def positive(t):
    import tensorflow as tf

    return tf.nn.relu(t)


def negative(t):
    import tensorflow as tf

    return tf.minimum(t, 0)


def square(t):
    import tensorflow as tf

    return tf.square(t)


def ones(t):
    import tensorflow as tf

    return tf.ones_like(t)


@dataclass(frozen=True)
class AddGamma:
    """t + gamma t+ or t + gamma t-.

    Attributes:
        gamma: float.
        part: `positive` or `negative`.
    """

    gamma: float
    part: Callable

    def __call__(self, t):
        return t + self.gamma * self.part(t)


def split_by_sign(of_positive, of_negative, nonnegative):
    """The parts of a term that maps the weights of positive and negative activations differently.

    Args:
        of_positive, of_negative: maps of the weights of positive and of negative activations.
        nonnegative: whether the activations are known to be >= 0, so that a = a+.

    Returns:
        Pairs (activation map, kernel map).
    """
    if nonnegative:
        return ((identity, of_positive),)
    return ((positive, of_positive), (negative, of_negative))
