"""What the optimizations know of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_lrp.graph.nodes import Graph
from tf_lrp.rules import Rule
from tf_lrp.twins.plan import TermPlan
from tf_lrp.twins.registry import twin_class_of


@dataclass(frozen=True, eq=False)
class Network:
    """A graph with the facts and the rule of each node.

    Attributes:
        graph: canonized `Graph`.
        facts: `Facts` of its nodes.
        rules: of its nodes.
    """

    graph: Graph
    facts: tuple
    rules: tuple

    def steps(self, plans):
        """(node, its facts, its rule, its plan) of each node, in topological order."""
        return list(zip(self.graph.nodes, self.facts, self.rules, plans, strict=True))


def has_terms(rule):
    """Whether a rule is a sum of terms, of which a plan can be made."""
    return type(rule).terms is not Rule.terms


def propagates(node, rule):
    """Whether the twin of a node propagates relevance by the terms of its rule."""
    if node.affine is not None:
        return has_terms(rule)
    twin_class = twin_class_of(node.operation)
    return has_terms(rule) and twin_class is not None and twin_class.follows_plan


def planned_terms(plan, rule):
    """The `TermPlan` of each term of a rule."""
    return plan.terms or tuple(TermPlan(term) for term in rule.terms(nonnegative=False))


def map_terms(function, plans, network):
    """The plans, with ``function(TermPlan) -> TermPlan`` applied to each term of the twins that propagate by terms."""

    def changed(node, rule, plan):
        if not propagates(node, rule):
            return plan
        before = planned_terms(plan, rule)
        after = tuple(map(function, before))
        return plan if after == before else replace(plan, terms=after)

    return [changed(node, rule, plan) for node, _, rule, plan in network.steps(plans)]
