"""An explanation as a graph of forward operations only, with all lengths known, which other runtimes can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_lrp.export.explicit import lower
from tf_lrp.export.frozen import freeze, run
from tf_lrp.export.function import ExportFunction
from tf_lrp.export.registry import ExportRequest
from tf_lrp.twins.recurrent import unrolling

#: Allowed deviation of a converted explanation, relative to the largest value of each result.
_TOLERANCE = 1e-4
#: Allowed deviation, as a multiple of how much TensorFlow's own result changes when the inputs are perturbed by rounding.
_ROUNDING_TOLERANCE = 5


@dataclass(frozen=True)
class ForwardGraph:
    """An explanation without gradient operations, variables and loops.

    Attributes:
        function: the `ExportFunction` that it computes.
        graph: tf.Graph; every operation has a static shape.
        inputs: its placeholders, in the order of ``function.names``.
        results: key -> tensor: "relevance" (one for each input if there are several), "output", one for each layer.
    """

    function: ExportFunction
    graph: tf.Graph
    inputs: list
    results: dict


def forward_graph(request: ExportRequest) -> ForwardGraph:
    """See `ExportRequest.forward_graph`."""
    tables = request.analyzer.category_inputs.uncompiled
    if tables:
        raise ValueError(
            f"This format holds functions of numbers, and {', '.join(map(repr, tables))} looks up strings or integers in "
            "tables: export as saved_model, or explain the model without its preprocessing."
        )
    function = request.function()
    shapes = _static_shapes(function, request.batch_size, request.input_shape)
    signature = [tf.TensorSpec(shape, spec.dtype) for shape, spec in zip(shapes, function.signature, strict=True)]
    unrolled = unrolling.set(True)
    try:
        frozen = freeze(function, signature)
    finally:
        unrolling.reset(unrolled)
    with tf.Graph().as_default() as graph:
        arguments = zip(function.names, signature, strict=True)
        tensors = [tf.compat.v1.placeholder(spec.dtype, spec.shape, name) for name, spec in arguments]
        results = run(frozen, tensors, {name: tf.constant(value) for name, value in frozen.constants.items()})
    outputs = {key: t.name for key, t in results.items()}
    return ForwardGraph(function, *lower(graph.as_graph_def(), [t.op.name for t in tensors], outputs))


def _static_shapes(function, batch_size, input_shape):
    """The shapes of a function's arguments with all lengths known."""
    names = function.names
    given = list(input_shape) if isinstance(input_shape, list) else [input_shape] * len(names)
    shapes = []
    for name, spec, lengths in zip(names, function.signature, [*given, None][: len(names)], strict=True):
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


def compare(runtime: str, forward: ForwardGraph, infer: Callable) -> None:
    """Runs a converted file on random numbers and compares its results to TensorFlow's.

    Args:
        runtime: its name, for the error.
        forward: the `ForwardGraph` that was converted.
        infer: dict of NumPy arrays by argument name -> dict of arrays by result key.

    Raises:
        RuntimeError: if a result deviates by more than 1e-4 of its largest value, or five times what rounding the inputs
            changes, where that is more.
    """
    rng = np.random.default_rng(0)
    feeds = {}
    for name, t in zip(forward.function.names, forward.inputs, strict=True):
        index = name == "neuron_selection" and t.dtype.is_integer
        value = np.zeros(t.shape) if index else rng.uniform(0, 1, t.shape)
        feeds[name] = value.astype(t.dtype.as_numpy_dtype)
    compute = tf.function(forward.function, autograph=False)
    expected, converted = compute(*feeds.values()), infer(feeds)
    perturbed = [
        compute(*(value if value.dtype.kind == "i" else (value * (1 + shift)).astype(value.dtype) for value in feeds.values()))
        for shift in (2e-7, -2e-7)
    ]
    for key in expected:
        noise = max(_deviation(other[key], expected[key]) for other in perturbed)
        deviation, allowed = _deviation(converted[key], expected[key]), max(_TOLERANCE, _ROUNDING_TOLERANCE * noise)
        if not deviation <= allowed:  # NaN is no small deviation
            raise RuntimeError(
                f"The file was converted, but {runtime} computes another {key!r} than TensorFlow: the largest deviation is "
                f"{deviation:.1e} of its largest value, more than {allowed:.0e}. It was not kept."
            )


def _deviation(result, expected):
    result, expected = np.asarray(result), np.asarray(expected)
    return np.abs(result - expected).max() / max(np.abs(expected).max(), np.finfo("float32").tiny)
