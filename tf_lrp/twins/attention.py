"""Fused scaled dot-product attention.

Sources: Achtibat et al. 2024, "AttnLRP" (uniform rule at both products, Taylor at the softmax); Ali et al. 2022, "XAI for
transformers" (attention weights are constants).
"""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.keras_compat import keras_classes
from tf_lrp.rules import SignalTakesAll, Uniform
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.twins.base import Twin, distinct, with_relevance
from tf_lrp.twins.registry import register_twin


@register_twin(*keras_classes.operation_classes("DotProductAttention"))
class DotProductAttentionTwin(Twin):
    """y = A v with A = softmax(scale q k^T + bias, masked); q (N, T, heads, D), k and v (N, S, heads or groups, D).

    With g = R / y (so that R = y g):

    - `SignalTakesAll`: R_v = v (A^T g); queries and keys get nothing.
    - `Uniform`: R_v = 1/2 v (A^T g); of the other half, G = 1/2 g v^T is the gradient at A and
      H = A (G - sum_s A G) that at the scores; R_q = 1/2 scale q (H k), R_k = 1/2 scale k (H^T q). The softmax step is
      Taylor's, which does not conserve relevance.
    """

    kinds = frozenset({"attention"})
    default_rule = SignalTakesAll()
    rules = (SignalTakesAll, Uniform)

    @classmethod
    def signal_factors(cls, signals):
        """The values; the attention weights, which queries, keys and masks decide, are a gate."""
        return tuple(n == 2 and flag for n, flag in enumerate(signals)), False

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        arguments = dict(zip(("query", "key", "value"), call.args, strict=False)) | call.kwargs
        return known(arguments["value"])

    @property
    def remainder(self):
        return "formula" if isinstance(self.rule, Uniform) else ""

    def call(self, *inputs):
        inputs = distinct(inputs)
        y = self.compute(*inputs)
        return with_relevance(y, self.taking(inputs), lambda relevance: self._relevance(inputs, y, relevance, self.takes))

    def _relevance(self, inputs, y, relevance, takes):
        """The relevance of the inputs for which ``takes`` is True: a list."""
        flags = takes or [True] * len(inputs)
        takers = [x for x, flag in zip(inputs, flags, strict=True) if flag]
        g = Stabilizer().divide(relevance, y)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(takers)
            again = self.compute(*inputs)
        gradients = tape.gradient(again, takers, output_gradients=g, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if not isinstance(self.rule, Uniform):
            return [x * gradient for x, gradient in zip(takers, gradients, strict=True)]
        shares = [share for share, flag in zip(self._shares(len(inputs)), flags, strict=True) if flag]
        return [share * x * dx for share, x, dx in zip(shares, takers, gradients, strict=True)]

    def absorbed(self, inputs, relevance):
        """The relevance that arrives where y is 0, and the shares of operands that do not depend on the model's inputs."""
        inputs, y = distinct(inputs), self.compute(*inputs)
        lost = relevance - Stabilizer().divide(relevance, y) * y
        signals = self.takes or [True] * len(inputs)
        share = [x.dtype.is_floating and not flag and (n == 2 or isinstance(self.rule, Uniform))
                 for n, (x, flag) in enumerate(zip(inputs, signals, strict=True))]  # fmt: skip
        constant = self._relevance(inputs, y, relevance, share) if any(share) else []
        return {
            "zero_denominator": tf.reduce_sum(tf.cast(lost, tf.float64)),
            "bias": sum((tf.reduce_sum(tf.cast(r, tf.float64)) for r in constant), tf.zeros((), tf.float64)),
        }

    @staticmethod
    def _shares(count):
        """Each product passes on half: queries and keys are behind two products, values and a bias behind one."""
        return [0.25, 0.25, 0.5, *[0.5] * (count - 3)]
