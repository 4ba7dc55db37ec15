"""Pooling, and sums, means, products and extremes along axes."""

from __future__ import annotations

import numpy as np
from keras import layers, ops

from tf_lrp.keras_compat.own_layers import LocalResponseNormalization
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import add, replays
from tf_lrp.keras_compat.tensorflow_graphs.values import as_list, is_tensor


def _pooling(node, x, kind, size=None, strides=None):
    """A pooling layer of Keras with the windows of the operation."""
    size, strides = node.attr("ksize", size), node.attr("strides", strides)
    first = node.attr("data_format", "NHWC").startswith("NC")
    inner = slice(2, None) if first else slice(1, -1)
    size, strides = (list(map(int, v)) for v in (size, strides))
    if size[0] != 1 or size[1 if first else -1] != 1:
        raise Unexplainable("it pools over channels or samples, which has no rule")
    padding = node.attr("padding", "VALID").lower()
    if padding not in ("same", "valid"):
        raise Unexplainable(f"it pools with the padding {padding!r}, which has no rule")
    layer = getattr(layers, f"{kind}Pooling{len(size) - 2}D")
    options = {"padding": padding, "data_format": "channels_first" if first else "channels_last", "dtype": x.dtype}
    return layer(tuple(size[inner]), tuple(strides[inner]), **options)(x)


add(("MaxPool", "MaxPool3D"), lambda node, x: _pooling(node, x, "Max"))
add(("MaxPoolV2",), lambda node, x, size, strides: _pooling(node, x, "Max", size, strides))
add(("AvgPool", "AvgPool3D"), lambda node, x: _pooling(node, x, "Average"))


def _axes(x, axes):
    """Axes of a reduction, from 0, in order; none means that nothing is reduced."""
    if is_tensor(axes):
        raise Unexplainable("the axes along which it reduces depend on what the graph computes")
    return tuple(sorted(axis % len(x.shape) for axis in as_list(axes)))


def _reduced(function):
    def reduction(node, x, axes):
        axes = _axes(x, axes)
        return function(x, axis=axes, keepdims=node.attr("keep_dims", False)) if axes else x

    return reduction


for name, function in {"Sum": ops.sum, "Max": ops.max, "Min": ops.min, "All": ops.all, "Any": ops.any}.items():
    add((name,), _reduced(function))


@replays("Mean")
def _mean(node, x, axes):
    """Over all positions, it is global average pooling."""
    axes, keepdims = _axes(x, axes), node.attr("keep_dims", False)
    rank = len(x.shape)
    for data_format, positions in (("channels_last", range(1, rank - 1)), ("channels_first", range(2, rank))):
        if 3 <= rank <= 5 and axes == tuple(positions) and (data_format == "channels_last" or rank > 3):
            pooling = getattr(layers, f"GlobalAveragePooling{rank - 2}D")
            return pooling(data_format=data_format, keepdims=keepdims, dtype=x.dtype)(x)
    return ops.mean(x, axis=axes, keepdims=keepdims) if axes else x


@replays("Prod")
def _prod(node, x, axes):
    for axis in reversed(_axes(x, axes)):
        x = ops.prod(x, axis=axis, keepdims=node.attr("keep_dims", False))
    return x


@replays("Cumsum")
def _cumulative_sum(node, x, axis):
    axis = int(np.ravel(axis)[0])
    x = ops.flip(x, axis=axis) if node.attr("reverse", False) else x
    if node.attr("exclusive", False):
        axis %= len(x.shape)
        before = (slice(None),) * axis
        shifted = x[(*before, slice(None, -1))]
        x = ops.pad(shifted, [[int(a == axis), 0] for a in range(len(x.shape))])
    total = ops.cumsum(x, axis=axis)
    return ops.flip(total, axis=axis) if node.attr("reverse", False) else total


@replays("LRN")
def _local_response_normalization(node, x):
    """x / (bias + alpha sum of the squares of channels around)^beta"""
    options = {name: node.attr(name, default) for name, default in (("alpha", 1.0), ("beta", 0.5))}
    layer = LocalResponseNormalization(node.attr("depth_radius", 5), k=node.attr("bias", 1.0), dtype=x.dtype, **options)
    return layer(x)
