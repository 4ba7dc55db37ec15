"""Builds the twin of a graph: every node is replaced by a layer whose gradient is relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.build import build, working_type
from tf_lrp.graph.canonize import canonize
from tf_lrp.graph.category_inputs import CategoryInputs
from tf_lrp.graph.facts import Facts, infer_facts, twin_class_at
from tf_lrp.graph.nodes import Graph, Node
from tf_lrp.graph.optimize import OPTIMIZATIONS, optimize
from tf_lrp.graph.reach import reasons_unreached
from tf_lrp.graph.unroll import unroll_cell
from tf_lrp.keras_compat.own_operations import layer_of
from tf_lrp.rules import Pass, Rule, SignalTakesAll, Stop
from tf_lrp.twins import DEFAULT_PLAN, AffineTwin, PassTwin, Plan, RecurrentTwin, StopGradientTwin, Twin


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a preset and the optimizing pass have chosen for one node.

    Attributes:
        node, facts: of the original.
        choice: the rule and why it was chosen.
        takes: which inputs take relevance.
        plan: `Plan` of the twin.
    """

    node: Node
    facts: Facts
    choice: Any
    takes: tuple
    plan: Plan

    def same_twin(self, other):
        """Whether another choice for the same node gives the same twin."""
        if isinstance(self.choice.rule, Pass) and self.choice.addressed != other.choice.addressed:
            return False
        mine, theirs = ((type(c.choice.rule), c.choice.rule, c.takes, c.plan) for c in (self, other))
        return mine == theirs


@dataclass(frozen=True, eq=False)
class Step:
    """One node and the twin that replaced it.

    Attributes:
        node, facts: of the original.
        choice: the rule and why it was chosen.
        twin: the layer in the twin model.
        inputs, outputs: symbolic tensors of the twin model.
    """

    node: Node
    facts: Facts
    choice: Any
    twin: Twin
    inputs: tuple
    outputs: tuple


@dataclass(frozen=True, eq=False)
class Rewritten:
    """The twin model and the steps it was built from.

    Attributes:
        graph: the canonized `Graph`.
        optimizations: of `tf_lrp.graph.optimize`, that were applied.
        model: the twin, a keras.Model.
        core: see `Built`; the tensors of the steps are those of the core.
        chosen: `Chosen` of each node, in topological order.
        steps: one for each node, likewise.
        results: layer name -> the twin's tensors for this layer's output, one for each use.
        ratios: ids of the twin's tensors whose gradient is relevance divided by their value.
        categories: `CategoryInputs` of the twin.
        unreached: for each output the reason why its relevance reaches no input, or "" if it does.
    """

    graph: Graph
    optimizations: tuple
    model: keras.Model
    core: keras.Model
    chosen: tuple[Chosen, ...]
    steps: tuple[Step, ...]
    results: dict[str, list]
    ratios: frozenset
    categories: CategoryInputs
    unreached: tuple[str, ...]


@dataclass(frozen=True)
class _Choice:
    """A rule that was not chosen by a preset, and the reason."""

    rule: Rule
    reason: str
    addressed: bool = False


def rewrite(graph: Graph, preset, name, optimizations=OPTIMIZATIONS, facts=None):
    """Builds the twin.

    Args:
        graph: canonized `Graph`.
        preset: anything with ``choose(facts) -> Choice`` (rule, reason, addressed).
        name: of the twin model.
        optimizations: of `tf_lrp.graph.optimize`; with () each twin computes its rule's formula as it is.
        facts: `Facts` of the graph's nodes, if they are known.

    Returns:
        `Rewritten`.

    Raises:
        UnsupportedLayerError: if nodes have no twin, listing all of them.
        ValueError: if a rule does not fit its layer.
    """
    chosen = choose(graph, facts or infer_facts(graph), preset, optimizations)
    dtype = working_type(graph)
    built = build(graph, lambda position: twin_for(chosen[position], preset, optimizations, dtype), dtype, name)
    parts = zip(chosen, built.layers, built.taken, built.returned, strict=True)
    steps = [Step(c.node, c.facts, c.choice, *part) for c, *part in parts]
    ratios = frozenset(id(t) for step, c in zip(steps, chosen, strict=True) for t in step.outputs if c.plan.grad_is_ratio)
    return Rewritten(
        graph,
        optimizations,
        built.model,
        built.core,
        chosen,
        tuple(steps),
        built.results,
        ratios,
        CategoryInputs(graph, built),
        reasons_unreached(graph, [(c.choice, c.takes) for c in chosen]),
    )


