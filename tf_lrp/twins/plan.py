"""How a twin computes what its rule's formula says. The default plan is the formula itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tf_lrp.rules import Term


@dataclass(frozen=True)
class TermPlan:
    """How one term of a rule is computed.

    Attributes:
        term: the `Term`.
        denominator: where its denominator z_t comes from:

            - "inputs": it is computed from the inputs, as the formula says;
            - "one_sample": likewise, for a single sample, because it depends on no activation;
            - "output": it is the layer's output (or "inputs", if the layer has a bias that the term leaves out);
            - "complement": ``factor`` times the layer's output minus the previous term's denominator.
        factor: for "complement".
        sign: 1 if the denominator is never negative at the outputs that the term applies to, -1 if it is never positive there,
            0 if its sign is unknown.
    """

    term: Term
    denominator: str = "inputs"
    factor: float = 0.0
    sign: int = 0


@dataclass(frozen=True)
class Plan:
    """How a twin computes its output and the relevance of its inputs.

    Attributes:
        terms: the terms of the rule, each with its plan; () stands for the rule's terms as they are.
        clamp_output: whether max(z, 0) is returned instead of the output z.
        is_identity: whether an activation returns its input, which is clamped already.
        zero_below_zero: whether relevance is 0 wherever the output is not > 0.
        grad_is_ratio: whether R / z arrives instead of the relevance R of the output z.
        emit_ratio: for each input a whether R / a is handed on instead of its relevance R; () stands for no.
        split_above: number of products per output above which the output is computed as the sum of the two terms'
            denominators, which are stored for the backward pass.
        fold_terms: whether signs, coefficients and sums of terms are those of kernels, where these are smaller than the output.
        scale_outputs: whether factors of output channels may be multiplied with the output instead of the kernel.
        recompute: whether kernels and denominators are computed when relevance arrives, instead of being stored.
        share_denominators: whether the backward passes of several targets share the denominators.
    """

    terms: tuple[TermPlan, ...] = ()
    clamp_output: bool = False
    is_identity: bool = False
    zero_below_zero: bool = False
    grad_is_ratio: bool = False
    emit_ratio: tuple[bool, ...] = ()
    split_above: float = math.inf
    fold_terms: bool = False
    scale_outputs: bool = False
    recompute: bool = False
    share_denominators: bool = False


DEFAULT_PLAN = Plan()
