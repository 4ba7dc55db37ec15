"""The explanation of an analyzer as a plain function of tensors."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.explain import neurons
from tf_lrp.explain.passes import PassKind, pass_function
from tf_lrp.export.description import RESERVED, input_names


class ExportFunction:
    """One kind of pass, with its results by name.

    Args:
        analyzer: `tf_lrp.Analyzer`.
        selecting: whether the neuron to explain is an argument.
        layers: names of layers whose outputs' relevance is among the results, or None.
        output: name or index of the explained output.
        neuron_selection: what is explained otherwise, the same for all samples; by default the strongest neuron.

    Attributes:
        names: of the arguments.
        signature: a tf.TensorSpec for each.
    """

    def __init__(self, analyzer, selecting, layers, output, neuron_selection=None):
        position, layers = analyzer.output_position(output), analyzer.checked_layers(layers)
        explained = analyzer.twin.outputs[position]
        selection = neurons.check(neuron_selection, 1, explained.shape, explained.dtype)
        if selecting:
            # An index names a neuron of (N, classes); elsewhere the pass is seeded with relevance of the output's shape.
            selection = neurons.Selection("index" if _has_neurons(explained) else "r_init")
        self._values = selection.values
        self._function, specs = pass_function(analyzer, PassKind.of(selection, layers, position))
        self._inputs = len(specs[0])
        self.names = input_names(analyzer) + ["neuron_selection"] * selecting
        self.signature = [*specs[0], *(specs[1:] if selecting else ())]
        relevances = ["relevance"] if self._inputs == 1 else [f"relevance_{name}" for name in input_names(analyzer)]
        self._keys = relevances + _layer_keys(analyzer, layers)

    def __call__(self, *tensors):
        """Dict of tensors: "relevance" (one for each input if there are several), "output", and one for each layer."""
        values = tensors[self._inputs :]
        if self._values is not None:
            samples = tensors[0].shape[0] or tf.shape(tensors[0])[0]
            values = [tf.broadcast_to(self._values, [samples, *self._values.shape[1:]])]
        explained, relevances = self._function(list(tensors[: self._inputs]), *values)
        return {**dict(zip(self._keys, relevances, strict=True)), "output": explained}


def _has_neurons(output):
    return len(output.shape) == 1 or (len(output.shape) == 2 and output.shape[1] is not None)


def _layer_keys(analyzer, layers):
    keys = []
    for name in layers or ():
        if name in RESERVED or name.startswith("relevance_"):
            raise ValueError(f"The layer {name!r} cannot be exported under its name, which is taken: {', '.join(RESERVED)}.")
        uses = len(analyzer.layer_outputs[name])
        keys += [name] if uses == 1 else [f"{name}_{n}" for n in range(uses)]
    return keys
