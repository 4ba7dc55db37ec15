"""Element-wise layers, through which relevance passes, and softmax, whose entries depend on each other."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers

from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.own_layers import LocalResponseNormalization
from tf_lrp.operations.activation_table import (
    ALONG_AXIS_CLASSES,
    ELEMENTWISE_CLASSES,
    Activation,
    Gate,
    activation_name,
    activation_of,
    describe_activation,
)
from tf_lrp.operations.routing_table import IDENTITY_CLASSES, is_cast_to_floats, only_in_training
from tf_lrp.rules import Pass, Renormalization, Taylor
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.twins.base import Twin, summed_to, with_relevance
from tf_lrp.twins.plan import DEFAULT_PLAN
from tf_lrp.twins.registry import register_twin


@register_twin(*ELEMENTWISE_CLASSES)
class PassTwin(Twin):
    """y = f(x) forward, R_x = R_y backward, where x and y have the same shape."""

    kinds = frozenset({"activation"})
    rules = (Pass,)
    is_arithmetic = is_elementwise = follows_plan = True

    @classmethod
    def variant(cls, operation, signals):
        return SoftmaxTwin if cls is PassTwin and activation_of(operation).along_axis else cls

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        function = activation_of(operation)
        proven = function.nonnegative or (function.keeps_nonnegative and all(map(known, call.operands[:1])))
        return proven or super().is_nonnegative(operation, call, known)

    @classmethod
    def supports(cls, inputs):
        return len(inputs) == 1

    def __init__(self, *args, plan=DEFAULT_PLAN, **kwargs):
        super().__init__(*args, **kwargs)
        self.keep(plan=plan)

    def compute(self, *inputs):
        if self.plan.is_identity:
            return inputs[0]
        return super().compute(*inputs)

    def call(self, *inputs):
        (x,) = self.taking(inputs)
        # Whether x was broadcast along an axis of unknown length shows at run time only.
        keeps_shape = len(inputs) == 1 and bool(activation_of(self.operation).name)
        return with_relevance(
            self.compute(*inputs), [x], lambda relevance: [relevance if keeps_shape else summed_to(relevance, x)]
        )


@register_twin(*IDENTITY_CLASSES)
class IdentityTwin(PassTwin):
    """y = x at inference: dropout, noise, casts. A cast to integers rounds, and passes relevance all the same."""

    kinds = frozenset({"structural"})
    keeps_nonnegative = True

    def compute(self, *inputs):
        # The casts of mixed precision are skipped, because the twin computes in full precision.
        return inputs[0] if is_cast_to_floats(self.operation) or only_in_training(self.operation) else super().compute(*inputs)


@register_twin(layers.RMSNormalization, layers.UnitNormalization, *keras_classes.operation_classes("RMSNorm", "Normalize"))
class ScalingTwin(PassTwin):
    """A normalization by a root mean square or a norm: with its scale a constant of the sample, z_i = c x_i."""

    kinds = frozenset({"normalization"})
    is_arithmetic = is_elementwise = False


@register_twin(LocalResponseNormalization)
class LocalResponseNormalizationTwin(PassTwin):
    """y_k = x_k / s_k^beta. By `Pass`, with s_k a constant of the sample; or by `Renormalization`."""

    kinds = frozenset({"normalization"})
    rules = (Pass, Renormalization)
    is_arithmetic = is_elementwise = False
    keeps_nonnegative = True

    @property
    def remainder(self):
        return "formula" if isinstance(self.rule, Renormalization) else ""

    def call(self, *inputs):
        if isinstance(self.rule, Pass):
            return super().call(*inputs)
        (x,) = inputs
        layer, y = self.operation, self.compute(x)

        def backward(relevance):
            quotient = Stabilizer().divide(relevance, y) if self.rule.divided else relevance
            # dy_k/dx_i = -2 alpha beta x_i y_k / s_k for i other than k
            of_others = quotient * y / layer.scale(x)
            shares = layer.sum_of_neighbours(of_others) - of_others
            return [layer.without_neighbours(x) * quotient - 2 * layer.alpha * layer.beta * x**2 * shares]

        return with_relevance(y, [x], backward)


@register_twin(*keras_classes.operation_classes("Logaddexp", "Logaddexp2"))
class SmoothMaximumTwin(Twin):
    """log(exp(a) + exp(b)) of two branches: its derivatives are their shares of the sum. (Of one it is an activation.)"""

    kinds = frozenset({"activation"})
    rules = (Pass,)
    is_arithmetic = is_elementwise = True

    @classmethod
    def variant(cls, operation, signals):
        return cls if sum(signals) > 1 else PassTwin

    def call(self, *inputs):
        return self.compute(*inputs)


@register_twin(*ALONG_AXIS_CLASSES)
class SoftmaxTwin(PassTwin):
    """s = softmax(x), perhaps with a mask; or another function whose entries depend on each other.

    By `Pass`, or by `Taylor`: R_i = x_i sum_j ds_j/dx_i R_j / s_j, which for softmax is x_i (R_i - s_i sum_j R_j).
    """

    kinds = frozenset({"activation", "softmax"})
    rules = (Pass, Taylor)
    is_elementwise = False

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

        def of_softmax(relevance):
            # The division by s is done by hand: s may be 0 where a mask is.
            return [x * (relevance - s * self._sum(relevance))]

        def of_others(relevance):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                again = self.compute(*inputs)
            return [x * tape.gradient(again, x, output_gradients=Stabilizer().divide(relevance, s))]

        return with_relevance(s, [x], of_softmax if activation_name(self.operation) == "softmax" else of_others)

    def _sum(self, relevance):
        axis = getattr(self.operation, "axis", -1)
        if axis is None:  # keras.ops.softmax(x, axis=None): over everything
            return tf.reduce_sum(relevance)
        return tf.reduce_sum(relevance, axis, keepdims=True)


def register_activation(
    subject: Any,
    *,
    nonnegative: bool = False,
    keeps_nonnegative: bool = False,
    zero_at_zero: bool = False,
    zero_below_zero: bool = False,
    gate: str = "activation",
) -> Any:
    """Registers your own activation, and what is known of it. Relevance passes through it; rules use the rest to skip work.

    Args:
        subject: class of a layer whose outputs are a function f of the same entry of its input; or a function f that
            layers take as their ``activation``.
        nonnegative: bool, whether f(x) >= 0 for all x.
        keeps_nonnegative: bool, whether f(x) >= 0 for all x >= 0.
        zero_at_zero: bool, whether f(0) = 0.
        zero_below_zero: bool, whether f(x) = 0 for all x <= 0.
        gate: the role of f(x) in a product of branches, whose signal is the factor that looks least like a gate:
            "activation" (like a ReLU), "bounded" (like tanh) or "gate" (like a sigmoid).

    Returns:
        ``subject``.

    Raises:
        ValueError: if ``gate`` is none of these.

    The claims must hold for all numbers, and for all parameters of the layer. They are not checked, and a wrong claim makes
    relevance wrong.
    """
    ranks = ("activation", "bounded", "gate")
    if gate not in ranks:
        raise ValueError(f"gate is one of {', '.join(map(repr, ranks))}, got {gate!r}.")
    describe_activation(
        subject,
        Activation(
            nonnegative=nonnegative,
            keeps_nonnegative=nonnegative or keeps_nonnegative,
            zero_at_zero=zero_at_zero or zero_below_zero,
            zero_below_zero=zero_below_zero,
            gate=Gate[gate.upper()],
        ),
    )
    if isinstance(subject, type):
        register_twin(subject)(PassTwin)
    return subject
