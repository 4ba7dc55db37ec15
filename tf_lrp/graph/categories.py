"""Inputs of strings, and of integers that are looked up: they are read as they are, and have numbers beside them for relevance.

A string has no derivative, and an integer beyond 2^24 is no float32. So each such input x gets a node `Entries`, a number for
each of its entries, to which the layers that look x up hand relevance. What only moves x around moves its entries likewise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from keras import layers, tree

from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.nodes import Node
from tf_lrp.keras_compat.operations import Entries, WithEntries, entries_like
from tf_lrp.operations.indicators import indicates
from tf_lrp.operations.routing_table import moves_entries
from tf_lrp.twins.categories import CATEGORY_LAYERS


def with_entries(graph):
    """The graph with `Entries` for the inputs that need them."""
    as_they_are = _taken_as_they_are(graph)
    made = _strings_made_of_inputs(graph)
    if not as_they_are and not made:
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
        if id(x) in as_they_are:
            entries[id(x)], name = entries_like(x), named(x.name)
            nodes.append(Node(Entries(), (x,), {}, (entries[id(x)],), (name,), name=name))
    for node in graph.nodes:
        own = [entries[id(t)] for t in node.inputs if id(t) in as_they_are]
        if any(id(t) in as_they_are for t in node.outputs):
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
    return replace(graph, nodes=tuple(nodes), results=swapped(graph.results))


def entries_of(graph):
    """id of each input that has `Entries` -> their tensor."""
    return {id(node.inputs[0]): node.output for node in graph.nodes if isinstance(node.operation, Entries)}


def values_of(node):
    """The tensors that a node takes, without `Entries`."""
    return node.inputs[node.operation.count :] if isinstance(node.operation, WithEntries) else node.inputs


def _strings_made_of_inputs(graph):
    """ids of the strings that depend on the model's inputs by more than a yes or no."""
    depends = {id(t) for t in tree.flatten(graph.inputs)}
    for node in graph.nodes:
        if any(id(t) in depends for t in node.inputs) and not indicates(node.operation):
            depends.update(id(t) for t in node.outputs)
    tensors = [*tree.flatten(graph.inputs), *(t for node in graph.nodes for t in node.outputs)]
    return {id(t) for t in tensors if t.dtype == "string" and id(t) in depends}


def _check_strings(node, made):
    """Refuses what changes strings, or looks up strings that were changed."""
    if indicates(node.operation) or not any(id(t) in made for t in node.inputs):
        return
    raise UnsupportedLayerError(
        f"{node.name!r} of class {type(node.operation).__name__} (at {'/'.join(node.path)}) changes strings, and no relevance "
        "can be told of that: inside a model, strings can be moved around and looked up (StringLookup, TextVectorization, "
        "Hashing, HashedCrossing). Change them before the model, or by TextVectorization(standardize=...)."
    )


def _taken_as_they_are(graph):
    """ids of the inputs, and of what was only moved, that are strings or that layers of categories take."""
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
