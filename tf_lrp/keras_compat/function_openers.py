"""How functions of keras.ops open that have no rule of their own: each written out in functions that have one.

Relevance is then what it would be had the model's author written them out: var(x) is the mean of a squared difference.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import re

import keras
import numpy as np
from keras import ops, tree

from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import ComplexPart, Gated
from tf_lrp.keras_compat.side_effects import Unexplainable

#: class of a layer or operation -> (function (operation, *args, **kwargs) -> outputs, which operations it is for).
OPENERS = {}


def opens(*classes, when=lambda operation: True):
    """Decorator: operations of these classes are opened by the decorated function."""

    def register(function):
        for opened in classes:
            OPENERS[opened] = function, when
        return function

    return register


def _opens(*names, when=lambda operation: True):
    return opens(*internals.operation_classes(*names), when=when)


# -- sums and statistics ------------------------------------------------------------------------------------------------


@_opens("Average")
def _average(operation, x, weights=None):
    """sum(w x) / sum(w)"""
    if weights is None:
        return ops.mean(x, axis=operation.axis)
    weights = weights if internals.is_symbolic(weights) else ops.convert_to_tensor(weights, x.dtype)
    if len(weights.shape) < len(x.shape):  # one weight for each entry along the axis
        axis = operation.axis % len(x.shape)
        weights = ops.reshape(weights, [-1 if a == axis else 1 for a in range(len(x.shape))])
    total = ops.sum(ops.broadcast_to(weights, ops.shape(x)), axis=operation.axis)
    return ops.divide(ops.sum(ops.multiply(x, weights), axis=operation.axis), total)


@_opens("Diff")
def _diff(operation, x):
    """x[1:] - x[:-1] along the axis, n times over."""
    axis = operation.axis % len(x.shape)
    before = (slice(None),) * axis
    for _ in range(operation.n):
        x = ops.subtract(x[(*before, slice(1, None))], x[(*before, slice(None, -1))])
    return x


@_opens("Trapezoid")
def _trapezoid(operation, y):
    """sum(1/2 (y[1:] + y[:-1]) dx)"""
    axis = operation.axis % len(y.shape)
    before = (slice(None),) * axis
    width = operation.dx
    if operation.x is not None:
        if internals.is_symbolic(operation.x):
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


@_opens("Var")
def _var(operation, x):
    return _variance(x, operation.axis, operation.keepdims)


@_opens("Std")
def _std(operation, x):
    return ops.sqrt(_variance(x, operation.axis, operation.keepdims))


@_opens("Moments")
def _moments(operation, x):
    axes, keepdims = operation.axes, operation.keepdims
    return ops.mean(x, axis=axes, keepdims=keepdims), _variance(x, axes, keepdims)


@_opens("Ptp")
def _ptp(operation, x):
    axis, keepdims = operation.axis, operation.keepdims
    return ops.subtract(ops.max(x, axis=axis, keepdims=keepdims), ops.min(x, axis=axis, keepdims=keepdims))


@_opens("Norm")
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


@_opens("CDist")
def _cdist(operation, x, y):
    """sqrt(sum((x - y)^2)) of each pair of rows."""
    difference = ops.subtract(ops.expand_dims(x, -2), ops.expand_dims(y, -3))
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1))


@_opens("Hypot")
def _hypot(operation, x1, x2):
    return ops.sqrt(ops.add(ops.square(x1), ops.square(x2)))


@_opens("Prod")
def _prod(operation, x):
    """The factors along one axis of known length, which share as the factors of any product do."""
    axis = operation.axis
    if axis is None or len(axis) != 1 or x.shape[axis[0]] is None:
        raise Unexplainable("keras.ops.prod has a relevance rule along one axis of known length alone")
    factors = ops.unstack(x, axis=axis[0])
    product = keras.layers.Multiply(dtype=x.dtype)(factors) if len(factors) > 1 else factors[0]
    return ops.expand_dims(product, axis[0] % len(x.shape)) if operation.keepdims else product


@_opens("Vander")
def _vander(operation, x):
    count = x.shape[-1] if operation.N is None else operation.N
    if count is None:
        raise Unexplainable("keras.ops.vander has a relevance rule for a known number of columns alone")
    powers = range(count) if operation.increasing else reversed(range(count))
    return ops.stack([ops.power(x, n) for n in powers], axis=-1)


# -- without what is no number ------------------------------------------------------------------------------------------


def _replaced(x, value):
    """x with a value in place of what is no number."""
    return ops.where(ops.isnan(x), ops.cast(value, x.dtype), x)


def _numbers_along(x, axis, keepdims):
    """How many entries are numbers."""
    return ops.sum(ops.cast(ops.logical_not(ops.isnan(x)), x.dtype), axis=axis, keepdims=keepdims)


@_opens("Nansum")
def _nansum(operation, x):
    return ops.sum(_replaced(x, 0), axis=operation.axis, keepdims=operation.keepdims)


@_opens("Nancumsum")
def _nancumsum(operation, x):
    return ops.cumsum(_replaced(x, 0), axis=operation.axis)


@_opens("Nanprod")
def _nanprod(operation, x):
    return ops.prod(_replaced(x, 1), axis=operation.axis, keepdims=operation.keepdims)


def _nan_mean(x, axis, keepdims):
    return ops.divide(ops.sum(_replaced(x, 0), axis=axis, keepdims=keepdims), _numbers_along(x, axis, keepdims))


@_opens("Nanmean")
def _nanmean(operation, x):
    return _nan_mean(x, operation.axis, operation.keepdims)


@_opens("Nanvar")
def _nanvar(operation, x):
    difference = ops.subtract(x, _nan_mean(x, operation.axis, True))
    return _nan_mean(ops.square(difference), operation.axis, operation.keepdims)


@_opens("Nanstd")
def _nanstd(operation, x):
    return ops.sqrt(_nanvar(operation, x))


def _extreme(function, least):
    """The largest or smallest number; where there is none, what is no number stays."""

    def opener(operation, x):
        axis, keepdims = operation.axis, operation.keepdims
        found = function(_replaced(x, least), axis=axis, keepdims=keepdims)
        none = ops.equal(_numbers_along(x, axis, keepdims), 0)
        return ops.where(none, ops.cast(np.nan, x.dtype), found)

    return opener


_opens("Nanmax")(_extreme(ops.max, -np.inf))
_opens("Nanmin")(_extreme(ops.min, np.inf))


@_opens("Nanmedian", "Nanquantile", "Nanpercentile")
def _nan_quantile(operation, *args):
    raise Unexplainable(f"Keras cannot run {type(operation).__name__.lower()} in a graph of TensorFlow, which explanations are")


@_opens("IsIn")
def _is_in(operation, x1, x2):
    """Whether it equals any of the elements. (Keras's own way runs in no graph.)"""
    found = ops.any(ops.equal(ops.expand_dims(x1, -1), ops.reshape(x2, (-1,))), axis=-1)
    return ops.logical_not(found) if operation.invert else found


def _or_else(x, other):
    """x, and the other where x is no number."""
    constant = not internals.is_symbolic(x) and not np.isnan(ops.convert_to_numpy(x)).any()
    return x if constant else ops.where(ops.isnan(x), other, x)


@_opens("Fmax")
def _fmax(operation, x1, x2):
    return ops.maximum(_or_else(x1, x2), _or_else(x2, x1))


@_opens("Fmin")
def _fmin(operation, x1, x2):
    return ops.minimum(_or_else(x1, x2), _or_else(x2, x1))


# -- parts of networks --------------------------------------------------------------------------------------------------


@_opens("Glu")
def _glu(operation, x):
    """signal sigmoid(gate)"""
    signal, gate = ops.split(x, 2, axis=operation.axis)
    return Gated()(signal, ops.sigmoid(gate))


@_opens("SeparableConv")
def _separable_conv(operation, inputs, depthwise_kernel, pointwise_kernel):
    geometry = {name: getattr(operation, name) for name in ("strides", "padding", "data_format", "dilation_rate")}
    between = ops.depthwise_conv(inputs, depthwise_kernel, **geometry)
    return ops.conv(between, pointwise_kernel, strides=1, padding="valid", data_format=operation.data_format)


@_opens("AdaptiveAveragePool", "AdaptiveMaxPool")
def _adaptive_pool(operation, inputs):
    """By the layer, which knows the shape of what it returns. (Keras's operation does not.)"""
    kind = type(operation).__name__.removesuffix("Pool")
    layer = getattr(keras.layers, f"{kind}Pooling{len(inputs.shape) - 2}D")
    return layer(operation.output_size, data_format=operation.data_format, dtype=inputs.dtype)(inputs)


@_opens("BatchNorm")
def _batch_normalization(operation, x, mean, variance, offset=None, scale=None):
    """With statistics of the batch: (x - mean) scale / sqrt(variance + epsilon) + offset."""
    axis = operation.axis % len(x.shape)

    def against_x(vector):
        return ops.reshape(vector, [-1 if a == axis else 1 for a in range(len(x.shape))])

    inverse = against_x(ops.rsqrt(ops.add(variance, operation.epsilon)))
    y = ops.multiply(ops.subtract(x, against_x(mean)), inverse)
    y = y if scale is None else ops.multiply(y, against_x(scale))
    return y if offset is None else ops.add(y, against_x(offset))


@_opens("ExtractPatches", when=lambda operation: operation.padding != operation.padding.lower())
def _extract_patches(operation, images):
    """With the padding spelled as Keras needs it to tell the shape."""
    geometry = {name: getattr(operation, name) for name in ("strides", "dilation_rate", "data_format")}
    extract = ops.image.extract_patches_3d if operation.is_3d else ops.image.extract_patches
    return extract(images, operation.size, padding=operation.padding.lower(), **geometry)


@_opens("ScatterUpdate", when=lambda operation: operation.reduction == "mul")
def _scatter_product(operation, inputs, indices, updates):
    raise Unexplainable('keras.ops.scatter_update(reduction="mul") has no relevance rule')


@_opens("Quantile", when=lambda operation: operation.method != "linear")
def _quantile(operation, x, q):
    # Its operation leaves the method out, so that a functional model and a layer's call compute different numbers.
    raise Unexplainable(
        f"Keras computes keras.ops.quantile(method={operation.method!r}) by interpolation in some models and not in others; "
        "keras.ops.percentile is explained under every method"
    )


@_opens("View", when=lambda operation: operation.dtype is not None)
def _view(operation, x):
    """What has the type already."""
    if keras.backend.standardize_dtype(operation.dtype) != x.dtype:
        raise Unexplainable("keras.ops.view takes the bits of a number for another number, which has no relevance rule")
    return x


@_opens("Rearrange")
def _rearrange(operation, tensor, pattern, **lengths):
    """Split into axes of one name each, brought into order, and merged; lengths may be unknown until the graph runs."""
    groups, results = [[part.strip("()").split() for part in re.findall(r"\(.*?\)|\S+", side)] for side in pattern.split("->")]
    lengths = dict(lengths)
    for names, length in zip(groups, ops.shape(tensor), strict=True):
        missing = [name for name in names if name not in lengths]
        given = math.prod(lengths[name] for name in names if name in lengths)
        if missing:
            (name,) = missing
            if given > 1:
                length = ops.floor_divide(length, given) if internals.is_symbolic(length) else length // given
            lengths[name] = length
    before = [name for names in groups for name in names]
    after = [name for names in results for name in names]
    split = ops.reshape(tensor, [lengths[name] for name in before])
    ordered = ops.transpose(split, [before.index(name) for name in after])
    return ops.reshape(ordered, [functools.reduce(operator.mul, [lengths[name] for name in names], 1) for names in results])


# -- complex numbers ----------------------------------------------------------------------------------------------------


@_opens("FFT", "FFT2", "IFFT2", "RFFT", "STFT")
def _complex_results(operation, x):
    """The real and the imaginary part, each a linear function of its own."""
    return tuple(ComplexPart(operation, part)(x) for part in (0, 1))


def _of_real(function):
    """A function that takes complex numbers, of a real one."""

    def opener(operation, x):
        if "complex" in x.dtype:
            raise Unexplainable(_COMPLEX)
        return function(x)

    return opener


_COMPLEX = "complex tensors have no relevance rule; the pairs (real, imaginary) of keras.ops.fft and its kin have one"
_opens("Real", "Conj", "Conjugate")(_of_real(lambda x: x))
_opens("Imag")(_of_real(ops.zeros_like))
_opens("Angle")(_of_real(lambda x: ops.multiply(ops.cast(ops.less(x, 0), x.dtype), np.pi)))


@_opens("ViewAsComplex", "ViewAsReal", "Polar")
def _complex(operation, *args):
    raise Unexplainable(_COMPLEX)


# -- control flow ---------------------------------------------------------------------------------------------------------


def _length(xs, axis=0):
    lengths = {leaf.shape[axis] for leaf in tree.flatten(xs)}
    if None in lengths:
        raise Unexplainable("it runs over an axis whose length is unknown, and is explained by being written out step by step")
    return next(iter(lengths))


def _entry(xs, n):
    return tree.map_structure(lambda x: x[n], xs)


def _stacked(steps):
    return tree.map_structure(lambda *leaves: ops.stack(leaves, axis=0), *steps)


def _map(function, xs):
    return _stacked([function(_entry(xs, n)) for n in range(_length(xs))])


@_opens("Map")
def _mapped(operation, f, xs):
    return _map(f, xs)


@_opens("VectorizedMap")
def _vectorized_map(operation, elements):
    return _map(operation.function, elements)


@_opens("Scan")
def _scan(operation, f, init, xs=None):
    length = _length(xs) if operation.length is None else int(operation.length)
    carry, results = init, {}
    for n in reversed(range(length)) if operation.reverse else range(length):
        carry, results[n] = f(carry, None if xs is None else _entry(xs, n))
    return carry, _stacked([results[n] for n in range(length)])


@_opens("AssociativeScan")
def _associative_scan(operation, f, elems):
    axis = operation.axis
    length = _length(elems, axis)

    def at(n):
        def entry(x):
            return x[(*(slice(None),) * (axis % len(x.shape)), slice(n, n + 1))]

        return tree.map_structure(entry, elems)

    order = list(reversed(range(length)) if operation.reverse else range(length))
    results = {order[0]: at(order[0])}
    for before, n in itertools.pairwise(order):
        results[n] = tree.pack_sequence_as(elems, tree.flatten(f(results[before], at(n))))
    return tree.map_structure(lambda *leaves: ops.concatenate(leaves, axis=axis), *[results[n] for n in range(length)])


@_opens("ForiLoop")
def _fori_loop(operation, init_val):
    if internals.is_symbolic((operation.lower, operation.upper)):
        raise Unexplainable("it runs a number of steps that is unknown, and is explained by being written out step by step")
    state = init_val
    for n in range(int(operation.lower), int(operation.upper)):
        state = operation.body_fun(n, state)
    return state


@_opens("WhileLoop")
def _while_loop(operation, loop_vars):
    raise Unexplainable("it runs a number of steps that depends on what it computes, and so cannot be written out step by step")


def _chosen(condition, yes, no):
    return tree.map_structure(lambda a, b: ops.where(condition, a, b), yes, no)


@_opens("Cond")
def _cond(operation, pred, true_fn, false_fn):
    """Both branches, of which relevance goes to the one that was chosen."""
    if not internals.is_symbolic(pred):
        return true_fn() if pred else false_fn()
    return _chosen(pred, true_fn(), false_fn())


@_opens("Switch")
def _switch(operation, index, branches, *operands):
    results = [branch(*operands) for branch in branches]
    if not internals.is_symbolic(index):
        return results[min(max(int(index), 0), len(results) - 1)]
    return functools.reduce(
        lambda chosen, n: _chosen(ops.less_equal(index, n), results[n], chosen), reversed(range(len(results) - 1)), results[-1]
    )
