"""Weighted sums of several inputs: add, subtract, average. The kernel holds one number for each input."""

from __future__ import annotations

import functools
import operator

import tensorflow as tf
from keras import layers

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.parameters import LEARNED
from tf_lrp.rules import ZRule


def align(inputs):
    """Inserts axes of size 1 after the batch axis of inputs of lower rank, as Keras's merging layers do."""
    rank = max(x.shape.rank for x in inputs)
    return [functools.reduce(lambda t, _: tf.expand_dims(t, 1), range(rank - x.shape.rank), x) for x in inputs]


def _learned(call):
    """Operands that were learned, such as embeddings of positions: variables, and tensors computed from them."""
    return [a for a in call.arrays if isinstance(a, LEARNED) or (tf.is_tensor(a) and a.shape.rank > 1)]


class WeightedSum(Affine):
    """z = sum_k kernel_k x_k + learned constant, for inputs that broadcast against each other."""

    default_rule = ZRule()
    keeps_nonnegative = True
    is_arithmetic = True

    @classmethod
    def describes(cls, operation, call):
        # x + number merges no branches: it is the same quantity in other units.
        return len(call.inputs) + len(_learned(call)) > 1

    def __init__(self, layer, call=None):
        super().__init__(layer)
        self.count = len(call.inputs)
        self.learned = _learned(call)
        self.constant_first = bool(self.learned) and call.args[0] is self.learned[0]

    def weights(self):
        """The weight of each input."""
        return [1.0] * self.count

    def kernel(self, dtype):
        return tf.constant(self.weights(), dtype)

    def bias(self, inputs, kernel):
        return tf.cast(self.learned[0], kernel.dtype) if self.learned else None

    def apply(self, inputs, kernel):
        if isinstance(self.layer, layers.Layer):
            inputs = align(inputs)
        weights = tf.unstack(kernel, self.count)
        return functools.reduce(operator.add, [w * x for w, x in zip(weights, inputs, strict=True)])

    def transpose(self, inputs, kernel, quotient):
        # The layers of Keras take inputs of one batch size, which may be unknown; functions broadcast constants.
        one_batch = isinstance(self.layer, layers.Layer) or quotient.shape[0] is not None
        same = all(x.shape.as_list() == quotient.shape.as_list() for x in inputs)
        if not (one_batch and same and quotient.shape[1:].is_fully_defined()):
            return super().transpose(inputs, kernel, quotient)
        return [w * quotient for w in tf.unstack(kernel, self.count)]


@affine_for(layers.Add, keras_classes.Add)
class Add(WeightedSum):
    """z = x_0 + x_1 + ..."""

    kinds = frozenset({"merge", "add"})


@affine_for(layers.Subtract, keras_classes.Subtract)
class Subtract(WeightedSum):
    """z = x_0 - x_1"""

    kinds = frozenset({"merge", "subtract"})
    keeps_nonnegative = False

    def weights(self):
        return [-1.0] if self.constant_first else [1.0, -1.0][: self.count]

    def bias(self, inputs, kernel):
        bias = super().bias(inputs, kernel)
        return bias if bias is None or self.constant_first else -bias


@affine_for(layers.Average)
class AverageMerge(WeightedSum):
    """z = (x_0 + ... + x_{n-1}) / n"""

    kinds = frozenset({"merge", "average"})
    transpose = Affine.transpose

    def apply(self, inputs, kernel):
        # The division comes last, so that inputs that cancel give exactly 0.
        return super().apply(inputs, kernel) / self.count
