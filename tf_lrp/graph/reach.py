"""Whether the relevance of an output reaches any input, and if not, which operations stop it."""

from __future__ import annotations

from keras import tree

from tf_lrp.graph.gating import dependent_tensors
from tf_lrp.keras_compat import lengths
from tf_lrp.keras_compat.own_operations import Entries, layer_of
from tf_lrp.rules import Stop


def reasons_unreached(graph, choices):
    """For each output, why its relevance reaches no input: "" where it does, or where a `Stop` of the preset ends it.

    Args:
        graph: `Graph`.
        choices: for each node (choice of its rule, which inputs take relevance).
    """
    producers, takes_of = graph.producers(), {id(n): c for n, c in zip(graph.nodes, choices, strict=True)}
    depends = dependent_tensors(graph)
    return tuple(_reason(t, producers, takes_of, depends, tree.flatten(graph.inputs)) for t in tree.flatten(graph.outputs))


def _reason(output, producers, takes_of, depends, inputs):
    pending, seen, ends = [output], set(), []
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        node = producers.get(id(tensor))
        if node is None or isinstance(node.operation, Entries):
            if id(tensor) in depends:
                return ""
            continue
        choice, takes = takes_of[id(node)]
        if isinstance(choice.rule, Stop) and choice.addressed:
            return ""
        # A tensor that depends on the inputs only through comparisons: look for the comparison.
        if id(tensor) in depends:
            pending.extend(t for t, flag in zip(node.inputs, takes, strict=bool(takes)) if flag)
            continue
        if any(id(t) in depends for t in node.inputs) and not isinstance(node.operation, lengths.SizeOf):
            ends.append(node)
        else:
            pending.extend(node.inputs)
    if not ends:
        return "it depends on them only through shapes, masks and gates. Its maps are zero everywhere."
    names = ", ".join(sorted({f"{n.name!r} ({type(layer_of(n.operation)).__name__})" for n in ends}))
    return (
        f"every path passes through {names}, whose results are positions or comparisons, not amounts. Its maps are zero "
        "everywhere; explain a score that is computed before that."
    )
