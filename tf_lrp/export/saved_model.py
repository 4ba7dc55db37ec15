"""Export as a SavedModel."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import tensorflow as tf

from tf_lrp.export.frozen import freeze, run
from tf_lrp.export.way import Way


def write(analyzer, path, description, *, layers, output, labels, neuron_selection):
    """Writes the signatures "serving_default" and "select" into the folder ``path``."""
    module = tf.Module()
    shared = {}  # constants are stored once, however many signatures take them
    signatures = {}
    for key, selecting in (("serving_default", False), ("select", True)):
        way = Way(analyzer, selecting, layers, output, neuron_selection)
        signatures[key] = _signature(way, shared)
    module.constants = list(shared.values())
    module.tables = analyzer._categories.tables
    with tempfile.TemporaryDirectory() as folder:
        module.description = _asset(folder, "tf_lrp.json", description)
        if labels is not None:
            module.labels = _asset(folder, "labels.txt", "\n".join(map(str, labels)) + "\n")
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(path), signatures=signatures, options=options)


def _signature(way, shared):
    frozen = freeze(way, way.signature)
    constants = {}
    for name, value in frozen.constants.items():
        key = (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in shared:
            shared[key] = tf.Variable(value, trainable=False, name=f"constant_{len(shared)}")
        constants[name] = shared[key]

    def explain(**tensors):
        read = {name: tf.convert_to_tensor(variable) for name, variable in constants.items()}
        tables = [tf.compat.v1.get_default_graph().capture(handle) for handle in frozen.resources]
        return run(frozen, [*(tensors[name] for name in way.names), *tables], read)

    specs = {name: tf.TensorSpec(s.shape, s.dtype, name) for name, s in zip(way.names, way.signature, strict=True)}
    return tf.function(explain, autograph=False).get_concrete_function(**specs)


def _asset(folder, name, text):
    path = Path(folder) / name
    path.write_text(text, encoding="utf-8")
    return tf.saved_model.Asset(str(path))
