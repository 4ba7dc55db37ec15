"""Dense layers, and their generalization to any axes."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tf_lrp.affine.base import Affine, Weighted, affine_for
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphDense, GraphEinsumDense


@affine_for(keras.layers.Dense, GraphDense)
class Dense(Weighted):
    """z = x W + b over the last axis; kernel (inputs, outputs)."""

    kinds = frozenset({"dense", "weights"})

    def kernel(self, dtype):
        return tf.cast(self.layer.kernel, dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return ops.matmul(x, kernel)

    def transpose(self, inputs, kernel, quotient):
        if quotient.shape.rank != 2:
            return super().transpose(inputs, kernel, quotient)
        return [tf.matmul(quotient, kernel, transpose_b=True)]

    def scale_outputs(self, kernel, scale):
        return kernel * scale

    def scale_inputs(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]


@affine_for(keras.layers.EinsumDense, GraphEinsumDense)
class EinsumDense(Affine):
    """z = einsum(equation, x, W) + b; the bias has axes of size 1 where the equation gives it none."""

    kinds = frozenset({"dense", "weights"})

    def kernel(self, dtype):
        return tf.cast(self.layer.kernel, dtype)

    def bias(self, inputs, kernel):
        return None if self.layer.bias is None else tf.cast(self.layer.bias, kernel.dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return ops.einsum(self.layer.equation, x, kernel)


@affine_for(*keras_classes.layer_classes("ReversibleEmbedding"))
class Unembedding(Affine):
    """A reversible embedding run in reverse: scores of tokens, z = x E^T."""

    kinds = frozenset({"dense", "weights"})

    @classmethod
    def describes(cls, operation, call):
        reverse = call.kwargs.get("reverse", len(call.args) > 1 and call.args[1])
        # A soft cap at the scores is a function of its own.
        return bool(reverse) and getattr(operation, "logit_soft_cap", None) is None and super().describes(operation, call)

    def kernel(self, dtype):
        layer = self.layer
        return tf.transpose(tf.cast(layer.embeddings, dtype)) if layer.tie_weights else tf.cast(layer.reverse_embeddings, dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return ops.matmul(x, kernel)
