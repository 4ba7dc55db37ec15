"""Operations of opened layers for which Keras has none."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat import preprocessing


class Entries(keras.Operation):
    """A number for each entry of an input of strings or integers, which takes its relevance: the integer, or 1 for a string."""

    def call(self, x):
        return tf.ones(tf.shape(x), tf.float64) if x.dtype == tf.string else tf.cast(x, tf.float64)

    def compute_output_spec(self, x):
        return entries_like(x)


def entries_like(x):
    """The symbolic tensor of the `Entries` of x."""
    return keras.KerasTensor(x.shape, dtype="float32" if x.dtype == "string" else x.dtype)


class WithEntries(keras.Operation):
    """A layer that is called on strings or integers, and also takes the `Entries` to which it passes relevance.

    Args:
        layer: the layer.
        count: number of `Entries`, which are the first arguments.
    """

    def __init__(self, layer, count):
        super().__init__(name=layer.name)
        self.layer, self.count = layer, count

    def call(self, *args, **kwargs):
        return self.layer.call(*args[self.count :], **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        return preprocessing.output_spec(self.layer, *args[self.count :], **kwargs)


def layer_of(operation):
    """The layer inside a `WithEntries`; other operations are returned unchanged."""
    return operation.layer if isinstance(operation, WithEntries) else operation


class MergeTime(keras.Operation):
    """(N, T, ...) -> (N T, ...)"""

    def call(self, x):
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def compute_output_spec(self, x):
        samples = x.shape[0] * x.shape[1] if x.shape[0] and x.shape[1] else None
        return keras.KerasTensor((samples, *x.shape[2:]), dtype=x.dtype)


class SplitTime(keras.Operation):
    """(N T, ...) -> (N, T, ...), with the N and T of another tensor."""

    def call(self, x, like):
        return ops.reshape(x, (*ops.shape(like)[:2], *ops.shape(x)[1:]))

    def compute_output_spec(self, x, like):
        return keras.KerasTensor((*like.shape[:2], *x.shape[1:]), dtype=x.dtype)


class Gated(keras.Operation):
    """signal * gate: a product whose roles are known."""

    def call(self, signal, gate):
        return signal * gate

    def compute_output_spec(self, signal, gate):
        return keras.KerasTensor(signal.shape, dtype=signal.dtype)


class ComplexPart(keras.Operation):
    """One of the two results of a function that returns a complex number as (real, imaginary).

    Args:
        operation: the operation behind keras.ops.fft, rfft, stft ...
        part: 0 for the real part, 1 for the imaginary one.
    """

    def __init__(self, operation, part):
        super().__init__()
        self.operation, self.part = operation, part

    def call(self, x):
        return self.operation.call(x)[self.part]

    def compute_output_spec(self, x):
        return self.operation.compute_output_spec(x)[self.part]


class StateSum(keras.Operation):
    """The new recurrent state: the part kept of the old state, plus the new part."""

    def call(self, kept, new):
        return kept + new

    def compute_output_spec(self, kept, new):
        return keras.KerasTensor(kept.shape, dtype=kept.dtype)


class CellSum(keras.Operation):
    """The pre-activation of a recurrent cell: z = x W + reset * (h U) + b, or convolutions in place of the products.

    Args:
        cell: the Keras cell.
        columns: slice of the kernels' last axis.
    """

    def __init__(self, cell, columns):
        super().__init__()
        self.cell, self.columns = cell, columns
        self.is_convolution = hasattr(cell, "kernel_size")

    def kernels(self, dtype):
        """W and U."""
        return [tf.cast(k, dtype)[..., self.columns] for k in (self.cell.kernel, self.cell.recurrent_kernel)]

    def biases(self, dtype):
        """The bias of the sum and, where a reset gate acts on the product h U, that inside the gate; or None."""
        if self.cell.bias is None:
            return None, None
        bias = tf.cast(self.cell.bias, dtype)[..., self.columns]
        # A GRU with reset_after has a row for each product.
        return (bias[0], bias[1]) if bias.shape.rank == 2 else (bias, None)

    def products(self, x, h, kernels):
        """x W and h U."""
        if not self.is_convolution:
            return [ops.matmul(t, k) for t, k in zip((x, h), kernels, strict=True)]
        cell = self.cell
        input_options = {"strides": cell.strides, "padding": cell.padding, "dilation_rate": cell.dilation_rate}
        state_options = {"strides": 1, "padding": "same", "dilation_rate": 1}
        return [
            ops.conv(t, k, data_format=cell.data_format, **options)
            for t, k, options in zip((x, h), kernels, (input_options, state_options), strict=True)
        ]

    def per_channel(self, bias):
        """A bias against z."""
        if self.is_convolution and self.cell.data_format == "channels_first":
            return tf.reshape(bias, (-1, *[1] * self.cell.rank))
        return bias

    def call(self, x, h, reset=None):
        input_part, state_part = self.products(x, h, self.kernels(x.dtype))
        bias, inner = self.biases(x.dtype)
        if inner is not None:
            state_part = state_part + inner
        z = input_part + (state_part if reset is None else reset * state_part)
        return z if bias is None else z + self.per_channel(bias)

    def compute_output_spec(self, x, h, reset=None):
        width = len(range(*self.columns.indices(self.cell.kernel.shape[-1])))
        axis = 1 if self.is_convolution and self.cell.data_format == "channels_first" else len(h.shape) - 1
        shape = tuple(width if a == axis else length for a, length in enumerate(h.shape))
        return keras.KerasTensor(shape, dtype=x.dtype)
