"""Linear reductions: average pooling, means, sums and interpolation. Their weights are fixed, so the kernel is the number 1."""

from __future__ import annotations

import tensorflow as tf
from keras import layers, ops

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.own_layers import ClippedAveragePooling2D, ClippedPooling2D
from tf_lrp.rules import ZRule


class LinearReduction(Affine):
    """z = kernel * layer(x), for a layer that is linear."""

    default_rule = ZRule()
    keeps_nonnegative = True
    is_arithmetic = True

    @classmethod
    def describes(cls, operation, call):
        return len(call.inputs) == 1  # with a mask, the weights depend on the mask

    def kernel(self, dtype):
        return tf.ones((), dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        return kernel * self.layer.call(x)


@affine_for(
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D, ClippedAveragePooling2D,
    *keras_classes.layer_classes("AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"),
    *keras_classes.operation_classes("AveragePool", "Mean"),
)  # fmt: skip
class AveragePooling(LinearReduction):
    """The mean of each window; at padded borders, the mean of the entries inside the image."""

    kinds = frozenset({"pooling", "average_pooling"})


@affine_for(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
class GlobalAveragePooling(LinearReduction):
    """The mean over all positions."""

    kinds = frozenset({"pooling", "average_pooling", "global_pooling"})


@affine_for(*keras_classes.operation_classes("Sum", "Cumsum", "Trace"))
class ReduceSum(LinearReduction):
    """The sum along axes."""

    kinds = frozenset({"merge", "add"})


@affine_for(layers.UpSampling2D, layers.Resizing, *keras_classes.operation_classes("Resize"))
class Interpolation(LinearReduction):
    """Up-sampling by interpolation: each output is an average of its neighbours. ("nearest" copies, and is no average.)"""

    kinds = frozenset({"resampling"})
    is_arithmetic = False

    @classmethod
    def describes(cls, operation, call):
        if operation.interpolation == "area" and not cls._is_separable(operation, call.inputs[0].shape):
            return False  # TensorFlow has no gradient of this one
        return operation.interpolation != "nearest"

    def is_nonnegative(self, call, known):
        # The cubic and the Lanczos kernels have negative lobes.
        filled = getattr(self.layer, "fill_value", 0)
        return self.layer.interpolation == "bilinear" and known(filled) and super().is_nonnegative(call, known)

    def bias(self, inputs, kernel):
        """The fill value at the borders that preserve the aspect ratio."""
        filled = getattr(self.layer, "pad_to_aspect_ratio", False) and self.layer.fill_value
        return self.layer.call(tf.zeros_like(inputs[0][:1])) if filled else None

    def apply(self, inputs, kernel):
        (x,) = inputs
        layer = self.layer
        has_kernels = layer.interpolation == "bilinear" and not getattr(layer, "antialias", False)
        if (has_kernels and x.dtype == tf.float32) or not self._is_separable(layer, x.shape):
            z, bias = super().apply(inputs, kernel), self.bias(inputs, kernel)
            return z if bias is None else z - kernel * bias
        # TensorFlow computes the others in float32 only, and some without a gradient; XLA has none of them: z = A x B^T.
        of_rows, of_columns = (self._matrix(side, x) for side in (0, 1))
        equation = "nchw,hp,wq->ncpq" if layer.data_format == "channels_first" else "nhwc,hp,wq->npqc"
        return kernel * tf.einsum(equation, x, of_rows, of_columns)

    @staticmethod
    def _is_separable(layer, shape):
        """Whether it is one matrix for the rows and one for the columns."""
        cut_or_filled = getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False)
        return len(shape) == 4 and not cut_or_filled

    def _matrix(self, side, x):
        """The weights along the rows (0) or columns (1), as a matrix (inputs, outputs)."""
        axis = side + (2 if self.layer.data_format == "channels_first" else 1)

        def matrix(length):
            units = [length if a in (0, axis) else 1 for a in range(4)]
            others = [a for a in (1, 2, 3) if a != axis]
            resized = self.layer.call(tf.reshape(tf.eye(length), units))
            return tf.cast(tf.transpose(resized, (0, axis, *others))[:, :, 0, 0], x.dtype)

        if x.shape[axis] is None:
            return tf.stop_gradient(matrix(tf.shape(x)[axis]))
        with tf.init_scope():  # constants of the graph
            return matrix(x.shape[axis]).numpy()


class WindowAverage(LinearReduction):
    """The average over the windows of a max-pooling layer, to which rules other than winner-takes-all apply."""

    kinds = frozenset({"pooling", "max_pooling"})

    def apply(self, inputs, kernel):
        (x,) = inputs
        layer = self.layer
        if isinstance(layer, ClippedPooling2D):
            return kernel * layer.average(x)
        if not hasattr(layer, "pool_size"):
            axes = range(2, x.shape.rank) if layer.data_format == "channels_first" else range(1, x.shape.rank - 1)
            return kernel * tf.reduce_mean(x, list(axes), keepdims=layer.keepdims)
        return kernel * ops.average_pool(x, layer.pool_size, layer.strides, layer.padding, layer.data_format)
