"""The inputs of a twin that are no numbers: what takes their relevance, and which of their values exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers as L
from keras import tree

from tf_lrp import keras_internals as K
from tf_lrp.graph.nodes import model_of
from tf_lrp.operations import Entries, layer_of
from tf_lrp.twins.categories import CATEGORY_LAYERS
from tf_lrp.twins.structural import ROUTING_LAYERS


@dataclass(frozen=True)
class _LookUp:
    """A layer that looks integers up.

    Attributes:
        name: of the layer.
        tensor: of the twin, what it looks up.
        input_name: of the model's input that it comes from, or "".
        limit: how many there are, from 0; None for any number.
    """

    name: str
    tensor: Any
    input_name: str
    limit: int | None


class CategoryInputs:
    """Inputs of strings, and of integers that are looked up.

    Args:
        graph: `Graph`.
        built: what became of it, `Built`.

    Attributes:
        core: keras.Model of [*inputs, *entries], or None.
        entries: position of an input -> the core's input that takes its relevance.
        uncompiled: names of the layers that XLA does not compile.
        tables: in which layers look up strings and integers.
    """

    def __init__(self, graph=None, built=None):
        self.core, self.entries = (None, {}) if built is None else (built.core, built.entries)
        nodes = [] if graph is None else graph.nodes
        self.uncompiled = [n.name for n in nodes if not getattr(layer_of(n.operation), "supports_jit", True)]
        self.tables = K.hash_tables_of([layer_of(n.operation) for n in nodes])
        self._inputs = [] if built is None else built.model.inputs
        self._lookups = [] if built is None else _lookups(graph, built)
        self._reader = None

    def bind(self, probe, inputs):
        """A probe as a function of numbers alone.

        Args:
            probe: keras.Model that takes what the core takes.
            inputs: flat list of tensors.

        Returns:
            (the function, the list of tensors that it takes: ``inputs`` with entries in place of strings and categories).
        """
        if not self.entries:
            return probe, inputs
        numbers = [tf.cast(Entries().call(x), self.entries[n].dtype) if n in self.entries else x for n, x in enumerate(inputs)]
        return _Bound(probe, inputs, tuple(self.entries)), numbers

    def check_compiled(self, jit_compile):
        """Refuses to compile layers that XLA cannot."""
        if jit_compile is True and self.uncompiled:
            raise ValueError(
                f"XLA does not compile {', '.join(map(repr, self.uncompiled))}, which look up strings or integers: leave "
                'jit_compile at "auto".'
            )

    def check(self, arrays):
        """Refuses tokens that a layer does not know.

        Args:
            arrays: the model's inputs, a flat list.

        Raises:
            ValueError: saying which input, value and place, and what is allowed.
        """
        at = {id(t): array for t, array in zip(self._inputs, arrays, strict=True)} if self._lookups else {}
        others = [k for k in self._lookups if id(k.tensor) not in at]
        if others:
            if self._reader is None:
                self._reader = model_of(self.core.inputs, [k.tensor for k in others])
            run, numbers = self.bind(self._reader, [tf.constant(a) for a in arrays])
            found = tree.flatten(run(numbers, training=False))
            at |= {id(k.tensor): np.asarray(values) for k, values in zip(others, found, strict=True)}
        for lookup in self._lookups:
            _check_values(lookup, at[id(lookup.tensor)])


class _Bound:
    """A model whose strings and categories are given, as a function of the other inputs and of their entries."""

    def __init__(self, probe, inputs, positions):
        self.probe, self.inputs, self.positions, self.outputs = probe, inputs, positions, probe.outputs

    def __call__(self, numbers, training=False):
        plain = [self.inputs[n] if n in self.positions else x for n, x in enumerate(numbers)]
        return self.probe([*plain, *(numbers[n] for n in self.positions)], training=training)


def _lookups(graph, built):
    producers = graph.producers()
    names = {id(t): t.name for t in tree.flatten(graph.inputs)}
    found = []
    for node, taken in zip(graph.nodes, built.taken, strict=True):
        layer = layer_of(node.operation)
        if isinstance(layer, L.Embedding):
            limit = layer.input_dim
        elif isinstance(layer, L.CategoryEncoding) and layer.output_mode != "one_hot":
            limit = None  # Keras leaves out what is beyond, and refuses what is below 0
        else:
            continue
        source = _source(node.inputs[0], producers, names)
        if source is not None:
            found.append(_LookUp(node.name, taken[0], source, limit))
    return found


def _source(tensor, producers, names):
    """Name of the model's input that a tensor comes from by moving values around, or None."""
    while (node := producers.get(id(tensor))) is not None:
        moves = isinstance(node.operation, (*ROUTING_LAYERS, *K.CONVERSIONS, L.Identity, Entries))
        looks_up = isinstance(layer_of(node.operation), CATEGORY_LAYERS)
        if not (moves or looks_up) or len({id(t) for t in node.inputs[:1]}) != len({id(t) for t in node.inputs}):
            return None
        (tensor,) = node.inputs[:1]
    return names.get(id(tensor))


def _check_values(lookup, values):
    bad = (values < 0) | (values != np.floor(values))
    if lookup.limit is not None:
        bad |= values >= lookup.limit
    if not bad.any():
        return
    place = tuple(map(int, np.unravel_index(np.argmax(bad), bad.shape)))
    allowed = "whole numbers from 0" + ("" if lookup.limit is None else f" to {lookup.limit - 1}")
    raise ValueError(
        f"The input {lookup.input_name!r} hands {values[place]:.10g} to {lookup.name!r} at {place}, which takes {allowed}"
        f"{f' ({bad.sum()} such values in all)' if bad.sum() > 1 else ''}."
    )


#: Of a model whose inputs are numbers.
NO_CATEGORIES = CategoryInputs()
