"""Nodes that move values without computing new ones: they copy values, insert constants, or pick the largest."""

from __future__ import annotations

import keras

from tf_lrp.graph.nodes import tensors_in
from tf_lrp.operations.routing_table import is_identity, routing_of, values_in


def rearranges(node):
    """Whether a node returns unchanged values of its inputs, at whatever place."""
    return is_identity(node.operation) or (node.affine is None and routing_of(node.operation).routes(node.operation))


def picks(node):
    """Whether a node returns the largest or smallest of several values."""
    return node.affine is None and routing_of(node.operation).picks


def carried(node, dependent):
    """The tensors whose values a node returns; its other inputs only determine where values go.

    Args:
        node: `Node`.
        dependent: ids of the tensors that depend on the model's inputs.
    """
    if routing_of(node.operation).values:
        return tensors_in(values_in(node.operation, node.args, node.kwargs))
    return [t for t in node.inputs if id(t) in dependent]


def takers_of(graph, tensor):
    """The nodes that take a tensor, directly or through layers that do nothing at inference."""
    taking = graph.consumers().get(id(tensor), [])
    return [n for node in taking for n in (takers_of(graph, node.output) if is_identity(node.operation) else [node])]


def keeps_to_its_inputs(node, dependent):
    """Whether a node that rearranges or picks returns only values that depend on the model's inputs, and no constants."""
    routing = routing_of(node.operation)
    if is_identity(node.operation):
        return True
    if routing.inserts(node.operation):
        return False
    if routing.joins:
        values = values_in(node.operation, node.args, node.kwargs)
        return bool(values) and all(isinstance(v, keras.KerasTensor) and id(v) in dependent for v in values)
    return True