def choose(graph, facts, preset, optimizations=OPTIMIZATIONS):
    """The rule, the inputs that take relevance, and the plan of each node: a tuple of `Chosen`.

    Args:
        graph: canonized `Graph`.
        facts: `Facts` of its nodes.
        preset, optimizations: as for `rewrite`.

    Raises:
        UnsupportedLayerError: if nodes have no twin, listing all of them.
    """
    choices = _choices(graph, facts, preset)
    described = zip(graph.nodes, facts, choices, strict=True)
    _refuse([(node, node_facts) for node, node_facts, (choice, _) in described if _lacks_twin(node, node_facts, choice)])
    plans = optimize(graph, facts, [choice.rule for choice, _ in choices], optimizations)
    parts = zip(graph.nodes, facts, choices, plans, strict=True)
    return tuple(Chosen(node, node_facts, *of_node, plan) for node, node_facts, of_node, plan in parts)


def _choices(graph, facts, preset):
    """(choice, which inputs take relevance) of each node, from the outputs back: layers that only feed gates take none."""
    reached = {id(t) for t in tree.flatten(graph.outputs)}
    chosen = []
    for node, node_facts in zip(reversed(graph.nodes), reversed(facts), strict=True):
        if node_facts.depends_on_input and any(id(t) in reached for t in node.outputs):
            choice = preset.choose(node_facts)
            takes = _takes(node, node_facts, choice.rule)
        else:
            reason = "takes no relevance" if node_facts.depends_on_input else "does not depend on the input"
            choice, takes = _Choice(Stop(), reason), ()
        if isinstance(choice.rule, Stop):
            takes = ()
        reached.update(id(t) for t, flag in zip(node.inputs, takes, strict=bool(takes)) if flag)
        chosen.append((choice, takes))
    return chosen[::-1]


def _takes(node, node_facts, rule):
    if isinstance(rule, SignalTakesAll) or node_facts.forced:
        return node_facts.relevant_inputs
    twin_class = twin_class_at(node, node_facts.input_depends)
    return node_facts.input_depends if twin_class is None else twin_class.takers(node_facts.input_depends)


def _twin_class(node, node_facts, choice):
    """The twin class that a node gets; None if there is none."""
    twin_class = twin_class_at(node, node_facts.input_depends)
    if node.affine is not None or (twin_class is PassTwin and sum(node_facts.input_depends) == 1):
        return twin_class
    if twin_class is None or node.problem:
        passes = choice.addressed and isinstance(choice.rule, Pass) and sum(node_facts.input_depends) == 1
        return PassTwin if passes else None
    return twin_class


def _lacks_twin(node, node_facts, choice):
    if isinstance(choice.rule, Stop):
        return False
    twin_class = _twin_class(node, node_facts, choice)
    if twin_class is None:
        return True
    taking = [t for t, flag in zip(node.inputs, twin_class.takers(node_facts.input_depends), strict=True) if flag]
    return not twin_class.supports(taking)


