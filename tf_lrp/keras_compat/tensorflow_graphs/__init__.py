"""TensorFlow graphs, opened: the operations of a traced function or a SavedModel, replayed as operations of Keras.

A graph becomes a flat list of operations (`graph`), which are replayed one by one on symbolic tensors (`replay`). What replays
an operation is one line, or one function, of a table (`table`, and one module for each family of operations). Weighted
operations get the biases and normalizations that follow them, as layers of Keras have them (`weighted`, `normalization`).
"""

from tf_lrp.keras_compat.tensorflow_graphs import (
    control_flow,
    elementwise,
    linear,
    normalization,
    reductions,
    selection,
    shapes,
    transforms,
)
from tf_lrp.keras_compat.tensorflow_graphs.graph import Function, GraphProgram, Op, operations_behind
from tf_lrp.keras_compat.tensorflow_graphs.layer import GraphLayer
from tf_lrp.keras_compat.tensorflow_graphs.replay import replay
from tf_lrp.keras_compat.tensorflow_graphs.table import TABLE
from tf_lrp.keras_compat.tensorflow_graphs.tracing import open_by_graph

__all__ = [
    "TABLE",
    "Function",
    "GraphLayer",
    "GraphProgram",
    "Op",
    "control_flow",
    "elementwise",
    "linear",
    "normalization",
    "open_by_graph",
    "operations_behind",
    "reductions",
    "replay",
    "selection",
    "shapes",
    "transforms",
]
