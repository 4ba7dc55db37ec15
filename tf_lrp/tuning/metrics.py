"""Metrics that judge a preset: numbers of which larger ones are better."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf_lrp.analyzer import Analyzer
from tf_lrp.evaluation.measures import localization, perturbation
from tf_lrp.messages.names import did_you_mean
from tf_lrp.methods.gradient import Gradient
from tf_lrp.tuning.data import check

#: "faithfulness" replaces a picture's 8 x 8 patches, 4 at a time: each step costs a forward pass of every picture.
_PATCHES_PER_EDGE, _PATCHES_AT_ONCE = 8, 4
#: The largest number of batches, and of bytes of their activations, for which the forward passes are kept for all presets.
_SESSIONS, _SESSION_BYTES = 4, 2**30


class Measurement(NamedTuple):
    """One metric of one preset.

    Attributes:
        value: float, the mean over the pairs of sample and target.
        error: float, the standard error of the mean over samples; None for a metric that gives one number, or a single sample.
        samples: float (N,), the mean over the targets of each sample; None for a metric that gives one number.
    """

    value: float
    error: float | None
    samples: np.ndarray | None


@dataclass(frozen=True)
class Metric:
    """A metric as the search uses it.

    Attributes:
        name: in tables and files.
        function: of `Explanations` -> (n, K); of (explainer, data) -> float if ``takes_explainer``.
        needs_masks: whether the data have to hold masks.
        takes_explainer: whether the function explains the data itself.
    """

    name: str
    function: Callable
    needs_masks: bool = False
    takes_explainer: bool = False

    @property
    def identity(self):
        """What distinguishes it from other metrics of the same name: a search is resumed only with the same identity."""
        is_own = self.function.__module__ == __name__ and not self.takes_explainer
        return self.name if is_own else f"{self.function.__module__}.{self.function.__qualname__}"


class Explanations(NamedTuple):
    """Explanations of n samples with K targets each, which a metric judges.

    Attributes:
        scorer: function that returns the keras.Model up to its scores, (n, ...) -> (n, neurons).
        x: (n, ...).
        targets: ints (n, K).
        masks: bool (n, K, H, W), or None if the data have none.
        scores: (n, K), the targets' scores.
        maps: (n, K, ...), relevance in units of the score, summed over the last axis, the channels; (n, K, F) for features.
    """

    scorer: Callable
    x: np.ndarray
    targets: np.ndarray
    masks: np.ndarray | None
    scores: np.ndarray
    maps: np.ndarray


#: Name -> the `Metric`.
METRICS: dict[str, Metric] = {}


def register_metric(name, *, needs_masks=False):
    """A decorator that makes a function a metric of `tf_lrp.tune` and `measure`, known by its name.

    Args:
        name: of the metric; it replaces a metric of this name.
        needs_masks: whether the function uses masks; data without them are then refused.

    Returns:
        Decorator of a function of `Explanations` that returns floats (n, K), of which larger ones are better. It leaves the
        function as it is.

    Example:
        >>> @tf_lrp.tuning.register_metric("peak")
        ... def peak(explanations):
        ...     return explanations.maps.max(axis=(-2, -1))
    """

    def register(function):
        METRICS[name] = Metric(name, function, needs_masks)
        return function

    return register


for _name, _measure in {
    "localization": localization.inside_total_ratio,
    "weighted_localization": localization.weighted_inside_total_ratio,
    "rank_accuracy": localization.rank_accuracy,
    "pointing": localization.pointing_game,
}.items():
    register_metric(_name, needs_masks=True)(lambda batch, measure=_measure: measure(batch.maps, batch.masks))


@register_metric("faithfulness")
def _faithfulness(batch):
    """AOPC: the mean drop of the score while the most relevant patches are replaced, in units of the score."""
    if batch.x.ndim != 4:
        raise ValueError(f'"faithfulness" replaces patches of pictures (N, H, W, C); x has shape {batch.x.shape}.')
    patch = tuple(-(-edge // _PATCHES_PER_EDGE) for edge in batch.x.shape[1:3])
    options = {"patch": patch, "replacement": "mean", "at_once": _PATCHES_AT_ONCE, "batch_size": len(batch.x)}
    scorer = batch.scorer()
    curves = [
        perturbation.flip(scorer, batch.x, batch.maps[:, k], batch.targets[:, k], **options)
        for k in range(batch.targets.shape[1])
    ]
    return np.stack([curve.aopc for curve in curves], axis=1)


@register_metric("completeness")
def _completeness(batch):
    """-|sum_i R_i - f| / (|sum_i R_i| + |f|), from -1 to 0; 0 where both are 0."""
    sums = batch.maps.reshape(*batch.scores.shape, -1).sum(axis=2)
    largest = np.abs(sums) + np.abs(batch.scores)
    return -np.abs(sums - batch.scores) / np.where(largest > 0, largest, 1)


def metrics_of(given):
    """The metrics that a user gave, names and functions, as a tuple of `Metric`.

    Raises:
        ValueError: an unknown name, no metric, or two of the same name.
        TypeError: neither a name nor a function.
    """
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    metrics = tuple(map(_metric, listed))
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Expected one or more different metrics; got {', '.join(names) or 'none'}.")
    return metrics


def _metric(given):
    if isinstance(given, str):
        if given not in METRICS:
            raise ValueError(
                f"There is no metric {given!r}.{did_you_mean(given, METRICS)} The metrics are: {', '.join(METRICS)}."
            )
        return METRICS[given]
    if not callable(given):
        raise TypeError(f"A metric is a name or a function (explainer, data) -> float; got {type(given).__name__}: {given!r}.")
    if not hasattr(given, "__qualname__"):  # an object with __call__, a functools.partial
        inner, name = given, type(given).__name__

        def called(explainer, data):
            return inner(explainer, data)

        called.__name__ = called.__qualname__ = name
        given = called
    return Metric(given.__name__, given, takes_explainer=True)


def measure(model, preset, data, metric="localization", *, batch_size=32, **options):
    """Measures a preset on data.

    Args:
        model: a built Keras model.
        preset: as `tf_lrp.Analyzer` takes it.
        data: `Data`, or such a tuple.
        metric: a name in `METRICS`, a function (explainer, data) -> float, or a list of these; see `tf_lrp.tune`.
        batch_size: samples that are explained at once.
        **options: of the analyzer, such as ``fold_batchnorm=False``.

    Returns:
        dict metric's name -> `Measurement`.

    Raises:
        ValueError, TypeError: data or metrics that do not fit the model or each other.
    """
    return Measurer(model, data, metrics_of(metric), batch_size)(preset, options)


class Measurer:
    """Measures one preset after the other on the same data.

    Args:
        model: a built Keras model.
        data: `Data`, or such a tuple.
        metrics: of `metrics_of`.
        batch_size: samples that are explained at once.

    Attributes:
        data: `Data` as given, as arrays.

    Raises:
        ValueError, TypeError: data that do not fit the model, the metrics or each other.
    """

    def __init__(self, model, data, metrics, batch_size):
        self.model, self.metrics, self.batch_size = model, metrics, batch_size
        self.data, self._pairs = check(data, model, masks=any(m.needs_masks for m in metrics))
        self._scorer = None
        self._shared = {}  # options of the analyzer -> `_Shared`

    def __call__(self, preset, options):
        """Metric's name -> `Measurement`.

        Raises:
            ValueError: a metric that is not a finite number; and whatever the analyzer or a metric raises.
        """
        # A preset explains only a few batches: compiling it with XLA would take more time than it saves.
        options = {"batch_size": self.batch_size, "verbose": False, "jit_compile": False, **options}
        key = json.dumps(options, sort_keys=True, default=str)
        if key not in self._shared:
            self._shared[key] = _Shared(Analyzer(self.model, "z", **options), self._pairs, self.batch_size)
        shared = self._shared[key]
        batched = [m for m in self.metrics if not m.takes_explainer]
        # Where sessions explain all batches, and no metric asks for it, the preset needs no analyzer.
        analyzer = None if shared.sessions and len(batched) == len(self.metrics) else shared.analyzer.with_preset(preset)
        explain = shared.explained_by(preset) if shared.sessions else analyzer.with_output
        values = {m.name: [] for m in batched}
        for batch in self._batches(explain) if batched else ():
            for metric in batched:
                values[metric.name].append(np.asarray(metric.function(batch), np.float64))
        measured = {}
        for metric in self.metrics:
            if metric.takes_explainer:
                measured[metric.name] = Measurement(float(metric.function(analyzer, self.data)), None, None)
            else:
                measured[metric.name] = _mean(np.concatenate(values[metric.name]))
            value = measured[metric.name].value
            if not np.isfinite(value):
                raise ValueError(f"The metric {metric.name} needs to be a finite number; it is {value}.")
        return measured

    def scorer(self):
        """The model up to its scores; the same for all presets, so that it is compiled once."""
        if self._scorer is None:
            self._scorer = Gradient(self.model).twin
        return self._scorer

    def _batches(self, explain):
        for start in range(0, len(self._pairs.x), self.batch_size):
            x, targets, masks = (None if a is None else a[start : start + self.batch_size] for a in self._pairs)
            outputs, relevance = explain(x, targets)
            # A vector of features has no channels.
            maps = relevance.sum(axis=-1) if relevance.ndim > 3 else relevance
            yield Explanations(self.scorer, x, targets, masks, np.take_along_axis(outputs, targets, axis=1), maps)


class _Shared:
    """What presets share: the opened model and, for few batches, their forward passes.

    A session runs operation by operation. To trace a graph for a preset takes as long as some batches, so many batches are
    explained by a traced graph for each preset.

    Attributes:
        analyzer: `Analyzer` with another preset.
        sessions: a `Session` for each batch, or none.
    """

    def __init__(self, analyzer, pairs, batch_size):
        self.analyzer, self.sessions = analyzer, []
        starts = range(0, len(pairs.x), batch_size)
        if len(starts) > _SESSIONS or analyzer.traced_at_once:
            return
        for start in starts:
            rows = slice(start, start + batch_size)
            self.sessions.append(analyzer.session(pairs.x[rows], pairs.targets[rows]))
            if sum(s.nbytes for s in self.sessions) > _SESSION_BYTES:
                self.sessions = []
                return

    def explained_by(self, preset):
        """As `Analyzer.with_output`, for the batches in their order."""
        sessions = iter(self.sessions)

        def explain(x, targets):
            session = next(sessions)
            return session.output, session.analyze(preset)

        return explain


def _mean(values):
    """The `Measurement` of values (N, K); samples are independent, the targets of one sample are not."""
    samples = values.mean(axis=1)
    error = float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else None
    return Measurement(float(samples.mean()), error, samples)
