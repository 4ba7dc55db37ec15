"""The inputs of a twin that are strings or categories: where their relevance goes, and which values are allowed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers, tree

from tf_lrp.graph.categories import values_of
from tf_lrp.graph.nodes import model_of
from tf_lrp.keras_compat import keras_classes, preprocessing
from tf_lrp.keras_compat.own_operations import Entries, layer_of
from tf_lrp.operations.routing_table import moves_entries
from tf_lrp.twins.categories import CATEGORY_LAYERS


@dataclass(frozen=True)
class _LookUp:
    """A layer that looks up values, and does not accept all of them.

    Attributes:
        name: of the layer.
        tensor: the tensor of the core that it looks up.
        input_name: name of the model's input that the tensor comes from.
        takes: array of values -> bool array, whether the layer accepts them.
        allowed: description of the accepted values.
    """

    name: str
    tensor: Any
    input_name: str
    takes: Callable
    allowed: str


class CategoryInputs:
    """Inputs of strings, and of integers that are looked up.

    Args:
        graph: `Graph`.
        built: the `Built` of this graph.

    Attributes:
        core: keras.Model of [*inputs, *entries], or None.
        entries: position of an input -> the core's input that takes its relevance.
        uncompiled: names of the layers that XLA does not compile.
        tables: the hash tables in which layers look up strings and integers.
    """

    def __init__(self, graph=None, built=None):
        self.core, self.entries = (None, {}) if built is None else (built.core, built.entries)
        nodes = [] if graph is None else graph.nodes
        self.uncompiled = [n.name for n in nodes if not getattr(layer_of(n.operation), "supports_jit", True)]
        self.tables = preprocessing.hash_tables_of([layer_of(n.operation) for n in nodes])
        self._inputs = [] if built is None else built.model.inputs
        self._lookups = [] if built is None else _lookups(graph, built)
        self._reader = None

    def bind(self, probe, inputs):
        """A model as a function of its numeric inputs alone.

        Args:
            probe: keras.Model with the inputs of the core.
            inputs: flat list of tensors.

        Returns:
            (the function, the list of tensors that it takes: ``inputs`` with entries in place of strings and categories).
        """
        if not self.entries:
            return probe, inputs
        numbers = [tf.cast(Entries().call(x), self.entries[n].dtype) if n in self.entries else x for n, x in enumerate(inputs)]
        return _Bound(probe, inputs, tuple(self.entries)), numbers

    def refuse(self, why):
        """Raises for inputs that are not numbers, for methods that change inputs numerically."""
        if self.entries:
            names = ", ".join(repr(self._inputs[n].name) for n in self.entries)
            raise ValueError(
                f"{why}, and {names} holds strings or integers that are looked up: explain the model by tf_lrp.Analyzer, or "
                "without its preprocessing."
            )

    def check_compiled(self, jit_compile):
        """Raises if layers are to be compiled that XLA does not support."""
        if jit_compile is True and self.uncompiled:
            raise ValueError(
                f"XLA does not compile {', '.join(map(repr, self.uncompiled))}: strings and integers are looked up there. "
                'Leave jit_compile at "auto".'
            )

    def check(self, arrays):
        """Raises for tokens that a layer does not know.

        Args:
            arrays: the model's inputs, a flat list.

        Raises:
            ValueError: with the input, the value, its position and the allowed values.
        """
        at = {id(t): array for t, array in zip(self._inputs, arrays, strict=True)} if self._lookups else {}
        others = [k for k in self._lookups if id(k.tensor) not in at]
        if others:
            if self._reader is None:
                self._reader = model_of(self.core.inputs, [k.tensor for k in others])
            run, numbers = self.bind(self._reader, [tf.constant(a) for a in arrays])
            looked_up_values = tree.flatten(run(numbers, training=False))
            at |= {id(k.tensor): np.asarray(values) for k, values in zip(others, looked_up_values, strict=True)}
        for lookup in self._lookups:
            _check_values(lookup, at[id(lookup.tensor)])


class _Bound:
    """A model with fixed strings and categories, as a function of the other inputs and of the `Entries`."""

    def __init__(self, probe, inputs, positions):
        self.probe, self.inputs, self.positions, self.outputs = probe, inputs, positions, probe.outputs

    def __call__(self, numbers, training=False):
        plain = [self.inputs[n] if n in self.positions else x for n, x in enumerate(numbers)]
        return self.probe([*plain, *(numbers[n] for n in self.positions)], training=training)


def _lookups(graph, built):
    producers = graph.producers()
    names = {id(t): t.name for t in tree.flatten(graph.inputs)}
    lookups = []
    for node, taken in zip(graph.nodes, built.taken, strict=True):
        layer = layer_of(node.operation)
        if isinstance(layer, layers.Embedding) and node.affine is None and not node.kwargs.get("reverse"):
            takes, allowed = _integers(layer.input_dim), f"integers from 0 to {layer.input_dim - 1}"
        elif isinstance(layer, layers.CategoryEncoding) and layer.output_mode != "one_hot":
            takes, allowed = _integers(np.inf), "integers from 0"  # it leaves out those beyond its last category
        elif isinstance(layer, (layers.IntegerLookup, layers.StringLookup)) and not layer.num_oov_indices and not layer.invert:
            takes, allowed = (
                functools.partial(preprocessing.in_vocabulary, layer),
                "values in its vocabulary (num_oov_indices=0)",
            )
        else:
            continue
        source = None if _fits(producers.get(id(values_of(node)[0])), layer) else _source(values_of(node)[0], producers, names)
        if source is not None:
            lookups.append(_LookUp(node.name, taken[-len(values_of(node))], source, takes, allowed))
    return lookups


def _fits(producer, layer):
    """Whether an embedding has a row for each code of the layer of categories before it."""
    before = None if producer is None else layer_of(producer.operation)
    makes_codes = isinstance(before, CATEGORY_LAYERS) and isinstance(layer, layers.Embedding)
    return makes_codes and preprocessing.number_of_categories(before) <= layer.input_dim


def _integers(end):
    return lambda values: (values >= 0) & (values < end) & (values == np.floor(values))


def _source(tensor, producers, names):
    """Name of the model's input whose values a tensor contains, moved or looked up; or None."""
    while (node := producers.get(id(tensor))) is not None:
        moves = moves_entries(node.operation) or isinstance(node.operation, Entries)
        looks_up = isinstance(layer_of(node.operation), CATEGORY_LAYERS)
        inputs = values_of(node)
        if not (moves or looks_up) or len(inputs) != 1:
            return None
        (tensor,) = inputs
    return names.get(id(tensor))


