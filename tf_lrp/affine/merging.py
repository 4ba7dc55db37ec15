"""Weighted sums of several inputs: add, subtract, average. The kernel holds one number for each input."""

from __future__ import annotations

import functools
import operator

import tensorflow as tf
from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.rules import ZRule


def align(inputs):
    """Inputs of lower rank get axes of size 1 behind the batch, as in Keras's merging layers."""
    rank = max(x.shape.rank for x in inputs)
    return [functools.reduce(lambda t, _: tf.expand_dims(t, 1), range(rank - x.shape.rank), x) for x in inputs]


class Sum(Affine):
    """z = sum_k kernel_k x_k, for inputs that broadcast against each other."""

    default_rule = ZRule()

    @classmethod
    def describes(cls, operation, inputs):
        # x + constant merges nothing.
        return len(inputs) > 1

    def __init__(self, layer, inputs=()):
        super().__init__(layer)
        self.count = len(inputs)

    def weights(self):
        """The weight of each input."""
        return [1.0] * self.count

    def kernel(self, dtype):
        return tf.constant(self.weights(), dtype)

    def apply(self, inputs, kernel):
        if isinstance(self.layer, L.Layer):
            inputs = align(inputs)
        return functools.reduce(operator.add, [kernel[k] * x for k, x in enumerate(inputs)])


@affine_for(L.Add, K.Add)
class Add(Sum):
    """z = x_0 + x_1 + ..."""

    kinds = frozenset({"merge", "add"})


@affine_for(L.Subtract, K.Subtract)
class Subtract(Sum):
    """z = x_0 - x_1"""

    kinds = frozenset({"merge", "subtract"})

    def weights(self):
        return [1.0, -1.0]


@affine_for(L.Average)
class Mean(Sum):
    """z = (x_0 + ... + x_{n-1}) / n"""

    kinds = frozenset({"merge", "average"})

    def apply(self, inputs, kernel):
        # Divided last: summed up first, inputs that cancel give exactly 0.
        return super().apply(inputs, kernel) / self.count
