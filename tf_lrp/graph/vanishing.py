"""What ReLUs make known of the layers below: where their relevance is zero, and where nobody sees what they return."""

from __future__ import annotations

from keras import tree

from tf_lrp.operations.activation_table import activation_of, is_relu
from tf_lrp.operations.routing_table import moves_values
from tf_lrp.rules import Pass, Rule, Stop, WinnerTakesAll, identity, negative, positive
from tf_lrp.twins.activation import IdentityTwin, PassTwin
from tf_lrp.twins.base import Known
from tf_lrp.twins.pooling import POOLING_TWINS
from tf_lrp.twins.registry import twin_class_of
from tf_lrp.twins.structural import RoutingTwin

#: Maps of activations that are 0 at 0: a term's share is a multiple of them.
_PROPORTIONAL = (identity, positive, negative)


def gather(graph, facts, rules):
    """`Known` of each node.

    Args:
        graph: `Graph`.
        facts: of its nodes.
        rules: of its nodes.
    """
    positive, unseen = _only_positive(graph, facts, rules), _unseen_below_zero(graph, facts)
    cut, found = set(), []
    for node, rule, *flags in zip(graph.nodes, rules, positive, unseen, strict=True):
        cut_off = all(flags) and node.affine is not None and _needs_no_negatives(rule)
        cut.update(id(t) for t in node.outputs if cut_off)
        settled = is_relu(node.operation) and all(id(t) in cut for t in node.inputs)
        found.append(Known(flags[0], cut_off, settled))
    return found


def _only_positive(graph, facts, rules):
    """For each node: whether relevance can arrive only where its output is > 0.

    It does where only ReLUs take the output and what they return takes shares in proportion to its value: R = a c is 0
    where a = 0. The flat rule, for one, gives a zero its share; and the start of a pass may be anything.
    """
    ends = {id(t) for t in tree.flatten(graph.outputs)}
    vanishing = {}  # id of a tensor -> whether each taker so far gives it nothing where it is 0
    cut = {}  # id of a tensor -> whether each taker so far is a ReLU whose own relevance vanishes with its value
    found = []
    for node, of_node, rule in zip(reversed(graph.nodes), reversed(facts), reversed(rules), strict=True):
        outputs = [id(t) for t in node.outputs]
        beyond = all(o not in ends and vanishing.get(o, True) for o in outputs)
        found.append(all(o not in ends and cut.get(o, False) for o in outputs))
        keeps_zero, cuts = _passes_zero(node, of_node, rule)
        for t in node.inputs:
            vanishing[id(t)] = vanishing.get(id(t), True) and (_proportional(node, rule) or (keeps_zero and beyond))
            cut[id(t)] = cut.get(id(t), True) and (isinstance(rule, Stop) or (cuts and beyond))
    return found[::-1]


def _unseen_below_zero(graph, facts):
    """For each node: whether only ReLUs take what it returns."""
    seen = {id(t) for t in tree.flatten(graph.outputs)}
    for node, of_node in zip(graph.nodes, facts, strict=True):
        if "activation" not in of_node.kinds or not activation_of(node.operation).zero_below_zero:
            seen.update(id(t) for t in node.inputs)
    return [all(id(t) not in seen for t in node.outputs) for node in graph.nodes]


def _needs_no_negatives(rule):
    """Whether relevance can be propagated without the outputs below zero; a stabilizer in units of their size needs them."""
    return type(rule).terms is not Rule.terms and not any(term.stabilizer.norm_scale for term in rule.terms(False))


def _proportional(node, rule):
    """Whether an input of value 0 takes nothing, whatever arrives at the output."""
    if isinstance(rule, Stop):
        return True
    if node.affine is None or type(rule).terms is Rule.terms:
        return False
    terms = rule.terms(nonnegative=False)
    return all(not term.spread and all(f in _PROPORTIONAL for f, _ in term.numerators) for term in terms)


def _passes_zero(node, of_node, rule):
    """(whether an input of 0 gives nothing but zeros, which alone its relevance comes from; whether a negative one does)."""
    # What a twin of a user's own gives to its inputs, nobody knows.
    twin_class = twin_class_of(node.operation)
    if isinstance(rule, WinnerTakesAll):
        return "max_pooling" in of_node.kinds and twin_class in POOLING_TWINS, False
    if not isinstance(rule, Pass) or node.affine is not None:
        return False, False
    if "activation" in of_node.kinds:
        function = activation_of(node.operation)
        return twin_class is PassTwin and function.zero_at_zero, twin_class is PassTwin and function.zero_below_zero
    return twin_class in (IdentityTwin, RoutingTwin) and moves_values(node.operation), False
