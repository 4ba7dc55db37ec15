"""A Keras layer that computes what a graph of TensorFlow does."""

from __future__ import annotations

import re
from collections import Counter

import keras
import tensorflow as tf

from tf_lrp.keras_compat.openers.registry import opens
from tf_lrp.keras_compat.parameters import Parameter
from tf_lrp.keras_compat.tensorflow_graphs.graph import Function, operations_behind, scopes_of
from tf_lrp.keras_compat.tensorflow_graphs.replay import compute, refuse_missing, replay

#: Arithmetic that changes the units of a graph's inputs, and no more.
_UNITS = {"Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Cast", "ResizeBilinear", "ResizeNearestNeighbor", "ReverseV2"}


class GraphLayer(keras.layers.Layer):
    """What a graph computes; its variables are the layer's weights.

    Args:
        program: `GraphProgram`.
        inputs: list of `Op` of the type "Placeholder".
        outputs: list of (`Op`, position).
        variables: function `Op` -> (name, value as an array, whether it is trainable) of a variable of the graph.
        structure: function list of output tensors -> what the layer returns.
    """

    def __init__(self, program, inputs, outputs, variables, structure, **options):
        super().__init__(**options)
        ordered = operations_behind(outputs)
        found = [op for op in ordered if op.type in VARIABLES]
        described = [(op, *variables(op)) for op in found]
        if not found:  # a frozen graph, in which variables are constants
            described = [(op, op.name, op.attr("value"), True) for op in _frozen_weights(ordered)]
        constants = {op: self._weight(name, value, trainable) for op, name, value, trainable in described}
        self.function = Function(program, inputs, outputs, constants)
        refuse_missing(self.function)
        self.structure, self.built = structure, True
        self.names = layer_names([scopes_of(op) for op in ordered if op.type not in ("Const", "Placeholder", *VARIABLES)])

    def _weight(self, name, value, trainable):
        weight = self.add_weight(
            shape=value.shape,
            dtype=value.dtype.name,
            initializer="zeros",
            trainable=bool(trainable) and value.dtype.kind == "f",
            name=name.replace("/", "."),
        )
        weight.assign(value)
        return Parameter(lambda: tf.convert_to_tensor(weight))

    def call(self, *tensors):
        return self.structure(compute(self.function, list(tensors)))

    def get_config(self):
        raise NotImplementedError(
            f"The model {self.name!r} was loaded from a graph of TensorFlow, and Keras cannot save it as a Keras model: keep "
            "the SavedModel, and load it again with tf_lrp.load."
        )


#: Operations that are variables.
VARIABLES = ("VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable")


@opens(GraphLayer)
def _graph_layer(layer, *tensors):
    return layer.structure(replay(layer.function, list(tensors), layer.names))


def _frozen_weights(ordered):
    """The constants of a graph that were weights: arrays of real numbers, but for those that change the inputs' units."""
    in_units, of_inputs = set(), set()
    for op in ordered:
        before = [other for other, _ in op.inputs if other.type != "Const"]
        if op.type == "Placeholder" or (op.type in _UNITS and before and all(id(other) in of_inputs for other in before)):
            of_inputs.add(id(op))
            in_units |= {id(other) for other, _ in op.inputs}
    arrays = [op for op in ordered if op.type == "Const" and id(op) not in in_units]
    return [op for op in arrays if op.attr("value").dtype.kind == "f" and op.attr("value").ndim]


def layer_names(scopes):
    """A function from the name scopes of an operation to the names of its node.

    Keras puts the model's name before the scopes of its layers, and numbers at their ends when it exports: both are left out.

    Args:
        scopes: those of all operations, a list of tuples.
    """
    shared = 0
    while min(map(len, scopes), default=0) > shared + 1 and len({path[shared] for path in scopes}) == 1:
        shared += 1
    layers = {path[shared] for path in scopes if len(path) > shared + 1}
    endings = Counter(re.search(r"(_\d+)?$", name).group() for name in layers)
    ending = endings.most_common(1)[0][0] if endings else ""

    def names(path):
        first, *rest = path[shared:] or path
        return (first.removesuffix(ending) if first in layers else first, *rest)

    return names
