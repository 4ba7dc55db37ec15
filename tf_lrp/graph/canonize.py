"""Named rewrites that leave the function of a graph unchanged and make its parts plain."""

from __future__ import annotations

import logging
from dataclasses import replace

import keras
from keras import tree

from tf_lrp.affine import Weighted, describe
from tf_lrp.affine.convolution import SeparableDepthwise, SeparablePointwise
from tf_lrp.affine.elementwise import BatchNormalization
from tf_lrp.affine.folding import NormalizedInput, NormalizedOutput
from tf_lrp.graph.activations import activation_name
from tf_lrp.graph.categories import with_entries
from tf_lrp.graph.nodes import pruned

logger = logging.getLogger("tf_lrp")

#: Functions of the output that turn scores into probabilities; explanations are of the scores.
_HEADS = ("softmax", "sigmoid", "log_softmax", "log_sigmoid", "hard_sigmoid")


def describe_affine(graph):
    """Notes at each node which affine map it computes (before its activation), if it is one."""
    return replace(graph, nodes=tuple(replace(n, affine=describe(n.operation, n.args, n.kwargs)) for n in graph.nodes))


def split_activation(graph):
    """f(W x + b) becomes two nodes: W x + b, which keeps the name, and f."""
    nodes = []
    for node in graph.nodes:
        activation = node.affine and node.affine.activation
        if activation in (None, keras.activations.linear):
            nodes.append(node)
            continue
        preactivation = _like(node.output)
        name = f"{node.name}_activation"
        if not isinstance(activation, keras.layers.Layer):
            activation = keras.layers.Activation(activation, name=name, dtype=node.operation.dtype_policy)
        nodes.append(replace(node, outputs=(preactivation,)))
        nodes.append(
            replace(
                node,
                operation=activation,
                args=(preactivation,),
                kwargs={},
                affine=None,
                name=name,
                path=_leaf(node, name),
            )
        )
    return replace(graph, nodes=tuple(nodes))


def split_separable(graph):
    """A separable convolution becomes its depthwise and its pointwise step; the latter keeps the name."""
    nodes = []
    for node in graph.nodes:
        if not isinstance(node.operation, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)):
            nodes.append(node)
            continue
        depthwise, pointwise = SeparableDepthwise(node.operation), SeparablePointwise(node.operation)
        between = depthwise.output_spec(*node.inputs)
        name = f"{node.name}_depthwise"
        nodes.append(replace(node, affine=depthwise, outputs=(between,), name=name, path=_leaf(node, name)))
        nodes.append(replace(node, affine=pointwise, args=(between,), kwargs={}))
    return replace(graph, nodes=tuple(nodes))


def strip_softmax(graph):
    """Drops a softmax or sigmoid at the outputs, so that scores (logits) are explained instead of probabilities.

    What the layer returns is then its scores, for those who ask for the relevance there.
    """
    producers = graph.producers()
    scores = {}

    def stripped(tensor):
        whole = tensor
        node = producers.get(id(tensor))
        while node is not None and activation_name(node.operation) in _HEADS:
            logger.debug(
                "Explaining the logits: %r (%s) at the output is left out.", node.name, activation_name(node.operation)
            )
            tensor = node.inputs[0]
            node = producers.get(id(tensor))
        scores[id(whole)] = tensor
        return tensor

    kept = pruned(replace(graph, outputs=tree.map_structure(stripped, graph.outputs)))
    still_there = kept.producers()
    results = tree.map_structure(lambda t: t if id(t) in still_there else scores.get(id(t), t), kept.results)
    return replace(kept, results=results)


def fold_batchnorm(graph):
    """Merges each batch normalization into the linear layer before it, or else into the one after it.

    Only where that is exact: the layer before must feed nothing but the normalization, and the layer after must be the
    only one to take what it returns; both must see the normalization's axis as their channels.
    """
    for node in graph.nodes:
        if isinstance(node.affine, BatchNormalization):
            graph = _fold(graph, node.name)
    return graph


def _fold(graph, name):
    node = next(n for n in graph.nodes if n.name == name)
    consumers, producers = graph.consumers(), graph.producers()
    returned = {id(t) for t in tree.flatten(graph.outputs)}
    (x,) = node.inputs

    def on_channels(other):
        return isinstance(other.affine, Weighted) and node.affine.axis == other.affine.channel_axis(node.affine.rank)

    before = producers.get(id(x))
    if before is not None and len(consumers[id(x)]) == 1 and id(x) not in returned and on_channels(before):
        merged = replace(before, affine=NormalizedOutput(before.affine, node.affine))
        nodes = tuple(merged if n is before else n for n in graph.nodes if n is not node)
        # What the normalization returned is now what the merged layer returns.
        return graph.replaced({id(node.output): x}, nodes=nodes)
    after = consumers.get(id(node.output), [])
    if len(after) == 1 and id(node.output) not in returned and on_channels(after[0]):
        merged = replace(after[0], affine=NormalizedInput(after[0].affine, node.affine))
        nodes = tuple(merged if n is after[0] else n for n in graph.nodes if n is not node)
        return graph.replaced({id(node.output): x}, nodes=nodes)
    return graph


def canonize(graph, *, strip_heads=True, fold=True):
    """Applies the rewrites in order.

    Args:
        graph: `Graph` of a model.
        strip_heads: bool, whether to `strip_softmax`.
        fold: bool, whether to `fold_batchnorm`.
    """
    graph = split_activation(split_separable(describe_affine(graph)))
    if strip_heads:
        graph = strip_softmax(graph)
    return with_entries(fold_batchnorm(graph) if fold else graph)


def _leaf(node, name):
    return (*node.path[:-1], name)


def _like(tensor):
    return keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
