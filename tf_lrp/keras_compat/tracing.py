"""Tracing of a model's ``call`` on symbolic tensors, in which each call of an operation can be recorded."""

from __future__ import annotations

import contextlib
import threading

import keras
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.layers import layer as layer_module
from keras.src.ops import operation as operation_module
from keras.src.ops.node import Node

from tf_lrp.keras_compat.lengths import in_this_thread, symbolic_lengths
from tf_lrp.keras_compat.models import functional_of, layers_in


def like(tensor):
    """A new symbolic tensor of the same shape, type and mask."""
    new = keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
    mask = get_keras_mask(tensor)
    if mask is not None:
        set_keras_mask(new, mask)
    return new


_tracing = threading.RLock()


@contextlib.contextmanager
def tracing(model, stand_in):
    """Context in which a model's ``call`` is run on symbolic tensors.

    Each symbolic call of an operation is passed to ``stand_in(infer, operation, args, kwargs) -> outputs``, where
    ``infer(operation, *args, **kwargs)`` is Keras's own implementation; masks are among the arguments. The layers do not
    record these calls. Unknown lengths (None) become symbolic numbers, as they are in TensorFlow's graphs:
    ``keras.ops.shape`` returns them, and the functions that take shapes accept them.

    Yields:
        Set of the ids of the model's own layers and operations.
    """
    classes = (keras.Operation, keras.layers.Layer)
    inferring = [c.__dict__["symbolic_call"] for c in classes]

    def standing_in(infer):
        return in_this_thread(lambda operation, *args, **kwargs: stand_in(infer, operation, args, kwargs), infer)

    with _tracing, symbolic_lengths():
        for operation_class, infer in zip(classes, inferring, strict=True):
            operation_class.symbolic_call = standing_in(infer)
        for module in (layer_module, operation_module):
            module.Node = in_this_thread(_no_node, Node)
        try:
            yield {id(o) for o in _operations_in(model)}
        finally:
            for operation_class, infer in zip(classes, inferring, strict=True):
                operation_class.symbolic_call = infer
            for module in (layer_module, operation_module):
                module.Node = Node


def _no_node(*args, **kwargs):
    """Replaces the node that Keras would record in a layer."""


def _operations_in(model):
    operations = {id(layer): layer for layer in layers_in(model)}
    for layer in list(operations.values()):
        operations.update((id(o), o) for o in getattr(functional_of(layer), "_operations", ()))
    return list(operations.values())
