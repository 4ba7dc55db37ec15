"""Element-wise layers: relevance passes. And softmax, whose entries depend on each other."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tf_lrp.keras_compat import internals
from tf_lrp.rules import Pass, Taylor
from tf_lrp.twins.base import Twin, summed_to, with_relevance
from tf_lrp.twins.identities import IDENTITY_LAYERS, only_in_training
from tf_lrp.twins.plan import DEFAULT_PLAN
from tf_lrp.twins.registry import register_twin

CASTS = internals.operation_classes("Cast", "SaturateCast")


@register_twin(
    layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, *IDENTITY_LAYERS,
    layers.RMSNormalization, layers.UnitNormalization,
    *internals.ELEMENTWISE_FUNCTIONS,
    *internals.operation_classes("RMSNorm", "Normalize", "Cast", "SaturateCast", "StopGradient", "Copy", "ConvertToTensor"),
)  # fmt: skip
class PassTwin(Twin):
    """y = f(x) forward, R_x = R_y backward; x and y have one shape. Noise and dropout are off, as at inference.

    A normalization by a root mean square or a norm is one too: with its scale a constant of the sample, z_i = c x_i.
    """

    rules = (Pass,)

    @classmethod
    def supports(cls, inputs):
        return len(inputs) == 1

    def __init__(self, *args, plan=DEFAULT_PLAN, **kwargs):
        super().__init__(*args, **kwargs)
        self.plan = plan

    def compute(self, *inputs):
        if self.plan.is_identity:
            return inputs[0]
        operation = self.operation
        # A cast of mixed precision would round values that are carried in full; one to integers is meant to round.
        widens = isinstance(operation, CASTS) and keras.backend.is_float_dtype(operation.dtype)
        return inputs[0] if widens or only_in_training(operation) else super().compute(*inputs)

    def call(self, *inputs):
        (x,) = self.taking(inputs)
        return with_relevance(self.compute(*inputs), [x], lambda relevance: [summed_to(relevance, x)])


@register_twin(*internals.operation_classes("Logaddexp", "Logaddexp2"))
class SmoothMaximumTwin(Twin):
    """log(exp(a) + exp(b)) of two branches: its derivatives are their shares of the sum. (Of one it is an activation.)"""

    rules = (Pass,)

    def call(self, *inputs):
        return self.compute(*inputs)


@register_twin(layers.Softmax, *internals.SOFTMAX)
class SoftmaxTwin(PassTwin):
    """s = softmax(x), perhaps with a mask. By `Pass`, or by `Taylor`: R_i = x_i (R_i - s_i sum_j R_j)."""

    rules = (Pass, Taylor)

    @property
    def remainder(self):
        return "formula" if isinstance(self.rule, Taylor) else ""

    @classmethod
    def takers(cls, signals):
        return (signals[0], *[False] * (len(signals) - 1))  # a mask takes nothing

    def call(self, *inputs):
        if not isinstance(self.rule, Taylor):
            return super().call(*inputs)
        (x,) = self.taking(inputs)
        s = self.compute(*inputs)

        def backward(relevance):
            # x J^T (R / s), with the division by s done by hand: s may be 0 where a mask is.
            return [x * (relevance - s * self._sum(relevance))]

        return with_relevance(s, [x], backward)

    def _sum(self, relevance):
        axis = getattr(self.operation, "axis", -1)
        if axis is None:  # keras.ops.softmax(x, axis=None): over everything
            return tf.reduce_sum(relevance)
        return tf.reduce_sum(relevance, axis, keepdims=True)
