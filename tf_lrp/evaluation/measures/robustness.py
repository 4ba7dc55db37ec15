"""Completeness and sensitivity: whether relevance sums to the score, and how much it changes when the input hardly does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_lrp.explain import neurons
from tf_lrp.messages import checks
from tf_lrp.target import Target


class Sensitivity(NamedTuple):
    """Change of a map under noise, relative to its norm.

    Attributes:
        maximum, average: (N,), over the noisy copies.
    """

    maximum: np.ndarray
    average: np.ndarray


def explained_neurons(explainer, x, neuron_selection=None):
    """The neuron that is explained for each sample, as ints that do not change when inputs or weights change.

    Args:
        explainer: an `Explainer` for a model with one output (N, neurons).
        x: array (N, ...).
        neuron_selection: None or "max_activation" (the strongest at ``x``), an int, or ints (N,).

    Returns:
        int array (N,).

    Raises:
        ValueError: any other selection.
    """
    samples = len(x)
    if neuron_selection is None or (isinstance(neuron_selection, str) and neuron_selection == "max_activation"):
        scores = explainer.with_output(x, verbose=False)[0]
        if scores.ndim > 2:
            raise ValueError(
                f"The explained output needs shape (N, neurons), so that an index is one neuron; it has {scores.shape}."
            )
        return scores.reshape(samples, -1).argmax(axis=1)
    values = np.asarray(neuron_selection)
    if values.dtype.kind not in "iu" or values.shape not in ((), (samples,)):
        raise ValueError(f"neuron_selection is None, an index, or one for each of {samples} samples; got {neuron_selection!r}.")
    return np.broadcast_to(values, (samples,))


def fixed_selection(explainer, x, neuron_selection=None):
    """As `explained_neurons`; a target of `tf_lrp.target` is returned unchanged, since it does not depend on the model."""
    if isinstance(neuron_selection, Target):
        return neuron_selection
    return explained_neurons(explainer, x, neuron_selection)


def completeness(explainer, x, neuron_selection=None, *, batch_size=None):
    """|sum_i R_i - f(x)| / |f(x)|: the share of the score that the relevance does not account for.

    Args:
        explainer: an `Explainer` for a model with one input and one output.
        x: array (N, ...).
        neuron_selection: None (the strongest), an int, ints (N,), or a target of `tf_lrp.target`.
        batch_size: by default that of the explainer.

    Returns:
        (N,) float64; 0 if the relevance sums to the score. For a score of 0: 0 if the relevance sums to 0, else infinity.

    Raises:
        ValueError: any other selection.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks" (completeness); Bach et al. 2015 (conservation).
    """
    fixed = fixed_selection(explainer, x, neuron_selection)
    output, relevance = explainer.with_output(x, fixed, batch_size=batch_size)
    selection = neurons.check(fixed, len(x), output.shape, output.dtype)
    start = neurons.InitialRelevance(selection.mode, selection.values)(tf.constant(output))
    scores = np.asarray(start, "float64").reshape(len(x), -1).sum(axis=1)
    missing = np.abs(relevance.reshape(len(x), -1).sum(axis=1, dtype="float64") - scores)
    quotient = np.divide(missing, np.abs(scores), out=np.full_like(missing, np.inf), where=scores != 0)
    return np.where(missing == 0, 0.0, quotient)


def sensitivity(explainer, x, neuron_selection=None, *, radius, draws=10, seed=0, batch_size=None):
    """max and mean over d of ||R(x + d) - R(x)|| / ||R(x)||, with d uniform in [-radius, radius] for each element.

    The norm is Euclidean, over all elements. The neuron that is strongest at x is explained throughout.

    Args:
        explainer: an `Explainer` for a model with one input and one output.
        x: array (N, ...).
        neuron_selection: None (the strongest), an int, ints (N,), or a target of `tf_lrp.target`.
        radius: float > 0, in units of ``x``.
        draws: number of noisy copies of each sample.
        seed: int. The noise depends on it and on the sample's index in ``x``, not on ``batch_size``.
        batch_size: noisy copies that are explained at once; by default the explainer's batch size.

    Returns:
        `Sensitivity` of float64 arrays (N,); NaN where the map at x is zero everywhere.

    Raises:
        ValueError: any other selection, or a radius or number of draws that is not positive.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations"; there not relative to ||R(x)||.
    """
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius needs a finite number > 0, got {radius!r}.")
    for name, value in (("draws", draws), ("batch_size", explainer.batch_size if batch_size is None else batch_size)):
        checks.integer(name, value)
    fixed = fixed_selection(explainer, x, neuron_selection)
    output, maps = explainer.with_output(x, fixed, batch_size=batch_size)
    explained = neurons.check(fixed, len(x), output.shape, output.dtype)
    x = np.asarray(x).astype(maps.dtype, copy=False)  # noise on integers would be rounded away

    @tf.function(autograph=False)
    def changes(values, selection, base, places):
        """(|R(x + d) - R(x)|, |R(x)|) for each noisy copy."""

        def draw(place):
            bounds = {"minval": -radius, "maxval": radius}
            return tf.random.stateless_uniform(values.shape[1:], tf.stack([seed, place]), **bounds, dtype=values.dtype)

        noisy = values + tf.map_fn(draw, places, fn_output_signature=values.dtype)
        change = explainer(noisy, neurons.Selection(explained.mode, selection)) - base
        return _norm(change), _norm(base)

    results, total = [], len(x) * draws
    size = min(explainer.batch_size if batch_size is None else batch_size, total)
    for start in range(0, total, size):
        # A smaller last batch is padded, so that nothing is compiled again.
        places = np.minimum(np.arange(start, start + size), total - 1).astype("int32")
        chosen = places // draws
        results.append(np.stack(changes(*map(tf.constant, (x[chosen], explained.values[chosen], maps[chosen], places)))))
    change, size_of_map = np.concatenate(results, axis=1)[:, :total].reshape(2, len(x), draws)
    ratio = np.divide(change, size_of_map, out=np.full_like(change, np.nan), where=size_of_map > 0)
    return Sensitivity(ratio.max(axis=1), ratio.mean(axis=1))


def _norm(r):
    return tf.sqrt(tf.reduce_sum(tf.cast(r, tf.float64) ** 2, axis=list(range(1, r.shape.rank))))
