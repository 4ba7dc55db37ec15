"""Convolutions: plain, grouped, depthwise, separable (in two steps) and transposed, in one to three dimensions."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers, ops

from tf_lrp.affine import native
from tf_lrp.affine.base import Weighted, affine_for, shape_of
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphConv, GraphConvTranspose, GraphDepthwiseConv


class Convolution(Weighted):
    """Base of all convolutions: the axis of their channels and their kernel."""

    kinds = frozenset({"conv", "weights"})

    @property
    def channels_first(self):
        return self.layer.data_format == "channels_first"

    def kernel(self, dtype):
        return tf.cast(self.layer.kernel, dtype)

    @property
    def has_transpose_kernel(self):
        """Whether TensorFlow has kernels for it and its transpose on every processor."""
        layer = self.layer
        dilated = set(keras.tree.flatten(layer.dilation_rate)) != {1}
        return layer.rank == 2 and not self.channels_first and not dilated and layer.padding in ("same", "valid")

    @property
    def native_geometry(self):
        """The arguments that TensorFlow's own kernels take."""
        return {"strides": [1, *self.layer.strides, 1], "padding": self.layer.padding.upper()}

    @property
    def geometry(self):
        """The arguments that every convolution of Keras takes."""
        layer = self.layer
        return {
            "strides": tuple(layer.strides),
            "padding": layer.padding,
            "data_format": layer.data_format,
            "dilation_rate": layer.dilation_rate,
        }


#: How many times fewer channels are few: several maps of a pixel's channels are one map if these few are joined, which spares
#: passes over the many.
_FEW = 2


def _transposed_product(kernel, quotient):
    """The transpose of a convolution with a kernel of one location: TensorFlow's own kernel for it makes a copy first."""
    inputs, outputs = kernel.shape[2:]
    matrix, vectors = native.reshape(kernel, (inputs, outputs)), native.reshape(quotient, (-1, outputs))
    rows = tf.raw_ops.MatMul(a=vectors, b=matrix, transpose_b=True)
    size = quotient.shape.as_list()[:-1]
    if None in size[1:]:
        return native.reshape(rows, tf.concat([tf.shape(quotient)[:-1], [inputs]], 0))
    return native.reshape(rows, (-1 if size[0] is None else size[0], *size[1:], inputs))


