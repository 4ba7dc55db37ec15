"""Averages: pooling and interpolation. Their weights are fixed, so the kernel is the single number 1."""

from __future__ import annotations

import tensorflow as tf
from keras import layers as L
from keras import ops

from tf_lrp import keras_internals as K
from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.rules import ZRule


class Average(Affine):
    """z = kernel * average(x), for a layer that is linear itself."""

    default_rule = ZRule()

    @classmethod
    def describes(cls, operation, call):
        return len(call.inputs) == 1  # with a mask the weights are the mask's

    def kernel(self, dtype):
        return tf.ones((), dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return kernel * self.layer.call(x)


@affine_for(
    L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D,
    L.AdaptiveAveragePooling1D, L.AdaptiveAveragePooling2D, L.AdaptiveAveragePooling3D,
    *K.operation_classes("AveragePool", "Mean"),
)  # fmt: skip
class AveragePooling(Average):
    """The mean of each window; at padded borders the mean of what lies inside."""

    kinds = frozenset({"pooling", "average_pooling"})


@affine_for(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D)
class GlobalAveragePooling(Average):
    """The mean over all positions."""

    kinds = frozenset({"pooling", "average_pooling", "global_pooling"})


@affine_for(*K.operation_classes("Sum", "Cumsum", "Trace"))
class AxisSum(Average):
    """The sum along axes."""

    kinds = frozenset({"merge", "add"})


@affine_for(L.UpSampling2D, L.Resizing, *K.operation_classes("Resize"))
class Interpolation(Average):
    """Up-sampling by interpolation: each output is an average of its neighbours. ("nearest" copies, and is no average.)"""

    kinds = frozenset({"resampling"})

    @classmethod
    def describes(cls, operation, call):
        return operation.interpolation != "nearest"


class WindowAverage(Average):
    """The average over the windows of a max-pooling layer: what rules other than winner-takes-all share by."""

    kinds = frozenset({"pooling", "max_pooling"})

    def apply(self, inputs, kernel):
        (x,) = inputs
        layer = self.layer
        if not hasattr(layer, "pool_size"):
            axes = range(2, x.shape.rank) if layer.data_format == "channels_first" else range(1, x.shape.rank - 1)
            return kernel * tf.reduce_mean(x, list(axes), keepdims=layer.keepdims)
        return kernel * ops.average_pool(x, layer.pool_size, layer.strides, layer.padding, layer.data_format)
