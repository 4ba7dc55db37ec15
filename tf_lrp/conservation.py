"""Where relevance stays behind: the balance of a backward pass, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf
from keras import tree

from tf_lrp import neurons, tables
from tf_lrp.graph.nodes import model_of
from tf_lrp.operations import Entries
from tf_lrp.twins import StoppingTwin


@dataclass(frozen=True)
class LayerBalance:
    """One layer's books, in units of the explained output, summed over the batch.

    ``received = passed + bias + stabilizer + padding + rounding``

    Attributes:
        name, layer_class, rule: of the layer.
        received: relevance that arrived at its output.
        passed: relevance that it handed to its inputs.
        bias: what biases kept.
        stabilizer: what epsilon kept, and what was lost (or, for a beta term, gained) at denominators of zero.
        padding: what went to padded zeros.
    """

    name: str
    layer_class: str
    rule: str
    received: float
    passed: float
    bias: float
    stabilizer: float
    padding: float

    @property
    def rounding(self):
        """What is left unexplained: floating-point error."""
        return self.received - self.passed - self.bias - self.stabilizer - self.padding


@dataclass(frozen=True)
class Conservation:
    """The balance of a pass: ``output = input + bias + stabilizer + padding`` up to rounding.

    Attributes:
        output: R_init's sum, the explained output.
        input: relevance that reached the inputs.
        layers: `LayerBalance` of each layer, from the output down to the input.
    """

    output: float
    input: float
    layers: tuple[LayerBalance, ...]

    @property
    def bias(self):
        return sum(layer.bias for layer in self.layers)

    @property
    def stabilizer(self):
        return sum(layer.stabilizer for layer in self.layers)

    @property
    def padding(self):
        return sum(layer.padding for layer in self.layers)

    @property
    def rounding(self):
        return self.output - self.input - self.bias - self.stabilizer - self.padding

    def __str__(self):
        columns = [("layer", "left"), ("rule", "left")]
        columns += [(h, "right") for h in ("received", "passed on", "biases kept", "stabilizer kept", "padding kept")]

        def number(value):
            # What is only rounding is not worth reading.
            return "." if abs(value) <= 1e-9 * abs(self.output) else f"{value:.4g}"

        rows = [
            (b.name, b.rule, *map(number, (b.received, b.passed, b.bias, b.stabilizer, b.padding)))
            for b in self.layers
            if b.received or b.passed
        ]
        total = (self.output, self.input, self.bias, self.stabilizer, self.padding)
        rows.append(("whole model", "", *map(number, total)))
        return tables.render("where the relevance went, from the output to the input", columns, rows)

    __repr__ = __str__


def account(rewritten, target, start_mode, inputs, selected=None):
    """Runs one pass, without compiling it, and draws up its balance.

    A diagnosis is asked for once or twice for a model: tracing and optimizing a graph with each twin in it twice costs
    several times what running it does.

    Args:
        rewritten: `tf_lrp.graph.Rewritten`.
        target: position of the explained output.
        start_mode: of the `tf_lrp.neurons.Selection`, one neuron per sample.
        inputs: flat list of input tensors.
        selected: values of the selection, or None.

    Returns:
        `Conservation`.
    """
    twin, categories = rewritten.core, rewritten.categories
    steps = [step for step in rewritten.steps if not isinstance(step.node.operation, Entries)]
    explained = tree.flatten(twin.outputs)[target]
    inner = list({id(t): t for step in steps for t in step.outputs}.values())
    probe = model_of(twin.inputs, [explained, *inner])
    run, numbers = categories.bind(probe, inputs)

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(numbers)
        output, *reached = tree.flatten(run(numbers, training=False))
    start = neurons.Start(start_mode, selected)(output)
    sources = [*numbers, *reached]
    # Masks and positions among them are no floats, and have no relevance.
    real = [t for t in sources if t.dtype.is_floating]
    found = tape.gradient(output, real, start, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    ids = [id(categories.entries.get(n, twin.inputs[n])) for n in range(len(inputs))] + [id(t) for t in inner]
    values = {id(t): x for t, x in zip(twin.inputs, inputs, strict=False)} | dict(zip(ids, sources, strict=True))
    arrived = dict(zip([i for i in ids if values[i].dtype.is_floating], found, strict=True))
    layers = [
        LayerBalance(
            step.facts.name,
            step.facts.layer_class,
            str(step.choice.rule),
            *map(float, _balance(step, values, arrived, rewritten.divided)),
        )
        for step in steps
    ]
    return Conservation(float(total(start)), float(sum(map(total, found[: len(inputs)]))), tuple(layers[::-1]))


def total(relevance):
    """The sum over everything, in float64: a sum of millions of float32 has an error of its own."""
    return tf.reduce_sum(tf.cast(relevance, tf.float64))


def _balance(step, values, gradients, divided):
    """(received, passed, bias, stabilizer, padding) of one step, by running its twin alone.

    The gradients of tensors that are ``divided`` are relevance divided by their values.
    """
    zero = tf.zeros((), tf.float64)
    if isinstance(step.twin, StoppingTwin):
        return zero, zero, zero, zero, zero
    inputs = [values[id(t)] for t in step.inputs]
    received = [gradients[id(t)] for t in step.outputs]
    # One value may be two tensors, x and an input that a layer returned as it was.
    factors = {id(values[id(t)]): id(t) in divided for t in step.inputs}
    sources = list({id(t): t for t in inputs if t.dtype.is_floating}.values())
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        outputs = tree.flatten(step.twin(*inputs))
    handed = tape.gradient(outputs, sources, received, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    handed = [h * t if factors[id(t)] else h for t, h in zip(sources, handed, strict=True)]
    arrived = sum(total(r * values[id(t)] if id(t) in divided else r) for t, r in zip(step.outputs, received, strict=True))
    handed_on = sum(map(total, handed))
    # What goes to operands that do not depend on the input, such as the embeddings of positions, is theirs: a bias.
    depends = {id(t): flag for t, flag in zip(inputs, step.facts.signals, strict=True)}
    passed = sum(total(h) for t, h in zip(sources, handed, strict=True) if depends[id(t)])
    kept = {"bias": zero, "stabilizer": zero, "padding": zero, **step.twin.absorbed(inputs, received[0])}
    if step.twin.remainder:
        kept[step.twin.remainder] += arrived - handed_on
    return arrived, passed, kept["bias"] + handed_on - passed, kept["stabilizer"], kept["padding"]
