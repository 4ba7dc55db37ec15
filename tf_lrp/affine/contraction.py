"""Functions of keras.ops that multiply by weights and sum up: matmul, einsum, convolutions."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.affine.convolution import transposed_convolution
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.graph_safe import call_of


class Contraction(Affine):
    """An operation of one activation and one array of weights, linear in both."""

    kinds = frozenset({"dense", "weights"})

    @classmethod
    def describes(cls, operation, call):
        return len(call.inputs) == 1 and len(call.arrays) == 1

    def __init__(self, operation, call=None):
        super().__init__(operation)
        self.call = call
        (self.weights,) = call.arrays

    def kernel(self, dtype):
        return tf.cast(tf.convert_to_tensor(self.weights), dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs

        def value(leaf):
            return x if isinstance(leaf, keras.KerasTensor) else kernel if leaf is self.weights else leaf

        args, kwargs = keras.tree.map_structure(value, (self.call.args, self.call.kwargs))
        return self.compute(*args, **kwargs)

    def compute(self, *args, **kwargs):
        """The operation's result for tensors."""
        return call_of(self.layer)(*args, **kwargs)


@affine_for(*keras_classes.operation_classes("Matmul", "Einsum", "Tensordot", "Dot", "Inner", "Outer", "Kron"))
class WeightedMatmul(Contraction):
    """Matrix products."""

    keeps_nonnegative = True


@affine_for(*keras_classes.operation_classes("Conv"))
class ConvolutionFunction(Contraction):
    """keras.ops.conv"""

    kinds = frozenset({"conv", "weights"})


@affine_for(*keras_classes.operation_classes("ConvTranspose"))
class TransposedFunction(ConvolutionFunction):
    """keras.ops.conv_transpose"""

    def compute(self, inputs, kernel):
        return transposed_convolution(inputs, kernel, self.layer)


@affine_for(*keras_classes.operation_classes("DepthwiseConv"))
class DepthwiseFunction(Contraction):
    """keras.ops.depthwise_conv"""

    kinds = frozenset({"conv", "depthwise", "weights"})
