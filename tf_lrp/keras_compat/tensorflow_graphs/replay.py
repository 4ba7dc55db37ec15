"""Replays a graph of TensorFlow on symbolic tensors, operation by operation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from tf_lrp.keras_compat.scopes import named
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.graph import Op, operations_behind, scopes_of, shortened
from tf_lrp.keras_compat.tensorflow_graphs.table import ON_ALL_VALUES, ON_LENGTHS, TABLE, Node
from tf_lrp.keras_compat.tensorflow_graphs.values import (
    as_tensor,
    folded,
    is_learned,
    is_lengths,
    is_tensor,
    parameters,
    run,
)


@dataclass(frozen=True, eq=False)
class Made:
    """How a symbolic tensor was made.

    Attributes:
        node: `Node` of the operation that made it.
        inputs: the values that it took.
        uses: how often the tensor is taken or returned.
        layer: the layer-like operation that was called, if it stands for several operations or has weights; else None.
        output: the tensor.
    """

    node: Node
    inputs: tuple
    uses: int
    layer: Any
    output: Any


def replay(function, tensors, names=None):
    """Runs a graph on symbolic tensors.

    Args:
        function: `Function`.
        tensors: list of KerasTensors, one for each input.
        names: function (tuple of name scopes) -> tuple of names of the node; by default the scopes.

    Returns:
        List of symbolic tensors or constants, one for each output.

    Raises:
        Unexplainable: listing the operations of the graph that are not in the table.
    """
    refuse_missing(function)
    return Run(function, names or (lambda scopes: scopes)).outputs(
        function.outputs, dict(zip(function.inputs, tensors, strict=True)) | function.constants
    )


def compute(function, tensors):
    """What a graph computes from tensors, by TensorFlow's own operations: a list of tensors.

    Nothing else of the graph runs: neither operations that are not in the table, nor those that only control dependencies ask
    for.

    Args:
        function: `Function`.
        tensors: list of tensors, one for each input.
    """
    refuse_missing(function)
    given = {op: tf.convert_to_tensor(value) for op, value in function.constants.items()}
    return Computation(function).outputs(function.outputs, dict(zip(function.inputs, tensors, strict=True)) | given)


def missing_operations(program, ordered):
    """The operations, among these and in functions that they may call, that are not in the table: dict type -> names."""
    missing, waiting, seen = {}, list(ordered), set()
    while waiting:
        op = waiting.pop()
        if op.type not in TABLE and op.type not in ("Const", "Placeholder", "Argument", "KerasLayer"):
            missing.setdefault(op.type, set()).add(op.name)
        for value in op.attributes.values():
            called = [value.func.name] if value.WhichOneof("value") == "func" else [f.name for f in value.list.func]
            for name in called:
                if name in program.functions and name not in seen:
                    seen.add(name)
                    waiting.extend(_inside(program, name))
    return missing


def _inside(program, name):
    arguments = [(Op("Argument", arg.name), 0) for arg in program.functions[name].signature.input_arg]
    return operations_behind(program.called(name, arguments))


def refuse_missing(function):
    """Raises `Unexplainable`, listing the operations of a `Function` that are not in the table, if there are any."""
    ordered = [op for op in operations_behind(function.outputs) if op not in function.constants]
    missing = missing_operations(function.program, ordered)
    if missing:
        places = "; ".join(
            f"{name} at {', '.join(sorted(at)[:3])}" + (f" and {len(at) - 3} more" if len(at) > 3 else "")
            for name, at in sorted(missing.items())
        )
        raise Unexplainable(f"its TensorFlow graph has operations for which there is no rule: {places}")


#: Operations whose first input is a shape.
_SHAPE_FIRST = ("Fill", "Conv2DBackpropInput", "Conv3DBackpropInputV2")


class Run:
    """One replay.

    Attributes:
        function: `Function`.
        made: id of a symbolic tensor -> `Made`.
    """

    def __init__(self, function, names=lambda scopes: scopes):
        self.function, self.names, self.made = function, names, {}
        self.uses, self.counts, self.kept = {}, Counter(), []

    def outputs(self, outputs, given):
        """The values of tensors.

        Args:
            outputs: list of (`Op`, position).
            given: dict `Op` -> value.
        """
        values = {id(op): (value,) for op, value in given.items()}
        ordered = operations_behind(outputs)
        taken = [ref for op in ordered for ref in op.inputs] + list(outputs)
        for op, position in taken:
            key = id(op), position
            self.uses[key] = self.uses.get(key, 0) + 1
        self.kept.append((ordered, given))  # ids are of living objects
        self._count(ordered, given)
        for op in ordered:
            if id(op) not in values:
                values[id(op)] = self._replayed(op, [values[id(before)][n] for before, n in op.inputs])
        return [values[id(op)][n] for op, n in outputs]

    def _count(self, ordered, given):
        """Counts the operations that compute something from tensors, by the scopes that they lie in."""
        depending = {id(op) for op, value in given.items() if is_tensor(value)}
        for op in ordered:
            if op not in given and op.type not in ON_ALL_VALUES and any(id(before) in depending for before, _ in op.inputs):
                depending.add(id(op))
                path = scopes_of(op)
                self.counts.update(path[:n] for n in range(1, len(path) + 1))

    def path(self, op, is_layer=False):
        """The names of what replays an operation: its scope, if that says which operation is meant."""
        alone = is_layer or self.counts[shortened(op)] == 1
        return self.names(shortened(op) if alone else scopes_of(op))

    def called(self, name, arguments):
        """The results of a function of the graph, such as the body of a loop, for these values."""
        given = {Op("Argument", f"argument_{n}"): value for n, value in enumerate(arguments)}
        outputs = self.function.program.called(name, [(op, 0) for op in given])
        return self.outputs(outputs, given)

    def _replayed(self, op, values):
        """The outputs of an operation: a tuple."""
        if op in self.function.layers:
            with named(None):
                return tuple(self.function.layers[op](values))
        if op.type == "Const":
            return (op.attr("value"),)
        if op.type in ("Placeholder", "Argument"):
            raise Unexplainable(f"its graph takes an input that is not given, {op.name!r}")
        node = Node(op, self)
        if op.type in ON_ALL_VALUES or any(map(is_tensor, values)):
            results = self._on_tensors(node, values)
        elif any(map(is_lengths, values)):
            results = ON_LENGTHS[op.type](node, *values) if op.type in ON_LENGTHS else None
            if results is None:
                results = self._on_tensors(node, values)
        else:
            results = tuple((parameters if any(map(is_learned, values)) else folded)(op, values))
        results = results if isinstance(results, tuple) else (results,)
        for n, result in enumerate(results):
            if isinstance(result, keras.KerasTensor) and not any(result is value for value in values):
                result._sparse = False  # Keras takes products with numbers for sparse
                known = self.made.get(id(result), Made(node, tuple(values), 0, None, result))
                self.made[id(result)] = replace(known, uses=self.uses.get((id(op), n), 0))
        return results

    def _on_tensors(self, node, values):
        if is_lengths(values[0]) and node.op.type not in (*_SHAPE_FIRST, *ON_ALL_VALUES):
            values = [as_tensor(values[0]), *values[1:]]  # lengths are the data, not a shape
        with named(self.path(node.op)):
            try:
                return TABLE[node.op.type](node, *values)
            except Unexplainable as error:
                raise Unexplainable(f"{error} ({node.op.type} at {node.op.name})") from error

    def call(self, node, layer, inputs):
        """The output of a layer that gets the name of ``node``."""
        with named(self.path(node.op, is_layer=True)):
            output = layer(*inputs)
        self.note(node, inputs, output, layer)
        return output

    def note(self, node, inputs, output, layer=None):
        """Notes how a symbolic tensor was made."""
        self.made[id(output)] = Made(node, tuple(inputs), 0, layer, output)


class Computation(Run):
    """A graph that is computed for tensors; loops and branches are written out, where that is possible, as in a replay."""

    def _replayed(self, op, values):
        if op.type == "Const":
            return (op.attr("value"),)
        if op.type in ON_ALL_VALUES and not (op.type == "BroadcastArgs" and any(map(tf.is_tensor, values))):
            results = TABLE[op.type](Node(op, self), *values)
            return results if isinstance(results, tuple) else (results,)
        if any(map(is_lengths, values)):
            found = ON_LENGTHS[op.type](Node(op, self), *values) if op.type in ON_LENGTHS else None
            if found is not None:
                return found if isinstance(found, tuple) else (found,)
            values = [tf.convert_to_tensor(as_tensor(value)) if is_lengths(value) else value for value in values]
        return tuple((run if any(map(tf.is_tensor, values)) else folded)(op, values))
