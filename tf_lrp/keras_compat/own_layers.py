"""Layers that other frameworks have and Keras has not. They have no weights, and can be saved in Keras's own format."""

from __future__ import annotations

import functools
import operator

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tf_lrp")
class LocalResponseNormalization(keras.layers.Layer):
    """y_k = x_k / s_k^beta, s_k = k + alpha sum_i x_i^2, over the neighbours i of k, itself included.

    Args:
        radius: number of neighbours on each side.
        alpha, beta, k: floats.
        axes: the axes along which neighbours lie: (-1,) are the channels next to it, (1, 2) the positions around it.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks".
    """

    def __init__(self, radius=2, alpha=1e-4, beta=0.75, k=1.0, axes=(-1,), **options):
        super().__init__(**options)
        self.radius, self.alpha, self.beta, self.k, self.axes = radius, alpha, beta, k, tuple(axes)

    def scale(self, x):
        """s, in the shape of x."""
        return self.k + self.alpha * self.sum_of_neighbours(ops.square(x))

    def without_neighbours(self, x):
        """What y would be if all entries but the own one were 0."""
        return x / ops.power(self.k + self.alpha * ops.square(x), self.beta)

    def sum_of_neighbours(self, x):
        """sum_i x_i over the neighbours of each entry, itself included; also the transpose of that sum."""
        for axis in self.axes:
            axis %= len(x.shape)
            length = ops.shape(x)[axis]
            padded = ops.pad(x, [[self.radius, self.radius] if a == axis else [0, 0] for a in range(len(x.shape))])
            before = (slice(None),) * axis
            x = functools.reduce(operator.add, (padded[(*before, slice(n, n + length))] for n in range(2 * self.radius + 1)))
        return x

    def call(self, x):
        return x / ops.power(self.scale(x), self.beta)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        own = {name: getattr(self, name) for name in ("radius", "alpha", "beta", "k", "axes")}
        return {**super().get_config(), **own}


class ClippedPooling2D(keras.layers.Layer):
    """Pooling of pictures (N, H, W, C) in windows that are clipped at the border, with sizes rounded up or down.

    A window may begin in the padding and end beyond it; what lies outside does not count as an entry.

    Args:
        pool_size, strides, padding: (rows, columns); padding is what the windows may begin before the picture, on each side.
        rounds_up: whether a last window that is not full counts, as long as it begins inside the picture or the padding
            before it.
    """

    data_format = "channels_last"

    def __init__(self, pool_size, strides=(1, 1), padding=(0, 0), rounds_up=True, **options):
        super().__init__(**options)
        self.pool_size, self.strides, self.padding = tuple(pool_size), tuple(strides), tuple(padding)
        self.rounds_up = rounds_up

    def output_length(self, length, axis):
        """Number of windows along rows (0) or columns (1); length may be None."""
        if length is None:
            return None
        size, stride, pad = self.pool_size[axis], self.strides[axis], self.padding[axis]
        room = length + 2 * pad - size
        count = (-(-room // stride) if self.rounds_up else room // stride) + 1
        return count - 1 if pad and (count - 1) * stride >= length + pad else count

    def border(self, shape):
        """(before, after) for rows and columns: how far the windows reach beyond the picture; cut if it is negative."""
        reach = []
        for axis, length in enumerate(shape[1:3]):
            end = (self.output_length(length, axis) - 1) * self.strides[axis] + self.pool_size[axis]
            reach.append((self.padding[axis], end - length - self.padding[axis]))
        return reach

    def padded(self, x, value):
        """x with everything that the windows reach, and no more."""
        border = self.border(x.shape)
        x = x[:, : x.shape[1] + min(border[0][1], 0), : x.shape[2] + min(border[1][1], 0)]
        return ops.pad(x, [(0, 0), *((before, max(after, 0)) for before, after in border), (0, 0)], constant_values=value)

    def average(self, x):
        """The sum of each window, divided by the part of its size that lies in the picture or its padding."""
        sums = ops.average_pool(self.padded(x, 0), self.pool_size, self.strides, "valid", "channels_last")
        return sums * ops.convert_to_tensor(self._share(x.shape)[..., np.newaxis], dtype=x.dtype)

    def _share(self, shape):
        """Size of a window / size of its part that counts: (rows, columns)."""
        of_axes = []
        for axis, length in enumerate(shape[1:3]):
            size, pad = self.pool_size[axis], self.padding[axis]
            begin = np.arange(self.output_length(length, axis)) * self.strides[axis] - pad
            of_axes.append(size / (np.minimum(begin + size, length + pad) - begin))
        return np.outer(*of_axes)

    def compute_output_shape(self, shape):
        batch, *lengths, channels = shape
        return (batch, *(self.output_length(length, axis) for axis, length in enumerate(lengths)), channels)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("pool_size", "strides", "padding", "rounds_up")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tf_lrp")
class ClippedMaxPooling2D(ClippedPooling2D):
    """The largest entry of each window."""

    def call(self, x):
        lowest = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).min)
        return ops.max_pool(self.padded(x, lowest), self.pool_size, self.strides, "valid", "channels_last")


@keras.saving.register_keras_serializable("tf_lrp")
class ClippedAveragePooling2D(ClippedPooling2D):
    """The mean of each window, where the padding counts as zeros, and what lies beyond it does not count."""

    def call(self, x):
        return self.average(x)
