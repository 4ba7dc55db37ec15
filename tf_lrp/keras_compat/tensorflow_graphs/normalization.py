"""Sums and products: with constants they are biases, batch and layer normalizations; of branches they are what they are."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.parameters import Parameter
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import replays
from tf_lrp.keras_compat.tensorflow_graphs.values import Complex, computed, is_learned, is_lengths, is_tensor, number
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphBatchNormalization, GraphLayerNormalization

_ADD, _MULTIPLY = ("AddV2", "Add", "BiasAdd"), ("Mul",)


@replays("AddV2", "Add", "BiasAdd", "BiasAddV1")
def _add(node, a, b):
    if node.op.type.startswith("BiasAdd") and node.attr("data_format", "NHWC").startswith("NC"):
        b = computed(lambda v: tf.reshape(v, (-1, *[1] * (len(a.shape) - 2))), b)
    if isinstance(a, Complex) or isinstance(b, Complex):
        return _of_complex(ops.add, a, b)
    for x, constant in ((a, b), (b, a)):
        if _is_number(constant, 0):
            return x
        if is_tensor(x) and _is_constant(constant):
            found = _found(_with_bias, _shifted)(node, x, constant)
            if found is not None:
                return found
    if is_tensor(a) and is_tensor(b):
        found = _layer_normalization(node, a, b)
        found = _layer_normalization(node, b, a) if found is None else found
        if found is not None:
            return found
    return ops.add(number(a), number(b))


@replays("Sub")
def _subtract(node, a, b):
    if isinstance(a, Complex) or isinstance(b, Complex):
        return _of_complex(ops.subtract, a, b)
    if is_tensor(a) and _is_constant(b):
        negative = computed(tf.negative, b)
        found = _found(_with_bias, _shifted)(node, a, negative)
        if found is not None:
            return found
    if is_tensor(a) and is_tensor(b):
        found = _layer_normalization(node, a, b, subtracted=True)
        if found is not None:
            return found
    return ops.subtract(number(a), number(b))


@replays("Mul")
def _multiply(node, a, b):
    if isinstance(a, Complex) or isinstance(b, Complex):
        return _complex_product(a, b)
    for x, factor in ((a, b), (b, a)):
        if _is_number(factor, 1):
            return x
        if is_tensor(x) and _is_constant(factor):
            found = _found(_scaled, _hard_sigmoid)(node, x, factor)
            if found is not None:
                return found
        if is_tensor(x) and is_tensor(factor):
            found = _found(_standardized, _silu)(node, x, factor)
            if found is not None:
                return found
    return ops.multiply(number(a), number(b))


@replays("RealDiv", "Div")
def _divide(node, a, b):
    if isinstance(a, Complex) and not isinstance(b, Complex):
        return Complex(ops.divide(a.real, number(b)), ops.divide(a.imaginary, number(b)))
    if is_tensor(a) and _is_constant(b):
        inverse = computed(lambda v: 1 / v, b)
        found = _found(_scaled, _hard_sigmoid)(node, a, inverse)
        if found is not None:
            return found
    if is_tensor(a) and is_tensor(b):
        deviation = node.made(b, "Sqrt")
        found = None if deviation is None else _standardized_by(node, a, deviation.inputs[0])
        if found is not None:
            return found
    return ops.divide(number(a), number(b))


@replays("AddN")
def _add_all(node, *values):
    if all(map(is_tensor, values)) and len(values) > 1:
        return keras.layers.Add(dtype=values[0].dtype)(list(values))
    total = number(values[0])
    for value in values[1:]:
        total = ops.add(total, number(value))
    return total


@replays("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _fused_batch_normalization(node, x, scale, offset, mean, variance):
    """With the moving statistics: (x - mean) scale / sqrt(variance + epsilon) + offset."""
    axis = 1 if node.attr("data_format", "NHWC").startswith("NC") else len(x.shape) - 1
    epsilon = node.attr("epsilon", 1e-4)
    if node.attr("is_training", True):
        if x.shape[0] != 1 or not (_is_filled_with(node, scale, 1) and _is_filled_with(node, offset, 0)):
            raise Unexplainable("it normalizes with statistics of the batch (is_training=True), as in training")
        # So tf.keras computes a layer normalization: each position is a channel, of one sample.
        axes = [a for a in range(1, len(x.shape)) if a != axis]
        return (node.layer(GraphLayerNormalization(axes, epsilon), x), *[None] * 5)
    factor = Parameter(lambda: tf.math.rsqrt(tf.convert_to_tensor(variance) + epsilon) * tf.convert_to_tensor(scale))
    shift = Parameter(lambda: tf.convert_to_tensor(offset) - tf.convert_to_tensor(mean) * tf.convert_to_tensor(factor))
    y = node.layer(GraphBatchNormalization(factor, shift, axis), x)
    return (y, *[None] * 5)


def _found(*patterns):
    """The first result of these functions that is not None; None if there is none."""
    return lambda *args: next((result for pattern in patterns if (result := pattern(*args)) is not None), None)


def _is_filled_with(node, value, number):
    """Whether all entries of a tensor are this number."""
    made = node.made(value, "Fill", "BroadcastTo")
    if made is not None:
        value = next(v for v in made.inputs if isinstance(v, np.ndarray) and v.dtype.kind == "f")
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(np.all(value == number))


def _is_constant(value):
    """Whether a value has numbers that do not depend on the inputs."""
    return (isinstance(value, np.ndarray) and not is_lengths(value) and value.dtype.kind == "f") or is_learned(value)


def _is_number(value, number):
    """Whether a value is this number, and no weight."""
    return isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind == "f" and value == number


def _channel_axis(x, constant):
    """The axis of x along which a constant has one number for each entry; None if there are several, or if there is none."""
    rank, shape = len(x.shape), tuple(constant.shape)
    if len(shape) > rank:
        return None
    axes = [axis + rank - len(shape) for axis, length in enumerate(shape) if length != 1]
    if not axes and shape:  # one channel
        axes = [rank - 1 if len(shape) == 1 else 1 if x.shape[-1] != 1 else rank - 1]
    return axes[0] if len(axes) == 1 and axes[0] > 0 and x.shape[axes[0]] == np.prod(shape) else None


def _vector(constant):
    """A constant as one number for each channel."""
    return computed(lambda v: tf.reshape(v, [-1]), constant)


def _with_bias(node, x, constant):
    """The weighted operation that made x, with a bias; None if x was not made by one, or the constant is none."""
    made = node.weighted(x)
    if made is not None and made.layer.takes_bias(x, constant, _channel_axis(x, constant)):
        return node.layer(made.layer.with_bias(constant), *made.inputs, made=made)
    reshaped = node.made(x, "Reshape", "Squeeze")  # a product over the last axis, between two reshapes
    if reshaped is None or reshaped.uses > 1 or reshaped.layer is not None:
        return None
    made = node.weighted(reshaped.inputs[0])
    inner = None if made is None else made.output
    if inner is None or inner.shape[-1] != x.shape[-1] or _channel_axis(x, constant) != len(x.shape) - 1:
        return None
    if not made.layer.takes_bias(inner, constant, len(inner.shape) - 1):
        return None
    biased = node.layer(made.layer.with_bias(_vector(constant)), *made.inputs, made=made)
    return reshaped.node.again(biased, *reshaped.inputs[1:])


def _normalized(node, x, constant, is_scale):
    """The normalization that a product (or a sum) with weights of the channels begins or completes; None for others."""
    axis, made = _channel_axis(x, constant), node.run.made.get(id(x))
    if axis is None or made is None or made.uses > 1:
        return None
    layer = made.layer
    if isinstance(layer, GraphLayerNormalization) and layer.axis == [axis] and layer.takes(is_scale):
        return node.layer(layer.with_scale(constant) if is_scale else layer.with_shift(constant), *made.inputs)
    vector = _vector(constant)
    if isinstance(layer, GraphBatchNormalization) and layer.is_open and layer.axis == axis:
        return node.layer(layer.scaled(vector) if is_scale else layer.shifted(vector), *made.inputs)
    if layer is not None or made.node.op.type not in (("Sub", *_ADD) if is_scale else _MULTIPLY):
        return None
    inner, other = _operands(made)
    if inner is None or not (is_learned(other) or is_learned(constant)) or _channel_axis(x, other) != axis:
        return None
    other = _vector(other)
    if not is_scale:
        return node.layer(GraphBatchNormalization(other, vector, axis), inner)
    sign = -1 if made.node.op.type == "Sub" else 1
    shift = Parameter(lambda: sign * tf.convert_to_tensor(other) * tf.convert_to_tensor(vector))
    return node.layer(GraphBatchNormalization(vector, shift, axis, is_open=True), inner)


_scaled, _shifted = (functools.partial(_normalized, is_scale=is_scale) for is_scale in (True, False))


def _operands(made):
    """The tensor and the constant of a product, a sum or a difference of the two; (None, None) for others."""
    a, b = made.inputs
    if is_tensor(a) and _is_constant(b):
        return a, b
    if is_tensor(b) and _is_constant(a) and made.node.op.type != "Sub":
        return b, a
    return None, None


def _silu(node, x, gate):
    """x sigmoid(x)"""
    made = node.made(gate, "Sigmoid")
    return node.whole(ops.silu, x) if made is not None and made.inputs[0] is x and made.uses == 1 else None


def _hard_sigmoid(node, x, factor):
    """relu6(x + 3) / 6"""
    if np.ndim(factor) != 0 or is_learned(factor) or abs(float(factor) * 6 - 1) > 1e-6:
        return None
    clipped = node.made(x, "Relu6")
    shifted = None if clipped is None else node.made(clipped.inputs[0], *_ADD)
    inner, three = (None, None) if shifted is None else _operands(shifted)
    if inner is None or np.ndim(three) != 0 or is_learned(three) or float(three) != 3:
        return None
    return node.whole(ops.hard_sigmoid, inner)


def _layer_normalization(node, first, second, subtracted=False):
    """x inv - mean inv + beta, in the ways in which Keras and TensorFlow write it; None for other sums.

    Args:
        node: `Node` of the sum.
        first, second: its operands.
        subtracted: whether the second is subtracted.
    """
    product = node.made(first, "Mul")
    if product is None:
        return None
    centre, beta = second, None
    made = node.made(second, "Sub", *_ADD)
    if made is not None and not subtracted:
        a, b = made.inputs
        if made.node.op.type == "Sub" and _is_constant(a):
            beta, centre, subtracted = a, b, True
        elif made.node.op.type != "Sub" and any(map(_is_constant, (a, b))):
            centre, beta = (a, b) if _is_constant(b) else (b, a)
    moved = node.made(centre, "Mul", "Neg")
    if moved is not None and moved.node.op.type == "Neg":
        subtracted, moved = not subtracted, node.made(moved.inputs[0], "Mul")
    if moved is None:
        return None
    for x, inverse in (product.inputs, product.inputs[::-1]):
        if not is_tensor(x) or not any(inverse is value for value in moved.inputs):
            continue
        mean = moved.inputs[1] if moved.inputs[0] is inverse else moved.inputs[0]
        negative = node.made(mean, "Neg")
        if negative is not None:
            mean = negative.inputs[0]
        if (negative is not None) == subtracted:  # the mean must be subtracted once
            continue
        scale, gamma = _deviation(node, inverse)
        found = _described(node, x, mean, scale)
        if found is not None:
            axes, epsilon = found
            return node.layer(GraphLayerNormalization(axes, epsilon, gamma, beta), x)
    return None


def _deviation(node, inverse):
    """The tensor under the root of 1 / sqrt(variance + epsilon), perhaps times gamma; and gamma or None."""
    made = node.made(inverse, "Rsqrt", "Mul")
    if made is None:
        return None, None
    if made.node.op.type == "Rsqrt":
        return made.inputs[0], None
    for a, gamma in (made.inputs, made.inputs[::-1]):
        root = node.made(a, "Rsqrt")
        if root is not None and _is_constant(gamma):
            return root.inputs[0], gamma
    return None, None


def _described(node, x, mean, under_root):
    """(axes, epsilon) if ``mean`` is the mean of x, and ``under_root`` its variance over the same axes plus epsilon."""
    axes, sum_ = _axes_of_mean(node, mean, x), node.made(under_root, *_ADD)
    variance, epsilon = (None, None) if sum_ is None else _operands(sum_)
    of_variance = node.made(variance, "Mean")
    if axes is None or 0 in axes or of_variance is None or np.ndim(epsilon) != 0 or _mean_axes(of_variance) != axes:
        return None
    squared = node.made(of_variance.inputs[0], "SquaredDifference", "Square", "Pow")
    if squared is not None and squared.node.op.type != "SquaredDifference":
        is_square = squared.node.op.type == "Square" or np.all(np.asarray(squared.inputs[1]) == 2)
        squared = node.made(squared.inputs[0], "Sub") if is_square else None
    if squared is None:
        return None
    value, its_mean = (_without_stop(node, operand) for operand in squared.inputs)
    return (axes, float(epsilon)) if value is x and _axes_of_mean(node, its_mean, x) == axes else None


def _axes_of_mean(node, mean, x):
    """The axes over which a tensor is the mean of x, which it keeps with one entry; None if it is no such mean."""
    made = node.made(mean, "Mean")
    return None if made is None or made.inputs[0] is not x else _mean_axes(made)


def _mean_axes(made):
    rank = len(made.inputs[0].shape)
    return sorted(int(a) % rank for a in np.ravel(made.inputs[1])) if made.node.attr("keep_dims") else None


def _without_stop(node, value):
    stopped = node.made(value, "StopGradient")
    return value if stopped is None else stopped.inputs[0]


def _standardized(node, x, inverse):
    """(x - mean) rsqrt(variance + epsilon)"""
    root = node.made(inverse, "Rsqrt")
    return None if root is None else _standardized_by(node, x, root.inputs[0])


def _standardized_by(node, difference, under_root):
    made = node.made(difference, "Sub")
    if made is None:
        return None
    x, mean = made.inputs
    found = _described(node, x, mean, under_root) if is_tensor(x) and is_tensor(mean) else None
    return None if found is None else node.layer(GraphLayerNormalization(*found), x)


def _of_complex(function, a, b):
    a, b = (v if isinstance(v, Complex) else Complex(np.real(v), np.imag(v)) for v in (a, b))
    return Complex(function(a.real, b.real), function(a.imaginary, b.imaginary))


def _complex_product(a, b):
    a, b = (v if isinstance(v, Complex) else Complex(np.real(v), np.imag(v)) for v in (a, b))
    return Complex(
        ops.subtract(ops.multiply(a.real, b.real), ops.multiply(a.imaginary, b.imaginary)),
        ops.add(ops.multiply(a.real, b.imaginary), ops.multiply(a.imaginary, b.real)),
    )
