"""What is known about each node before anything runs: its kinds, its position among the layers with weights, signs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tf_lrp.graph.gating import dependent_tensors, signal_factors
from tf_lrp.graph.signs import nonnegative_tensors
from tf_lrp.keras_compat.own_operations import layer_of
from tf_lrp.rules import Pass, Rule
from tf_lrp.twins import AffineTwin, PassTwin
from tf_lrp.twins.registry import twin_class_of, twin_class_of_base


@dataclass(frozen=True)
class Facts:
    """What a preset may ask about a node.

    Attributes:
        name: unique name of the node, the layer's own where that is unique.
        path: dotted names of the models it lies in and its own.
        layer_class: class name of the layer or operation.
        kinds: what it is, words from `tf_lrp.select.KINDS`, such as "conv", "max_pooling" or "product"; "weights" is among
            them if it has weights, so that a preset must choose its rule.
        index: position among the layers with weights, from the input, 0-based; None for the others.
        num_weighted: number of layers with weights in the graph.
        upstream: kind -> the largest number of layers of that kind on a path from an input to this node.
        downstream: likewise to an output.
        nonnegative: whether its inputs are known to be >= 0.
        depends_on_input: whether its outputs depend on the model's inputs other than through comparisons, positions and
            shapes.
        input_depends: for each of its inputs, whether that depends on the model's inputs in this sense.
        relevant_inputs: for a product, which inputs take relevance when the signal takes all; else as ``input_depends``.
        forced: whether the other factors of a product take nothing under any rule: they are normalizers, or functions of
            the signal.
        default_rule: the rule it has unless a preset addresses it; None if a preset must choose one.
        layers: names and dotted paths of the layers that it is a part of: the models and composite layers that contain it,
            the layer that it is a step of, also with the number of this use ("s.2"), and its own name last.
    """

    name: str
    path: str
    layer_class: str
    kinds: frozenset
    index: int | None
    num_weighted: int
    upstream: Counter
    downstream: Counter
    nonnegative: bool
    depends_on_input: bool
    input_depends: tuple
    relevant_inputs: tuple
    forced: bool
    default_rule: Rule | None
    layers: tuple[str, ...] = ()


def infer_facts(graph):
    """`Facts` of each node, in the order of ``graph.nodes``."""
    dependent = dependent_tensors(graph)
    roles = signal_factors(graph, dependent)
    flags = [tuple(id(t) in dependent for t in node.inputs) for node in graph.nodes]
    kinds = [_kinds(node, flags[n]) for n, node in enumerate(graph.nodes)]
    weights = [n for n, k in enumerate(kinds) if "weights" in k]
    nonnegative = nonnegative_tensors(graph)
    upstream = _longest_counts(graph.nodes, kinds, lambda n: n.inputs, lambda n: n.outputs)
    downstream = _longest_counts(graph.nodes[::-1], kinds[::-1], lambda n: n.outputs, lambda n: n.inputs)[::-1]
    facts = []
    for n, node in enumerate(graph.nodes):
        relevant, forced = roles.get(node.name, (flags[n], False))
        facts.append(
            Facts(
                name=node.name,
                path=".".join(_place(node)),
                layer_class=type(layer_of(node.operation)).__name__,
                kinds=kinds[n],
                index=weights.index(n) if n in weights else None,
                num_weighted=len(weights),
                upstream=upstream[n],
                downstream=downstream[n],
                nonnegative=bool(node.inputs) and all(id(t) in nonnegative for t in node.inputs),
                depends_on_input=any(id(t) in dependent for t in node.outputs),
                input_depends=flags[n],
                relevant_inputs=relevant,
                forced=forced,
                default_rule=_default_rule(node, flags[n]),
                layers=_layers(node),
            )
        )
    return facts


def _place(node):
    """Names of the models that contain a node, and its own."""
    return (*node.path[:-2], node.path[-1]) if node.split_from else node.path


def _layers(node):
    dotted = [".".join(node.path[: n + 1]) for n in range(len(node.path))]
    return (*dotted, node.split_from or node.name, *node.path)


def twin_class_at(node, input_depends):
    """The twin class of a node, or None if it has none.

    An activation layer whose ``call`` a user overrode, and which could not be opened, is still taken for an activation.

    Args:
        node: `Node`.
        input_depends: for each of its inputs, whether that depends on the model's inputs.
    """
    if node.affine is not None:
        return AffineTwin
    if node.problem and "activation" in _kinds(node, input_depends):
        return PassTwin
    return twin_class_of(node.operation, input_depends)


def _declaring(node, input_depends):
    """What declares the kinds and the default rule of a node: its `Affine`, its twin class, that of a base class, or None."""
    if node.affine is not None:
        return node.affine
    twin_class = twin_class_of(node.operation, input_depends)
    return twin_class if twin_class is not None and twin_class.kinds else twin_class_of_base(node.operation)


def _kinds(node, input_depends):
    declaring = _declaring(node, input_depends)
    return frozenset({"structural"} if declaring is None else declaring.kinds)


def _default_rule(node, input_depends):
    twin_class = None if node.affine is not None else twin_class_of(node.operation, input_depends)
    declaring = _declaring(node, input_depends)
    rules = [c.default_rule for c in (twin_class, declaring) if c is not None and c.default_rule is not None]
    if rules:
        return rules[0]
    return None if "weights" in _kinds(node, input_depends) else Pass()


def _longest_counts(nodes, kinds, before, after):
    """For each node, the largest number of nodes of each kind on one path before it."""
    at_tensor, counts = {}, []
    for node, own_kinds in zip(nodes, kinds, strict=True):
        count = Counter()
        for tensor in before(node):
            count |= at_tensor.get(id(tensor), Counter())  # the union of counters keeps the larger count
        counts.append(count)
        for tensor in after(node):
            at_tensor[id(tensor)] = at_tensor.get(id(tensor), Counter()) | (count + Counter(own_kinds))
    return counts
