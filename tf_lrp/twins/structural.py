"""Layers that only move values: their own gradient routes relevance, and sums it where a value was copied."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.keras_compat import keras_classes
from tf_lrp.operations.routing_table import ROUTING_CLASSES, describe_routing, moves_values, routing_of, values_in
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin
from tf_lrp.twins.registry import register_twin


@register_twin(*ROUTING_CLASSES)
class RoutingTwin(Twin):
    """Each output is a copy of one input or a constant; what arrives at padding is dropped."""

    kinds = frozenset({"structural"})
    rules = (Pass,)
    is_arithmetic = True

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        if isinstance(operation, keras_classes.operation_classes("Resize")):
            return operation.interpolation == "nearest" and all(map(known, [*call.operands, operation.fill_value]))
        moves = moves_values(operation) and all(map(known, values_in(operation, call.args, call.kwargs)))
        return moves or super().is_nonnegative(operation, call, known)

    @property
    def remainder(self):
        return "bias" if routing_of(self.operation).joins else "padding"

    def call(self, *inputs):
        return self.compute(*inputs)


@register_twin(*keras_classes.operation_classes("ScatterUpdate", "SegmentMax", "SegmentMin"))
class PlacingTwin(RoutingTwin):
    """Values written at indices, which may be inputs. Equal maxima share relevance where TensorFlow shares the gradient."""

    def call(self, *inputs):
        return self.compute(*[_as_indices(x, t.dtype) for x, t in zip(inputs, self.symbolic_inputs, strict=True)])


def _as_indices(x, dtype):
    """Indices as integers: those that depend on the model's inputs are represented as floats."""
    return tf.cast(x, dtype) if "int" in dtype and x.dtype.is_floating else x


def register_routing(layer_class: type, *, inserts: bool = False, joins: bool = False, keeps_axes: bool = False) -> type:
    """Registers your own layer as one that only moves values: each output is a copy of an input, or a constant.

    Relevance goes where the gradient of the layer's ``call`` sends it. A gate before the layer is still recognized as a gate
    after it, and a softmax before it is removed at the outputs.

    Args:
        layer_class: class of the layer.
        inserts: bool, whether there may be constants among its outputs.
        joins: bool, whether its outputs come from several arguments.
        keeps_axes: bool, whether the axes of the output are those of the input, in their order: values move along an axis,
            and never from one axis to another.

    Returns:
        ``layer_class``, so that it can be used as a decorator.
    """
    describe_routing(layer_class, inserts=inserts, joins=joins, keeps_axes=keeps_axes)
    register_twin(layer_class)(RoutingTwin)
    return layer_class
