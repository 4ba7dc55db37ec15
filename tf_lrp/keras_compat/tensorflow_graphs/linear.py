"""Products with weights: convolutions, matrix products, and the products of two branches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.parameters import LEARNED
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import replays
from tf_lrp.keras_compat.tensorflow_graphs.values import as_list, as_tensor, computed, is_lengths, is_tensor
from tf_lrp.keras_compat.tensorflow_graphs.weighted import (
    GraphConv,
    GraphConvTranspose,
    GraphDense,
    GraphDepthwiseConv,
    GraphEinsumDense,
)


def _spatial(node, name, axes, default=1):
    """The entries of an attribute for the axes of a picture, whose other entries must be 1."""
    values = node.attr(name) or [default] * (axes + 2)
    inner = values[2:] if _channels_first(node) else values[1:-1]
    return tuple(inner)


def _channels_first(node):
    return node.attr("data_format", "NHWC").startswith("NC")


def _geometry(node, axes):
    """Arguments of a convolution of Keras."""
    return {
        "strides": _spatial(node, "strides", axes),
        "padding": node.attr("padding", "VALID").lower(),
        "data_format": "channels_first" if _channels_first(node) else "channels_last",
        "dilation_rate": _spatial(node, "dilations", axes),
    }


def _padded(node, x, geometry, axes):
    """x with the explicit padding of the operation, if it has one."""
    if geometry["padding"] != "explicit":
        return x
    geometry["padding"] = "valid"
    return ops.pad(x, np.reshape(node.attr("explicit_paddings"), (axes + 2, 2)).tolist())


def _check_kernel(kernel):
    if not isinstance(kernel, (np.ndarray, *LEARNED)):
        raise Unexplainable("its kernel depends on the inputs, and such a product has no rule")


@replays("Conv2D", "Conv3D")
def _convolution(node, x, kernel):
    _check_kernel(kernel)
    axes = len(kernel.shape) - 2
    geometry = _geometry(node, axes)
    x = _padded(node, x, geometry, axes)
    channels = x.shape[1 if _channels_first(node) else -1]
    return node.layer(GraphConv(kernel, groups=channels // kernel.shape[-2], **geometry), x)


@replays("DepthwiseConv2dNative")
def _depthwise_convolution(node, x, kernel):
    _check_kernel(kernel)
    geometry = _geometry(node, 2)
    return node.layer(GraphDepthwiseConv(kernel, **geometry), _padded(node, x, geometry, 2))


@replays("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _transposed_convolution(node, sizes, kernel, x):
    """The transpose of a convolution, of the output size ``sizes``; where that is unknown, the usual one."""
    _check_kernel(kernel)
    axes = len(kernel.shape) - 2
    geometry = _geometry(node, axes)
    first = 2 if _channels_first(node) else 1
    added = []
    for axis in range(axes):
        size, length = None if is_tensor(sizes) else as_list(sizes)[first + axis], x.shape[first + axis]
        taps, stride = kernel.shape[axis], geometry["strides"][axis]
        if isinstance(size, int) and length is not None:
            reach = (taps - 1) * geometry["dilation_rate"][axis] + 1
            begun = 2 * (reach // 2) if geometry["padding"] == "same" else 0
            added.append(int(size) - ((length - 1) * stride + reach - begun))
    usual = len(added) < axes
    return node.layer(GraphConvTranspose(kernel, output_padding=None if usual else tuple(added), **geometry), x)


@replays("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _matrix_product(node, a, b):
    turn_a = node.attr("transpose_a", node.attr("adj_x", False))
    turn_b = node.attr("transpose_b", node.attr("adj_y", False))
    a, b = (_turned(v) if turn else v for v, turn in ((a, turn_a), (b, turn_b)))
    if is_tensor(a) and not is_tensor(b) and len(b.shape) == 2 and len(a.shape) >= 2:
        return node.layer(GraphDense(b), a)
    return ops.matmul(as_tensor(a), as_tensor(b))


def _turned(value):
    """A matrix with its axes exchanged."""
    if not is_tensor(value):
        return computed(tf.linalg.matrix_transpose, value)
    rank = len(value.shape)
    return ops.transpose(value, [*range(rank - 2), rank - 1, rank - 2])


@replays("Einsum")
def _einsum(node, *operands):
    equation = node.attr("equation").replace(" ", "")
    if len(operands) == 2 and is_tensor(operands[0]) and not is_tensor(operands[1]):
        return node.layer(GraphEinsumDense(operands[1], equation=equation), operands[0])
    if len(operands) == 2 and is_tensor(operands[1]) and not is_tensor(operands[0]):
        inputs, output = equation.split("->")
        turned = ",".join(reversed(inputs.split(",")))
        return node.layer(GraphEinsumDense(operands[0], equation=f"{turned}->{output}"), operands[1])
    return ops.einsum(equation, *operands)


@replays("GatherV2", "Gather", "ResourceGather")
def _gather(node, values, indices, axis=0):
    axis = int(np.ravel(axis)[0])
    if node.attr("batch_dims", 0):
        rank, given = len(values.shape), len(indices.shape)
        count = node.attr("batch_dims") % given
        if axis % rank != count or given != count + 1:
            raise Unexplainable("it gathers along an axis that does not follow the axes of the batch")
        index = ops.reshape(indices, [*[-1 if n is None else n for n in indices.shape], *[1] * (rank - given)])
        return ops.take_along_axis(values, index, axis=axis % rank)
    return ops.take(as_tensor(values), as_tensor(indices) if is_lengths(indices) else indices, axis=axis)
