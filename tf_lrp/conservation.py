"""Conservation of relevance: the balance of a backward pass, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import tree

from tf_lrp.explain import neurons
from tf_lrp.explain.stepwise import StepwisePass
from tf_lrp.graph.categories import entries_of
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.messages import tables
from tf_lrp.twins import RecurrentTwin, StopGradientTwin
from tf_lrp.twins.base import distinct

#: Causes of relevance that is not handed on -> their names in a table.
CAUSES = {
    "bias": "biases",
    "stabilizer": "stabilizer",
    "zero_denominator": "zero denominators",
    "padding": "padding",
    "stopped": "stops",
    "formula": "formula",
}


@dataclass(frozen=True)
class Kept:
    """The relevance that was not handed on, by cause, in units of the explained output.

    Each can be negative: relevance is gained where a negative contribution (or a beta term) does not hand on its share.

    Attributes:
        bias: absorbed by biases and other constants, such as embeddings of positions and constants that are concatenated.
        stabilizer: absorbed by epsilon.
        zero_denominator: lost at denominators of zero, or gained there by a beta term: there are no contributions (of a
            term's sign) to share by.
        padding: given to zeros (or another value) that were filled in.
        stopped: ended at `Stop()`, or at operations whose result is a position or a bool, such as argmax and comparisons.
        formula: dropped or added by a rule's formula: the zeroth-order term of `Taylor`, coefficients that do not sum to 1.
    """

    bias: float = 0.0
    stabilizer: float = 0.0
    zero_denominator: float = 0.0
    padding: float = 0.0
    stopped: float = 0.0
    formula: float = 0.0

    @property
    def kept(self):
        """The sum over all causes."""
        return sum(getattr(self, cause) for cause in CAUSES)


@dataclass(frozen=True, kw_only=True)
class LayerBalance(Kept):
    """One layer's balance, in units of the explained output, summed over the batch.

    ``received = passed + bias + stabilizer + zero_denominator + padding + stopped + formula + rounding``

    Attributes:
        name, layer_class, rule: of the layer.
        received: relevance that arrived at the layer's output.
        passed: relevance that the layer handed to its inputs.
        bias, stabilizer, zero_denominator, padding, stopped, formula: see `Kept`.
    """

    name: str
    layer_class: str
    rule: str
    received: float
    passed: float

    @property
    def rounding(self):
        """The remainder: floating-point error."""
        return self.received - self.passed - self.kept


@dataclass(frozen=True, kw_only=True)
class Conservation(Kept):
    """The balance of a pass, up to rounding:

    ``output = input + bias + stabilizer + zero_denominator + padding + stopped + formula``

    Attributes:
        output: R_init's sum, the explained output.
        input: relevance that reached the inputs.
        layers: `LayerBalance` of each layer, from the output down to the input.
        bias, stabilizer, zero_denominator, padding, stopped, formula: see `Kept`; the sums over the layers.
    """

    output: float
    input: float
    layers: tuple[LayerBalance, ...]

    @property
    def rounding(self):
        """The remainder: floating-point error."""
        return self.output - self.input - self.kept

    def __str__(self):
        # A cause that absorbs nothing in any layer has no column.
        seen = [cause for cause in CAUSES if any(self._counts(getattr(b, cause)) for b in self.layers)]
        columns = [("layer", "left"), ("rule", "left"), ("received", "right"), ("passed on", "right")]
        columns += [(f"{CAUSES[cause]} kept", "right") for cause in seen]

        def numbers(*values):
            return [f"{value:.4g}" if self._counts(value) else "." for value in values]

        rows = [
            (b.name, b.rule, *numbers(b.received, b.passed, *(getattr(b, cause) for cause in seen)))
            for b in self.layers
            if b.received or b.passed
        ]
        rows.append(("whole model", "", *numbers(self.output, self.input, *(getattr(self, cause) for cause in seen))))
        return tables.render("where the relevance went, from the output to the input", columns, rows)

    __repr__ = __str__

    def _counts(self, value):
        """Whether a value is more than rounding error."""
        return abs(value) > 1e-9 * abs(self.output)


def account(rewritten, target, start_mode, inputs, selected=None):
    """Runs one pass, uncompiled, and returns its balance.

    The balance of a model is needed once or twice. Tracing and optimizing a graph that contains each twin twice would take
    several times as long as running it.

    Args:
        rewritten: `tf_lrp.graph.Rewritten`.
        target: position of the explained output.
        start_mode: of the `tf_lrp.explain.neurons.Selection`, one neuron per sample.
        inputs: flat list of input tensors.
        selected: values of the selection, or None.

    Returns:
        `Conservation`.
    """
    stepwise = _run(rewritten, inputs)
    explained = stepwise.explained[target]
    start = neurons.InitialRelevance(start_mode, selected)(stepwise.values[id(explained)])
    layers, of_inputs = _balances(rewritten, stepwise, {id(explained): start})
    return Conservation(output=float(total(start)), input=of_inputs, layers=layers, **_summed(layers))


def _run(rewritten, inputs):
    """The `StepwisePass` of a `Rewritten`, forward, on a flat list of inputs."""
    stepwise = StepwisePass(rewritten.graph, inputs)
    stepwise.forward(rewritten.chosen, [step.twin for step in rewritten.steps])
    return stepwise


def _balances(rewritten, stepwise, arrived):
    """A backward pass, step by step.

    Args:
        rewritten: `tf_lrp.graph.Rewritten`.
        stepwise: `StepwisePass` of it.
        arrived: id of a tensor of the graph -> the relevance it starts with.

    Returns:
        (tuple of `LayerBalance` from the output down, sum of the relevance at the inputs).
    """
    inputs, entries = tree.flatten(rewritten.graph.inputs), entries_of(rewritten.graph)
    dependent = _dependent(inputs, rewritten.graph.nodes)
    # The numbers that stand for strings and categories are inputs.
    steps = [(n, rewritten.steps[n]) for n, node in stepwise.nodes if not isinstance(node.operation, Entries)]
    layers = [_balance(step, stepwise.runs[n], stepwise, arrived, dependent) for n, step in reversed(steps)]
    relevant = [id(entries.get(id(t), t)) for t in inputs]
    return tuple(layers), sum(float(total(arrived[key])) for key in relevant if key in arrived)


def _summed(layers):
    return {cause: sum(getattr(layer, cause) for layer in layers) for cause in CAUSES}


def total(relevance):
    """The sum over everything, in float64: a sum of millions of float32 has an error of its own."""
    return tf.reduce_sum(tf.cast(relevance, tf.float64))


def _dependent(inputs, nodes):
    """ids of the tensors that depend on the inputs in any way, also through bools."""
    dependent = {id(t) for t in inputs}
    for node in nodes:
        if any(id(t) in dependent for t in node.inputs):
            dependent.update(id(t) for t in node.outputs)
    return dependent


def _balance(step, run, stepwise, arrived, dependent):
    """The `LayerBalance` of one step. Adds the relevance that it hands on to ``arrived``.

    Args:
        step: `tf_lrp.graph.Step`; the steps that consume its outputs come before.
        run: `Run` of its twin.
        stepwise: `StepwisePass` that it is a part of.
        arrived: id of a tensor -> the relevance that its consumers handed to it; divided by its value where that is among the
            ratios of the pass.
        dependent: ids of the tensors that depend on the inputs.
    """
    named: dict[str, Any] = {"name": step.facts.name, "layer_class": step.facts.layer_class, "rule": str(step.choice.rule)}

    def relevance(key, gradient):
        return gradient * stepwise.values[key] if key in stepwise.ratios else gradient

    received = [arrived.get(id(t)) for t in step.node.outputs]
    of_outputs = [None if r is None else relevance(id(t), r) for t, r in zip(step.node.outputs, received, strict=True)]
    amount = sum(float(total(r)) for r in of_outputs if r is not None)
    if all(r is None for r in received) or isinstance(step.twin, StopGradientTwin):
        return LayerBalance(**named, received=amount, passed=0.0, stopped=amount)
    kept: dict[str, Any] = dict.fromkeys(CAUSES, 0.0)
    passed = 0.0
    for key, gradient in run.handed_on(received).items():
        of_input = float(total(relevance(key, gradient)))
        if key in dependent:
            passed += of_input
            arrived[key] = arrived[key] + gradient if key in arrived else gradient
        else:
            kept["bias"] += of_input  # a constant operand, such as the embeddings of positions
    for cause, value in _absorbed(step, run, of_outputs).items():
        kept[cause] += float(value)
    if step.twin.remainder:
        kept[step.twin.remainder] += amount - passed - sum(kept.values())
    return LayerBalance(**named, received=amount, passed=passed, **kept)


def _absorbed(step, run, relevance):
    """The part of the ``relevance`` (of each output, or None) that a step's twin does not hand on: dict by cause."""
    if not isinstance(step.twin, RecurrentTwin):
        return step.twin.absorbed(distinct(run.inputs), relevance[0]) if relevance[0] is not None else {}
    relevance = [tf.zeros_like(y) if r is None else r for y, r in zip(run.outputs, relevance, strict=True)]
    values, of_outputs, of_constants, of_zeros = step.twin.unrolled(run.inputs, relevance)
    cell: Any = step.twin.rewritten
    starts = {}
    for tensor, r in zip(tree.flatten(cell.graph.outputs), of_outputs, strict=True):
        starts[id(tensor)] = starts[id(tensor)] + r if id(tensor) in starts else r
    layers, _ = _balances(cell, _run(cell, values), starts)
    absorbed: dict[str, Any] = _summed(layers)
    absorbed["bias"] += sum(float(total(r)) for r in of_constants)
    absorbed["padding"] += sum(float(total(r)) for r in of_zeros)
    return absorbed
