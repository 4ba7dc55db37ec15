"""Products and quotients of branches, and arithmetic with what does not depend on the inputs."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tf_lrp.affine.merging import align
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.own_operations import Gated
from tf_lrp.rules import Pass, SignalTakesAll, Uniform
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.twins.base import Twin, distinct, summed_to, with_relevance
from tf_lrp.twins.registry import register_twin

_DIFFERENCES = (layers.Subtract, keras_classes.Subtract)
_QUOTIENTS = (keras_classes.Divide, keras_classes.TrueDivide, *keras_classes.operation_classes("DivideNoNan"))


def _is_positive(divisor):
    """A divisor that is computed may be -0."""
    return not isinstance(divisor, keras.KerasTensor) and bool(np.all(np.asarray(divisor) > 0))


@register_twin(layers.Add, keras_classes.Add, *_DIFFERENCES)
class ArithmeticTwin(Twin):
    """x + constant, constant x: the same quantity in other units, and takes the same relevance.

    An input that was broadcast takes the sum over the places it went to. (Sums of several inputs are affine.)
    """

    kinds = frozenset({"structural"})
    rules = (SignalTakesAll, Uniform, Pass)
    is_arithmetic = is_elementwise = True

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        if isinstance(operation, _DIFFERENCES) or (isinstance(operation, _QUOTIENTS) and not _is_positive(call.operands[1])):
            return False
        return all(map(known, call.operands))

    def call(self, *inputs):
        inputs = distinct(inputs)
        if isinstance(self.operation, layers.Layer):
            inputs = align(inputs)
        takers = self.taking(inputs)

        def backward(relevance):
            share = relevance if len(takers) == 1 else relevance / len(takers)
            return [summed_to(share, x) for x in takers]

        return with_relevance(self.compute(*inputs), takers, backward)


@register_twin(layers.Multiply, keras_classes.Multiply)
class ProductTwin(ArithmeticTwin):
    """y = a b ...: those of the factors that take relevance share it evenly, each position by itself.

    With a single one (the others are gates, normalizers or constants) it takes all; a factor that was broadcast takes
    the sum over the places it went to.
    """

    kinds = frozenset({"product"})
    default_rule = SignalTakesAll()

    @classmethod
    def variant(cls, operation, signals):
        return cls if sum(signals) > 1 else ArithmeticTwin


@register_twin(Gated)
class GatedTwin(ProductTwin):
    """signal * gate"""

    @classmethod
    def signal_factors(cls, signals):
        return (True, False), False


@register_twin(*_QUOTIENTS)
class QuotientTwin(ProductTwin):
    """y = a / b, where b is a normalizer and takes nothing under any rule."""

    @classmethod
    def signal_factors(cls, signals):
        return (True, False), True


@register_twin(
    *keras_classes.operation_classes("Matmul", "Einsum", "Tensordot", "Dot", "Inner", "Outer", "Vdot", "Kron", "Correlate")
)
class MatmulTwin(Twin):
    """z = a b summed over the axes they share: R_a = 1/n a (R / z) b^T, where n of the factors take relevance."""

    kinds = frozenset({"matmul"})
    default_rule = SignalTakesAll()
    rules = (SignalTakesAll, Uniform)
    keeps_nonnegative = True

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


@register_twin(*keras_classes.operation_classes("Cross"))
class CrossTwin(MatmulTwin):
    """The cross product, whose products are subtracted."""

    keeps_nonnegative = False
