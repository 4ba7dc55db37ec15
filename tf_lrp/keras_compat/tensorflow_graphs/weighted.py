"""Operations with weights, as a graph has them: they look like layers of Keras, with their kernels and biases as attributes."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.parameters import Parameter


class Weighted(keras.Operation):
    """An operation with a kernel and perhaps a bias.

    Args:
        kernel, bias: weights or arrays, as a layer of Keras has them; a bias may be missing.
        **attributes: what else the layer has.
    """

    activation = None

    def __init__(self, kernel, bias=None, **attributes):
        super().__init__()
        self.kernel, self.bias, self.use_bias = kernel, bias, bias is not None
        self.attributes = attributes
        for name, value in attributes.items():
            setattr(self, name, value)

    def changed(self, **changes):
        """An operation with some of its attributes changed."""
        return type(self)(**{"kernel": self.kernel, "bias": self.bias, **self.attributes, **changes})

    def takes_bias(self, z, constant, axis):
        """Whether a constant that is added to the output ``z`` is a bias, given the axis along which it has its numbers."""
        return not self.use_bias and axis is not None and axis == self.channel_axis(len(z.shape))

    def channel_axis(self, rank):
        return 1 if getattr(self, "data_format", "") == "channels_first" else rank - 1

    def with_bias(self, constant):
        """The operation with a bias, in the shape in which Keras has it."""
        return self.changed(bias=Parameter(lambda: tf.reshape(tf.convert_to_tensor(constant), [-1])))

    def linear(self, x):
        """The output without the bias."""
        raise NotImplementedError(f"{type(self).__name__} is not defined")

    def call(self, x):
        z = self.linear(x)
        if not self.use_bias:
            return z
        bias = tf.cast(self.bias, z.dtype)
        if self.channel_axis(len(z.shape)) == 1 < len(z.shape) - 1:
            bias = tf.reshape(bias, (-1, *[1] * (len(z.shape) - 2)))
        return z + bias


class Convolutional(Weighted):
    """Attributes that all convolutions of Keras have."""

    output_padding = None
    groups = 1

    @property
    def rank(self):
        return len(self.kernel.shape) - 2

    @property
    def kernel_size(self):
        return tuple(self.kernel.shape[:-2])

    @property
    def geometry(self):
        return {name: getattr(self, name) for name in ("strides", "padding", "data_format", "dilation_rate")}


class GraphConv(Convolutional):
    """z = x * W + b, kernel (*size, inputs / groups, outputs)."""

    def linear(self, x):
        return ops.conv(x, tf.convert_to_tensor(self.kernel), **self.geometry)


class GraphDepthwiseConv(Convolutional):
    """One convolution for each channel, kernel (*size, inputs, depth multiplier)."""

    def linear(self, x):
        return ops.depthwise_conv(x, tf.convert_to_tensor(self.kernel), **self.geometry)


class GraphConvTranspose(Convolutional):
    """A transposed convolution, kernel (*size, outputs, inputs)."""

    def linear(self, x):
        return ops.conv_transpose(x, tf.convert_to_tensor(self.kernel), output_padding=self.output_padding, **self.geometry)


class GraphDense(Weighted):
    """z = x W + b over the last axis, kernel (inputs, outputs)."""

    def linear(self, x):
        return ops.matmul(x, tf.convert_to_tensor(self.kernel))


class GraphEinsumDense(Weighted):
    """z = einsum(equation, x, W) + b"""

    def linear(self, x):
        return ops.einsum(self.equation, x, tf.convert_to_tensor(self.kernel))

    def takes_bias(self, z, constant, axis):
        """A bias has lengths other than 1 only along axes that the kernel brings in."""
        inputs, output = self.equation.replace(" ", "").split("->")
        axes = output[-len(constant.shape) :] if constant.shape else ""
        own = all(length == 1 or label not in inputs.split(",")[0] for label, length in zip(axes, constant.shape, strict=False))
        return not self.use_bias and 0 < len(constant.shape) <= len(output) and "." not in output and own

    def with_bias(self, constant):
        return self.changed(bias=constant)


class GraphBatchNormalization(keras.Operation):
    """z = scale x + shift, one of each for a channel.

    Args:
        scale, shift: one number for each channel.
        axis: of the channels.
        is_open: whether a further scale or shift belongs to it: (x - mean) / deviation is written so, then * gamma + beta.
    """

    def __init__(self, scale, shift, axis, is_open=False):
        super().__init__()
        self.scale, self.shift, self.axis, self.is_open = scale, shift, axis, is_open

    def scaled(self, factor):
        scale, shift = self.scale, self.shift
        return GraphBatchNormalization(
            Parameter(lambda: tf.convert_to_tensor(scale) * tf.convert_to_tensor(factor)),
            Parameter(lambda: tf.convert_to_tensor(shift) * tf.convert_to_tensor(factor)),
            self.axis,
            is_open=True,
        )

    def shifted(self, by):
        shift = self.shift
        return GraphBatchNormalization(
            self.scale, Parameter(lambda: tf.convert_to_tensor(shift) + tf.convert_to_tensor(by)), self.axis
        )

    def call(self, x):
        shape = [-1 if axis == self.axis else 1 for axis in range(len(x.shape))]
        scale, shift = (tf.reshape(tf.cast(v, x.dtype), shape) for v in (self.scale, self.shift))
        return x * scale + shift

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, dtype=x.dtype)


class GraphLayerNormalization(keras.Operation):
    """gamma (x - mean(x)) / sqrt(variance(x) + epsilon) + beta, over axes that a sample has.

    Args:
        axis: list of the axes.
        epsilon: number.
        gamma, beta: weights in a shape that broadcasts against x, or None.
    """

    rms_scaling = False

    def __init__(self, axis, epsilon, gamma=None, beta=None):
        super().__init__()
        self.axis, self.epsilon = list(axis), epsilon
        self.gamma, self.beta = (None if v is None else Parameter(lambda v=v: tf.convert_to_tensor(v)) for v in (gamma, beta))

    def takes(self, is_scale):
        """Whether a scale (or a shift) of its output is its gamma (or beta)."""
        return self.beta is None and not (is_scale and self.gamma is not None)

    def with_scale(self, gamma):
        return GraphLayerNormalization(self.axis, self.epsilon, gamma)

    def with_shift(self, beta):
        return GraphLayerNormalization(self.axis, self.epsilon, self.gamma, beta)

    def call(self, x):
        deviation = x - tf.reduce_mean(x, self.axis, keepdims=True)
        z = deviation * tf.math.rsqrt(tf.reduce_mean(tf.square(deviation), self.axis, keepdims=True) + self.epsilon)
        if self.gamma is not None:
            z *= tf.cast(self.gamma, x.dtype)
        return z if self.beta is None else z + tf.cast(self.beta, x.dtype)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, dtype=x.dtype)
