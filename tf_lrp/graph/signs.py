"""Which tensors cannot be negative: what is proven of the operations that make them, and nothing beyond."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, tree

from tf_lrp.graph.activations import proven
from tf_lrp.graph.flow import ATTENTION, MATMULS, PRODUCTS, QUOTIENTS
from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import StateSum
from tf_lrp.twins.identities import IDENTITY_LAYERS
from tf_lrp.twins.structural import ROUTING_LAYERS

#: Not among what moves values: reads their bits as another type; computes copies as sums of products; interpolates pictures
#: that are smaller than it crops.
_NOT_EXACT = (*internals.operation_classes("View", "ExtractPatches"), layers.CenterCrop)
#: Each output is an input, or a constant among the arguments, or 0.
_MOVING = frozenset((*ROUTING_LAYERS, *IDENTITY_LAYERS)) - frozenset(_NOT_EXACT)

#: Which arguments are values, where others say places or whether.
_VALUES = {
    **dict.fromkeys(internals.operation_classes("GetItem"), slice(1)),
    **dict.fromkeys(internals.operation_classes("Where"), slice(1, None)),
}

#: Sums, averages and products.
_COMBINING = frozenset((
    layers.Add, layers.Average, internals.Add, StateSum, *PRODUCTS, *MATMULS,
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
    layers.AdaptiveAveragePooling1D, layers.AdaptiveAveragePooling2D, layers.AdaptiveAveragePooling3D,
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
    *internals.operation_classes("AveragePool", "AdaptiveAveragePool", "Mean", "Sum", "Cumsum", "Trace"),
))  # fmt: skip

#: Where a window or a pair is all >= 0, so is its largest and its smallest.
_SELECTING = frozenset((
    layers.Minimum, internals.Minimum, layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
    layers.AdaptiveMaxPooling1D, layers.AdaptiveMaxPooling2D, layers.AdaptiveMaxPooling3D,
    layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
    *internals.operation_classes("MaxPool", "AdaptiveMaxPool", "Max", "Amax", "Min", "Amin"),
))  # fmt: skip

_INTERPOLATING = (layers.UpSampling2D, layers.Resizing, *internals.operation_classes("Resize"))
#: Weights that are never negative; the cubic and the Lanczos kernels have negative lobes.
_NONNEGATIVE_KERNELS = ("nearest", "bilinear")


def moves_values(operation):
    """Whether each output of an operation is an input as it is, or a constant."""
    return type(operation) in _MOVING and getattr(operation, "interpolation", "nearest") == "nearest"


def nonnegative_tensors(graph):
    """ids of the tensors of a graph that cannot be negative, whatever the inputs and the weights are."""
    known = set()
    for node in graph.nodes:
        # Integers may overflow.
        floats = all("float" in t.dtype for t in node.outputs)
        if floats and not node.problem and _is_nonnegative(node, known):
            known.update(id(t) for t in node.outputs)
    return known


def _is_nonnegative(node, known):
    operation = node.operation
    kind = type(operation)  # a subclass may compute anything

    def every(operands):
        return all(_cannot_be_negative(operand, known) for operand in operands)

    operands = [o for o in tree.flatten((node.args, node.kwargs)) if o is not None and not isinstance(o, str)]
    if kind in (layers.Maximum, internals.Maximum):
        return any(_cannot_be_negative(operand, known) for operand in operands)
    if kind in _INTERPOLATING:
        filled = getattr(operation, "fill_value", 0)
        return operation.interpolation in _NONNEGATIVE_KERNELS and every([*operands, filled])
    if kind in _SELECTING:
        started = kind in internals.operation_classes("Min") and operation.initial is not None
        return every([*operands, operation.initial] if started else operands)
    if kind in _COMBINING:
        return every(operands)
    if moves_values(operation):
        return every(operands[_VALUES.get(kind, slice(None))])
    if kind in QUOTIENTS:
        # A divisor that is computed may be -0.
        return every(operands) and not isinstance(operands[1], keras.KerasTensor) and bool(np.all(np.asarray(operands[1]) > 0))
    if kind in ATTENTION:
        arguments = dict(zip(("query", "key", "value"), node.args, strict=False)) | node.kwargs
        return every([arguments["value"]])
    function = proven(operation)
    return function.nonnegative or (function.keeps_nonnegative and every(operands[:1]))


def _cannot_be_negative(operand, known):
    """Whether no value of an operand is negative: a tensor of the graph, a number or an array. A variable may change."""
    if isinstance(operand, keras.KerasTensor):
        return id(operand) in known
    if isinstance(operand, bool | int | float | np.ndarray | np.generic):
        return bool(np.all(np.asarray(operand) >= 0))
    if isinstance(operand, tf.Tensor):
        value = tf.get_static_value(operand)
        return value is not None and bool(np.all(value >= 0))
    return False
