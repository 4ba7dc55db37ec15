"""A graph as its twin: every node replaced by the layer that hands back relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.facts import Facts, gather
from tf_lrp.graph.nodes import Graph, Node, model_of
from tf_lrp.rules import Pass
from tf_lrp.twins import AffineTwin, PassTwin, Twin, twin_class_of


@dataclass(frozen=True, eq=False)
class Step:
    """One node with what replaced it.

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
    """The twin model and how it came about.

    Attributes:
        model: the twin, a keras.Model.
        steps: one for each node, in topological order.
        results: layer name -> the twin's tensors for what this layer returns, one for each use.
    """

    model: keras.Model
    steps: tuple[Step, ...]
    results: dict[str, list]


def rewrite(graph: Graph, preset, name):
    """Builds the twin.

    Args:
        graph: canonized `Graph`.
        preset: anything with ``choose(facts) -> Choice`` (rule, reason, addressed).
        name: of the twin model.

    Returns:
        `Rewritten`.

    Raises:
        UnsupportedLayerError: if a node has no twin.
        ValueError: if a rule does not fit its layer.
    """
    # Keras gives an input the default type, not that of the layers: one of them in float64 asks for float64 relevance.
    wide = any(_float_type(node.output) == "float64" for node in graph.nodes)
    inputs = tree.map_structure(lambda t: _input_like(t, "float64" if wide else _float_type(t)), graph.inputs)
    tensors = {id(old): new for old, new in zip(tree.flatten(graph.inputs), tree.flatten(inputs), strict=True)}

    def current(structure):
        return tree.map_structure(lambda t: tensors.get(id(t), t), structure)

    steps = []
    for node, facts in zip(graph.nodes, gather(graph), strict=True):
        choice = preset.choose(facts)
        twin = _twin(node, facts, choice)
        taken = tuple(current(node.inputs))
        outputs = tuple(tree.flatten(twin(*taken)))
        tensors.update((id(old), new) for old, new in zip(node.outputs, outputs, strict=True))
        steps.append(Step(node, facts, choice, twin, taken, outputs))
    model = model_of(inputs, current(graph.outputs), name)
    kept = {layer: found for layer, found in current(graph.results).items() if all(hasattr(t, "_keras_history") for t in found)}
    return Rewritten(model, tuple(steps), kept)


def _float_type(tensor):
    return "float64" if tensor.dtype == "float64" else "float32"


def _input_like(tensor, dtype):
    # Relevance of an integer picture is real, so the twin takes floats.
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=tensor.name)


def _twin(node, facts, choice):
    arguments = {
        "operation": node.operation,
        "rule": choice.rule,
        "name": node.name,
        "dtype": _float_type(node.output),
        "arguments": (node.args, node.kwargs),
    }
    if isinstance(choice.rule, Pass) and (node.affine is not None or choice.addressed):
        _check_pass(node)
    if node.affine is not None:
        return AffineTwin(affine=node.affine, nonnegative=facts.nonnegative, **arguments)
    passes = isinstance(choice.rule, Pass) and (choice.addressed or "activation" in facts.kinds) and len(node.inputs) == 1
    twin_class = PassTwin if passes else twin_class_of(node.operation)
    if twin_class is None or not twin_class.supports(node.inputs):
        raise UnsupportedLayerError(_no_twin(node))
    return twin_class(**arguments)


def _check_pass(node):
    shapes = [t.shape for t in node.inputs]
    if shapes != [node.output.shape]:
        raise ValueError(
            f"The layer {node.name!r} ({type(node.operation).__name__}) cannot take the rule Pass(): relevance passes where "
            f"one input and one output have the same shape, here {', '.join(map(str, shapes))} -> {node.output.shape}."
        )


def _no_twin(node):
    layer_class = type(node.operation).__name__
    if getattr(node.operation, "quantization_mode", None):
        return (
            f"The layer {node.name!r} of class {layer_class} is quantized, and the kernel it applies has no relevance rule: "
            "explain the model as it was before."
        )
    shapes = ", ".join(str(t.shape) for t in node.inputs)
    return (
        f"The layer {node.name!r} of class {layer_class} (at {'/'.join(node.path)}, on {shapes} -> {node.output.shape}) has no "
        "relevance rule. Three ways out: (1) register a twin for the class: @tf_lrp.twin_for(LayerClass) on a subclass of "
        "tf_lrp.twins.Twin; (2) replace the layer in the model by Keras layers that have one; (3) if it works element by "
        f"element, let relevance pass: put (tf_lrp.select.name({node.name!r}), tf_lrp.rules.Pass()) first in a tf_lrp.Preset."
    )
