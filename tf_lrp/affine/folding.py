"""An affine layer with a batch normalization merged into its kernel and bias.

Folded from the live variables at every call, so later changes of either layer still count.
"""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.affine.base import Weighted


class _Folded(Weighted):
    """An affine map with a normalization before or after it; everything else is that of the inner map."""

    def __init__(self, inner, normalization):
        super().__init__(inner.layer)
        self.inner, self.normalization = inner, normalization

    @property
    def kinds(self):
        return self.inner.kinds

    @property
    def channels_first(self):
        return self.inner.channels_first

    @property
    def layers(self):
        return (*self.inner.layers, self.normalization.layer)

    def apply(self, inputs, kernel):
        return self.inner.apply(inputs, kernel)

    def transpose(self, inputs, kernel, quotient):
        return self.inner.transpose(inputs, kernel, quotient)

    def apply_sums(self, inputs, kernels):
        return self.inner.apply_sums(inputs, kernels)

    def transpose_sums(self, inputs, kernels, quotients):
        return self.inner.transpose_sums(inputs, kernels, quotients)

    def keeps_signs(self, kernel):
        return self.inner.keeps_signs(kernel)

    def fan_in(self, kernel):
        return self.inner.fan_in(kernel)

    def scale_outputs(self, kernel, scale):
        return self.inner.scale_outputs(kernel, scale)

    def scale_inputs(self, kernel, scale):
        return self.inner.scale_inputs(kernel, scale)

    def output_spec(self, *args, **kwargs):
        return self.inner.output_spec(*args, **kwargs)


class NormalizedOutput(_Folded):
    """normalization(inner(x)): with scale s and shift t, the kernel is s W and the bias s b + t."""

    def kernel(self, dtype):
        return self._scaled(self.inner.kernel(dtype))

    def _scaled(self, plain):
        scale, _ = self.normalization.channel_scale_and_shift(plain.dtype)
        return self.scale_outputs(plain, scale)

    def factors(self, inputs, dtype):
        plain = self.inner.kernel(dtype)
        if self.is_smaller(plain, inputs):
            return self._scaled(plain), None
        scale, _ = self.normalization.channel_scale_and_shift(dtype)
        return plain, self.per_channel(scale, len(self.output_shape(inputs)))

    def bias(self, inputs, kernel):
        rank = inputs[0].shape.rank
        scale, shift = (self.per_channel(v, rank) for v in self.normalization.channel_scale_and_shift(kernel.dtype))
        inner = self.inner.bias(inputs, kernel)
        return shift if inner is None else inner * scale + shift


class NormalizedInput(_Folded):
    """inner(normalization(x)): the kernel is W s and the bias b + W t.

    At a padded border W t lacks the taps that fall outside (the padding follows the normalization and is zero), so the
    bias differs from place to place: it is the inner map applied to a map of t.
    """

    def kernel(self, dtype):
        scale, _ = self.normalization.channel_scale_and_shift(dtype)
        return self.scale_inputs(self.inner.kernel(dtype), scale)

    def bias(self, inputs, kernel):
        (x,) = inputs
        plain = self.inner.kernel(kernel.dtype)
        _, shift = self.normalization.scale_and_shift(kernel.dtype)
        of_shift = self.inner.apply([tf.broadcast_to(shift, tf.shape(x[:1]))], plain)
        inner = self.inner.bias(inputs, plain)
        return of_shift if inner is None else inner + of_shift
