"""Optimizations within one layer: what the terms of its rule have in common, and what is known of their denominators."""

from __future__ import annotations

import math
from dataclasses import replace

from tf_lrp.graph.optimize.network import map_terms, planned_terms, propagates
from tf_lrp.rules import AddGamma, identity, negative, ones, positive, split_by_sign
from tf_lrp.twins.plan import TermPlan

#: Fan-in up to which denominators are recomputed in the backward pass instead of stored: 1x1 convolutions dominate the
#: activation memory of a residual network, but not its work.
_CHEAP = 512


def skip_negative_inputs(plans, network):
    """Terms that split the inputs by sign leave out the negative part.

    Assumes that the inputs of the layer are known to be >= 0, as they are behind a ReLU. Saves half of the applications of the
    kernel, and half of those of its transpose, for rules that split signs (alpha-beta, z+, gamma).
    """

    def changed(node, facts, rule, plan):
        if not (facts.nonnegative and propagates(node, rule)):
            return plan
        return replace(plan, terms=tuple(TermPlan(term) for term in rule.terms(nonnegative=True)))

    return [changed(*step) for step in network.steps(plans)]


def use_signs(plans, network):
    """Denominators of known sign are stabilized by adding a constant.

    Assumes terms that sum up contributions of one sign only (alpha-beta, z+), or those of gamma at the outputs that they apply
    to. Saves the comparison with zero and the choice between epsilon and -epsilon.
    """

    return map_terms(lambda plan: replace(plan, sign=sign(plan.term)), plans, network)


def reuse_output(plans, network):
    """A denominator that equals the layer's output is not computed again.

    Assumes a term of plain products a_i w_ij. Saves one application of the kernel (the z-rule, epsilon).
    """

    def planned(plan):
        is_output = plan.term.parts == ((identity, identity),) and plan.term.bias in (identity, None)
        return replace(plan, denominator="output") if is_output else plan

    return map_terms(planned, plans, network)


def subtract_from_output(plans, network):
    """The second denominator of gamma is a difference: (z + gamma z+) + (z + gamma z-) = (2 + gamma) z.

    Assumes two terms of this form, biases included. Saves the applications of the kernel of the second. No digits cancel where
    it is used: there z < 0, and the result is larger in size than (1 + gamma) z.
    """

    def changed(node, rule, plan):
        terms = planned_terms(plan, rule) if propagates(node, rule) else ()
        factor = complement(*(p.term for p in terms)) if len(terms) == 2 else None
        if factor is None:
            return plan
        return replace(plan, terms=(terms[0], replace(terms[1], denominator="complement", factor=factor)))

    return [changed(node, rule, plan) for node, _, rule, plan in network.steps(plans)]


def sum_over_one_sample(plans, network):
    """A denominator that depends on the weights alone is computed for one sample.

    Assumes a term that replaces the activations by ones (flat, w^2). Saves the applications of the kernel to all other samples.
    """

    def planned(plan):
        return replace(plan, denominator="one_sample") if all(f is ones for f, _ in plan.term.parts) else plan

    return map_terms(planned, plans, network)


def add_up_to_output(plans, network):
    """The layer's output is the sum of two denominators, which are stored for the backward pass.

    Assumes two terms that split the contributions by sign (alpha-beta with beta > 0), and either more than 512 products per
    output or an output that is small beside the input: otherwise computing them again costs less than storing them. Saves one
    application of the kernel of three. The output may differ from the model's in the last digit.
    """

    def changed(node, rule, plan):
        splits = propagates(node, rule) and additive([p.term for p in planned_terms(plan, rule)])
        return replace(plan, split_above=0 if _shrinks(node) else _CHEAP) if splits else plan

    return [changed(node, rule, plan) for node, _, rule, plan in network.steps(plans)]


def fold_terms(plans, network):
    """Coefficients and sums of terms, and the sign of denominators that are never positive, are those of their kernels.

    Assumes a layer whose kernel is smaller than its outputs for a batch of usual size (`Affine.is_smaller`). Saves the
    multiplication of what is divided, lets TensorFlow cut denominators off at 0 together with the convolution, and computes
    several pointwise convolutions as one (see `Affine.apply_sums` and `Affine.transpose_sums`).
    """
    return [replace(plan, fold_terms=True) if propagates(node, rule) else plan for node, _, rule, plan in network.steps(plans)]


# -- what holds of terms ----------------------------------------------------------------------------------------------


def _shrinks(node):
    """Whether a node's input is known to have more than four times as many entries as its output."""
    (x, *_), (z, *_) = (t.shape[1:] for t in node.inputs), (t.shape[1:] for t in node.outputs)
    return None not in (*x, *z) and math.prod(x) > 4 * math.prod(z)


def additive(terms):
    """Whether the terms split the contributions by sign, so that their denominators add up to the output.

    Up to its bias, where neither term has one.
    """
    if len(terms) != 2 or any(term.where != "all" for term in terms):
        return False
    return (sign(terms[0]), sign(terms[1])) == (1, -1) and (terms[0].bias is None) == (terms[1].bias is None)


def sign(term):
    """Of a term's z at the outputs that it applies to: 1 if it is never negative, -1 if never positive, 0 if unknown."""
    for known, same, opposite in ((1, positive, negative), (-1, negative, positive)):
        if _splits(term, same, opposite) and term.bias in (None, same) and term.where == "all":
            return known
    gamma = _gamma(term)
    # z + gamma z+ where z > 0: positive, provided that z's own bias is in it.
    return 0 if gamma is None or term.bias is None else 1 if term.where == "positive" else -1


def complement(first, second):
    """The number c for which the z of the second term is c times the output minus the z of the first; None if there is none."""
    gamma = _gamma(second)
    if gamma is None or second.where != "negative" or first.where != "positive" or _gamma(first) != gamma:
        return None
    return None if first.bias is None or second.bias is None else 2 + gamma


def _splits(term, same, opposite):
    return term.parts in (split_by_sign(same, opposite, True), split_by_sign(same, opposite, False))


def _gamma(term):
    """gamma of a term that favours the contributions that have the sign of its outputs; None for others."""
    same, opposite = (positive, negative) if term.where == "positive" else (negative, positive)
    _, first = term.parts[0]
    if term.where == "all" or not isinstance(first, AddGamma):
        return None
    maps = AddGamma(first.gamma, same), AddGamma(first.gamma, opposite)
    return first.gamma if _splits(term, *maps) and term.bias in (None, maps[0]) else None
