"""Methods that are LRP with a rule and an initial relevance of their own."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp import rules, select
from tf_lrp.analyzer import Analyzer
from tf_lrp.graph import canonize, unroll
from tf_lrp.methods import checks
from tf_lrp.presets import Preset


class LRP(Analyzer):
    """An `Analyzer` that looks at the model before it is explained.

    Args:
        model, preset, **options: as for `tf_lrp.Analyzer`.
        check: whether a model outside the method's assumptions gives a `MethodWarning`.
    """

    assumptions = ("scores",)

    def __init__(self, model, preset, *, check=True, strip_softmax=True, inputs=None, **options):
        if check:
            graph = canonize(unroll(model, inputs), strip_heads=strip_softmax)
            checks.warn(type(self).__name__, self.assumptions, graph)
        super().__init__(model, preset, strip_softmax=strip_softmax, inputs=inputs, **options)


class DeepTaylor(LRP):
    """Deep Taylor decomposition: z+ without bias inside, at the input z-box or w^2; it begins at max(f, 0).

    R_i = sum_j a_i w_ij+ / (sum_i a_i w_ij+) R_j inside. Conserves max(f, 0).

    Args:
        model, **options: as for `tf_lrp.Analyzer`.
        low, high: bounds of the inputs for z-box (numbers, or arrays that fit a sample); without them w^2, for inputs without
            bounds.
        preset: other rules than these.
        check: whether a model outside the method's assumptions gives a `MethodWarning`.

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition".
    """

    assumptions = ("scores", "only_relus", "no_biases")

    def __init__(self, model, low=None, high=None, *, preset=None, **options):
        if (low is None) != (high is None):
            raise ValueError(f"DeepTaylor takes both low and high, or neither; got low={low!r}, high={high!r}.")
        if preset is None:
            at_input = rules.WSquare() if low is None else rules.ZBox(low, high)
            preset = Preset([(select.first(1), at_input), (select.all(), rules.ZPlus(bias=False, stabilizer=0))], "deep_taylor")
        super().__init__(model, preset, **options)

    def attribute(self, probe, inputs, seeds):
        return super().attribute(probe, inputs, [_Positive(seed) for seed in seeds])


class _Positive:
    """An initial relevance whose negative values are set to 0."""

    def __init__(self, seed):
        self.seed = seed
        self.fixed = lambda output: _Positive(seed.fixed(output))

    def __call__(self, output):
        return tf.nn.relu(self.seed(output))


class ExcitationBackprop(LRP):
    """P(a_i) = sum_j a_i w_ij+ / (sum_i a_i w_ij+) P(a_j): LRP-z+ without bias, begun with probability 1. Conserves 1.

    Args:
        model, **options: as for `tf_lrp.Analyzer`.
        check: whether a model outside the method's assumptions gives a `MethodWarning`.

    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop".
    """

    seed_with_one = True
    assumptions = ("scores", "only_relus")

    def __init__(self, model, **options):
        super().__init__(
            model, Preset([(select.all(), rules.ZPlus(bias=False, stabilizer=0))], "excitation_backprop"), **options
        )