def looked_up(graph):
    """Pairs (name of an input, name of the layer that looks it up) of a graph."""
    producers, names, pairs = graph.producers(), {id(t): t.name for t in tree.flatten(graph.inputs)}, []
    for node in graph.nodes:
        tokens = isinstance(
            layer_of(node.operation), (layers.Embedding, *CATEGORY_LAYERS, *keras_classes.operation_classes("OneHot", "Take"))
        )
        taken = node.inputs[-1:] if isinstance(node.operation, keras_classes.operation_classes("Take")) else values_of(node)
        sources = [_source(t, producers, names) for t in taken] if tokens else []
        pairs += [(source, node.name) for source in sources if source is not None]
    return list(dict.fromkeys(pairs))


def _check_values(lookup, values):
    bad = ~lookup.takes(values)
    if not bad.any():
        return
    place = tuple(map(int, np.unravel_index(np.argmax(bad), bad.shape)))
    value = values[place].decode(errors="replace") if isinstance(values[place], bytes) else values[place]
    shown = repr(value) if isinstance(value, str) else f"{value:.7g}"
    others = f" ({bad.sum()} such values in all)" if bad.sum() > 1 else ""
    raise ValueError(
        f"The input {lookup.input_name!r} passes {shown} to {lookup.name!r} at {place}{others}, which accepts {lookup.allowed}."
    )


#: For models whose inputs are all numbers.
NO_CATEGORIES = CategoryInputs()
