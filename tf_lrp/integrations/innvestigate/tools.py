"""iNNvestigate's perturbation analysis: how a model's metrics change while the most relevant regions are replaced.

`tf_lrp.evaluation.measures.perturbation` does more: curves of the score, areas, other orders and replacements.
"""

from __future__ import annotations

import keras
import numpy as np

__all__ = ["Perturbation", "PerturbationAnalysis"]

#: What replaces a region, by iNNvestigate's names.
_FUNCTIONS = {
    "zeros": np.zeros_like,
    "mean": lambda region: np.full_like(region, region.mean()),
    "invert": np.negative,
    "gaussian": lambda region: np.random.default_rng().normal(0, 0.3, region.shape),
}


class Perturbation:
    """Replaces the regions of pictures that are most relevant.

    Regions tile the picture; it is padded where they do not fit, and cut again. A region counts as much as
    ``aggregation_function`` says of ``reduce_function`` of the relevance over the channels.

    Args:
        perturbation_function: "zeros", "mean", "invert" or "gaussian" (mean 0, deviation 0.3), or a function of one channel
            (h, w) of a region that returns what replaces it.
        num_perturbed_regions: number of regions to replace.
        region_shape: (h, w).
        reduce_function, aggregation_function: called with ``axis=``, as numpy.mean.
        pad_mode: of numpy.pad.
        in_place: whether the pictures themselves are changed.
        value_range: (low, high) to which the result is cut, or None.
    """

    def __init__(
        self,
        perturbation_function,
        num_perturbed_regions=0,
        region_shape=(9, 9),
        reduce_function=np.mean,
        aggregation_function=np.mean,
        pad_mode="reflect",
        in_place=False,
        value_range=None,
    ):
        if not callable(perturbation_function) and perturbation_function not in _FUNCTIONS:
            raise ValueError(
                f"perturbation_function is one of {', '.join(_FUNCTIONS)}, or a function; got {perturbation_function!r}."
            )
        known = None if callable(perturbation_function) else _FUNCTIONS[perturbation_function]
        self.perturbation_function = known or perturbation_function
        self.num_perturbed_regions, self.region_shape = num_perturbed_regions, tuple(region_shape)
        self.reduce_function, self.aggregation_function = reduce_function, aggregation_function
        self.pad_mode, self.in_place, self.value_range = pad_mode, in_place, value_range

    def perturbate_on_batch(self, x, analysis):
        """Pictures without their most relevant regions.

        Args:
            x: (N, H, W, C), or (N, C, H, W) where Keras is set to channels first.
            analysis: relevance, shaped like x.

        Returns:
            array shaped like x.
        """
        x = np.asarray(x)
        if np.shape(analysis) != x.shape or x.ndim != 4:
            raise ValueError(f"Pictures and relevance need one shape of four axes; got {x.shape} and {np.shape(analysis)}.")
        channels = 1 if keras.config.image_data_format() == "channels_first" else -1
        pixels = self._tiled(np.moveaxis(x, channels, 1)).copy()  # (N, C, rows, h, columns, w)
        relevance = self.reduce_function(np.moveaxis(np.asarray(analysis), channels, 1), axis=1)[:, np.newaxis]
        of_regions = self.aggregation_function(self._tiled(relevance), axis=(3, 5))[:, 0]  # (N, rows, columns)
        count = of_regions[0].size
        if not 0 <= self.num_perturbed_regions <= count:
            raise ValueError(f"There are {count} regions, of which {self.num_perturbed_regions} cannot be replaced.")
        first = np.argsort(-of_regions.reshape(len(x), -1), axis=1, kind="stable")[:, : self.num_perturbed_regions]
        for n, regions in enumerate(first):
            for row, column in zip(*np.unravel_index(regions, of_regions.shape[1:]), strict=True):
                for channel in pixels[n, :, row, :, column]:
                    channel[...] = self.perturbation_function(channel)
        result = np.moveaxis(self._untiled(pixels, np.moveaxis(x, channels, 1).shape), 1, channels)
        result = result if self.value_range is None else np.clip(result, *self.value_range)
        if self.in_place:
            x[...] = result
            return x
        return result

    def _padding(self, sides):
        """[(before, after)] of height and width."""
        missing = [-side % region for side, region in zip(sides, self.region_shape, strict=True)]
        return [(m // 2, m - m // 2) for m in missing]

    def _tiled(self, x):
        """(N, C, H, W) as (N, C, rows, h, columns, w)."""
        x = np.pad(x, [(0, 0), (0, 0), *self._padding(x.shape[2:])], self.pad_mode)  # pyright: ignore[reportCallIssue, reportArgumentType]
        (height, width), (h, w) = x.shape[2:], self.region_shape
        return x.reshape(*x.shape[:2], height // h, h, width // w, w)

    def _untiled(self, pixels, shape):
        n, c, rows, h, columns, w = pixels.shape
        images = pixels.reshape(n, c, rows * h, columns * w)
        (top, _), (left, _) = self._padding(shape[2:])
        return images[:, :, top : top + shape[2], left : left + shape[3]]


class PerturbationAnalysis:
    """A compiled model's metrics while more and more of the most relevant regions are replaced.

    Args:
        analyzer: what `create_analyzer` returned.
        model: compiled keras.Model.
        generator: `utils.BatchSequence` of (x, y), or any sequence of such batches.
        perturbation: `Perturbation`; its ``num_perturbed_regions`` is set step by step.
        steps: number of steps.
        regions_per_step: regions that each step replaces more than the one before.
        recompute_analysis: whether the perturbed images are explained again before each step, and ranked by that; otherwise the
            regions are ranked once, on the original images.
        verbose: whether the metrics of each step are printed.
    """

    def __init__(
        self,
        analyzer,
        model,
        generator,
        perturbation,
        steps=1,
        regions_per_step=1,
        recompute_analysis=False,
        verbose=False,
    ):
        self.analyzer, self.model, self.generator, self.perturbation = analyzer, model, generator, perturbation
        self.steps, self.regions_per_step = steps, regions_per_step
        self.recompute_analysis, self.verbose = recompute_analysis, verbose

    def compute_perturbation_analysis(self):
        """List of what ``model.evaluate`` returns: for the pictures as they are, then after each step."""
        batches = [self.generator[n] for n in range(len(self.generator))]
        x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        relevance, before, left = self.analyzer.analyze(x), self.perturbation.num_perturbed_regions, x
        scores = [self._evaluated(x, y)]
        try:
            for step in range(1, self.steps + 1):
                if self.recompute_analysis:
                    relevance = self.analyzer.analyze(left) if step > 1 else relevance
                    self.perturbation.num_perturbed_regions = self.regions_per_step
                    left = self.perturbation.perturbate_on_batch(np.array(left), relevance)
                else:
                    self.perturbation.num_perturbed_regions = step * self.regions_per_step
                    left = self.perturbation.perturbate_on_batch(np.array(x), relevance)
                scores.append(self._evaluated(left, y))
        finally:
            self.perturbation.num_perturbed_regions = before
        return scores

    def _evaluated(self, x, y):
        measured = self.model.evaluate(x, y, verbose=0)
        if self.verbose:
            print(measured)
        return measured
