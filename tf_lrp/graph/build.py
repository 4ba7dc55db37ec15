"""Builds a keras.Model from a graph, with a given layer for each node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from tf_lrp.graph.categories import entries_of
from tf_lrp.graph.nodes import model_of
from tf_lrp.keras_compat.models import is_connected
from tf_lrp.keras_compat.own_operations import Entries


@dataclass(frozen=True, eq=False)
class Built:
    """The model that was built from a graph.

    Attributes:
        model: the keras.Model.
        core: keras.Model of [*inputs, *entries] (a flat list) with the same outputs; the model itself without entries.
        layers: the layer that replaced each node.
        taken, returned: for each node the tensors of the core that its layer takes, and those that it returns.
        results: layer name -> the core's tensors for this layer's output, one for each use.
        entries: position of an input of strings or integers -> the core's input that takes its relevance.
    """

    model: keras.Model
    core: keras.Model
    layers: tuple
    taken: tuple
    returned: tuple
    results: dict[str, list]
    entries: dict[int, Any]


def working_type(graph):
    """float64 if anything in the graph is, else float32.

    There is one type for all, because Keras gives inputs and results of some functions the default type, not the layers'.
    """
    tensors = [*tree.flatten(graph.inputs), *(t for n in graph.nodes for t in n.outputs)]
    return "float64" if any(t.dtype == "float64" for t in tensors) else "float32"


def build(graph, layer_at, dtype, name) -> Built:
    """Builds the model.

    Args:
        graph: `Graph`.
        layer_at: node position -> the layer that is called on the node's inputs, in their order.
        dtype: type of all inputs except those that have `Entries`. (Relevance of integers is computed with real numbers.)
        name: of the model.
    """
    entries = entries_of(graph)

    def input_like(tensor):
        as_it_is = id(tensor) in entries
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype if as_it_is else dtype, name=tensor.name)

    inputs = tree.map_structure(input_like, graph.inputs)
    tensors: dict[int, Any] = {id(old): new for old, new in zip(tree.flatten(graph.inputs), tree.flatten(inputs), strict=True)}

    def current(structure):
        return tree.map_structure(lambda t: tensors.get(id(t), t), structure)

    layers, taken, returned, numbers = [], [], [], []
    for position, node in enumerate(graph.nodes):
        layers.append(layer_at(position))
        taken.append(tuple(current(node.inputs)))
        if isinstance(node.operation, Entries):
            # A separate input, at which the gradient can be taken.
            numbers.append(keras.Input(batch_shape=node.output.shape, dtype=dtype, name=node.name))
            returned.append((numbers[-1],))
        else:
            returned.append(tuple(tree.flatten(layers[-1](*taken[-1]))))
        tensors.update((id(old), new) for old, new in zip(node.outputs, returned[-1], strict=True))
    flat, outputs = tree.flatten(inputs), current(graph.outputs)
    model = core = model_of([*flat, *numbers] if numbers else inputs, outputs, name)
    if numbers:
        described = zip(graph.nodes, layers, taken, strict=True)
        of_inputs = [layer(*x) for node, layer, x in described if isinstance(node.operation, Entries)]
        model = model_of(inputs, core([*flat, *of_inputs]), name)
    results = {name: uses for name, uses in current(graph.layer_outputs).items() if all(map(is_connected, uses))}
    positions = {n: id(t) for n, t in enumerate(tree.flatten(graph.inputs)) if id(t) in entries}
    relevant = {n: tensors[id(entries[raw])] for n, raw in positions.items()}
    return Built(model, core, tuple(layers), tuple(taken), tuple(returned), results, relevant)
