"""The table of TensorFlow's operations: for each, the function that replays it as operations of Keras.

To add an operation, add a line: ``add(("Relu",), elementwise(ops.relu))``, or decorate a function with ``replays("Relu")``. The
function gets a `Node` and the values of the operation's inputs, of which at least one is a symbolic tensor, and returns the
output or a tuple of outputs. Where all inputs are constants or weights, TensorFlow computes the operation itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_lrp.keras_compat.scopes import named
from tf_lrp.keras_compat.tensorflow_graphs.values import number
from tf_lrp.keras_compat.tensorflow_graphs.weighted import Weighted

#: TensorFlow's name of an operation -> function (node, *values) -> output or tuple of outputs.
TABLE = {}
#: Operations whose function is called for constants, too.
ON_ALL_VALUES = set()
#: Operations of lengths that are known only when the graph runs -> function (node, *values) -> array.
ON_LENGTHS = {}


@dataclass(frozen=True)
class Node:
    """An operation that is being replayed.

    Attributes:
        op: the `graph.Op`.
        run: the `replay.Run` that it is part of.
    """

    op: Any
    run: Any

    def attr(self, name, default=None):
        return self.op.attr(name, default)

    def made(self, value, *types):
        """How a symbolic tensor was made, a `replay.Made`, if by an operation of one of these types; else None."""
        made = self.run.made.get(id(value))
        return made if made is not None and made.layer is None and made.node.op.type in types else None

    def weighted(self, value):
        """How a symbolic tensor was made, if it is a weighted operation's that nothing else takes; else None."""
        made = self.run.made.get(id(value))
        return made if made is not None and isinstance(made.layer, Weighted) and made.uses == 1 else None

    def again(self, *values):
        """The output of the operation for other values."""
        output = TABLE[self.op.type](self, *values)
        self.run.note(self, values, output)
        return output

    def whole(self, function, *values):
        """The result of a function of Keras that is all of a name scope, and is called after it."""
        with named(self.run.path(self.op, is_layer=True)):
            return function(*values)

    def layer(self, layer, *inputs, made=None):
        """The output of a layer that replaces several operations.

        Args:
            layer: a Keras operation.
            inputs: symbolic tensors that it takes.
            made: `replay.Made` of the operation that gives the layer its name; by default this one.
        """
        return self.run.call(self if made is None else made.node, layer, inputs)


def add(types, function):
    """Enters a function for operations of these types."""
    for name in types:
        TABLE[name] = function
    return function


def replays(*types, always=False):
    """Decorator: enters a function for operations of these types; with ``always`` it is called for constants, too."""

    def register(function):
        if always:
            ON_ALL_VALUES.update(types)
        return add(types, function)

    return register


def elementwise(function):
    """The replay of an operation that is a function of Keras, with the same arguments."""
    return lambda node, *values: function(*map(number, values))
