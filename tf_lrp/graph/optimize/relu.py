"""Optimizations below ReLUs: where relevance is zero, and which outputs may be clamped."""

from __future__ import annotations

from dataclasses import replace

from keras import tree

from tf_lrp.graph.optimize.network import has_terms, planned_terms
from tf_lrp.operations.activation_table import activation_of, is_relu
from tf_lrp.operations.routing_table import moves_values
from tf_lrp.rules import Pass, Stop, WinnerTakesAll, identity, negative, positive
from tf_lrp.twins.activation import IdentityTwin, PassTwin
from tf_lrp.twins.pooling import POOLING_TWINS
from tf_lrp.twins.registry import twin_class_of
from tf_lrp.twins.structural import RoutingTwin

#: Maps of activations that are 0 at 0: a term's share is a multiple of them.
_PROPORTIONAL = (identity, positive, negative)


def skip_negative_outputs(plans, network):
    """Terms for outputs below zero are left out.

    Assumes that only ReLUs take the output, and that what takes the ReLU's output shares relevance in proportion to its value,
    so that R = a c is 0 where a = 0 (see `zero_below_zero`). Saves the second term of gamma, and the sign of a denominator that
    equals the output.
    """

    def changed(plan, rule):
        terms = [p for p in planned_terms(plan, rule) if p.term.where != "negative"]
        terms = tuple(replace(p, term=replace(p.term, where="all")) for p in terms)
        return replace(plan, terms=terms, zero_below_zero=True)

    return [
        changed(plan, rule) if is_zero and node.affine is not None and has_terms(rule) else plan
        for (node, _, rule, plan), is_zero in zip(network.steps(plans), zero_below_zero(network), strict=True)
    ]


def clamp_outputs(plans, network):
    """An affine layer returns max(z, 0), and the ReLU behind it returns its input.

    Assumes that only functions that are 0 below zero take the output, that relevance is 0 there (see `zero_below_zero`), and
    that the rule does not need negative outputs. Saves memory: one tensor is stored for the backward pass instead of two.
    """
    zeros, unseen = zero_below_zero(network), _unseen_below_zero(network)
    clamped, result = set(), []
    for (node, _, rule, plan), *flags in zip(network.steps(plans), zeros, unseen, strict=True):
        clamp = all(flags) and node.affine is not None and _needs_no_negatives(rule)
        clamped.update(id(t) for t in node.outputs if clamp)
        is_identity = is_relu(node.operation) and all(id(t) in clamped for t in node.inputs)
        result.append(replace(plan, clamp_output=clamp, is_identity=is_identity))
    return result


def zero_below_zero(network):
    """For each node whether relevance can be other than 0 only where its output is > 0.

    It is so where only ReLUs take the output, and what they return is taken by layers that share in proportion to its value:
    R = a c is 0 where a = 0. The flat rule, for one, gives zeros their share, and the initial relevance may be anything.
    """
    ends = {id(t) for t in tree.flatten(network.graph.outputs)}
    vanishing = {}  # id of a tensor -> whether each consumer so far gives it nothing where it is 0
    cut = {}  # id of a tensor -> whether each consumer so far is a ReLU whose own relevance vanishes with its value
    result = []
    for node, facts, rule in zip(
        *(reversed(part) for part in (network.graph.nodes, network.facts, network.rules)), strict=True
    ):
        outputs = [id(t) for t in node.outputs]
        beyond = all(o not in ends and vanishing.get(o, True) for o in outputs)
        result.append(all(o not in ends and cut.get(o, False) for o in outputs))
        keeps_zero, cuts = _passes_zero(node, facts, rule)
        for t in node.inputs:
            vanishing[id(t)] = vanishing.get(id(t), True) and (_proportional(node, rule) or (keeps_zero and beyond))
            cut[id(t)] = cut.get(id(t), True) and (isinstance(rule, Stop) or (cuts and beyond))
    return result[::-1]


def _unseen_below_zero(network):
    """For each node: whether only functions that are 0 below zero take what it returns."""
    seen = {id(t) for t in tree.flatten(network.graph.outputs)}
    for node, facts in zip(network.graph.nodes, network.facts, strict=True):
        if "activation" not in facts.kinds or not activation_of(node.operation).zero_below_zero:
            seen.update(id(t) for t in node.inputs)
    return [all(id(t) not in seen for t in node.outputs) for node in network.graph.nodes]


def _needs_no_negatives(rule):
    """Whether relevance can be propagated without the outputs below zero; a stabilizer in units of their size needs them."""
    return has_terms(rule) and not any(term.stabilizer.norm_scale for term in rule.terms(nonnegative=False))


def _proportional(node, rule):
    """Whether an input of value 0 takes nothing, whatever arrives at the output."""
    if isinstance(rule, Stop):
        return True
    if node.affine is None or not has_terms(rule):
        return False
    terms = rule.terms(nonnegative=False)
    return all(not term.bias_factor and all(f in _PROPORTIONAL for f, _ in term.numerators) for term in terms)


def _passes_zero(node, facts, rule):
    """(whether inputs of 0 give outputs of 0, and take relevance from these alone; whether negative inputs do, too)."""
    # Nothing is known of what a user's own twin gives to its inputs.
    twin_class = twin_class_of(node.operation)
    if isinstance(rule, WinnerTakesAll):
        return "max_pooling" in facts.kinds and twin_class in POOLING_TWINS, False
    if not isinstance(rule, Pass) or node.affine is not None:
        return False, False
    if "activation" in facts.kinds:
        function = activation_of(node.operation)
        return twin_class is PassTwin and function.zero_at_zero, twin_class is PassTwin and function.zero_below_zero
    return twin_class in (IdentityTwin, RoutingTwin) and moves_values(node.operation), False
