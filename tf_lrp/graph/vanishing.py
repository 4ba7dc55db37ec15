"""Where relevance is known to be zero: at an output that a ReLU cut off, unless some rule gives it a share all the same."""

from __future__ import annotations

from keras import tree

from tf_lrp.graph.activations import activation_name
from tf_lrp.rules import Pass, Rule, Stop, WinnerTakesAll, identity, negative, positive
from tf_lrp.twins.structural import ROUTING_LAYERS

#: Functions that are 0 for every argument that is not positive.
_CUTTING = {"relu", "relu6"}
#: Functions that are 0 at 0.
_THROUGH_ZERO = _CUTTING | {"linear", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "tanh", "softsign",
                            "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink", "mish", "prelu"}  # fmt: skip
#: Maps of activations that are 0 at 0: a term's share is a multiple of them.
_PROPORTIONAL = (identity, positive, negative)


def only_positive(graph, facts, rules):
    """For each node: whether relevance can arrive only where its output is > 0.

    It does where only ReLUs take the output and what they return takes shares in proportion to its value: R = a c is 0
    where a = 0. The flat rule, for one, gives a zero its share; and the start of a pass may be anything.

    Args:
        graph: `Graph`.
        facts: of its nodes.
        rules: of its nodes.

    Returns:
        List of bools.
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


def _proportional(node, rule):
    """Whether an input of value 0 takes nothing, whatever arrives at the output."""
    if isinstance(rule, Stop):
        return True
    if node.affine is None or type(rule).terms is Rule.terms:
        return False
    terms = rule.terms(nonnegative=False)
    return all(not term.spread and all(f in _PROPORTIONAL for f, _ in term.parts) for term in terms)


def _passes_zero(node, of_node, rule):
    """(whether an input of 0 gives nothing but zeros, which alone its relevance comes from; whether a negative one does)."""
    if isinstance(rule, WinnerTakesAll):
        return "max_pooling" in of_node.kinds, False
    if not isinstance(rule, Pass):
        return False, False
    if "activation" in of_node.kinds:
        function = activation_name(node.operation)
        return function in _THROUGH_ZERO, function in _CUTTING
    return isinstance(node.operation, ROUTING_LAYERS), False