@affine_for(layers.Conv1D, layers.Conv2D, layers.Conv3D, GraphConv)
class Conv(Convolution):
    """z = x * W + b, kernel (*size, inputs / groups, outputs)."""

    def apply(self, inputs, kernel):
        (x,) = inputs
        geometry = self.geometry
        if geometry["padding"] == "causal":
            before = (self.layer.kernel_size[0] - 1) * self.layer.dilation_rate[0]
            time = [[0, 0], [0, 0], [before, 0]] if self.channels_first else [[0, 0], [before, 0], [0, 0]]
            x, geometry["padding"] = tf.pad(x, time), "valid"
        if self._is_depthwise(x.shape[-1]):
            outputs = kernel.shape[-1]
            each = tf.reshape(kernel, (*kernel.shape[:-2], x.shape[-1], outputs // x.shape[-1]))
            return ops.depthwise_conv(x, each, **geometry)
        if self.has_transpose_kernel and self.layer.groups == 1:  # without Keras's preparations, which take longer than some
            return tf.raw_ops.Conv2D(input=x, filter=kernel, **self.native_geometry)
        return ops.conv(x, kernel, **geometry)

    def transpose(self, inputs, kernel, quotient):
        (x,) = inputs
        if not self.has_transpose_kernel or self.layer.groups > 1:
            return super().transpose(inputs, kernel, quotient)
        if self._is_product(kernel):
            return [_transposed_product(kernel, quotient)]
        sizes = shape_of(x)
        return [tf.raw_ops.Conv2DBackpropInput(input_sizes=sizes, filter=kernel, out_backprop=quotient, **self.native_geometry)]

    def keeps_signs(self, kernel):
        return self._is_product(kernel)

    def _is_product(self, kernel):
        """Whether it is a product of each location's channels with a matrix."""
        alone = set(kernel.shape[:2]) == set(self.layer.strides) == {1}
        return alone and self.has_transpose_kernel and self.layer.groups == 1

    def apply_sums(self, inputs, kernels):
        channels, outputs = kernels[0][0].shape[-2:]
        if self._is_product(kernels[0][0]):
            if len(inputs) > 1 and _FEW * channels <= outputs:
                joined = tf.concat([x for (x,) in inputs], -1)
                return [self.apply([joined], tf.concat(of_term, 2)) for of_term in zip(*kernels, strict=True)]
            if len(kernels[0]) > 1 and _FEW * outputs <= channels:
                (joined,) = super().apply_sums(inputs, [[tf.concat(of_part, 3)] for of_part in kernels])
                return tf.split(joined, len(kernels[0]), -1)
        return super().apply_sums(inputs, kernels)

    def transpose_sums(self, inputs, kernels, quotients):
        channels, outputs = kernels[0][0].shape[-2:]
        if self._is_product(kernels[0][0]):
            if len(kernels) > 1 and _FEW * channels <= outputs:
                joined = [[tf.concat(of_term, 2) for of_term in zip(*kernels, strict=True)]]
                ((shares,),) = super().transpose_sums(inputs, joined, quotients)
                return [[share] for share in tf.split(shares, len(kernels), -1)]
            if len(quotients) > 1 and _FEW * outputs <= channels:
                joined = [[tf.concat(of_part, 3)] for of_part in kernels]
                return super().transpose_sums(inputs, joined, [tf.concat(quotients, -1)])
        return super().transpose_sums(inputs, kernels, quotients)

    def _is_depthwise(self, channels):
        """Whether each channel is its own group. (Keras compiles grouped convolutions, which is much slower on a CPU.)"""
        layer = self.layer
        alone = layer.groups == channels > 1 and not self.channels_first
        return alone and layer.rank < 3 and len(set(layer.strides)) == 1

    def scale_outputs(self, kernel, scale):
        return native.multiply(kernel, scale)

    def scale_inputs(self, kernel, scale):
        groups = self.layer.groups
        # An output channel of group g depends on the inputs of that group only.
        of_group = tf.reshape(scale, (groups, -1))
        return kernel * tf.transpose(tf.repeat(of_group, kernel.shape[-1] // groups, axis=0))


@affine_for(layers.DepthwiseConv1D, layers.DepthwiseConv2D, GraphDepthwiseConv)
class DepthwiseConv(Convolution):
    """One convolution for each channel: kernel (*size, inputs, depth multiplier), outputs ordered by input channel."""

    kinds = frozenset({"conv", "depthwise", "weights"})

    def apply(self, inputs, kernel):
        (x,) = inputs
        if self._is_native:
            return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=kernel, **self.native_geometry)
        return ops.depthwise_conv(x, kernel, **self.geometry)

    def transpose(self, inputs, kernel, quotient):
        (x,) = inputs
        if not self._is_native:
            return super().transpose(inputs, kernel, quotient)
        sizes, geometry = shape_of(x), self.native_geometry
        return [
            tf.raw_ops.DepthwiseConv2dNativeBackpropInput(input_sizes=sizes, filter=kernel, out_backprop=quotient, **geometry)
        ]

    @property
    def _is_native(self):
        return self.has_transpose_kernel and len(set(self.layer.strides)) == 1

    def keeps_signs(self, kernel):
        return True

    def fan_in(self, kernel):
        return kernel.shape[:-2].num_elements()

    def scale_outputs(self, kernel, scale):
        return native.multiply(kernel, native.reshape(scale, kernel.shape[-2:]))

    def scale_inputs(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]


class SeparableDepthwise(DepthwiseConv):
    """The first step of a separable convolution, without a bias and an activation."""

    activation = None

    def kernel(self, dtype):
        return tf.cast(self.layer.depthwise_kernel, dtype)

    def bias(self, inputs, kernel):
        return None

    def output_spec(self, x):
        shape = list(self.layer.compute_output_shape(x.shape))
        axis = self.channel_axis(len(shape))
        shape[axis] = x.shape[axis] * self.layer.depth_multiplier
        return keras.KerasTensor(shape, dtype=x.dtype)


class SeparablePointwise(Convolution):
    """The second step of a separable convolution: kernel (1, ..., inputs * depth multiplier, outputs)."""

    kinds = frozenset({"conv", "weights"})

    def kernel(self, dtype):
        return tf.cast(self.layer.pointwise_kernel, dtype)

    def apply(self, inputs, kernel):
        (x,) = inputs
        if self.channels_first:  # TensorFlow has no such convolution on a CPU; Keras transposes
            return tf.einsum("nc...,cd->nd...", x, tf.reshape(kernel, kernel.shape[-2:]))
        return ops.conv(x, kernel, strides=1, padding="valid", data_format=self.layer.data_format)

    def scale_outputs(self, kernel, scale):
        return kernel * scale

    def scale_inputs(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]

    def output_spec(self, x):
        shape = list(x.shape)
        shape[self.channel_axis(len(shape))] = self.layer.filters
        return keras.KerasTensor(shape, dtype=x.dtype)


def transposed_convolution(x, kernel, layer):
    """A transposed convolution, also where TensorFlow has no kernel for it.

    Dilated transposed convolutions do not run on a CPU in float64, nor in float32 without oneDNN (which TensorFlow does not use
    on processors without AVX-512). With strides of 1, the only ones that Keras allows with dilation, they are ordinary
    convolutions with a flipped kernel.

    Args:
        x: tensor (N, *lengths, inputs), or with channels first.
        kernel: tensor (*size, outputs, inputs).
        layer: has the attributes ``strides``, ``padding``, ``output_padding``, ``data_format`` and ``dilation_rate``.
    """
    axes = len(kernel.shape) - 2
    strides, dilations = (
        (value,) * axes if isinstance(value, int) else tuple(value) for value in (layer.strides, layer.dilation_rate)
    )
    if max(dilations) == 1 or max(strides) > 1:
        geometry = {"output_padding": layer.output_padding, "data_format": layer.data_format}
        return ops.conv_transpose(x, kernel, strides, layer.padding, dilation_rate=dilations, **geometry)
    border = []
    for taps, dilation in zip(kernel.shape[:-2], dilations, strict=True):
        reach = (taps - 1) * dilation
        cut = reach // 2 if layer.padding == "same" else 0  # before the first output
        border.append([reach - cut, cut if layer.padding == "same" else reach])
    channels_first = layer.data_format == "channels_first"
    x = tf.pad(x, [[0, 0], [0, 0], *border] if channels_first else [[0, 0], *border, [0, 0]])
    flipped = tf.linalg.matrix_transpose(tf.reverse(kernel, range(axes)))
    return ops.conv(x, flipped, 1, "valid", data_format=layer.data_format, dilation_rate=dilations)


@affine_for(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose, GraphConvTranspose)
class ConvTranspose(Convolution):
    """A transposed convolution: kernel (*size, outputs, inputs)."""

    kinds = frozenset({"conv", "conv_transpose", "weights"})

    def apply(self, inputs, kernel):
        (x,) = inputs
        return transposed_convolution(x, kernel, self.layer)

    def fan_in(self, kernel):
        return kernel.shape.num_elements() // kernel.shape[-2]

    def scale_outputs(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]

    def scale_inputs(self, kernel, scale):
        return kernel * scale
