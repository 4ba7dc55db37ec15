"""Complexity: whether the relevance is concentrated on few elements or spread over all.

All functions take relevance (N, ...), arrays or tensors, and return a float64 tensor (N,); they are pure TensorFlow and work
inside ``tf.function``. All n elements of a sample count separately: sum pictures over their channels first to count pixels.
The measures depend on |R| up to its scale. For a map that is zero everywhere they are NaN.
"""

from __future__ import annotations

import tensorflow as tf


def sparseness(relevance):
    """Gini index of |R|: sum_i (2 i - n - 1) |R|_(i) / (n sum_i |R|_(i)), with |R|_(1) <= ... <= |R|_(n).

    Args:
        relevance: (N, ...).

    Returns:
        (N,) from 0, all elements equal, to (n - 1) / n, all relevance on one element.

    Sources:
        Hurley and Rickard 2009, "Comparing measures of sparsity".
        Chalasani et al. 2020, "Concise explanations of neural networks using adversarial training".
    """
    shares = tf.sort(_shares(relevance), axis=1)
    n = tf.cast(tf.shape(shares)[1], shares.dtype)
    places = tf.range(1, n + 1, dtype=shares.dtype)
    return tf.reduce_sum((2 * places - n - 1) * shares, axis=1) / n


def complexity(relevance):
    """Entropy of the shares p_i = |R_i| / sum_j |R_j|: -sum_i p_i ln p_i, in nats.

    Args:
        relevance: (N, ...).

    Returns:
        (N,) from 0, all relevance on one element, to ln n, all elements equal. Its exponential is an effective number of
        elements.

    Source: Bhatt et al. 2020, "Evaluating and aggregating feature-based model explanations".
    """
    shares = _shares(relevance)
    return -tf.reduce_sum(tf.math.xlogy(shares, shares), axis=1)


def _shares(relevance):
    sizes = tf.abs(tf.cast(relevance, tf.float64))
    if sizes.shape.rank in (None, 0):
        raise ValueError(f"Relevance needs a shape (N, ...); got {sizes.shape}.")
    sizes = tf.reshape(sizes, [-1, tf.reduce_prod(tf.shape(sizes)[1:])])
    # Divided by the largest first: a sum of huge values may overflow, one of tiny values may lose digits.
    sizes = sizes / tf.reduce_max(sizes, axis=1, keepdims=True)
    return sizes / tf.reduce_sum(sizes, axis=1, keepdims=True)
