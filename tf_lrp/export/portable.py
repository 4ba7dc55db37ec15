"""Export for runtimes other than TensorFlow's, ONNX and LiteRT: forward operations alone, all lengths known."""

from __future__ import annotations

import importlib.util

import numpy as np
import tensorflow as tf

from tf_lrp.export.explicit import lower
from tf_lrp.export.frozen import freeze, run
from tf_lrp.export.way import Way
from tf_lrp.twins.recurrent import unrolling

#: Largest deviation of a converted explanation, relative to the largest value of each result.
_TOLERANCE = 1e-4
#: Where rounding the inputs moves TensorFlow's own result by more, so much may two runtimes differ, in units of that.
_ROUNDING_TOLERANCE = 5


def write_onnx(analyzer, path, description, **options):
    """Writes an ONNX file, and runs it once in onnxruntime against the analyzer."""
    _needs("ONNX", "tf2onnx", "onnx", "onnxruntime", extra="onnx")
    import onnx
    import onnxruntime
    import tf2onnx

    way, graph, inputs, results = _lowered(analyzer, **options)
    proto, _ = tf2onnx.convert.from_graph_def(
        graph.as_graph_def(),
        input_names=[t.name for t in inputs],
        output_names=[t.name for t in results.values()],
        opset=17,
    )
    # The names that the graph had to have become those that users read.
    renamed = dict(zip([t.name for t in inputs], way.names, strict=True)) | {t.name: key for key, t in results.items()}
    _rename(proto.graph, renamed)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "tf_lrp", description
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def infer(feeds):
        return dict(zip(results, session.run(list(results), feeds), strict=True))

    _compare("onnxruntime", way, inputs, infer)


def write_litert(analyzer, path, description, **options):
    """Writes a LiteRT (TensorFlow Lite) file and its description beside it, and runs it once against the analyzer."""
    way, graph, inputs, results = _lowered(analyzer, **options)
    graph_def = graph.as_graph_def()

    def explain(*tensors):
        feeds = {t.name: value for t, value in zip(inputs, tensors, strict=True)}
        names = [t.name for t in results.values()]
        found = tf.graph_util.import_graph_def(graph_def, input_map=feeds, return_elements=names, name="")
        return dict(zip(results, found, strict=True))

    specs = [tf.TensorSpec(t.shape, t.dtype, name) for name, t in zip(way.names, inputs, strict=True)]
    module = tf.Module()
    module.explain = tf.function(explain, input_signature=specs, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.explain.get_concrete_function()], module)
    path.write_bytes(converter.convert())
    path.with_name(path.name + ".json").write_text(description, encoding="utf-8")

    interpreter = _interpreter(path)
    runner = interpreter.get_signature_runner()
    _compare("LiteRT", way, inputs, lambda feeds: runner(**feeds))


def _interpreter(path):
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tensorflow.lite import Interpreter
    return Interpreter(model_path=str(path))


def _lowered(analyzer, *, selecting, layers, output, neuron_selection, batch_size, input_shape):
    """(way, graph of forward operations, its inputs, its results by key)."""
    if analyzer._categories.uncompiled:
        raise ValueError(
            f"ONNX and LiteRT hold functions of numbers, and {', '.join(map(repr, analyzer._categories.uncompiled))} looks up "
            "strings or integers in tables: export as saved_model, or explain the model without its preprocessing."
        )
    way = Way(analyzer, selecting, layers, output, neuron_selection)
    signature = [tf.TensorSpec(s, t.dtype) for s, t in zip(_static(way, batch_size, input_shape), way.signature, strict=True)]
    unrolled = unrolling.set(True)
    try:
        frozen = freeze(way, signature)
    finally:
        unrolling.reset(unrolled)
    with tf.Graph().as_default() as graph:
        tensors = [tf.compat.v1.placeholder(s.dtype, s.shape, name) for name, s in zip(way.names, signature, strict=True)]
        values = {name: tf.constant(value) for name, value in frozen.constants.items()}
        found = run(frozen, tensors, values)
    names = {key: t.name for key, t in found.items()}
    return way, *lower(graph.as_graph_def(), [t.op.name for t in tensors], names)


def _static(way, batch_size, input_shape):
    """The shapes with all lengths known."""
    given = list(input_shape) if isinstance(input_shape, list) else [input_shape] * len(way.names)
    shapes = []
    for name, spec, lengths in zip(way.names, way.signature, [*given, None][: len(way.names)], strict=True):
        shape = [batch_size if spec.shape[0] is None else spec.shape[0], *spec.shape[1:]]
        if None in shape and lengths is not None:
            if len(lengths) != len(shape) - 1 or any(s not in (None, n) for s, n in zip(shape[1:], lengths, strict=True)):
                raise ValueError(
                    f"The input {name!r} has the shape {tuple(spec.shape[1:])} a sample; got input_shape={lengths}."
                )
            shape = [shape[0], *lengths]
        if None in shape:
            raise ValueError(
                f"This format needs all lengths to be known, but the input {name!r} has the shape {tuple(spec.shape[1:])} a "
                "sample: say for which it is exported, input_shape=(224, 224, 3), or a list with one shape for each input."
            )
        shapes.append(shape)
    return shapes


def _compare(runtime, way, inputs, infer):
    """Runs the converted file on numbers and compares what it returns to what TensorFlow computes."""
    rng = np.random.default_rng(0)
    feeds = {}
    for name, t in zip(way.names, inputs, strict=True):
        index = name == "neuron_selection" and t.dtype.is_integer
        value = np.zeros(t.shape) if index else rng.uniform(0, 1, t.shape)
        feeds[name] = value.astype(t.dtype.as_numpy_dtype)
    compute = tf.function(way, autograph=False)
    expected, found = compute(*feeds.values()), infer(feeds)
    rounded = [
        compute(*(value if value.dtype.kind == "i" else (value * (1 + shift)).astype(value.dtype) for value in feeds.values()))
        for shift in (2e-7, -2e-7)
    ]
    for key in expected:
        noise = max(_deviation(other[key], expected[key]) for other in rounded)
        deviation, allowed = _deviation(found[key], expected[key]), max(_TOLERANCE, _ROUNDING_TOLERANCE * noise)
        if not deviation <= allowed:
            raise RuntimeError(
                f"The file was converted, but {runtime} computes another {key!r} than TensorFlow: the largest deviation is "
                f"{deviation:.1e} of its largest value, more than {allowed:.0e}. It was not kept."
            )


def _deviation(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo("float32").tiny)


def _rename(graph, renamed):
    for node in graph.node:
        for names in (node.input, node.output):
            for n, name in enumerate(names):
                names[n] = renamed.get(name, name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = renamed.get(value.name, value.name)


def _needs(what, *modules, extra):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'Export as {what} needs {", ".join(missing)}: pip install "tf_lrp[{extra}]"')
