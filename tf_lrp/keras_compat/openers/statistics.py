"""Statistics of keras.ops, written with functions that have a rule: var(x) is the mean of a squared difference.

Their relevance is the same as if the model's author had written them so.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tf_lrp.keras_compat.lengths import is_symbolic
from tf_lrp.keras_compat.openers.registry import opens_function
from tf_lrp.keras_compat.side_effects import Unexplainable


@opens_function("Average")
def _average(operation, x, weights=None):
    """sum(w x) / sum(w)"""
    if weights is None:
        return ops.mean(x, axis=operation.axis)
    weights = weights if is_symbolic(weights) else ops.convert_to_tensor(weights, x.dtype)
    if len(weights.shape) < len(x.shape):  # one weight for each entry along the axis
        axis = operation.axis % len(x.shape)
        weights = ops.reshape(weights, [-1 if a == axis else 1 for a in range(len(x.shape))])
    total = ops.sum(ops.broadcast_to(weights, ops.shape(x)), axis=operation.axis)
    return ops.divide(ops.sum(ops.multiply(x, weights), axis=operation.axis), total)


@opens_function("Diff")
def _diff(operation, x):
    """x[1:] - x[:-1] along the axis, n times over."""
    axis = operation.axis % len(x.shape)
    before = (slice(None),) * axis
    for _ in range(operation.n):
        x = ops.subtract(x[(*before, slice(1, None))], x[(*before, slice(None, -1))])
    return x


@opens_function("Trapezoid")
def _trapezoid(operation, y):
    """sum(1/2 (y[1:] + y[:-1]) dx)"""
    axis = operation.axis % len(y.shape)
    before = (slice(None),) * axis
    width = operation.dx
    if operation.x is not None:
        if is_symbolic(operation.x):
            raise Unexplainable("keras.ops.trapezoid has no relevance rule where the places depend on the inputs")
        places = np.asarray(operation.x)
        width = np.diff(places) if places.ndim == 1 else np.diff(places, axis=axis)
        if places.ndim == 1:
            width = width.reshape([-1 if a == axis else 1 for a in range(len(y.shape))])
        width = width.astype(y.dtype)
    heights = ops.add(y[(*before, slice(1, None))], y[(*before, slice(None, -1))])
    return ops.sum(ops.multiply(heights, 0.5 * width), axis=axis)


def _variance(x, axis, keepdims):
    return ops.mean(ops.square(ops.subtract(x, ops.mean(x, axis=axis, keepdims=True))), axis=axis, keepdims=keepdims)


@opens_function("Var")
def _var(operation, x):
    return _variance(x, operation.axis, operation.keepdims)


@opens_function("Std")
def _std(operation, x):
    return ops.sqrt(_variance(x, operation.axis, operation.keepdims))


@opens_function("Moments")
def _moments(operation, x):
    axes, keepdims = operation.axes, operation.keepdims
    return ops.mean(x, axis=axes, keepdims=keepdims), _variance(x, axes, keepdims)


@opens_function("Ptp")
def _ptp(operation, x):
    axis, keepdims = operation.axis, operation.keepdims
    return ops.subtract(ops.max(x, axis=axis, keepdims=keepdims), ops.min(x, axis=axis, keepdims=keepdims))


@opens_function("Norm")
def _norm(operation, x):
    """Norms of vectors, and the Frobenius norm of matrices."""
    axis, order, keepdims = operation.axis, operation.ord, operation.keepdims
    axes = list(range(len(x.shape))) if axis is None else [a % len(x.shape) for a in axis]
    if order == "fro" or (order is None) or (order == 2 and len(axes) == 1):
        return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=keepdims))
    if len(axes) > 1 or isinstance(order, str) or order == 0:
        raise Unexplainable(f"keras.ops.norm of the order {order!r} over {len(axes)} axes has no relevance rule")
    if order in (np.inf, -np.inf):
        extreme = ops.max if order > 0 else ops.min
        return extreme(ops.abs(x), axis=axes, keepdims=keepdims)
    total = ops.sum(ops.abs(x) if order == 1 else ops.power(ops.abs(x), order), axis=axes, keepdims=keepdims)
    return total if order == 1 else ops.power(total, 1 / order)


@opens_function("CDist")
def _cdist(operation, x, y):
    """sqrt(sum((x - y)^2)) of each pair of rows."""
    difference = ops.subtract(ops.expand_dims(x, -2), ops.expand_dims(y, -3))
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1))


@opens_function("Hypot")
def _hypot(operation, x1, x2):
    return ops.sqrt(ops.add(ops.square(x1), ops.square(x2)))


@opens_function("Prod")
def _prod(operation, x):
    """The factors along one axis of known length, which share relevance like those of any product."""
    axis = operation.axis
    if axis is None or len(axis) != 1 or x.shape[axis[0]] is None:
        raise Unexplainable("keras.ops.prod has a relevance rule along one axis of known length alone")
    factors = ops.unstack(x, axis=axis[0])
    product = keras.layers.Multiply(dtype=x.dtype)(factors) if len(factors) > 1 else factors[0]
    return ops.expand_dims(product, axis[0] % len(x.shape)) if operation.keepdims else product


@opens_function("Vander")
def _vander(operation, x):
    count = x.shape[-1] if operation.N is None else operation.N
    if count is None:
        raise Unexplainable("keras.ops.vander has a relevance rule for a known number of columns alone")
    powers = range(count) if operation.increasing else reversed(range(count))
    return ops.stack([ops.power(x, n) for n in powers], axis=-1)
