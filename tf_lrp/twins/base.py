"""A twin: the layer that computes what the original does and hands back relevance instead of a derivative."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf
from keras import tree

from tf_lrp import keras_internals


def with_relevance(output, inputs, backward):
    """``output`` as it is, with ``backward`` in place of its gradient.

    Args:
        output: tensor.
        inputs: list of the tensors it was computed from.
        backward: relevance of ``output`` (its shape) -> list of the relevances of ``inputs`` (their shapes).

    Returns:
        A tensor equal to ``output``.
    """

    @tf.custom_gradient
    def route(output, *inputs):
        return tf.identity(output), lambda relevance: (None, *backward(relevance))

    return route(tf.stop_gradient(output), *inputs)


class Twin(keras.layers.Layer):
    """Base of all twins: holds the original operation, shares its variables, never calls it on symbolic tensors.

    Args:
        operation: the original Keras layer or operation.
        rule: the `Rule` of this node.
        name: unique name in the twin model.
        dtype: type in which activations and relevance are computed.
        arguments: (args, kwargs) of the original's call, with a KerasTensor in the place of each input; the twin itself
            is called on the inputs alone, in their order.
    """

    #: Rules that make sense here; () stands for any.
    rules: tuple[type, ...] = ()

    def __init__(self, operation, rule, name, dtype, arguments):
        super().__init__(name=name, dtype=dtype)
        self.operation, self.rule = operation, rule
        self._fill_in = functools.partial(_fill_in, arguments)  # a closure, so that Keras does not track the arguments
        if self.rules and not isinstance(rule, self.rules):
            allowed = " or ".join(r.__name__ for r in self.rules)
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) takes the rule {allowed}, got {rule}.")
        self.built = True

    @classmethod
    def supports(cls, inputs):
        """Whether it can stand in for an operation on these symbolic inputs."""
        return True

    def compute(self, *inputs):
        """What the original computes, in this twin's type (its ``__call__`` would cast to the original's)."""
        args, kwargs = self._fill_in(inputs)
        with keras_internals.reading_variables_as(self.compute_dtype):
            outputs = self.operation.call(*args, **kwargs)
        return tree.map_structure(lambda t: tf.cast(t, self.compute_dtype), outputs)

    def call(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} does not say how relevance goes through it")

    def compute_output_spec(self, *inputs):
        args, kwargs = self._fill_in(inputs)
        spec = self.operation.compute_output_spec(*args, **kwargs)
        return tree.map_structure(lambda t: keras.KerasTensor(t.shape, dtype=self.compute_dtype), spec)

    def absorbed(self, inputs, relevance):
        """What became of relevance that does not reach the inputs.

        Args:
            inputs: list of the input tensors.
            relevance: relevance of the output.

        Returns:
            Dict of scalars ("bias", "stabilizer"), in logit units, summed over the batch; empty where nothing is absorbed.
        """
        return {}


def distinct(inputs):
    """The inputs as a list of objects of their own: x + x has two inputs, each with its own relevance."""
    return list(inputs) if len(inputs) == 1 else [tf.identity(x) for x in inputs]


def _fill_in(arguments, inputs):
    """The nested arguments with their KerasTensors replaced by the inputs, in order."""
    remaining = iter(inputs)
    return tree.map_structure(lambda leaf: next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf, arguments)
