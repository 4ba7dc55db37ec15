"""Inputs of strings, and of integers that are looked up: they keep their type, and numbers beside them take the relevance.

A string has no derivative, and not every integer beyond 2^24 is a float32. So each such input x gets a node `Entries`, with a
number for each entry of x. Layers that look x up pass its relevance to these numbers. Operations that only move x also move
its `Entries`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from keras import layers, tree

from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.nodes import Node
from tf_lrp.keras_compat.own_operations import Entries, WithEntries, entries_like
from tf_lrp.operations.indicators import indicates
from tf_lrp.operations.routing_table import moves_entries
from tf_lrp.twins.categories import CATEGORY_LAYERS


def with_entries(graph):
    """The graph with `Entries` for the inputs that need them."""
    looked_up = _looked_up(graph)
    made = _strings_made_of_inputs(graph)
    if not looked_up and not made:
        return graph
    names = Counter([node.name for node in graph.nodes] + [t.name for t in tree.flatten(graph.inputs)])
    entries, nodes = {}, []

    def named(name):
        name = f"{name}_entries"
        while names[name]:
            name += "_"
        names[name] += 1
        return name

    def swapped(structure, but=()):
        return tree.map_structure(lambda t: t if getattr(t, "dtype", None) in but else entries.get(id(t), t), structure)

    for x in tree.flatten(graph.inputs):
        if id(x) in looked_up:
            entries[id(x)], name = entries_like(x), named(x.name)
            nodes.append(Node(Entries(), (x,), {}, (entries[id(x)],), (name,), name=name))
    for node in graph.nodes:
        own = [entries[id(t)] for t in node.inputs if id(t) in looked_up]
        if any(id(t) in looked_up for t in node.outputs):
            nodes.append(node)
            moved, name = tuple(entries_like(t) for t in node.outputs), named(node.name)
            args, kwargs = swapped((node.args, node.kwargs))
            nodes.append(replace(node, args=args, kwargs=kwargs, outputs=moved, name=name, path=(*node.path[:-1], name)))
            entries.update((id(t), m) for t, m in zip(node.outputs, moved, strict=True))
        elif own and isinstance(node.operation, CATEGORY_LAYERS):
            nodes.append(replace(node, operation=WithEntries(node.operation, len(own)), args=(*own, *node.args)))
        else:
            _check_strings(node, made)
            args, kwargs = swapped((node.args, node.kwargs), but=("string",))
            nodes.append(replace(node, args=args, kwargs=kwargs))
    return replace(graph, nodes=tuple(nodes), layer_outputs=swapped(graph.layer_outputs))


def entries_of(graph):
    """id of each input that has `Entries` -> their tensor."""
    return {id(node.inputs[0]): node.output for node in graph.nodes if isinstance(node.operation, Entries)}


def values_of(node):
    """The inputs of a node, without `Entries`."""
    return node.inputs[node.operation.count :] if isinstance(node.operation, WithEntries) else node.inputs


def _strings_made_of_inputs(graph):
    """ids of the strings that depend on the model's inputs other than through comparisons."""
    depends = {id(t) for t in tree.flatten(graph.inputs)}
    for node in graph.nodes:
        if any(id(t) in depends for t in node.inputs) and not indicates(node.operation):
            depends.update(id(t) for t in node.outputs)
    tensors = [*tree.flatten(graph.inputs), *(t for node in graph.nodes for t in node.outputs)]
    return {id(t) for t in tensors if t.dtype == "string" and id(t) in depends}


def _check_strings(node, made):
    """Raises for operations that change strings, or look up strings that were changed."""
    if indicates(node.operation) or not any(id(t) in made for t in node.inputs):
        return
    raise UnsupportedLayerError(
        f"{node.name!r} of class {type(node.operation).__name__} (at {'/'.join(node.path)}) changes strings, for "
        "which there is no relevance rule: inside a model, strings can be moved and looked up (StringLookup, "
        "TextVectorization, Hashing, HashedCrossing). Change them before the model, or by TextVectorization(standardize=...)."
    )


def _looked_up(graph):
    """ids of the inputs that are strings or that layers of categories look up, and of what only moves their values."""
    inputs = [t for t in tree.flatten(graph.inputs) if t.dtype == "string" or "int" in t.dtype]
    movable = {id(t): t for t in inputs}
    for node in graph.nodes:
        if moves_entries(node.operation) and node.inputs and all(id(t) in movable for t in node.inputs):
            movable.update((id(t), t) for t in node.outputs if t.dtype == "string" or "int" in t.dtype)
    needed = {key for key, t in movable.items() if t.dtype == "string"}
    for node in reversed(graph.nodes):
        looks_up = isinstance(node.operation, CATEGORY_LAYERS) and not isinstance(node.operation, layers.CategoryEncoding)
        if looks_up or any(id(t) in needed for t in node.outputs):
            needed.update(id(t) for t in node.inputs if id(t) in movable)
    return needed
