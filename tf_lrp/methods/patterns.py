"""PatternNet and PatternAttribution: the backward pass by the signal that a neuron detects, not by its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.affine import Weighted
from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.files import npz
from tf_lrp.graph.nodes import model_of
from tf_lrp.graph.routing import takers_of
from tf_lrp.methods.base import Method
from tf_lrp.operations.activation_table import activation_name
from tf_lrp.twins import GradientTwin, with_relevance
from tf_lrp.twins.propagation import evaluate


@dataclass(frozen=True)
class Patterns:
    """The signal directions of a model's layers.

    Attributes:
        arrays: layer name -> float32 array shaped like the layer's kernel: a_ij, what x_i moves by when y_j moves by one.
    """

    arrays: dict = field(default_factory=dict)

    def save(self, path):
        """Writes them as .npz; returns the path."""
        path = Path(path).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **self.arrays)
        return path

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote; raises ValueError for what is no such file, or would fill the memory."""
        return cls(npz.load(Path(path).with_suffix(".npz")))


class _PatternTwin(GradientTwin):
    """z = x W + b forward, A^T R backward; ``attributed``: (W * A)^T R."""

    function: Any  # the layer's `Affine`

    def __init__(self, *args, attributed, **kwargs):
        super().__init__(*args, **kwargs)
        self.attributed = attributed
        shape = self.function.kernel(self.compute_dtype).shape
        self.pattern = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="pattern")

    def call(self, *inputs):
        inputs = [tf.cast(x, self.compute_dtype) for x in inputs]

        def backward(relevance):
            pattern = tf.cast(self.pattern, self.compute_dtype)
            if self.attributed:
                pattern *= self.function.kernel(self.compute_dtype)
            return self.function.transpose(inputs, pattern, relevance)

        return with_relevance(evaluate(self.function, inputs, self.compute_dtype), inputs, backward)


class _Estimator:
    """Sums of one layer over the data, and the pattern they give.

    a = (E+[x y] - E+[x] E[y]) / (w^T E+[x y] - w^T E+[x] E[y]), where E+ is over the y > 0 that a ReLU passes, or over all.
    """

    def __init__(self, affine, positive):
        self.affine, self.positive = affine, positive
        self.sums = None

    def add(self, x, z):
        """Adds a batch of inputs and preactivations. E[x y] is the gradient of <apply(x; W), y> by W, place by place."""
        kernel, axis = self.affine.kernel(z.dtype), self.affine.channel_axis(z.shape.rank)
        places = [a for a in range(z.shape.rank) if a != axis]
        mask = tf.cast(z > 0, z.dtype) if self.positive else tf.ones_like(z)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(kernel)
            linear = self.affine.apply([x], kernel)
            products, inputs = tf.reduce_sum(linear * mask * z), tf.reduce_sum(linear * mask)
        new = [
            tape.gradient(products, kernel),
            tape.gradient(inputs, kernel),
            tf.reduce_sum(mask, places),
            tf.reduce_sum(z, places),
            tf.reduce_sum(tf.ones_like(z), places),
        ]
        new = [np.asarray(t, np.float64) for t in new]  # summed over batches in full precision
        self.sums = new if self.sums is None else [a + b for a, b in zip(self.sums, new, strict=True)]

    def pattern(self):
        products, inputs, passed, outputs, count = (tf.constant(s) for s in self.sums or ())
        mean = self.affine.scale_outputs(inputs, tf.math.divide_no_nan(outputs, count))
        covariance = self.affine.scale_outputs(products - mean, tf.math.divide_no_nan(tf.ones_like(passed), passed))
        ones = tf.ones_like(passed)
        with tf.GradientTape() as tape:  # sums over all axes of the kernel but its outputs'
            tape.watch(ones)
            weighted = tf.reduce_sum(self.affine.scale_outputs(self.affine.kernel("float64") * covariance, ones))
        norm: Any = tape.gradient(weighted, ones)
        return np.asarray(self.affine.scale_outputs(covariance, tf.math.divide_no_nan(tf.ones_like(norm), norm)), np.float32)


