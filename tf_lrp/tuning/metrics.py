"""What a preset is judged by: numbers of which larger is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf_lrp.analyzer import Analyzer
from tf_lrp.evaluation.measures import localization, perturbation
from tf_lrp.messages.names import meant
from tf_lrp.methods.gradient import Gradient
from tf_lrp.tuning.data import check

#: "faithfulness" replaces a picture's 8 x 8 patches, 4 at a time: every step is a forward pass of every picture.
_PATCHES_PER_EDGE, _PATCHES_AT_ONCE = 8, 4


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
        function: of `_Batch` -> (n, K), or of (explainer, data) -> float if it is ``custom``.
        needs_masks: whether the data have to say where relevance should be.
        custom: whether it is a function of the user's.
    """

    name: str
    function: Callable
    needs_masks: bool = False
    custom: bool = False

    @property
    def identity(self):
        """What tells it from other metrics of the same name."""
        return f"{self.function.__module__}.{self.function.__qualname__}" if self.custom else self.name


class _Batch(NamedTuple):
    """Explanations of n samples with K targets each.

    Attributes:
        scorer: returns the keras.Model that computes the scores, (n, ...) -> (n, neurons).
        x: (n, ...).
        targets: ints (n, K).
        masks: bool (n, K, H, W) or None.
        scores: (n, K), of the targets.
        maps: (n, K, ...), relevance summed over the last axis, the channels.
    """

    scorer: Callable
    x: np.ndarray
    targets: np.ndarray
    masks: np.ndarray | None
    scores: np.ndarray
    maps: np.ndarray


def _localization(function):
    return lambda batch: function(batch.maps, batch.masks)


def _completeness(batch):
    """-|sum_i R_i - f| / (|sum_i R_i| + |f|), from -1 to 0; 0 where both are 0."""
    sums = batch.maps.reshape(*batch.scores.shape, -1).sum(axis=2)
    largest = np.abs(sums) + np.abs(batch.scores)
    return -np.abs(sums - batch.scores) / np.where(largest > 0, largest, 1)


def _faithfulness(batch):
    """AOPC: the mean drop of the score while the most relevant patches are replaced, in units of the score."""
    if batch.x.ndim != 4:
        raise ValueError(f'"faithfulness" replaces patches of pictures (N, H, W, C); x has shape {batch.x.shape}.')
    patch = tuple(-(-edge // _PATCHES_PER_EDGE) for edge in batch.x.shape[1:3])
    how = {"patch": patch, "replacement": "mean", "at_once": _PATCHES_AT_ONCE, "batch_size": len(batch.x)}
    scorer, each = batch.scorer(), range(batch.targets.shape[1])
    return np.stack([perturbation.flip(scorer, batch.x, batch.maps[:, k], batch.targets[:, k], **how).aopc for k in each], 1)


#: Name -> the metric.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("localization", _localization(localization.inside_total_ratio), needs_masks=True),
        Metric("weighted_localization", _localization(localization.weighted_inside_total_ratio), needs_masks=True),
        Metric("rank_accuracy", _localization(localization.rank_accuracy), needs_masks=True),
        Metric("pointing", _localization(localization.pointing_game), needs_masks=True),
        Metric("faithfulness", _faithfulness),
        Metric("completeness", _completeness),
    )
}


def metrics_of(given):
    """Names and functions as a tuple of `Metric`.

    Raises:
        ValueError: for unknown names (suggesting near ones), none, or two of one name.
        TypeError: for what is neither.
    """
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    found = tuple(map(_metric, listed))
    names = [metric.name for metric in found]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Expected one or more different metrics; got {', '.join(names) or 'none'}.")
    return found


def _metric(given):
    if isinstance(given, str):
        if given not in METRICS:
            raise ValueError(f"There is no metric {given!r}.{meant(given, METRICS)} The metrics are: {', '.join(METRICS)}.")
        return METRICS[given]
    if not callable(given):
        raise TypeError(f"A metric is a name or a function (explainer, data) -> float; got {type(given).__name__}: {given!r}.")
    if not hasattr(given, "__qualname__"):  # an object with __call__, a functools.partial
        inner, name = given, type(given).__name__

        def called(explainer, data):
            return inner(explainer, data)

        called.__name__ = called.__qualname__ = name
        given = called
    return Metric(given.__name__, given, custom=True)


def measure(model, preset, data, metric="localization", *, batch_size=32, **options):
    """How a preset does on data.

    Args:
        model: a built Keras model.
        preset: as `tf_lrp.Analyzer` takes it.
        data: `Data`, or such a tuple.
        metric: a name out of `METRICS`, a function (explainer, data) -> float, or a list of these; see `tf_lrp.tune`.
        batch_size: samples that are explained at once.
        **options: of the analyzer, such as ``fold_batchnorm=False``.

    Returns:
        dict metric's name -> `Measurement`.

    Raises:
        ValueError, TypeError: for data or metrics that do not fit.
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
        ValueError, TypeError: for data that do not fit the model, the metrics or one another.
    """

    def __init__(self, model, data, metrics, batch_size):
        self.model, self.metrics, self.batch_size = model, metrics, batch_size
        self.data, self._pairs = check(data, model, masks=any(m.needs_masks for m in metrics))
        self._scorer = None

    def __call__(self, preset, options):
        """Metric's name -> `Measurement`.

        Raises:
            ValueError: for a metric that is no finite number; and whatever the analyzer or a metric raises.
        """
        # A preset explains a few batches only: XLA would spend more time on compiling it than it saves.
        how = {"batch_size": self.batch_size, "verbose": False, "jit_compile": False, **options}
        analyzer = Analyzer(self.model, preset, **how)
        builtin = [m for m in self.metrics if not m.custom]
        values = {m.name: [] for m in builtin}
        for batch in self._batches(analyzer) if builtin else ():
            for metric in builtin:
                values[metric.name].append(np.asarray(metric.function(batch), np.float64))
        found = {}
        for metric in self.metrics:
            if metric.custom:
                found[metric.name] = Measurement(float(metric.function(analyzer, self.data)), None, None)
            else:
                found[metric.name] = _mean(np.concatenate(values[metric.name]))
            if not np.isfinite(found[metric.name].value):
                raise ValueError(f"The metric {metric.name} needs to be a finite number; it is {found[metric.name].value}.")
        return found

    def scorer(self):
        """The model up to its scores; one for all presets, as what is compiled for it is kept."""
        if self._scorer is None:
            self._scorer = Gradient(self.model).twin
        return self._scorer

    def _batches(self, analyzer):
        for start in range(0, len(self._pairs.x), self.batch_size):
            x, targets, masks = (None if a is None else a[start : start + self.batch_size] for a in self._pairs)
            outputs, relevance = analyzer.with_output(x, targets)
            # A vector of features has no channels.
            maps = relevance.sum(axis=-1) if relevance.ndim > 3 else relevance
            yield _Batch(self.scorer, x, targets, masks, np.take_along_axis(outputs, targets, axis=1), maps)


def _mean(values):
    """The `Measurement` of values (N, K); samples are what is independent, the targets of one share its picture."""
    samples = values.mean(axis=1)
    error = float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else None
    return Measurement(float(samples.mean()), error, samples)
