"""Twins without a relevance rule: operations with their own gradient, or with none."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf
from keras import tree

from tf_lrp.keras_compat.own_operations import WithEntries
from tf_lrp.keras_compat.preprocessing import output_spec
from tf_lrp.operations.routing_table import CASTS, is_cast_to_floats, only_in_training
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.propagation import evaluate


class GradientTwin(Twin):
    """y = f(x), with the gradient of f backward. Works for every operation, and keeps the types of its results.

    Args:
        operation, rule, name, dtype, arguments, takes: see `Twin`; the rule is not used.
        function: the `Affine` to compute in place of the operation, where it was described (and perhaps folded) as one.
    """

    def __init__(self, operation, rule, name, dtype, arguments, takes=(), function=None):
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.keep(function=function)
        if function is not None:
            self.variable_owners = list(function.layers)  # lets Keras track the shared variables

    def run(self, inputs):
        if only_in_training(self.operation):
            return inputs[0]
        numbers = all(x.dtype.is_floating for x in inputs)
        if self.function is None or not (numbers or "weights" in self.function.kinds):  # sums of positions stay integers
            return super().run(inputs)
        inputs = [tf.cast(x, self.compute_dtype) for x in inputs]
        return evaluate(self.function, inputs, self.compute_dtype)

    def call(self, *inputs):
        outputs, carried = self._computed(inputs)
        return tree.map_structure(lambda t: _following(t, carried), outputs) if carried else outputs

    def _computed(self, inputs):
        """(the outputs, those float inputs that represent integers or strings, which get no derivative)."""
        if self._makes_floats():
            return self.run(inputs), []
        values = [like(x, t) for x, t in zip(inputs, self.symbolic_inputs, strict=True)]
        if isinstance(self.operation, WithEntries):
            # Codes are represented as floats, too.
            return tree.map_structure(self._as_float, self.run(values)), list(inputs[: self.operation.count])
        return self.run(values), [x for x, value in zip(inputs, values, strict=True) if value is not x]

    def _as_float(self, t):
        return t if t.dtype == tf.string else tf.cast(t, self.compute_dtype)

    def _makes_floats(self):
        """Whether integers, which are represented as floats, may stay floats: as integers they would have no derivative."""
        if isinstance(self.operation, CASTS):
            return is_cast_to_floats(self.operation)
        return self.function is not None and isinstance(self.operation, keras.layers.Layer)

    def compute_output_spec(self, *inputs):
        args, kwargs = self.arguments_for(inputs)
        described = functools.partial(output_spec, self.operation) if self.function is None else self.function.output_spec
        spec = described(*args, **kwargs)
        return tree.map_structure(lambda t: keras.KerasTensor(t.shape, dtype=self._type(t.dtype)), spec)

    def _type(self, dtype):
        as_float = "float" in dtype or (isinstance(self.operation, WithEntries) and dtype != "string")
        return self.compute_dtype if as_float else dtype


class StopGradientTwin(GradientTwin):
    """y = f(x) forward, no relevance backward: for masks, gates, shapes and constants."""

    def call(self, *inputs):
        return tree.map_structure(tf.stop_gradient, self._computed(inputs)[0])


def _following(t, carried):
    """t, connected to the tensors ``carried`` by a zero derivative, so that a gradient tape records what is computed from t."""
    if not t.dtype.is_floating:
        return t
    return with_relevance(t, carried, lambda _: [tf.zeros_like(x) for x in carried])


def like(x, original):
    """x in the type of the original's symbolic tensor: integers may be represented as floats."""
    is_float = "float" in original.dtype
    return x if is_float or not x.dtype.is_floating else tf.cast(x, original.dtype)
