"""Scale and shift, element by element: batch normalization at inference, input normalization, rescaling."""

from __future__ import annotations

import contextlib
import contextvars

import keras
import tensorflow as tf
from keras import layers, ops

from tf_lrp.affine import native
from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphBatchNormalization
from tf_lrp.rules import Pass, ZRule

#: Where scales and shifts of channels are kept; None: they are computed anew each time.
_CHANNEL_VECTORS = contextvars.ContextVar("channel_vectors", default=None)


@contextlib.contextmanager
def channel_vectors_in(vectors):
    """In this context, scales and shifts of channels are computed once and kept in the dict ``vectors``."""
    token = _CHANNEL_VECTORS.set(vectors)
    try:
        yield
    finally:
        _CHANNEL_VECTORS.reset(token)


class ScaleShift(Affine):
    """z = scale * x + shift; the kernel is the scale, the bias the shift, both broadcast against x."""

    def __init__(self, layer, call=None):
        super().__init__(layer)
        self.rank = len(call.inputs[0].shape)

    def scale_and_shift(self, dtype):
        """Two tensors that broadcast against x."""
        raise NotImplementedError(f"{type(self).__name__} has no scale")

    def kernel(self, dtype):
        return self.scale_and_shift(dtype)[0]

    def bias(self, inputs, kernel):
        return self.scale_and_shift(kernel.dtype)[1]

    def apply(self, inputs, kernel):
        (x,) = inputs
        return kernel * x


@affine_for(layers.BatchNormalization)
class BatchNormalization(ScaleShift):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta with the moving statistics."""

    kinds = frozenset({"normalization", "batch_normalization"})
    default_rule = ZRule()

    @property
    def axis(self):
        return self.layer.axis % self.rank

    def channel_scale_and_shift(self, dtype):
        """scale and shift, one entry per channel."""
        vectors = _CHANNEL_VECTORS.get()
        if vectors is None:
            return self._channel_scale_and_shift(dtype)
        key = self, tf.as_dtype(dtype)
        if key not in vectors:
            vectors[key] = self._channel_scale_and_shift(dtype)
        return vectors[key]

    def _channel_scale_and_shift(self, dtype):
        layer = self.layer
        scale = tf.math.rsqrt(tf.cast(layer.moving_variance, dtype) + layer.epsilon)
        if layer.scale:
            scale *= tf.cast(layer.gamma, dtype)
        shift = -tf.cast(layer.moving_mean, dtype) * scale
        if layer.center:
            shift += tf.cast(layer.beta, dtype)
        return scale, shift

    def scale_and_shift(self, dtype):
        shape = [1] * self.rank
        shape[self.axis] = -1
        return [native.reshape(v, shape) for v in self.channel_scale_and_shift(dtype)]


@affine_for(GraphBatchNormalization)
class ChannelScaleShift(BatchNormalization):
    """A batch normalization that a graph has as one scale and one shift for each channel."""

    def _channel_scale_and_shift(self, dtype):
        return tf.cast(self.layer.scale, dtype), tf.cast(self.layer.shift, dtype)


@affine_for(layers.Normalization)
class Normalization(ScaleShift):
    """(x - mean) / sqrt(variance), or its inverse. Relevance passes, because only the units of the input change."""

    kinds = frozenset({"rescaling"})
    default_rule = Pass()
    is_arithmetic = True
    is_whole_layer = True

    def scale_and_shift(self, dtype):
        layer = self.layer
        mean, variance = tf.cast(layer.mean, dtype), tf.cast(layer.variance, dtype)
        deviation = tf.maximum(tf.sqrt(variance), keras.config.epsilon())
        return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)


@affine_for(layers.Rescaling)
class Rescaling(ScaleShift):
    """scale * x + offset. Relevance passes, as through `Normalization`."""

    kinds = frozenset({"rescaling"})
    default_rule = Pass()
    is_arithmetic = True
    is_whole_layer = True

    def scale_and_shift(self, dtype):
        # Keras rounds Python numbers to float32 before it casts them to float64. The twin computes the same.
        scale, offset = ops.cast(self.layer.scale, dtype), ops.cast(self.layer.offset, dtype)
        if len(scale.shape) and keras.config.image_data_format() == "channels_first":
            scale = tf.reshape(scale, (*scale.shape, *[1] * (3 - len(scale.shape))))
        return scale, offset