class _PatternMethod(Method):
    _attributed = False

    def __init__(self, model, patterns=None, *, estimator="auto", **options):
        if estimator not in ("auto", "linear", "relu"):
            raise ValueError(f'estimator is "auto", "linear" or "relu", got {estimator!r}.')
        self.estimator, self.patterns = estimator, None
        super().__init__(model, **options)
        if patterns is not None:
            self.patterns = self._put(patterns if isinstance(patterns, Patterns) else Patterns.load(patterns))

    def twin_of(self, node, **arguments):
        if node.affine is None or "weights" not in node.affine.kinds:
            return GradientTwin(**arguments)
        if not isinstance(node.affine, Weighted):
            raise UnsupportedLayerError(
                f"{type(self).__name__} knows the signal of dense and convolutional layers; {node.name!r} is of class "
                f"{type(node.operation).__name__}."
            )
        return _PatternTwin(**arguments, attributed=self._attributed)

    def assumptions(self):
        return ("scores", "derivatives", "only_relus")

    def parameters(self):
        return {"estimator": self.estimator}

    def learned_arguments(self):
        return {"patterns": self.patterns}

    def _patterned(self):
        """(node, its twin, tensors it takes, tensors it returns) of the layers with patterns."""
        parts = zip(self.graph.nodes, self.built.layers, self.built.taken, self.built.returned, strict=True)
        return [part for part in parts if isinstance(part[1], _PatternTwin)]

    def fit(self, x, *, batch_size=None):
        """Estimates the patterns in one pass over data.

        Args:
            x: array (N, ...), list or dict of arrays, or a tf.data.Dataset of batches: of inputs, or of tuples that begin
                with them.
            batch_size: samples at a time, for arrays.

        Returns:
            self.
        """
        parts = self._patterned()
        estimators = [_Estimator(node.affine, self._positive(node)) for node, *_ in parts]
        probe = model_of(self.built.core.inputs, [t for _, _, taken, returned in parts for t in (*taken, *returned)])
        seen = 0
        for leaves in self._batches_of(x, batch_size or self.batch_size):
            run, numbers = self.category_inputs.bind(probe, leaves)
            values = tree.flatten(run(numbers, training=False))
            for estimator, taken, returned in zip(estimators, values[::2], values[1::2], strict=True):
                estimator.add(taken, returned)
            seen += len(leaves[0])
        if not seen:
            raise ValueError("There is nothing to estimate patterns from: the data holds no samples.")
        self.patterns = self._put(Patterns({n.name: e.pattern() for (n, *_), e in zip(parts, estimators, strict=True)}))
        return self

    def _positive(self, node):
        if self.estimator != "auto":
            return self.estimator == "relu"
        after = takers_of(self.graph, node.output)
        return bool(after) and all(activation_name(n.operation) in ("relu", "relu6") for n in after)

    def _batches_of(self, x, batch_size):
        if isinstance(x, tf.data.Dataset):
            for entry in x:
                leaves, _ = self.input_spec.flatten(entry[0] if isinstance(entry, tuple) else entry)
                yield self.input_spec.convert(leaves)
            return
        arrays = self.input_spec.arrays(self.input_spec.flatten(x)[0])
        for start in range(0, len(arrays[0]), batch_size):
            yield [tf.constant(a[start : start + batch_size]) for a in arrays]

    def _put(self, patterns):
        twins = {node.name: twin for node, twin, *_ in self._patterned()}
        if set(twins) != set(patterns.arrays):
            raise ValueError(
                f"There are patterns for {', '.join(map(repr, sorted(patterns.arrays)))}, but the model has the layers "
                f"{', '.join(map(repr, sorted(twins)))}."
            )
        for name, twin in twins.items():
            if patterns.arrays[name].shape != tuple(twin.pattern.shape):
                raise ValueError(
                    f"The pattern of {name!r} needs the kernel's shape {tuple(twin.pattern.shape)}, got "
                    f"{patterns.arrays[name].shape}."
                )
        for name, twin in twins.items():
            twin.pattern.assign(patterns.arrays[name])
        return patterns

    def attribute(self, probe, inputs, seeds):
        if self.patterns is None:
            raise ValueError(f"{type(self).__name__} has no patterns yet: call fit(data), or give patterns=.")
        return super().attribute(probe, inputs, seeds)


class PatternNet(_PatternMethod):
    """The gradient with each layer's kernel replaced by its patterns a: what in the input the network reacts to.

    a_j = (E+[x y_j] - E+[x] E[y_j]) / (w_j^T (E+[x y_j] - E+[x] E[y_j])) is estimated from data by `fit`, with E+ over the
    places where the following ReLU passes y_j ("relu"), or over all ("linear"). It begins with the score's value; the result
    is in input units times that, and sums to nothing in particular.

    Args:
        model, **options: see `Method`.
        patterns: `Patterns`, or the path of saved ones; else `fit` is called before anything is explained.
        estimator: "relu", "linear", or "auto": "relu" where a ReLU follows.

    Raises:
        UnsupportedLayerError: for layers with weights that are neither dense nor convolutional.

    Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and PatternAttribution".
    """


class PatternAttribution(_PatternMethod):
    """The gradient with each layer's kernel w replaced by w * a: how much the signal contributes to the score.

    As `PatternNet` otherwise; the result is in score units, conserved as far as the signal explains the preactivations.

    Args:
        model, patterns, estimator, **options: see `PatternNet`.

    Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and PatternAttribution".
    """

    _attributed = True
