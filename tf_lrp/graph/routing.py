"""What a node does with values that it does not compute: it copies them, puts others in, or picks the largest."""

from __future__ import annotations

import keras

from tf_lrp.graph.nodes import tensors_in
from tf_lrp.operations.routing_table import is_identity, routing_of, values_in


def rearranges(node):
    """Whether a node passes values on as they are, wherever to."""
    return is_identity(node.operation) or (node.affine is None and routing_of(node.operation).routes(node.operation))


def picks(node):
    """Whether a node passes on the largest or smallest of some values."""
    return node.affine is None and bool(routing_of(node.operation).picks)


def carried(node, signals):
    """The tensors whose values a node works on; the others say only where values go.

    Args:
        node: `Node`.
        signals: ids of the tensors that depend on the model's inputs.
    """
    if routing_of(node.operation).values:
        return tensors_in(values_in(node.operation, node.args, node.kwargs))
    return [t for t in node.inputs if id(t) in signals]


def takers_of(graph, tensor):
    """The nodes that take a tensor, seen through those that do nothing at inference."""
    taking = graph.consumers().get(id(tensor), [])
    return [n for node in taking for n in (takers_of(graph, node.output) if is_identity(node.operation) else [node])]


def keeps_to_its_inputs(node, signals):
    """Whether each value that a node returns, which rearranges or picks, is one of those that depend on the model's inputs."""
    routing = routing_of(node.operation)
    if is_identity(node.operation):
        return True
    if routing.inserts(node.operation):
        return False
    if routing.joins:
        values = values_in(node.operation, node.args, node.kwargs)
        return bool(values) and all(isinstance(v, keras.KerasTensor) and id(v) in signals for v in values)
    return True
