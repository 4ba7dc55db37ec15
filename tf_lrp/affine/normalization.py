"""Normalizations by statistics of each sample. Their scale is treated as a constant, so that the rest is affine.

Source: Achtibat et al. 2024, "AttnLRP", section 3.3; Ali et al. 2022, "XAI for transformers", the LN-rule.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphLayerNormalization
from tf_lrp.rules import ZRule


class SampleNormalization(Affine):
    """z = kernel (x - mean(x)) + beta, where the kernel is gamma / deviation(x)."""

    kinds = frozenset({"normalization"})
    default_rule = ZRule()

    def kernel_at(self, inputs, dtype):
        (x,) = inputs
        return tf.math.rsqrt(tf.math.reduce_variance(x, self._axes(x), keepdims=True) + self.layer.epsilon)


@affine_for(keras.layers.LayerNormalization)
class LayerNormalization(SampleNormalization):
    """Over the last axes: mean and deviation of each position's features."""

    def _axes(self, x):
        axes = self.layer.axis if isinstance(self.layer.axis, (list, tuple)) else [self.layer.axis]
        return sorted(axis % x.shape.rank for axis in axes)

    def _per_feature(self, vector, x):
        """gamma or beta, which have the shape of the normalized axes, reshaped so that it broadcasts against x."""
        axes = self._axes(x)
        return tf.reshape(vector, [x.shape[axis] if axis in axes else 1 for axis in range(x.shape.rank)])

    def kernel_at(self, inputs, dtype):
        (x,) = inputs
        scale, gamma = super().kernel_at(inputs, dtype), self.layer.gamma
        return scale if gamma is None else scale * self._per_feature(tf.cast(gamma, dtype), x)

    def bias(self, inputs, kernel):
        beta = self.layer.beta
        return None if beta is None else self._per_feature(tf.cast(beta, kernel.dtype), inputs[0])

    def apply(self, inputs, kernel):
        (x,) = inputs
        if getattr(self.layer, "rms_scaling", False):  # scaled by the deviation, but not centred
            return kernel * x
        return kernel * (x - tf.reduce_mean(x, self._axes(x), keepdims=True))


@affine_for(GraphLayerNormalization)
class NormalizationOfGraph(LayerNormalization):
    """With gamma and beta of any shape that broadcasts against x: those of groups do not span the normalized axes."""

    def _per_feature(self, vector, x):
        return vector


@affine_for(*keras_classes.operation_classes("LayerNorm"))
class LayerNormalizationFunction(LayerNormalization):
    """keras.ops.layer_normalization, whose gamma and beta are arguments."""

    @classmethod
    def describes(cls, operation, call):
        return len(call.inputs) == 1

    def __init__(self, operation, call=None):
        super().__init__(operation)
        arguments = dict(zip(("x", "gamma", "beta"), call.args, strict=False)) | call.kwargs
        self.layer = _Parameters(operation, arguments.get("gamma"), arguments.get("beta"))
        self.operation = operation

    def output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


class _Parameters:
    """The attributes of an operation, its gamma and its beta under the names that they have in a layer."""

    def __init__(self, operation, gamma, beta):
        self.axis, self.rms_scaling, self.gamma, self.beta = operation.axis, operation.rms_scaling, gamma, beta
        self.epsilon = keras.config.epsilon() if operation.epsilon is None else operation.epsilon


@affine_for(keras.layers.GroupNormalization)
class GroupNormalization(SampleNormalization):
    """Over all positions and the features of one group."""

    def _grouped(self, x):
        """x with its features split: (N, ..., groups, features of a group), and the axis of the groups."""
        axis = self.layer.axis % x.shape.rank
        shape = tf.shape(x)
        sizes = tf.concat([shape[:axis], [self.layer.groups, x.shape[axis] // self.layer.groups], shape[axis + 1 :]], 0)
        return tf.reshape(x, sizes), axis

    def _axes(self, grouped, axis):
        return [a for a in range(1, grouped.shape.rank) if a != axis]

    def _per_feature(self, vector, x):
        axis = self.layer.axis % x.shape.rank
        return tf.reshape(vector, [-1 if a == axis else 1 for a in range(x.shape.rank)])

    def _over_groups(self, x, statistic):
        """A statistic of each group, in the shape of x."""
        grouped, axis = self._grouped(x)
        grouped.set_shape([None] * (x.shape.rank + 1))
        value = statistic(grouped, self._axes(grouped, axis))
        return tf.reshape(tf.broadcast_to(value, tf.shape(grouped)), tf.shape(x))

    def kernel_at(self, inputs, dtype):
        (x,) = inputs
        variance = self._over_groups(x, lambda g, axes: tf.math.reduce_variance(g, axes, keepdims=True))
        scale = tf.math.rsqrt(variance + self.layer.epsilon)
        return scale * self._per_feature(tf.cast(self.layer.gamma, dtype), x) if self.layer.scale else scale

    def bias(self, inputs, kernel):
        if not self.layer.center:
            return None
        return self._per_feature(tf.cast(self.layer.beta, kernel.dtype), inputs[0])

    def apply(self, inputs, kernel):
        (x,) = inputs
        return kernel * (x - self._over_groups(x, lambda g, axes: tf.reduce_mean(g, axes, keepdims=True)))
