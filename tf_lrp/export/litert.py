"""Export for LiteRT (TensorFlow Lite)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tf_lrp.export.registry import ExportRequest, ExportTarget, register_target

# TensorFlow is imported when something is written: the command line lists the formats without it.


@register_target("litert")
class LiteRT(ExportTarget):
    """A file with its description in FILE.json beside it, which is run once in LiteRT against the analyzer."""

    summary = "a file for LiteRT (TensorFlow Lite)"

    def write(self, request: ExportRequest, path: Path) -> None:
        import tensorflow as tf

        from tf_lrp.export.forward_only import compare

        forward = request.forward_graph()
        graph_def = forward.graph.as_graph_def()

        def explain(*tensors):
            feeds = {t.name: value for t, value in zip(forward.inputs, tensors, strict=True)}
            names = [t.name for t in forward.results.values()]
            results = tf.graph_util.import_graph_def(graph_def, input_map=feeds, return_elements=names, name="")
            return dict(zip(forward.results, results, strict=True))

        arguments = zip(forward.function.names, forward.inputs, strict=True)
        specs = [tf.TensorSpec(t.shape, t.dtype, name) for name, t in arguments]
        function = tf.function(explain, input_signature=specs, autograph=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
        path.write_bytes(converter.convert())
        path.with_name(path.name + ".json").write_text(request.description, encoding="utf-8")

        interpreter = _interpreter(path)
        runner = interpreter.get_signature_runner()
        compare("LiteRT", forward, lambda feeds: runner(**feeds))


def _interpreter(path):
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    return Interpreter(model_path=str(path))
