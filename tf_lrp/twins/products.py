"""Products and quotients of branches, and arithmetic with what does not depend on the inputs."""

from __future__ import annotations

import tensorflow as tf
from keras import layers

from tf_lrp.affine.merging import align
from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import Gated
from tf_lrp.rules import Pass, SignalTakesAll, Uniform
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.twins.base import Twin, distinct, summed_to, with_relevance
from tf_lrp.twins.registry import register_twin


@register_twin(
    layers.Multiply, internals.Multiply, internals.Divide, internals.TrueDivide, internals.Add, internals.Subtract,
    layers.Add, layers.Subtract, Gated,
    *internals.operation_classes("DivideNoNan"),
)  # fmt: skip
class ProductTwin(Twin):
    """y = a b ...: those of the factors that take relevance share it evenly, each position by itself.

    With a single one (the others are gates, normalizers or constants) it takes all; a factor that was broadcast takes
    the sum over the places it went to. The same holds for x + constant: it is the same quantity in other units.
    """

    rules = (SignalTakesAll, Uniform, Pass)

    def call(self, *inputs):
        inputs = distinct(inputs)
        if isinstance(self.operation, layers.Layer):
            inputs = align(inputs)
        takers = self.taking(inputs)

        def backward(relevance):
            share = relevance if len(takers) == 1 else relevance / len(takers)
            return [summed_to(share, x) for x in takers]

        return with_relevance(self.compute(*inputs), takers, backward)


@register_twin(
    *internals.operation_classes("Matmul", "Einsum", "Tensordot", "Dot", "Inner", "Outer", "Vdot", "Kron", "Cross", "Correlate")
)
class MatmulTwin(Twin):
    """z = a b summed over the axes they share: R_a = 1/n a (R / z) b^T, where n of the factors take relevance."""

    rules = (SignalTakesAll, Uniform)

    def call(self, *inputs):
        inputs = distinct(inputs)
        takers = self.taking(inputs)
        z = self.compute(*inputs)

        def backward(relevance):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(takers)
                again = self.compute(*inputs)
            quotient = Stabilizer().divide(relevance, z) / len(takers)
            gradients = tape.gradient(again, takers, output_gradients=quotient)
            return [x * g for x, g in zip(takers, gradients, strict=True)]

        return with_relevance(z, takers, backward)

    def absorbed(self, inputs, relevance):
        # What arrives where the products cancel to 0 goes nowhere.
        z = self.compute(*inputs)
        quotient = Stabilizer().divide(relevance, z)
        return {"zero_denominator": tf.reduce_sum(tf.cast(relevance, tf.float64) - tf.cast(quotient * z, tf.float64))}
