"""From a dataset of samples to a dataset of explained samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lrp.analyzer import Analyzer
from tf_lrp.explain import neurons
from tf_lrp.messages.checks import is_integer
from tf_lrp.runs.fingerprints import digest


@dataclass(frozen=True)
class Recipe:
    """How an explained dataset is computed: what `write` needs to resume in the middle without explaining the start again.

    Attributes:
        source: the dataset that is explained.
        function: one element of it, unpacked as ``dataset.map`` does, -> (x, y, relevance), in pure TensorFlow.
        settings: function without arguments that returns what the relevance depends on, as a dict for JSON.
    """

    source: tf.data.Dataset
    function: Callable
    settings: Callable


def recipe_of(dataset: tf.data.Dataset) -> Recipe | None:
    """The `Recipe` of a dataset that `explain` returned, None for any other."""
    return getattr(dataset, "tf_lrp_recipe", None)


def explain(
    dataset: tf.data.Dataset,
    analyzer: Analyzer,
    neuron_selection: Any = None,
    *,
    layers: str | Sequence[str] | None = None,
    output: str | int | None = None,
    num_parallel_calls: int = 2,
) -> tf.data.Dataset:
    """The dataset with relevance: (x, y, relevance) for each of its batches, in its order.

    Nothing is computed before the result is read, and at most ``num_parallel_calls`` + 2 batches are in memory at once.

    Args:
        dataset: batched tf.data.Dataset of x, (x, y) or (x, y, more ...). As in Keras, a tuple is (x, y): several inputs are a
            dict, or a tuple inside it, ((a, b), y) or ((a, b),).
        analyzer: `tf_lrp.Analyzer`.
        neuron_selection: which neuron of the output is explained:
            None or "max_activation": each sample's largest; "all": the whole output vector (R_init = output);
            int: the same for all samples;
            "labels": the class y of each sample, as integers (N,) or (N, 1) or one-hot (N, C);
            target of `tf_lrp.target`, or a list of K: the same for all samples;
            array with a first axis of 1: ints (1, K), K neurons for each sample, or floats (1, C), R_init;
            function: called with an element as ``dataset.map`` calls, returns ints (N,) or (N, K), or R_init as floats.
        layers: names of layers whose outputs' relevance is returned, too.
        output: name or index of the explained output, for a model with several.
        num_parallel_calls: batches that are explained in parallel. One batch already uses all cores, a second one fills idle
            times, and more mainly need memory. tf.data.AUTOTUNE lets TensorFlow choose.

    Returns:
        tf.data.Dataset of (x, y, relevance): x unchanged, y the rest of the element (() without a rest, a tuple if the rest has
        several parts), relevance as from ``analyzer(x, ...)``: structured like x, or with ``layers`` a dict {"input": ...,
        layer name: ...} with a tuple for a layer that is used several times.

    Raises:
        TypeError, ValueError: not a batched dataset, inputs that do not fit the model, or a neuron, layer or output that does
            not exist. A label that is not a neuron raises tf.errors.InvalidArgumentError when its batch is read.

    Example:
        >>> for x, y, relevance in tf_lrp.data.explain(pictures.batch(32), analyzer, "labels"):
    """
    if not isinstance(dataset, tf.data.Dataset) or not isinstance(analyzer, Analyzer):
        raise TypeError(
            "explain needs a batched tf.data.Dataset and a tf_lrp.Analyzer; got "
            f"{type(dataset).__name__} and {type(analyzer).__name__}."
        )
    if num_parallel_calls != tf.data.AUTOTUNE and not (is_integer(num_parallel_calls) and num_parallel_calls >= 1):
        raise ValueError(f"num_parallel_calls needs an integer >= 1 or tf.data.AUTOTUNE, got {num_parallel_calls!r}.")
    _check_batched(dataset.element_spec, analyzer)
    choose = _chooser(neuron_selection, analyzer, output)

    # The user's functions may need AutoGraph, and get it in `_chooser`; this function does not.
    @tf.autograph.experimental.do_not_convert
    def function(x, *rest):
        relevance = analyzer(x, choose(x, *rest), layers=layers, output=output)
        # tf.data would stack a list into one tensor.
        relevance = {k: tuple(v) if isinstance(v, list) else v for k, v in relevance.items()} if layers else relevance
        return x, rest[0] if len(rest) == 1 else rest, relevance

    def settings():
        return {
            "preset": analyzer.preset.name,
            "rules": digest([repr(list(analyzer.rules())).encode()]),
            "weights": digest(analyzer.twin.get_weights()),
            "neuron_selection": _described(neuron_selection),
            "layers": layers if layers is None else [layers] if isinstance(layers, str) else list(layers),
            "output": output,
        }

    explained = dataset.map(function, num_parallel_calls=num_parallel_calls, deterministic=True).prefetch(1)
    explained.tf_lrp_recipe = Recipe(dataset, function, settings)
    return explained


def _check_batched(spec, analyzer):
    x = spec[0] if isinstance(spec, tuple) and spec else spec
    got = [leaf.shape for leaf in tf.nest.flatten(x) if isinstance(leaf, tf.TensorSpec)]
    expected = [tf.TensorShape(t.shape) for t in analyzer.twin.inputs]
    if len(got) == len(expected) and sorted(s.rank or 0 for s in got) == sorted(s.rank - 1 for s in expected):
        shown = ", ".join("(" + ", ".join(["N", *("any" if d is None else str(d) for d in s[1:])]) + ")" for s in expected)
        raise ValueError(
            f"explain needs a batched dataset, with x of shape {shown}; its elements have x of shape "
            f"{', '.join(map(str, got))}. Batch it first: dataset.batch(32)."
        )
    if len(got) == 1 < len(expected) and isinstance(spec, tuple) and len(tf.nest.flatten(spec)) >= len(expected):
        raise ValueError(
            f"The model takes {len(expected)} inputs, and a dataset of tuples is read as (x, y): give all inputs as x, "
            "dataset.map(lambda a, b: ((a, b),)), or with labels ((a, b), y)."
        )


def _chooser(selection, analyzer, output):
    """A function of an element that returns what ``analyzer`` takes as neuron_selection.

    Raises:
        ValueError: if the selection cannot be the same for every batch, or labels name no neurons of this output.
    """
    if callable(selection):
        return tf.function(selection)
    if isinstance(selection, str) and selection == "labels":
        shape = tuple(analyzer.twin.outputs[analyzer.output_position(output)].shape)
        if len(shape) != 2 or shape[1] in (None, 1):
            raise ValueError(
                f'neuron_selection="labels" needs an output (N, C) of C > 1 classes; it has the shape {shape}. Explain '
                'None (each sample\'s largest), "all" or a function of (x, y) that returns R_init.'
            )
        return lambda x, *rest: _label_index(rest, shape[1])
    if neurons.is_target(selection):
        explained = analyzer.twin.outputs[analyzer.output_position(output)]
        neurons.check(selection, 1, explained.shape, explained.dtype)  # the same target for all samples: one is enough
        return lambda *element: selection
    if selection is None or isinstance(selection, str) or np.ndim(selection) == 0:
        return lambda *element: selection
    values = np.asarray(selection)
    if values.ndim < 2 or len(values) != 1:
        raise ValueError(
            "neuron_selection is the same for all batches of a dataset: a word, an int, or an array with a first axis of 1, "
            f"such as ints (1, K); got shape {values.shape}. A selection that differs between samples belongs in the dataset: "
            'labels y with neuron_selection="labels", or a function of (x, y).'
        )
    return lambda x, *rest: tf.repeat(values, tf.shape(tf.nest.flatten(x)[0])[0], axis=0)


def _label_index(rest, neurons):
    """Labels as ints (N,), checked when the dataset is read."""
    labels = rest[0] if rest else None
    if not tf.is_tensor(labels):
        received = "no y" if labels is None else f"y as {type(labels).__name__}"
        raise TypeError(
            f'neuron_selection="labels" needs a dataset of (x, y) with y one tensor; its elements have {received}. A '
            'function selects one: neuron_selection=lambda x, y: y["class"].'
        )
    shape, is_integer_like = labels.shape, labels.dtype.is_integer or labels.dtype == tf.bool
    if shape.rank == 2 and shape[1] == neurons and (is_integer_like or labels.dtype.is_floating):
        hot = tf.cast(labels, tf.float32)
        one = tf.abs(tf.reduce_max(hot, axis=1) - 1) + tf.abs(tf.reduce_sum(tf.abs(hot), axis=1) - 1)
        message = (
            f"Labels of shape (N, {neurons}) are one-hot: one 1 in each row, 0 elsewhere. For several or soft labels give "
            "R_init: neuron_selection=lambda x, y: y * model(x)."
        )
        with tf.control_dependencies([tf.debugging.assert_less(one, 1e-3, message=message)]):
            return tf.argmax(hot, axis=1, output_type=tf.int32)
    if labels.dtype.is_integer and (shape.rank == 1 or (shape.rank == 2 and shape[1] == 1)):
        index = tf.reshape(labels, [-1])
        message = f"A label is not a neuron: the output has the neurons 0 to {neurons - 1}."
        inside = tf.reduce_all((index >= 0) & (tf.cast(index, tf.int64) < neurons))
        with tf.control_dependencies([tf.debugging.Assert(inside, [message, "The labels are", index], summarize=32)]):
            return tf.cast(index, tf.int32)
    raise ValueError(
        f"Labels are integers of shape (N,) or (N, 1), or one-hot of shape (N, {neurons}); got {labels.dtype.name} {shape}."
    )


def _described(selection):
    if callable(selection):
        return f"function {getattr(selection, '__qualname__', type(selection).__name__)}"
    return neurons.describe(selection)
