"""Similarity of two explanations.

All functions take two maps (N, ...) of the same shape, arrays or tensors, and return a float64 tensor (N,); they are pure
TensorFlow and work inside ``tf.function``. Scaling a map by a positive number changes nothing. For maps with NaN or infinite
values the similarity is NaN.
"""

from __future__ import annotations

import tensorflow as tf

#: Edge of SSIM's window, and the standard deviation of its Gaussian, in pixels (Wang et al. 2004).
_WINDOW, _DEVIATION = 11, 1.5


def pearson(a, b):
    """r = sum_i (a_i - mean a)(b_i - mean b) / (N s_a s_b), over all elements of a sample.

    Args:
        a, b: maps (N, ...).

    Returns:
        (N,) in -1..1; NaN where a map is constant, because its variance is 0.

    Raises:
        ValueError: the shapes differ.
    """
    return _correlation(*_flat(a, b))


def rank_correlation(a, b):
    """Spearman's rho: `pearson` of the ranks, where equal values get the mean of their ranks.

    Args:
        a, b: maps (N, ...).

    Returns:
        (N,) in -1..1; NaN where a map is constant.

    Raises:
        ValueError: the shapes differ.

    Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    a, b = _flat(a, b)
    finite = tf.reduce_all(tf.math.is_finite(a) & tf.math.is_finite(b), axis=1)
    return _or_nan(finite, _correlation(_ranks(a), _ranks(b)))


def ssim(a, b, *, signed=True):
    """Structural similarity of the maps, scaled to 0..1 as (1 + R / max|R|) / 2, so that zero relevance becomes 1/2.

    Means, variances and covariance are those of a Gaussian window of 11 x 11 pixels (standard deviation 1.5), or of the largest
    odd size that fits; C1 = 0.01^2, C2 = 0.03^2. SSIM is averaged over all windows inside the map, and over channels.

    Args:
        a, b: maps (N, H, W) or (N, H, W, C).
        signed: whether the sign counts; otherwise maps are scaled to 0..1 as |R| / max|R|.

    Returns:
        (N,) in -1..1; 1 for equal maps. It is defined for constant maps as well; a map of zeros becomes 1/2 everywhere.

    Raises:
        ValueError: the shapes differ, or are not those of pictures.

    Sources:
        Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
        Adebayo et al. 2018, "Sanity checks for saliency maps".
    """
    a, b = _pair(a, b)
    if a.shape.rank == 3:
        a, b = a[..., tf.newaxis], b[..., tf.newaxis]
    if a.shape.rank != 4 or None in a.shape[1:3]:
        raise ValueError(f"SSIM compares maps (N, H, W) or (N, H, W, C) of known size; got shape {tuple(a.shape)}.")
    window = min(_WINDOW, *a.shape[1:3])
    window -= 1 - window % 2
    finite = tf.reduce_all(tf.math.is_finite(a) & tf.math.is_finite(b), axis=(1, 2, 3))
    a, b = (tf.cast(_in_range(r, signed), tf.float32) for r in (a, b))
    similarity = tf.image.ssim(a, b, max_val=1.0, filter_size=window, filter_sigma=_DEVIATION)
    return _or_nan(finite, tf.cast(similarity, tf.float64))


#: Name -> function, for the measures that compare maps.
SIMILARITIES = {"pearson": pearson, "rank": rank_correlation, "ssim": ssim}


def _pair(a, b):
    a, b = (tf.cast(r, tf.float64) for r in (a, b))
    if a.shape.rank in (None, 0) or not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"Two sets of maps need the same shape (N, ...); got {tuple(a.shape)} and {tuple(b.shape)}.")
    return a, b


def _flat(a, b):
    a, b = _pair(a, b)
    elements = tf.reduce_prod(tf.shape(a)[1:])
    return tf.reshape(a, [-1, elements]), tf.reshape(b, [-1, elements])


def _correlation(a, b):
    # `_centred` divides by the largest value: squares of tiny or huge relevance would underflow or overflow.
    (a, a_varies), (b, b_varies) = _centred(a), _centred(b)
    moments = tf.reduce_sum(a * b, 1), tf.reduce_sum(a**2, 1), tf.reduce_sum(b**2, 1)
    correlation = tf.clip_by_value(moments[0] / tf.sqrt(moments[1] * moments[2]), -1, 1)
    return _or_nan(a_varies & b_varies, correlation)


def _centred(a):
    """(deviations from the mean, divided by the largest value; whether the values differ at all)."""
    # The values themselves are compared: the mean of equal values may differ from them by rounding.
    varies = tf.reduce_max(a, axis=1) > tf.reduce_min(a, axis=1)
    a = tf.math.divide_no_nan(a, tf.reduce_max(tf.abs(a), axis=1, keepdims=True))
    return a - tf.reduce_mean(a, axis=1, keepdims=True), varies


def _ranks(a):
    """Ranks from 0; equal values get their mean rank: (number of smaller values + number of not larger values - 1) / 2."""
    ordered = tf.sort(a, axis=1)
    smaller, not_larger = (tf.searchsorted(ordered, a, side=side) for side in ("left", "right"))
    return tf.cast(smaller + not_larger - 1, a.dtype) / 2


def _in_range(r, signed):
    r = tf.math.divide_no_nan(r, tf.reduce_max(tf.abs(r), axis=(1, 2, 3), keepdims=True))
    return (1 + r) / 2 if signed else tf.abs(r)


def _or_nan(defined, values):
    return tf.where(defined, values, tf.constant(float("nan"), values.dtype))
