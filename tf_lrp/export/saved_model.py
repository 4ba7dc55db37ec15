"""Export as a SavedModel."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from tf_lrp.export.registry import ExportRequest, ExportTarget, register_target

# TensorFlow is imported when something is written: the command line lists the formats without it.


@register_target("saved_model")
class SavedModel(ExportTarget):
    """A folder with the signatures "serving_default" and "select"; the number of samples stays free."""

    summary = "a folder for TensorFlow"

    def write(self, request: ExportRequest, path: Path) -> None:
        import tensorflow as tf

        module: Any = tf.Module()
        shared = {}  # constants are stored once, however many signatures take them
        signatures = {
            key: _signature(request.function(selecting), shared)
            for key, selecting in (("serving_default", False), ("select", True))
        }
        module.constants = list(shared.values())
        module.tables = request.analyzer.category_inputs.tables
        with tempfile.TemporaryDirectory() as folder:
            module.description = _asset(folder, "tf_lrp.json", request.description)
            if request.labels is not None:
                module.labels = _asset(folder, "labels.txt", "\n".join(map(str, request.labels)) + "\n")
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(path), signatures=signatures, options=options)

    def is_export(self, path: Path) -> bool:
        return path.is_dir() and (path / "saved_model.pb").exists() and (path / "assets" / "tf_lrp.json").exists()


def _signature(function, shared):
    """A concrete function of tensors by name that reads its constants from variables, which it adds to ``shared``."""
    import tensorflow as tf

    from tf_lrp.export.frozen import freeze, run

    frozen = freeze(function, function.signature)
    constants = {}
    for name, value in frozen.constants.items():
        key = (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in shared:
            shared[key] = tf.Variable(tf.constant(value), trainable=False, name=f"constant_{len(shared)}")
        constants[name] = shared[key]

    def explain(**tensors):
        values = {name: tf.convert_to_tensor(variable) for name, variable in constants.items()}
        tables = [tf.compat.v1.get_default_graph().capture(handle) for handle in frozen.resources]
        return run(frozen, [*(tensors[name] for name in function.names), *tables], values)

    arguments = zip(function.names, function.signature, strict=True)
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in arguments}
    return tf.function(explain, autograph=False).get_concrete_function(**specs)


def _asset(folder, name, text):
    import tensorflow as tf

    path = Path(folder) / name
    path.write_text(text, encoding="utf-8")
    return tf.saved_model.Asset(str(path))