def twin_for(chosen, preset, optimizations, dtype):
    """The twin of a node.

    Args:
        chosen: `Chosen`.
        preset, optimizations: what it was chosen by; they choose for what a recurrent layer does in each step, too.
        dtype: type in which the twin computes.

    Raises:
        ValueError: if the rule does not fit the layer.
    """
    node, rule, plan = chosen.node, chosen.choice.rule, chosen.plan
    arguments = {
        "operation": node.operation,
        "rule": rule,
        "name": node.name,
        "dtype": dtype,
        "arguments": (node.args, node.kwargs),
    }
    if isinstance(rule, Stop):
        return StopGradientTwin(**arguments) if node.affine is None else StopGradientTwin(**arguments, function=node.affine)
    if isinstance(rule, Pass) and (node.affine is not None or chosen.choice.addressed):
        _check_pass(node, chosen.facts)
    arguments["takes"] = chosen.takes
    twin_class = _twin_class(node, chosen.facts, chosen.choice)
    if twin_class.follows_plan and plan != DEFAULT_PLAN:
        arguments["plan"] = plan
    if twin_class is AffineTwin:
        arguments["affine"] = node.affine
    if issubclass(twin_class, RecurrentTwin):
        arguments["step"] = _step(node, rule, preset, optimizations)
    return twin_class(**arguments)


class _InsideCell:
    """The rules inside a recurrent layer: the layer's own rule for affine parts, those of the preset for the others."""

    def __init__(self, rule, preset):
        self.rule, self.preset = rule, preset

    def choose(self, facts):
        if facts.kinds & {"weights", "add", "subtract"}:
            return _Choice(self.rule, "rule of the recurrent layer", addressed=True)
        return self.preset.choose(facts)


def _step(node, rule, preset, optimizations):
    """The twin of a recurrent layer's cell, for one step."""
    sequence = node.args[0] if node.args else node.kwargs["sequences"]
    graph = canonize(unroll_cell(node.operation, sequence), strip_heads=False)
    return rewrite(graph, _InsideCell(rule, preset), f"{node.name}_step", optimizations)


def _signal_shapes(node, node_facts):
    return [t.shape for t, flag in zip(node.inputs, node_facts.input_depends, strict=True) if flag]


def _check_pass(node, node_facts):
    shapes = _signal_shapes(node, node_facts)
    if shapes != [node.output.shape]:
        raise ValueError(
            f"The layer {node.name!r} ({type(node.operation).__name__}) cannot take the rule Pass(): relevance passes where "
            f"one input and one output have the same shape, here {', '.join(map(str, shapes))} -> {node.output.shape}."
        )


def _refuse(refused):
    """Raises for nodes without a twin, given with their facts, if there are any."""
    if not refused:
        return
    nodes = [node for node, _ in refused]
    of = f"{len(nodes)} operations of the model have" if len(nodes) > 1 else "An operation of the model has"
    remedies = ["register a twin for the class: @tf_lrp.register_twin(LayerClass) on a subclass of tf_lrp.twins.Twin"]
    if any(node.rewritable for node in nodes):
        remedies.append(
            "write the layer's call with Keras layers and keras.ops functions that have one, so that it can be opened "
            "(docs/coverage.md lists them)"
        )
    passing = [node for node, node_facts in refused if _signal_shapes(node, node_facts) == [node.output.shape]]
    if passing:
        remedies.append(
            f"if it works element by element, let relevance pass: put (tf_lrp.select.name({passing[0].name!r}), "
            "tf_lrp.rules.Pass()) first in a tf_lrp.Preset"
        )
    remedy = remedies[0] if len(remedies) == 1 else "do one of: " + "; ".join(f"({n}) {r}" for n, r in enumerate(remedies, 1))
    raise UnsupportedLayerError(
        f"{of} no relevance rule:\n" + "\n".join(f"  - {_no_twin(node)}" for node in nodes) + f"\nTo fix this, {remedy}."
    )


def _no_twin(node):
    shapes = ", ".join(str(t.shape) for t in node.inputs)
    class_name = type(layer_of(node.operation)).__name__
    what = f"{node.name!r} of class {class_name} (at {'/'.join(node.path)}, on {shapes} -> {node.output.shape})"
    if getattr(node.operation, "quantization_mode", None):
        return f"{what} is quantized, and the kernel it applies is not its weights: explain the model as it was before"
    return f"{what} could not be opened: {node.problem}" if node.problem else what
