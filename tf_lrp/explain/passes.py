"""The passes of an explainer, and the gradient that they take."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import tree

from tf_lrp.explain import neurons


@dataclass(frozen=True)
class PassKind:
    """What one pass is for; each kind is traced at most once.

    Attributes:
        mode: of a `neurons.Selection`.
        targets: K where the selection names K targets per sample, else None.
        layers: names of the layers whose relevance is wanted too, or None.
        output: position of the explained output.
    """

    mode: str
    targets: int | None
    layers: tuple[str, ...] | None
    output: int

    @classmethod
    def of(cls, selection: neurons.Selection, layers: tuple[str, ...] | None, output: int) -> PassKind:
        """The kind of pass that explains a `neurons.Selection`."""
        return cls(selection.mode, selection.count(), layers, output)


@contextlib.contextmanager
def collector_paused():
    """In this context Python does not search for garbage.

    To open a model and to run a pass operation by operation creates many thousands of objects, none of them garbage. They would
    start a search through all of TensorFlow's and Keras's objects, which takes longer than many a network's explanation.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def pass_function(explainer, kind: PassKind) -> tuple[Callable, list]:
    """An explainer's pass as a plain function of tensors, not compiled.

    Args:
        explainer: `Explainer`.
        kind: `PassKind`.

    Returns:
        (function, signature): ``function(inputs, values=None)`` takes the flat list of inputs and the values of the selection,
        and returns (explained output, relevances as a flat list: of the inputs, then of each use of the layers); the signature
        is ``[list of tf.TensorSpec of the inputs]``, followed by a tf.TensorSpec of the values where the mode has values.
    """
    outputs, probe = explainer.twin.outputs, explainer.probe(kind.output, kind.layers)

    def explain(inputs, values: Any = None):
        if kind.targets is None:
            seeds = [neurons.InitialRelevance(kind.mode, values, explainer.seed_with_one)]
        else:
            mode = neurons.SEVERAL[kind.mode]
            seeds = [neurons.InitialRelevance(mode, values[:, k], explainer.seed_with_one) for k in range(kind.targets)]
        bound_probe, numbers = explainer.category_inputs.bind(probe, inputs)
        explained, relevances = explainer.attribute(bound_probe, numbers, seeds)
        if kind.targets is None:
            return explained, relevances[0]
        return explained, [tf.stack(targets, axis=1) for targets in zip(*relevances, strict=True)]

    signature = [[tf.TensorSpec(t.shape, t.dtype) for t in explainer.input_spec.tensors]]
    values_spec = neurons.values_spec(kind.mode, kind.targets, outputs[kind.output])
    return explain, signature if values_spec is None else [*signature, values_spec]


def compiled(function: Callable, signature: list, jit_compile: bool) -> Callable:
    """What `pass_function` returns as a tf.function, compiled by XLA with ``jit_compile``."""
    # TensorFlow counts traces by code object and would take many analyzers for one function that retraces: each partial
    # is a new function.
    return tf.function(functools.partial(function), input_signature=signature, autograph=False, jit_compile=jit_compile or None)


def propagate(probe, inputs: list, seeds: list) -> tuple:
    """One forward pass, and a backward pass for each seed.

    Args:
        probe, inputs, seeds: as of `Explainer.attribute`.

    Returns:
        (explained output, values of [*inputs, *inner tensors], for each seed a list of the gradients that reached them).
    """
    with tf.GradientTape(persistent=len(seeds) > 1, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        explained, *inner = tree.flatten(probe(inputs, training=False))
    values, zero = [*inputs, *inner], tf.UnconnectedGradients.ZERO
    gradients = [tape.gradient(explained, values, seed(explained), unconnected_gradients=zero) for seed in seeds]
    # For an input that indices look up rows of, TensorFlow returns IndexedSlices.
    return explained, values, [[tf.convert_to_tensor(g) for g in of_seed] for of_seed in gradients]
