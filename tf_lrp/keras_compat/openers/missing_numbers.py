"""Functions of keras.ops that ignore NaN, written with functions that have a rule."""

from __future__ import annotations

import numpy as np
from keras import ops

from tf_lrp.keras_compat.lengths import is_symbolic
from tf_lrp.keras_compat.openers.registry import opens_function
from tf_lrp.keras_compat.side_effects import Unexplainable


def _replaced(x, value):
    """x with NaN replaced by a value."""
    return ops.where(ops.isnan(x), ops.cast(value, x.dtype), x)


def _numbers_along(x, axis, keepdims):
    """The number of entries that are not NaN."""
    return ops.sum(ops.cast(ops.logical_not(ops.isnan(x)), x.dtype), axis=axis, keepdims=keepdims)


@opens_function("Nansum")
def _nansum(operation, x):
    return ops.sum(_replaced(x, 0), axis=operation.axis, keepdims=operation.keepdims)


@opens_function("Nancumsum")
def _nancumsum(operation, x):
    return ops.cumsum(_replaced(x, 0), axis=operation.axis)


@opens_function("Nanprod")
def _nanprod(operation, x):
    return ops.prod(_replaced(x, 1), axis=operation.axis, keepdims=operation.keepdims)


def _nan_mean(x, axis, keepdims):
    return ops.divide(ops.sum(_replaced(x, 0), axis=axis, keepdims=keepdims), _numbers_along(x, axis, keepdims))


@opens_function("Nanmean")
def _nanmean(operation, x):
    return _nan_mean(x, operation.axis, operation.keepdims)


@opens_function("Nanvar")
def _nanvar(operation, x):
    difference = ops.subtract(x, _nan_mean(x, operation.axis, True))
    return _nan_mean(ops.square(difference), operation.axis, operation.keepdims)


@opens_function("Nanstd")
def _nanstd(operation, x):
    return ops.sqrt(_nanvar(operation, x))


def _extreme(function, least):
    """The largest or smallest number; NaN if all entries are NaN."""

    def opener(operation, x):
        axis, keepdims = operation.axis, operation.keepdims
        extreme = function(_replaced(x, least), axis=axis, keepdims=keepdims)
        none = ops.equal(_numbers_along(x, axis, keepdims), 0)
        return ops.where(none, ops.cast(np.nan, x.dtype), extreme)

    return opener


opens_function("Nanmax")(_extreme(ops.max, -np.inf))
opens_function("Nanmin")(_extreme(ops.min, np.inf))


@opens_function("Nanmedian", "Nanquantile", "Nanpercentile")
def _nan_quantile(operation, *args):
    raise Unexplainable(f"Keras cannot run {type(operation).__name__.lower()} in a graph of TensorFlow, which explanations are")


@opens_function("IsIn")
def _is_in(operation, x1, x2):
    """Whether it equals any of the elements. (Keras's implementation does not run in graphs.)"""
    equal = ops.any(ops.equal(ops.expand_dims(x1, -1), ops.reshape(x2, (-1,))), axis=-1)
    return ops.logical_not(equal) if operation.invert else equal


def _or_else(x, other):
    """x, with NaN replaced by ``other``."""
    constant = not is_symbolic(x) and not np.isnan(ops.convert_to_numpy(x)).any()
    return x if constant else ops.where(ops.isnan(x), other, x)


@opens_function("Fmax")
def _fmax(operation, x1, x2):
    return ops.maximum(_or_else(x1, x2), _or_else(x2, x1))


@opens_function("Fmin")
def _fmin(operation, x1, x2):
    return ops.minimum(_or_else(x1, x2), _or_else(x2, x1))
