"""Parts of networks, and Fourier transforms, of keras.ops, written with functions that have a rule."""

from __future__ import annotations

import functools
import math
import operator
import re

import keras
import numpy as np
from keras import ops

from tf_lrp.keras_compat.lengths import is_symbolic
from tf_lrp.keras_compat.openers.registry import opens_function
from tf_lrp.keras_compat.own_operations import ComplexPart, Gated
from tf_lrp.keras_compat.side_effects import Unexplainable


@opens_function("Glu")
def _glu(operation, x):
    """signal sigmoid(gate)"""
    signal, gate = ops.split(x, 2, axis=operation.axis)
    return Gated()(signal, ops.sigmoid(gate))


@opens_function("SeparableConv")
def _separable_conv(operation, inputs, depthwise_kernel, pointwise_kernel):
    geometry = {name: getattr(operation, name) for name in ("strides", "padding", "data_format", "dilation_rate")}
    between = ops.depthwise_conv(inputs, depthwise_kernel, **geometry)
    return ops.conv(between, pointwise_kernel, strides=1, padding="valid", data_format=operation.data_format)


@opens_function("AdaptiveAveragePool", "AdaptiveMaxPool")
def _adaptive_pool(operation, inputs):
    """By the layer, which infers the shape of its output. (Keras's operation does not.)"""
    kind = type(operation).__name__.removesuffix("Pool")
    layer = getattr(keras.layers, f"{kind}Pooling{len(inputs.shape) - 2}D")
    return layer(operation.output_size, data_format=operation.data_format, dtype=inputs.dtype)(inputs)


@opens_function("BatchNorm")
def _batch_normalization(operation, x, mean, variance, offset=None, scale=None):
    """With statistics of the batch: (x - mean) scale / sqrt(variance + epsilon) + offset."""
    axis = operation.axis % len(x.shape)

    def against_x(vector):
        return ops.reshape(vector, [-1 if a == axis else 1 for a in range(len(x.shape))])

    inverse = against_x(ops.rsqrt(ops.add(variance, operation.epsilon)))
    y = ops.multiply(ops.subtract(x, against_x(mean)), inverse)
    y = y if scale is None else ops.multiply(y, against_x(scale))
    return y if offset is None else ops.add(y, against_x(offset))


@opens_function("ExtractPatches", when=lambda operation: operation.padding != operation.padding.lower())
def _extract_patches(operation, images):
    """With the padding in lower case, which Keras needs to infer the shape."""
    geometry = {name: getattr(operation, name) for name in ("strides", "dilation_rate", "data_format")}
    extract = ops.image.extract_patches_3d if operation.is_3d else ops.image.extract_patches
    return extract(images, operation.size, padding=operation.padding.lower(), **geometry)


@opens_function("ScatterUpdate", when=lambda operation: operation.reduction == "mul")
def _scatter_product(operation, inputs, indices, updates):
    raise Unexplainable('keras.ops.scatter_update(reduction="mul") has no relevance rule')


@opens_function("Quantile", when=lambda operation: operation.method != "linear")
def _quantile(operation, x, q):
    # Its operation leaves the method out, so that a functional model and a layer's call compute different numbers.
    raise Unexplainable(
        f"Keras computes keras.ops.quantile(method={operation.method!r}) by interpolation in some models and not in others; "
        "keras.ops.percentile is explained under every method"
    )


@opens_function("View", when=lambda operation: operation.dtype is not None)
def _view(operation, x):
    """The input itself, if it already has the type."""
    if keras.backend.standardize_dtype(operation.dtype) != x.dtype:
        raise Unexplainable("keras.ops.view reinterprets the bits of a number, which has no relevance rule")
    return x


@opens_function("Rearrange")
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
                length = ops.floor_divide(length, given) if is_symbolic(length) else length // given
            lengths[name] = length
    before = [name for names in groups for name in names]
    after = [name for names in results for name in names]
    split = ops.reshape(tensor, [lengths[name] for name in before])
    ordered = ops.transpose(split, [before.index(name) for name in after])
    return ops.reshape(ordered, [functools.reduce(operator.mul, [lengths[name] for name in names], 1) for names in results])


@opens_function("FFT", "FFT2", "IFFT2", "RFFT", "STFT")
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
opens_function("Real", "Conj", "Conjugate")(_of_real(lambda x: x))
opens_function("Imag")(_of_real(ops.zeros_like))
opens_function("Angle")(_of_real(lambda x: ops.multiply(ops.cast(ops.less(x, 0), x.dtype), np.pi)))


@opens_function("ViewAsComplex", "ViewAsReal", "Polar")
def _complex(operation, *args):
    raise Unexplainable(_COMPLEX)
