"""Division fusion: relevance travels as R / a where one layer multiplies by a and the next divides by it."""

from __future__ import annotations

from dataclasses import replace

from keras import tree

from tf_lrp.graph.optimize.network import has_terms, planned_terms
from tf_lrp.rules import identity


def fuse_divisions(plans, network):
    """A layer hands on c = R / a instead of R, and the layer below multiplies it by z / stab(z).

    If a layer ends by multiplying by its input a (R_i = a_i c_i) and the layer that made a begins by dividing by it (as epsilon
    does with R_j / (z_j + epsilon sign(z_j))), the two steps cancel, and only the factor z / (z + epsilon sign(z)) is left.

    Assumes that all consumers of a tensor end by multiplying by it. Saves a multiplication for each consumer, and the sign of
    z. The gradient at such a tensor of the twin is c.
    """
    steps = network.steps(plans)
    emitted = {id(t): False for t in tree.flatten(network.graph.outputs)}  # id -> whether all consumers hand back c
    for node, _, rule, plan in reversed(steps):
        emits = emitted.get(id(node.outputs[0]), False) if plan.is_identity else _multiplies_last(node, rule, plan)
        for t in node.inputs:
            emitted[id(t)] = emitted.get(id(t), True) and emits
    ratios = set()
    for node, _, rule, plan in steps:
        takes = id(node.inputs[0]) in ratios if plan.is_identity else _divides_first(node, rule, plan)
        ratios.update(id(t) for t in node.outputs if takes and emitted.get(id(t), False))

    def changed(node, rule, plan):
        if any(id(t) in ratios for t in node.outputs):
            terms = () if plan.is_identity else tuple(replace(p, denominator="output") for p in planned_terms(plan, rule))
            plan = replace(plan, terms=terms, grad_is_ratio=True)
        emits = tuple(id(t) in ratios for t in node.inputs) if node.affine is not None else ()
        return replace(plan, emit_ratio=emits) if any(emits) else plan

    return [changed(node, rule, plan) for node, _, rule, plan in steps]


def _multiplies_last(node, rule, plan):
    """Whether the shares of a node's inputs are products with them, R_i = a_i c_i."""
    if node.affine is None or not has_terms(rule):
        return False
    terms = [p.term for p in planned_terms(plan, rule)]
    return all(not term.bias_factor and all(f is identity for f, _ in term.numerators) for term in terms)


def _divides_first(node, rule, plan):
    """Whether a node divides what arrives by its own output, stabilized."""
    if node.affine is None or not has_terms(rule):
        return False
    terms = [p.term for p in planned_terms(plan, rule)]
    if len(terms) != 1:
        return False
    (term,) = terms
    return term.parts == ((identity, identity),) and term.bias is identity and term.where == "all" and not term.bias_factor
