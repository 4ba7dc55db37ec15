"""The affine parts of recurrent cells."""

from __future__ import annotations

import contextlib
import contextvars

import tensorflow as tf

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.affine.merging import WeightedSum
from tf_lrp.keras_compat.own_operations import CellSum, StateSum

#: Where the kernels of cells are; None: they are put together from the weights each time.
_CELL_KERNELS = contextvars.ContextVar("cell_kernels", default=None)


@contextlib.contextmanager
def cell_kernels_of(affines, dtype):
    """In this context, which is to surround a loop over steps, the kernels of these maps are put together once.

    Args:
        affines: `Affine` of the nodes of a cell.
        dtype: the type in which the kernels are read.
    """
    cells = [affine for affine in affines if isinstance(affine, CellPreactivation) and not affine.has_reset]
    token = _CELL_KERNELS.set({(affine, tf.as_dtype(dtype)): affine.kernel(dtype) for affine in cells})
    try:
        yield
    finally:
        _CELL_KERNELS.reset(token)


@affine_for(CellSum)
class CellPreactivation(Affine):
    """z = x W + h U + b as one layer with two inputs: its kernel is W above U, along the axis of the inputs.

    Where a reset gate scales h U, the gate is part of the kernel (so there is a kernel for each sample).
    """

    kinds = frozenset({"recurrent", "weights"})

    def __init__(self, operation, call=None):
        super().__init__(operation)
        self.has_reset = len(call.inputs) == 3

    @property
    def layers(self):
        return (self.layer.cell,)

    def kernel(self, dtype):
        found = (_CELL_KERNELS.get() or {}).get((self, tf.as_dtype(dtype)))
        return tf.concat(self.layer.kernels(dtype), axis=-2) if found is None else found

    def kernel_at(self, inputs, dtype):
        if not self.has_reset:
            return self.kernel(dtype)
        kernels = self.layer.kernels(dtype)
        gate = inputs[2][:, tf.newaxis, :]
        of_input = tf.broadcast_to(kernels[0], tf.concat([tf.shape(gate)[:1], tf.shape(kernels[0])], 0))
        return tf.concat([of_input, gate * kernels[1]], axis=-2)

    def bias(self, inputs, kernel):
        bias, inner = self.layer.biases(kernel.dtype)
        if inner is not None:
            bias = bias + (inputs[2] * inner if self.has_reset else inner)
        return None if bias is None else self.layer.per_channel(bias)

    def apply(self, inputs, kernel):
        x, h = inputs[:2]
        if self.has_reset:
            both = tf.concat([x, tf.broadcast_to(h, tf.concat([tf.shape(x)[:1], tf.shape(h)[1:]], 0))], -1)
            return tf.einsum("ni,nio->no", both, kernel)
        of_input = self.layer.cell.kernel.shape[-2]
        return sum(self.layer.products(x, h, [kernel[..., :of_input, :], kernel[..., of_input:, :]]))


@affine_for(StateSum)
class RecurrentStateSum(WeightedSum):
    """kept + new, element by element. Bias and stabilizer, where a rule redistributes them, go to all units of both."""

    kinds = frozenset({"merge", "add", "recurrent"})

    def distribute_evenly(self, inputs, kernel, leftover):
        units = inputs[0].shape[-1] * len(inputs)
        each = tf.reduce_sum(leftover, axis=-1, keepdims=True) / units
        return [tf.broadcast_to(each, tf.shape(x)) for x in inputs]
