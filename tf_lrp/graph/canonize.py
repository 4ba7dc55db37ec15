"""Named rewrites of a graph that do not change the function it computes."""

from __future__ import annotations

from dataclasses import replace

import keras
from keras import tree

from tf_lrp.affine import Weighted, describe
from tf_lrp.affine.convolution import SeparableDepthwise, SeparablePointwise
from tf_lrp.affine.elementwise import BatchNormalization
from tf_lrp.affine.folding import NormalizedInput, NormalizedOutput
from tf_lrp.affine.merging import Add, Subtract
from tf_lrp.graph.categories import with_entries
from tf_lrp.graph.gating import noise
from tf_lrp.graph.heads import strip_softmax
from tf_lrp.graph.nodes import like, placeholder, unique_name, without_idle_placeholders
from tf_lrp.operations.routing_table import is_identity


def describe_affine(graph):
    """Adds to each node the affine map that it computes (before its activation), if it computes one.

    x + noise is no sum of branches: like x + number, it is x in other units.
    """
    constant = noise(graph)

    def affine_of(node):
        affine = describe(node.operation, node.args, node.kwargs)
        operands = [t for t in node.inputs if id(t) not in constant]
        return None if isinstance(affine, (Add, Subtract)) and len(operands) == 1 < len(node.inputs) else affine

    return replace(graph, nodes=tuple(replace(node, affine=affine_of(node)) for node in graph.nodes))


def split_activation(graph):
    """f(W x + b) becomes two nodes: W x + b, which keeps the name, and f."""
    nodes, results, names = [], dict(graph.layer_outputs), graph.names()
    for node in graph.nodes:
        activation = node.affine and node.affine.activation
        if activation in (None, keras.activations.linear):
            nodes.append(node)
            continue
        preactivation = like(node.output)
        part = _part(graph, node, "activation", names, results, node.output)
        if not isinstance(activation, keras.layers.Layer):
            activation = keras.layers.Activation(activation, name=part["name"], dtype=node.operation.dtype_policy)
        nodes.append(replace(node, outputs=(preactivation,)))
        nodes.append(replace(node, operation=activation, args=(preactivation,), kwargs={}, affine=None, **part))
    return replace(graph, nodes=tuple(nodes), layer_outputs=results)


def split_separable(graph):
    """A separable convolution becomes its depthwise and its pointwise step; the latter keeps the name."""
    nodes, results, names = [], dict(graph.layer_outputs), graph.names()
    for node in graph.nodes:
        if not isinstance(node.operation, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)):
            nodes.append(node)
            continue
        depthwise, pointwise = SeparableDepthwise(node.operation), SeparablePointwise(node.operation)
        between = depthwise.output_spec(*node.inputs)
        part = _part(graph, node, "depthwise", names, results, between)
        nodes.append(replace(node, affine=depthwise, outputs=(between,), **part))
        nodes.append(replace(node, affine=pointwise, args=(between,), kwargs={}))
    return replace(graph, nodes=tuple(nodes), layer_outputs=results)


def _part(graph, node, step, names, results, output):
    """Name and path of a step of a layer: "s_depthwise", and "s_depthwise.2" where the layer "s" is used again.

    Args:
        graph: `Graph`.
        node: of the layer.
        step: name of the step.
        names: the names of all nodes so far; the new name is added.
        results: `Graph.layer_outputs` of the new graph; the outputs of the step are added.
        output: KerasTensor of the step.

    Returns:
        Fields of the `Node`.
    """
    layer = next((name for name, made in graph.layer_outputs.items() if any(t is node.output for t in made)), node.name)
    part_name = f"{layer}_{step}"
    while part_name in graph.layer_outputs:
        part_name += "_"
    name = unique_name(part_name, names)
    names.add(name)
    results.setdefault(part_name, []).append(output)
    return {"name": name, "path": (*node.path, f"{node.path[-1]}_{step}"), "split_from": node.split_from or node.name}


def fold_batchnorm(graph):
    """Merges each batch normalization into the linear layer before it, or else into the one after it.

    Only where that is exact: the normalization must be the only consumer of the layer before, or the layer after must be the
    only consumer of the normalization, and the axis of the normalization must be the layer's channels. Layers between them
    that do nothing at inference are skipped.
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

    def taken_once(tensor):
        return len(consumers.get(id(tensor), [])) == 1 and id(tensor) not in returned

    def on_channels(other):
        return isinstance(other.affine, Weighted) and node.affine.axis == other.affine.channel_axis(node.affine.rank)

    before = producers.get(id(x))
    while before is not None and is_identity(before.operation) and taken_once(before.output):
        before = producers.get(id(before.inputs[0]))
    if before is not None and on_channels(before) and taken_once(before.output) and taken_once(x):
        merged = replace(before, affine=NormalizedOutput(before.affine, node.affine))
        nodes = tuple(merged if n is before else n for n in graph.nodes if n is not node)
        # The merged layer returns what the normalization returned.
        return graph.replaced({id(node.output): x}, nodes=nodes)
    after, passed = node, taken_once(node.output)
    while passed and (after is node or is_identity(after.operation)):
        (after,) = consumers[id(after.output)]
        passed = taken_once(after.output) or not is_identity(after.operation)
    if passed and on_channels(after):
        merged = replace(after, affine=NormalizedInput(after.affine, node.affine))
        # Relevance at the normalization's output is what the merged layer passes to its input.
        name = unique_name(f"{node.name}_output", graph.names())
        left = {id(after): merged, id(node): placeholder(node.path, name, x, node.output)}
        return without_idle_placeholders(replace(graph, nodes=tuple(left.get(id(n), n) for n in graph.nodes)))
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
