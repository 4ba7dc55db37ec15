"""Which tensors cannot be negative. Twins and affine maps declare what is proven of their operations; the rest is unknown."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tf_lrp.affine import Call
from tf_lrp.twins import twin_class_of


def nonnegative_tensors(graph):
    """ids of the tensors of a graph that cannot be negative, whatever the inputs and the weights are."""
    nonnegative = set()
    for node in graph.nodes:
        # Integers may overflow.
        floats = all("float" in t.dtype for t in node.outputs)
        if floats and not node.problem and _is_nonnegative(node, nonnegative):
            nonnegative.update(id(t) for t in node.outputs)
    return nonnegative


def _is_nonnegative(node, nonnegative):
    call = Call(node.args, node.kwargs)

    def known(operand):
        return _cannot_be_negative(operand, nonnegative)

    if node.affine is not None:
        return node.affine.is_nonnegative(call, known)
    twin_class = twin_class_of(node.operation)
    return twin_class is not None and twin_class.is_nonnegative(node.operation, call, known)


def _cannot_be_negative(operand, nonnegative):
    """Whether no value of an operand (a tensor of the graph, a number, an array) is negative. Variables may change later."""
    if isinstance(operand, keras.KerasTensor):
        return id(operand) in nonnegative
    if isinstance(operand, bool | int | float | np.ndarray | np.generic):
        return bool(np.all(np.asarray(operand) >= 0))
    if isinstance(operand, tf.Tensor):
        value = tf.get_static_value(operand)
        return value is not None and bool(np.all(value >= 0))
    return False
