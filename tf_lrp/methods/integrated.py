"""Integrated Gradients: the gradient, averaged along the line from a baseline to the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lrp.explain import neurons
from tf_lrp.explain.passes import propagate
from tf_lrp.messages import checks
from tf_lrp.methods.base import Method
from tf_lrp.methods.sampling import accumulate


def _gauss_legendre(steps):
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


#: Quadratures of the integral over [0, 1]: name -> function steps -> (places, weights).
_RULES = {
    "left": lambda n: (np.arange(n) / n, np.full(n, 1 / n)),
    "right": lambda n: (np.arange(1, n + 1) / n, np.full(n, 1 / n)),
    "midpoint": lambda n: ((np.arange(n) + 0.5) / n, np.full(n, 1 / n)),
    "trapezoid": lambda n: (np.linspace(0, 1, n), np.r_[0.5, np.ones(n - 2), 0.5] / (n - 1)),
    "gauss_legendre": _gauss_legendre,
    "matched": lambda n: (np.arange(1, n + 1) / n, np.full(n, 1 / n)),
}


@dataclass(frozen=True)
class Completeness:
    """How far relevance is from summing to what it should.

    Attributes:
        relevance: float64 (N,), the sum of each sample's relevance.
        difference: float64 (N,), score of the sample minus score of the baseline.
    """

    relevance: np.ndarray
    difference: np.ndarray

    @property
    def error(self):
        """relevance - difference, (N,), in score units."""
        return self.relevance - self.difference

    def __str__(self):
        worst = np.abs(self.error).max() / max(np.abs(self.difference).max(), np.finfo(float).tiny)
        return f"relevance sums to the difference of scores within {np.abs(self.error).max():.3g} ({100 * worst:.2g} % of it)"


class IntegratedGradients(Method):
    """R_i = (x_i - b_i) integral_0^1 df/dx_i(b + t (x - b)) dt, in score units; it sums to f(x) - f(b).

    The integral is a sum over ``steps`` gradients, so that sums are met up to an error that `completeness` reports. The
    neuron that is strongest at x is explained along the whole line from b to x.

    On the straight line a ReLU network is linear piece by piece. "matched" therefore takes for each of ``steps`` intervals
    the mean of the gradients at its two ends that gives the difference of the scores at these ends, as nearly as a mean can:
    l g_k + (1 - l) g_{k+1}, with 0 <= l <= 1. That is exact where the gradient jumps once within an interval, and a trapezoid
    where it does not; it takes a gradient more. The other rules do not use the scores, and their error falls with 1 / steps.

    Args:
        model, **options: see `Method`.
        steps: int, how many gradients; costs as many forward and backward passes.
        baseline: number, array shaped like a sample (or list or dict of these for several inputs): b.
        rule: "matched", "gauss_legendre", "trapezoid", "midpoint", "left" or "right" (Riemann sums).
        steps_at_once: how many steps are run in one batch: memory is that of ``steps_at_once * batch_size`` samples. 1 for
            models that were built for one batch size.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks".
    """

    seed_with_one = True
    explains_layers = False

    def __init__(self, model, steps=64, baseline=0.0, rule="matched", *, steps_at_once=1, **options):
        if rule not in _RULES:
            raise ValueError(f"rule is one of {', '.join(map(repr, _RULES))}; got {rule!r}.")
        for name, value, least in (("steps", steps, 2 if rule == "trapezoid" else 1), ("steps_at_once", steps_at_once, 1)):
            checks.integer(name, value, least)
        super().__init__(model, **options)
        self.category_inputs.refuse("Integrated gradients interpolate between a baseline and the input")
        self.steps, self.rule, self.baseline = steps, rule, baseline
        self.steps_at_once = min(steps_at_once, steps) if self.twin.inputs[0].shape[0] is None else 1
        self._baselines = self._checked(baseline)

    def _checked(self, baseline: Any):
        tensors = self.input_spec.tensors
        structured = isinstance(baseline, (list, tuple, dict))
        several = structured and (len(tensors) > 1 or np.asarray(baseline).ndim <= 1)
        leaves = self.input_spec.flatten(baseline)[0] if several else [baseline] * len(tensors)
        arrays = []
        for leaf, tensor in zip(leaves, tensors, strict=True):
            array = np.asarray(leaf, tensor.dtype)
            sample = (1, *tensor.shape[1:])
            fits = array.ndim <= len(sample) and all(
                n in (1, d) or d is None for n, d in zip(array.shape[::-1], sample[::-1], strict=False)
            )
            if not fits or not np.isfinite(array).all():
                raise ValueError(
                    f"baseline needs finite numbers that fit a sample of {tensor.name!r}, shape {tensor.shape[1:]}; "
                    f"got shape {array.shape}."
                )
            arrays.append(array)
        return arrays

    def assumptions(self):
        return ("scores", "derivatives")

    def parameters(self):
        shown = self.baseline if np.ndim(self.baseline) == 0 and not isinstance(self.baseline, dict) else "array"
        return {"steps": self.steps, "rule": self.rule, "baseline": shown}

    @property
    def passes(self):
        return self.steps

    def attribute(self, probe, inputs, seeds):
        (explained,) = tf.nest.flatten(probe(inputs, training=False))
        seeds = [seed.fixed(explained) for seed in seeds]
        at_once, dtype = self.steps_at_once, inputs[0].dtype
        places, weights = _RULES[self.rule](self.steps)
        # Steps that fill up the last batch: once more at x, without a weight.
        missing = -self.steps % at_once
        places = tf.constant(np.pad(places, (0, missing), constant_values=1).reshape(-1, at_once), dtype)
        weights = tf.constant(np.pad(weights, (0, missing)).reshape(-1, at_once), dtype)
        baselines = [
            tf.broadcast_to(tf.constant(b, x.dtype), tf.shape(x)) for b, x in zip(self._baselines, inputs, strict=True)
        ]
        differences = [x - b for x, b in zip(inputs, baselines, strict=True)]
        repeated = [seed.repeated(at_once) for seed in seeds]

        def derivatives(t, seeds):
            """For each seed (scores (S, N), slopes along the line (S, N), gradients (S, N, ...) of each input)."""
            points = [_merge_steps(b + _steps_axis(t, d) * d) for b, d in zip(baselines, differences, strict=True)]
            output, _, gradients = propagate(probe, points, seeds)
            gradients = [[_split_steps(g, t, d) for g, d in zip(each, differences, strict=True)] for each in gradients]
            slopes = [sum(_slope(g, d) for g, d in zip(each, differences, strict=True)) for each in gradients]
            scores = [tf.reshape(seed.score(output), tf.shape(s)) for seed, s in zip(seeds, slopes, strict=True)]
            return list(zip(scores, slopes, gradients, strict=True))

        def step(index, state):
            sums, before = state
            w, now = weights[index], derivatives(places[index], repeated)
            if self.rule != "matched":
                return [
                    [s + tf.tensordot(w, g, 1) for s, g in zip(each, gradients, strict=True)]
                    for each, (_, _, gradients) in zip(sums, now, strict=True)
                ], before
            new, last = [], []
            for each, earlier, later in zip(sums, before, now, strict=True):
                first = _with_earlier(earlier, later)
                part = _part_of_first(first, later, w)
                parts = w[:, None] * part, w[:, None] * (1 - part)
                ends = zip(each, first[2], later[2], strict=True)
                new.append([s + _weighted_sum(parts[0], g) + _weighted_sum(parts[1], h) for s, g, h in ends])
                last.append(tf.nest.map_structure(lambda v: v[-1:], later))
            return new, last

        zeros = [[tf.zeros_like(x) for x in inputs] for _ in seeds]
        before = derivatives(tf.zeros(1, dtype), seeds) if self.rule == "matched" else []
        sums, _ = accumulate(places.shape[0], step, (zeros, before))
        return explained, [[d * s for d, s in zip(differences, each, strict=True)] for each in sums]

    def completeness(self, x, neuron_selection=None, *, output=None):
        """How exactly relevance sums to the difference of scores: `Completeness`.

        Args:
            x, neuron_selection, output: as for `analyze`, one neuron per sample.
        """
        leaves, _ = self.input_spec.flatten(x)
        arrays = self.input_spec.arrays(leaves)
        target = self.output_position(output)
        scores, relevance = self.with_output(x, neuron_selection, output=output, verbose=False)
        selection = neurons.check(neuron_selection, len(arrays[0]), scores.shape, scores.dtype)
        if selection.mode in neurons.SEVERAL:
            raise ValueError("completeness is of one neuron per sample; got (N, K) indices.")
        seed = neurons.InitialRelevance(selection.mode, selection.values, with_one=True).fixed(tf.constant(scores))
        baselines = [np.broadcast_to(b, a.shape) for b, a in zip(self._baselines, arrays, strict=True)]
        size = self.twin.inputs[0].shape[0] or self.batch_size
        batches = [[tf.constant(b[n : n + size]) for b in baselines] for n in range(0, len(arrays[0]), size)]
        parts = [tf.nest.flatten(self.twin(self.input_spec.pack(leaves), training=False))[target] for leaves in batches]
        at_baseline = tf.concat(parts, 0)
        ends = [np.asarray(seed.score(tf.constant(np.asarray(s, np.float64)))) for s in (scores, at_baseline)]
        parts = self.input_spec.flatten(relevance)[0]
        total = np.sum([np.asarray(r, np.float64).reshape(len(r), -1).sum(axis=1) for r in parts], axis=0)
        return Completeness(total, ends[0] - ends[1])


def _steps_axis(t, x):
    """The S places as the first of two axes before those of a sample."""
    return tf.reshape(t, [-1] + [1] * x.shape.rank)


def _merge_steps(x):
    """(S, N, ...) -> (S N, ...)"""
    return tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))


def _split_steps(x, t, like):
    """(S N, ...) -> (S, N, ...)"""
    return tf.reshape(x, tf.concat([tf.shape(t), tf.shape(like)], 0))


def _slope(gradients, difference):
    """Slope of the score along the line from the baseline: <g, x - b> for each sample, (S, N)."""
    return tf.reduce_sum(gradients * difference, axis=list(range(2, gradients.shape.rank)))


def _weighted_sum(weights, gradients):
    """sum_s weights_sn gradients_sn, for each sample n."""
    return tf.reduce_sum(
        tf.reshape(weights, tf.concat([tf.shape(weights), [1] * (gradients.shape.rank - 2)], 0)) * gradients, 0
    )


def _with_earlier(earlier, later):
    """The values at the beginnings of the intervals that end at ``later``."""
    return tf.nest.map_structure(lambda e, v: tf.concat([e, v[:-1]], 0), earlier, later)


def _part_of_first(first, later, width):
    """l in [0, 1] for which l slope_first + (1 - l) slope_later is the difference of scores over the interval, if any."""
    width = tf.where(width > 0, width, tf.ones_like(width))[:, None]
    needed = (later[0] - first[0]) / width - later[1]
    span = first[1] - later[1]
    part = tf.where(span == 0, tf.constant(0.5, span.dtype), tf.math.divide_no_nan(needed, span))
    return tf.clip_by_value(part, 0, 1)
