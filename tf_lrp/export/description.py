"""What travels with an exported explanation: inputs and outputs by name, preset, labels, versions."""

from __future__ import annotations

import json
import re

import keras
import tensorflow as tf

from tf_lrp.explain import neurons

#: Keys of the results that layers cannot be called by.
RESERVED = ("relevance", "output", "neuron_selection")


def describe(analyzer, *, names, layers, output, neuron_selection, labels, metadata):
    """The description as a JSON string.

    Args:
        analyzer: `tf_lrp.Analyzer`.
        names: what the exported inputs are called.
        layers: names of the inner layers whose relevance is among the results.
        output: name of the explained output.
        neuron_selection: what is explained, or None for the strongest neuron.
        labels: class names, or None.
        metadata: the user's own, anything that JSON holds, or None.

    Raises:
        TypeError: if ``metadata`` cannot be written as JSON.
        ValueError: if there are other than one label for each neuron, or no such neuron.
    """
    from tf_lrp import __version__

    explained = analyzer.twin.outputs[analyzer.output_position(output)]
    if labels is not None:
        labels = [str(label) for label in labels]
        count = explained.shape[-1]
        if count is not None and len(labels) != count:
            raise ValueError(f"There are {count} neurons in the explained output, but {len(labels)} labels.")
    content = {
        "library": {"tf_lrp": __version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        "model": analyzer.model_name,
        "inputs": {
            name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in zip(names, analyzer.twin.inputs, strict=True)
        },
        "output": {"shape": list(explained.shape), "dtype": str(explained.dtype)},
        "layers": list(layers or ()),
        "neuron_selection": "max_activation" if neuron_selection is None else neurons.describe(neuron_selection),
        **analyzer.configuration(),
        "labels": labels,
        "metadata": metadata,
    }
    try:
        return json.dumps(content, indent=2)
    except TypeError as error:
        raise TypeError(
            f"metadata needs to be something that JSON can hold, a dict of numbers, texts, lists: {error}."
        ) from None


def input_names(analyzer):
    """The inputs' Keras names as identifiers, each once."""
    names = []
    for name in analyzer.input_spec.names:
        name = re.sub(r"\W", "_", name)
        name = f"x_{name}" if not name or name[0].isdigit() or name in RESERVED else name
        while name in names:
            name += "_"
        names.append(name)
    return names
