"""The optimizing pass: better plans for the twins of a graph.

Without it each twin computes its rule's formula as it is (`tf_lrp.twins.DEFAULT_PLAN`). An optimization is a function
``(plans, network) -> plans``. It changes no relevance beyond rounding, and none needs another: any selection of them works.
"""

from __future__ import annotations

from tf_lrp.graph.optimize.division import fuse_divisions
from tf_lrp.graph.optimize.network import Network
from tf_lrp.graph.optimize.relu import clamp_outputs, skip_negative_outputs
from tf_lrp.graph.optimize.storage import recompute_denominators, scale_outputs, share_denominators
from tf_lrp.graph.optimize.terms import (
    add_up_to_output,
    fold_terms,
    reuse_output,
    skip_negative_inputs,
    subtract_from_output,
    sum_over_one_sample,
    use_signs,
)
from tf_lrp.twins.plan import DEFAULT_PLAN

#: In the order in which they are applied.
OPTIMIZATIONS = (
    skip_negative_inputs,
    use_signs,
    reuse_output,
    subtract_from_output,
    sum_over_one_sample,
    add_up_to_output,
    fold_terms,
    recompute_denominators,
    share_denominators,
    scale_outputs,
    skip_negative_outputs,
    clamp_outputs,
    fuse_divisions,
)


def optimize(graph, facts, rules, optimizations=OPTIMIZATIONS):
    """The `Plan` of each node's twin.

    Args:
        graph: canonized `Graph`.
        facts: `Facts` of its nodes.
        rules: `Rule` of each of its nodes.
        optimizations: those that are applied, in this order; () leaves the formula as it is.
    """
    network = Network(graph, tuple(facts), tuple(rules))
    plans = [DEFAULT_PLAN] * len(graph.nodes)
    for optimization in optimizations:
        plans = optimization(plans, network)
    return plans
