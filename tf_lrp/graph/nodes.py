"""The flat graph between a model and its twin: nodes joined by symbolic tensors, in topological order."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import keras
from keras import tree

from tf_lrp.affine import Affine
from tf_lrp.keras_compat.parameters import ARRAYS


@dataclass(frozen=True, eq=False)
class Node:
    """One call of one operation.

    Attributes:
        operation: the user's layer or Keras operation (or one that a canonization inserted).
        args, kwargs: the arguments of the call: nested structures whose tensors are KerasTensors of the graph.
        outputs: its KerasTensors.
        path: names of the models that contain it, outermost first, and its own name.
        affine: the affine map that it computes, or None.
        problem: why it could not be opened into operations that have twins; "" if it was, or need not be.
        rewritable: whether the user can rewrite it; the inside of Keras's own layers is not the user's code.
        name: unique in the graph.
        split_from: name of the node that it is a step of, if a layer was split.
        placeholder: whether it replaces a layer that was merged or left out, and returns its input unchanged, so that the
            relevance at this layer has a tensor of its own.
    """

    operation: Any
    args: tuple
    kwargs: dict
    outputs: tuple
    path: tuple[str, ...]
    affine: Affine | None = None
    problem: str = ""
    rewritable: bool = True
    name: str = ""
    split_from: str = ""
    placeholder: bool = False

    @functools.cached_property
    def inputs(self):
        """Its tensor arguments, in order."""
        return tensors_in((self.args, self.kwargs))

    @property
    def output(self):
        """Its first (mostly its only) output."""
        return self.outputs[0]


def model_of(inputs, outputs, name=None):
    """A keras.Model that casts neither its inputs nor the variables of its layers to the type of the global policy."""
    model = keras.Model(inputs, outputs, name=name)
    model.autocast, model.dtype_policy = False, keras.DTypePolicy("float32")
    return model


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as a flat list of nodes.

    Attributes:
        inputs, outputs: nested structures of KerasTensors, as the model takes and returns them.
        nodes: in topological order.
        layer_outputs: layer name (or dotted path) -> the tensors that this layer returns, one for each time it is used.
    """

    inputs: Any
    outputs: Any
    nodes: tuple[Node, ...]
    layer_outputs: dict[str, list] = field(default_factory=dict)

    def names(self):
        """The names that are taken."""
        return {node.name for node in self.nodes} | {t.name for t in tree.flatten(self.inputs)}

    def consumers(self):
        """id of each tensor -> the nodes that take it."""
        taken = {}
        for node in self.nodes:
            for tensor in node.inputs:
                taken.setdefault(id(tensor), []).append(node)
        return taken

    def producers(self):
        """id of each tensor -> the node that makes it."""
        return {id(tensor): node for node in self.nodes for tensor in node.outputs}

    def replaced(self, tensors, **changes):
        """The graph with tensors exchanged wherever they are taken or returned.

        Args:
            tensors: dict id -> KerasTensor to take instead.
            **changes: fields of the result.
        """

        def swap(structure):
            return tree.map_structure(lambda t: tensors.get(id(t), t), structure)

        def swapped(node):
            taken = any(id(t) in tensors for t in node.inputs)
            return replace(node, args=swap(node.args), kwargs=swap(node.kwargs)) if taken else node

        graph = replace(self, **changes)
        results = {name: [tensors.get(id(t), t) for t in uses] for name, uses in graph.layer_outputs.items()}
        nodes = tuple(map(swapped, graph.nodes))
        return replace(graph, nodes=nodes, outputs=swap(graph.outputs), layer_outputs=results)


def placeholder(path, name, x, output):
    """A `Node` that stands in for a layer that was merged or left out.

    Args:
        path: of that layer.
        name: unique, of the new node.
        x: KerasTensor that it takes.
        output: KerasTensor that it returns.
    """
    identity = keras.layers.Identity(name=name, dtype=x.dtype if "float" in x.dtype else None)
    return Node(identity, (x,), {}, (output,), (*path, name), name=name, placeholder=True)


def without_idle_placeholders(graph):
    """The graph without the placeholders that alone take their input: what arrives there arrives through them."""
    returned = {id(t) for t in tree.flatten(graph.outputs)}
    for node in [n for n in graph.nodes if n.placeholder]:
        node = next(n for n in graph.nodes if n.outputs is node.outputs)  # its input may have been exchanged
        (x,) = node.inputs
        if len(graph.consumers()[id(x)]) == 1 and id(x) not in returned:
            graph = graph.replaced({id(node.output): x}, nodes=tuple(n for n in graph.nodes if n is not node))
            returned = {id(t) for t in tree.flatten(graph.outputs)}
    return graph


def unique_name(wanted, taken):
    """The name, or it with a number if it is among those ``taken``."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}.{number}"
    return name


def like(tensor):
    """A new KerasTensor of the same shape and type."""
    return keras.KerasTensor(tensor.shape, dtype=tensor.dtype)


def pruned(graph):
    """The graph without the nodes that no output needs."""
    needed = {id(t) for t in tree.flatten(graph.outputs)}
    kept = []
    for node in reversed(graph.nodes):
        if any(id(t) in needed for t in node.outputs):
            kept.append(node)
            needed.update(id(t) for t in node.inputs)
    return replace(graph, nodes=tuple(reversed(kept)))


def constants_in(structure):
    """The numbers, arrays and variables in a nested structure. (Among the numbers may be axes and lengths.)"""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, (int, float, *ARRAYS)) and not isinstance(leaf, bool)]


def tensors_in(structure):
    """The KerasTensors in a nested structure, in order."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]
