"""Every use of Keras that its public API does not cover, in one place; tests name what broke when Keras changes.

Used here: the graph of a Functional model (`_run_through_graph`, `_inputs_struct`, `_outputs_struct`), the Functional
model inside a Sequential (`_functional`) and the operation classes behind ``x + y`` and ``keras.ops``.
"""

from __future__ import annotations

import keras
from keras.src.backend import AutocastScope
from keras.src.models.functional import Functional
from keras.src.ops import nn as nn_operations
from keras.src.ops import numpy as numpy_operations

#: Context in which float variables are read in a given type.
reading_variables_as = AutocastScope

Add = numpy_operations.Add
Subtract = numpy_operations.Subtract
Multiply = numpy_operations.Multiply
Divide = numpy_operations.Divide
TrueDivide = numpy_operations.TrueDivide
Maximum = numpy_operations.Maximum
Minimum = numpy_operations.Minimum
Concatenate = numpy_operations.Concatenate
Reshape = numpy_operations.Reshape
Transpose = numpy_operations.Transpose
GetItem = numpy_operations.GetItem
Squeeze = numpy_operations.Squeeze
ExpandDims = numpy_operations.ExpandDims

#: Element-wise functions of one tensor in keras.ops: relevance passes through them.
ELEMENTWISE_FUNCTIONS = tuple(
    getattr(nn_operations, name)
    for name in [
        "Relu",
        "Relu6",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Silu",
        "LogSigmoid",
        "LeakyRelu",
        "HardSigmoid",
        "HardSilu",
        "Elu",
        "Selu",
        "Gelu",
        "Celu",
        "Glu",
        "HardTanh",
        "TanhShrink",
        "SoftShrink",
        "HardShrink",
        "SquarePlus",
        "SparsePlus",
        "Threshold",
        "Softmax",
        "LogSoftmax",
    ]
    if hasattr(nn_operations, name) and name != "Glu"
) + tuple(getattr(numpy_operations, name) for name in ("Tanh", "Exp"))


def functional_of(model):
    """The Functional graph of a Sequential or Functional model, or None for a subclassed or unbuilt one."""
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def input_structure(functional):
    """The nested structure (list, dict, single) of symbolic tensors in which the model takes its inputs."""
    return functional._inputs_struct


def output_structure(functional):
    """The nested structure in which the model returns its outputs."""
    return functional._outputs_struct


def flat_inputs(functional, inputs):
    """What a model is called on, as a flat list in the order of its inputs: a dict goes by the inputs' names, as in Keras."""
    if isinstance(inputs, dict) and not isinstance(functional._inputs_struct, dict):
        return [inputs[t.name] for t in functional.inputs]
    return keras.tree.flatten(inputs)


def run_through_graph(functional, inputs, call):
    """Walks the graph in topological order without touching the model's layers.

    Args:
        functional: a Functional model.
        inputs: nested tensors in the model's input structure.
        call: ``call(operation, *args, **kwargs) -> outputs`` stands in for each ``operation(*args, **kwargs)``.

    Returns:
        What ``call`` returned for the model's outputs, in the model's output structure.
    """

    def stand_in(operation):
        return lambda *args, **kwargs: call(operation, *args, **kwargs)

    return functional._run_through_graph(flat_inputs(functional, inputs), operation_fn=stand_in)
