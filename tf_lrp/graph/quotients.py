"""Where relevance travels divided by the value that it belongs to: as c = R / a instead of R.

Most rules share in proportion to the inputs, R_i = a_i c_i. Where whatever made a_i would divide by it at once, as
LRP-epsilon does with R_j / (z_j + epsilon sign(z_j)), c_i is handed on instead, and z_j / (z_j + epsilon sign(z_j)) c_j is
all that is left to do: what several takers hand back is multiplied once, and the sign of z_j does not matter. A chain of
such layers costs what a gradient does.
"""

from __future__ import annotations

from dataclasses import replace

from keras import tree

from tf_lrp.rules import Rule, identity


def gather(graph, facts, rules, known):
    """ids of the tensors of a graph whose relevance arrives divided by them.

    Args:
        graph: `Graph`.
        facts: of its nodes.
        rules: of its nodes.
        known: `Known` of its nodes, as far as `vanishing` tells.
    """
    described = list(zip(graph.nodes, facts, rules, known, strict=True))
    handed = {id(t): False for t in tree.flatten(graph.outputs)}  # id of a tensor -> whether all its takers hand back c
    for node, of_node, rule, of_outputs in reversed(described):
        hands = handed.get(id(node.outputs[0]), False) if of_outputs.settled else _multiplies_last(node, of_node, rule)
        for t in node.inputs:
            handed[id(t)] = handed.get(id(t), True) and hands
    divided = set()
    for node, _, rule, of_outputs in described:
        takes = id(node.inputs[0]) in divided if of_outputs.settled else _divides_first(node, rule)
        divided.update(id(t) for t in node.outputs if takes and handed.get(id(t), False))
    return divided


def mark(known, node, divided):
    """What is known of a node, and which of its tensors are ``divided``."""
    if node.affine is None:
        return known
    flags = tuple(id(t) in divided for t in node.inputs)
    return replace(known, divided=id(node.outputs[0]) in divided, dividing=flags if any(flags) else ())


def _multiplies_last(node, of_node, rule):
    """Whether the shares of a node's inputs are products with them, R_i = a_i c_i."""
    if node.affine is None or type(rule).terms is Rule.terms:
        return False
    terms = rule.terms(of_node.nonnegative)
    return all(not term.spread and all(f is identity for f, _ in term.numerators) for term in terms)


def _divides_first(node, rule):
    """Whether a node divides what arrives by its own output, stabilized."""
    if node.affine is None or type(rule).terms is Rule.terms:
        return False
    terms = rule.terms(nonnegative=False)
    if len(terms) != 1:
        return False
    (term,) = terms
    return term.parts == ((identity, identity),) and term.bias is identity and term.where == "all" and not term.spread
