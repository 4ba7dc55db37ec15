"""Export for onnxruntime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tf_lrp.export.registry import ExportRequest, ExportTarget, register_target

_MODULES = ("tf2onnx", "onnx", "onnxruntime")


@register_target("onnx")
class ONNX(ExportTarget):
    """A file that is run once in onnxruntime against the analyzer."""

    summary = "a file for onnxruntime"

    def write(self, request: ExportRequest, path: Path) -> None:
        missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
        if missing:
            raise ImportError(f'Export as ONNX needs {", ".join(missing)}: pip install "tf_lrp[onnx]"')
        import onnx
        import onnxruntime
        import tf2onnx

        from tf_lrp.export.forward_only import compare

        forward = request.forward_graph()
        proto, _ = tf2onnx.convert.from_graph_def(
            forward.graph.as_graph_def(),
            input_names=[t.name for t in forward.inputs],
            output_names=[t.name for t in forward.results.values()],
            opset=17,
        )
        # TensorFlow's names of tensors become the names that users read.
        names = dict(zip([t.name for t in forward.inputs], forward.function.names, strict=True))
        _rename(proto.graph, names | {t.name: key for key, t in forward.results.items()})
        entry = proto.metadata_props.add()
        entry.key, entry.value = "tf_lrp", request.description
        onnx.checker.check_model(proto)
        onnx.save(proto, str(path))

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        keys = list(forward.results)
        compare("onnxruntime", forward, lambda feeds: dict(zip(keys, session.run(keys, feeds), strict=True)))


def _rename(graph, names):
    for node in graph.node:
        for tensors in (node.input, node.output):
            for n, name in enumerate(tensors):
                tensors[n] = names.get(name, name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
