"""Conservation of relevance: the balance of a backward pass, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import tree

from tf_lrp.explain import neurons
from tf_lrp.graph.nodes import model_of
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.messages import tables
from tf_lrp.twins import RecurrentTwin, StopGradientTwin

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
    explained = tree.flatten(rewritten.core.outputs)[target]
    values = _values(rewritten, inputs)
    start = neurons.InitialRelevance(start_mode, selected)(values[id(explained)])
    layers, of_inputs = _pass(rewritten, values, {id(explained): start})
    return Conservation(output=float(total(start)), input=of_inputs, layers=layers, **_summed(layers))


def _values(rewritten, inputs):
    """id of each symbolic tensor of a twin -> its value."""
    core, categories = rewritten.core, rewritten.categories
    symbolic = {id(t): t for t in core.outputs}
    symbolic |= {id(t): t for step in _steps(rewritten) for t in step.outputs}
    run, numbers = categories.bind(model_of(core.inputs, list(symbolic.values())), inputs)
    computed = tree.flatten(run(numbers, training=False))
    given = [*inputs, *(numbers[n] for n in categories.entries)]
    return dict(zip(map(id, core.inputs), given, strict=True)) | dict(zip(symbolic, computed, strict=True))


def _steps(rewritten):
    """The steps except those that are inputs of the core: the numbers that stand for strings and categories."""
    return [step for step in rewritten.steps if not isinstance(step.node.operation, Entries)]


def _pass(rewritten, values, arrived):
    """A backward pass, step by step.

    Args:
        rewritten: `tf_lrp.graph.Rewritten`.
        values: of its symbolic tensors, by id.
        arrived: id of a symbolic tensor -> the relevance it starts with.

    Returns:
        (tuple of `LayerBalance` from the output down, sum of the relevance at the inputs).
    """
    steps, inputs = _steps(rewritten), rewritten.core.inputs
    dependent = _dependent(inputs, steps)
    layers = [_balance(step, values, arrived, dependent, rewritten.ratios) for step in reversed(steps)]
    at_inputs = [arrived[id(t)] for t in inputs if id(t) in arrived]
    return tuple(layers), sum(float(total(r)) for r in at_inputs)


def _summed(layers):
    return {cause: sum(getattr(layer, cause) for layer in layers) for cause in CAUSES}


def total(relevance):
    """The sum over everything, in float64: a sum of millions of float32 has an error of its own."""
    return tf.reduce_sum(tf.cast(relevance, tf.float64))


def _dependent(inputs, steps):
    """ids of the tensors that depend on the inputs in any way, also through bools."""
    dependent = {id(t) for t in inputs}
    for step in steps:
        if any(id(t) in dependent for t in step.inputs):
            dependent.update(id(t) for t in step.outputs)
    return dependent


def _balance(step, values, arrived, dependent, ratios):
    """Runs the twin of one step and returns its `LayerBalance`. Adds the relevance that it hands on to ``arrived``.

    Args:
        step: `tf_lrp.graph.Step`; the steps that consume its outputs come before.
        values: id of a symbolic tensor -> its value.
        arrived: id of a symbolic tensor -> the relevance that its consumers handed to it; divided by its value where that is
            among the ``ratios``.
        dependent: ids of the tensors that depend on the inputs.
        ratios: ids of tensors whose relevance is divided by their value.
    """
    named: dict[str, Any] = {"name": step.facts.name, "layer_class": step.facts.layer_class, "rule": str(step.choice.rule)}

    def relevance(tensor, gradient):
        return gradient * values[id(tensor)] if id(tensor) in ratios else gradient

    received = {id(t): (t, arrived[id(t)]) for t in step.outputs if id(t) in arrived}
    amount = sum(float(total(relevance(*of_output))) for of_output in received.values())
    if not received or isinstance(step.twin, StopGradientTwin):
        return LayerBalance(**named, received=amount, passed=0.0, stopped=amount)

    # If a layer returned its input unchanged, two tensors have one value: each gets a tensor of its own.
    sources = {id(t): (t, tf.identity(values[id(t)])) for t in step.inputs}
    inputs = [sources[id(t)][1] for t in step.inputs]
    takers = {key: source for key, source in sources.items() if source[1].dtype.is_floating}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([value for _, value in takers.values()])
        outputs = tree.flatten(step.twin(*inputs))
    pairs = [(y, arrived[id(t)]) for t, y in zip(step.outputs, outputs, strict=True) if id(t) in received]
    handed = tape.gradient(
        [y for y, _ in pairs],
        [value for _, value in takers.values()],
        [r for _, r in pairs],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    kept: dict[str, Any] = dict.fromkeys(CAUSES, 0.0)
    of_outputs = [relevance(*received[id(t)]) if id(t) in received else None for t in step.outputs]
    absorbed = _absorbed(step, inputs, of_outputs)
    passed = 0.0
    for (tensor, _), gradient in zip(takers.values(), handed, strict=True):
        of_input = float(total(relevance(tensor, gradient)))
        if id(tensor) in dependent:
            passed += of_input
            arrived[id(tensor)] = arrived[id(tensor)] + gradient if id(tensor) in arrived else gradient
        else:
            kept["bias"] += of_input  # a constant operand, such as the embeddings of positions
    for cause, value in absorbed.items():
        kept[cause] += float(value)
    if step.twin.remainder:
        kept[step.twin.remainder] += amount - passed - sum(kept.values())
    return LayerBalance(**named, received=amount, passed=passed, **kept)


def _absorbed(step, inputs, relevance):
    """The part of the ``relevance`` (of each output, or None) that a step's twin does not hand on: dict by cause."""
    if not isinstance(step.twin, RecurrentTwin):
        return step.twin.absorbed(inputs, relevance[0]) if relevance[0] is not None else {}
    outputs = tree.flatten(step.twin(*inputs))
    relevance = [tf.zeros_like(y) if r is None else r for y, r in zip(outputs, relevance, strict=True)]
    values, of_outputs, of_constants, of_zeros = step.twin.unrolled(inputs, relevance)
    cell: Any = step.twin.rewritten
    starts = {}
    for tensor, r in zip(tree.flatten(cell.model.outputs), of_outputs, strict=True):
        starts[id(tensor)] = starts[id(tensor)] + r if id(tensor) in starts else r
    layers, _ = _pass(cell, _values(cell, values), starts)
    absorbed: dict[str, Any] = _summed(layers)
    absorbed["bias"] += sum(float(total(r)) for r in of_constants)
    absorbed["padding"] += sum(float(total(r)) for r in of_zeros)
    return absorbed
