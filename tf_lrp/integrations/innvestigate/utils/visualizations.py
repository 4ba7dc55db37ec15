"""Relevance as pictures in iNNvestigate's way: floats in 0..1, scaled by each sample's largest magnitude.

`tf_lrp.heatmap` does more: a neutral colour for exactly zero, overlays, percentiles, files.
"""

from __future__ import annotations

import numpy as np

__all__ = ["batch_flatten", "clip_quantile", "gamma", "graymap", "heatmap", "project"]


def batch_flatten(X):
    """(N, ...) as (N, all the rest)."""
    X = np.asarray(X)
    return X.reshape(len(X), -1)


def project(X, output_range=(0, 1), absmax=None, input_is_positive_only=False):
    """Values in a range: low + (high - low) v, with v = X / absmax, or (X / absmax + 1) / 2 where X has both signs.

    Args:
        X: numbers (N, ...).
        output_range: (low, high).
        absmax: number, or one for each sample; by default each sample's largest magnitude.
        input_is_positive_only: whether X has one sign.

    Returns:
        float64 array shaped like X; what is outside the range is cut off.
    """
    X = np.array(X, np.float64)
    absmax = np.abs(batch_flatten(X)).max(axis=1) if absmax is None else np.asarray(absmax, np.float64)
    absmax = np.where(absmax == 0, 1, absmax)
    X /= absmax.reshape(absmax.shape + (1,) * (X.ndim - 1)) if absmax.ndim else absmax
    X = X if input_is_positive_only else (X + 1) / 2
    low, high = output_range
    return low + (high - low) * X.clip(0, 1)


def heatmap(X, cmap_type="seismic", reduce_op="sum", reduce_axis=-1, alpha_cmap=False, **kwargs):
    """Relevance in colours.

    Args:
        X: (N, H, W, C).
        cmap_type: any colour map of matplotlib.
        reduce_op: over the channels: "sum", or "absmax", the entry of the largest magnitude.
        reduce_axis: axis of the channels.
        alpha_cmap: whether the colours have a fourth channel.
        **kwargs: of `project`.

    Returns:
        float32 array like X with 3 (or 4) channels, in 0..1.
    """
    import matplotlib

    X = np.asarray(X)
    if reduce_op == "sum":
        reduced = X.sum(axis=reduce_axis, dtype=np.float64)
    elif reduce_op == "absmax":
        strongest = np.expand_dims(np.abs(X).argmax(axis=reduce_axis), reduce_axis)
        reduced = np.take_along_axis(X, strongest, axis=reduce_axis).squeeze(reduce_axis)
    else:
        raise ValueError(f'reduce_op is "sum" or "absmax"; got {reduce_op!r}.')
    places = project(reduced, (0, 255), **kwargs).astype(int)
    colours = matplotlib.colormaps[cmap_type](places)
    return np.moveaxis(colours if alpha_cmap else colours[..., :3], -1, reduce_axis).astype(np.float32)


def graymap(X, **kwargs):
    """As `heatmap`, from black to white."""
    return heatmap(X, cmap_type="gray", **kwargs)


def gamma(X, gamma=0.5, minamp=0, maxamp=None):
    """minamp + maxamp sign(X - minamp) (|X - minamp| / maxamp)^gamma: weaker relevance is seen better with gamma < 1.

    Args:
        X: numbers.
        gamma: exponent.
        minamp: the neutral value.
        maxamp: the largest magnitude; by default that of X - minamp.

    Returns:
        Floats shaped like X.
    """
    X = np.asarray(X, np.result_type(X, np.float32)) - minamp
    maxamp = np.abs(X).max() if maxamp is None else maxamp
    return X + minamp if maxamp == 0 else minamp + maxamp * np.sign(X) * (np.abs(X) / maxamp) ** gamma


def clip_quantile(X, quantile=1):
    """X with what is below its lower and above its upper percentile put there.

    Args:
        X: numbers.
        quantile: lower percentile (the upper one is as far from 100), or both.
    """
    low, high = quantile if isinstance(quantile, (list, tuple)) else (quantile, 100 - quantile)
    return np.clip(X, np.percentile(X, low), np.percentile(X, high))
