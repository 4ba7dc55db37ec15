"""What methods assume of a model; where it does not hold, they warn."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from tf_lrp.graph.category_inputs import looked_up
from tf_lrp.graph.facts import infer_facts
from tf_lrp.graph.heads import heads_of
from tf_lrp.operations.activation_table import activation_name

_PROBABILITIES = ("softmax", "sigmoid")


class MethodWarning(UserWarning):
    """A model is outside what a method assumes. Silenced by ``check=False``, or by Python's warnings filter."""


def warn(method, assumptions, graph):
    """Gives a `MethodWarning` for each assumption that does not hold.

    Args:
        method: name of the method.
        assumptions: names of checks.
        graph: canonized `Graph`.
    """
    for assumption in assumptions:
        problem = _CHECKS[assumption](graph)
        if problem:
            warnings.warn(f"{method}: {problem}", MethodWarning, stacklevel=4)


def _scores(graph):
    """Outputs are scores, not probabilities."""
    heads = [node.name for node in heads_of(graph) if activation_name(node.operation) in _PROBABILITIES]
    if not heads:
        return ""
    return (
        f"{heads[0]!r} turns scores into probabilities, and is explained with them: evidence against the other classes counts "
        "as evidence. Leave it out by strip_softmax=True, or explain tf_lrp.model_wo_softmax(model)."
    )


def _activations(graph):
    facts = infer_facts(graph)
    return [n for n, f in zip(graph.nodes, facts, strict=True) if "activation" in f.kinds and "softmax" not in f.kinds]


def _relus(graph):
    """There are ReLUs."""
    if any(activation_name(node.operation) in ("relu", "relu6") for node in _activations(graph)):
        return ""
    return "the model has no ReLU, and only at ReLUs does the method differ from the gradient."


def _only_relus(graph):
    """No activation is other than a ReLU."""
    others = [n for n in _activations(graph) if activation_name(n.operation) not in ("relu", "relu6", "linear")]
    if not others:
        return ""
    names = ", ".join(f"{n.name!r} ({activation_name(n.operation) or type(n.operation).__name__})" for n in others[:3])
    return f"the method was derived for ReLU networks, and the model has {len(others)} other activation(s): {names}."


def _no_biases(graph):
    """No layer below the outputs adds a bias: z+ without bias takes none into account."""
    signs = []
    for node in graph.nodes:
        if node.affine is not None and "weights" in node.affine.kinds and len(node.inputs) == 1:
            x = tf.zeros([1] + [d or 1 for d in node.inputs[0].shape[1:]])
            bias = node.affine.bias([x], node.affine.kernel_at([x], "float32"))
            signs.append(np.zeros(0) if bias is None else np.sign(np.asarray(bias)).ravel())
    signs = np.concatenate(signs) if signs else np.zeros(0)
    if not signs.any():
        return ""
    return (
        f"the decomposition leaves biases out, and the model has {int((signs < 0).sum())} negative ones (what they take from "
        f"activations is explained all the same) and {int((signs > 0).sum())} positive ones (the theory demands that there are "
        "none): relevance is conserved, but it is not the exact decomposition of the model's output."
    )


def _derivatives(graph):
    """No input is looked up: there would be no derivative."""
    pairs = looked_up(graph)
    if not pairs:
        return ""
    (name, layer), inputs = pairs[0], list(dict.fromkeys(name for name, _ in pairs))
    return (
        f"{layer!r} looks up the input {name!r}, and that has no derivative: what passes there is missing from the map of "
        f"{', '.join(map(repr, inputs))}. layers=[{layer!r}] explains what was looked up; tf_lrp.Analyzer explains tokens, "
        "categories and texts themselves."
    )


_CHECKS = {"derivatives": _derivatives, "scores": _scores, "relus": _relus, "only_relus": _only_relus, "no_biases": _no_biases}
