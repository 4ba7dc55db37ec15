"""Dense layers."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tf_lrp.affine.base import Weighted, affine_for


@affine_for(keras.layers.Dense)
class Dense(Weighted):
    """z = x W + b over the last axis; kernel (inputs, outputs)."""

    kinds = frozenset({"dense", "weights"})

    def kernel(self, dtype):
        return tf.cast(self.layer.kernel, dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return ops.matmul(x, kernel)

    def scale_outputs(self, kernel, scale):
        return kernel * scale

    def scale_inputs(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]
