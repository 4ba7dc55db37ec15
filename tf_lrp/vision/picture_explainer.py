"""Batches of pictures, explained by one preset."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tf_lrp.analyzer import Analyzer
from tf_lrp.explain import neurons
from tf_lrp.vision.class_names import Classes


@dataclass(frozen=True)
class Explained:
    """A batch of pictures, explained.

    Attributes:
        x: the network's input.
        scores: float64 (N, C), before a softmax or sigmoid at the end.
        probabilities: float64 (N, C); None where the network ends in neither.
        chosen: ints (N, K), the explained classes.
        relevance: (N, K, H, W, channels), in units of the scores.
        inner: layer name -> relevance (N, K, ...), or a list of such where the layer is used several times.
    """

    x: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    chosen: np.ndarray
    relevance: np.ndarray
    inner: dict


class PictureExplainer:
    """Explains batches of pictures by one preset.

    Args:
        classifier: `Classifier`.
        preset: as `Analyzer` takes it.
        target: from `target`.
        layers: names of layers whose relevance is wanted too.
    """

    def __init__(self, classifier, preset, target, layers=()):
        self.classifier, self.target, self.layers = classifier, target, layers
        self.analyzer = Analyzer(classifier.model, preset, verbose=False)

    def __call__(self, pictures):
        """The `Explained` of uint8 pictures (height, width, 3) of the classifier's size.

        Raises:
            ValueError: a layer that is not there.
        """
        x = self.classifier.prepare(np.stack(pictures))
        scores = np.asarray(self.analyzer.twin(x, training=False), np.float64)
        outputs = np.asarray(self.classifier.model(x, training=False), np.float64)
        chosen = self.target(scores)
        maps = self.analyzer.analyze(x, chosen, layers=self.layers, batch_size=len(x))
        return Explained(x, scores, _probabilities(outputs, scores), chosen, maps.pop("input"), maps)

    def conservation(self, x, k):
        """Where the relevance of class k went, for network inputs ``x``: `tf_lrp.conservation.Conservation`."""
        return self.analyzer.conservation(x, int(k))


class TargetExplainer(PictureExplainer):
    """Explains one target in a structured output, in the place of classes.

    Args:
        classifier: `Classifier` of a structured output.
        preset: as `Analyzer` takes it.
        target: `tf_lrp.target.Target`.
        label: what it is called.
        layers: names of layers whose relevance is wanted too.
    """

    def __init__(self, classifier, preset, target, label, layers=()):
        super().__init__(replace(classifier, classes=Classes([label])), preset, target, layers)

    def __call__(self, pictures):
        x = self.classifier.prepare(np.stack(pictures))
        output, maps = self.analyzer.with_output(x, [self.target], layers=self.layers, batch_size=len(x))
        selection = neurons.check(self.target, len(x), output.shape, output.dtype)
        start = np.asarray(neurons.InitialRelevance(selection.mode, selection.values)(tf.constant(output)), np.float64)
        scores = start.reshape(len(x), -1).sum(axis=1, keepdims=True)
        return Explained(x, scores, None, np.zeros((len(x), 1), int), maps.pop("input"), maps)

    def conservation(self, x, k):
        return self.analyzer.conservation(x, self.target)


def _probabilities(outputs, scores):
    """The outputs where they are the softmax or sigmoid of the scores (which the analyzer strips), else None."""
    return None if head_of(outputs, scores) is None else outputs


def head_of(outputs, scores):
    """What makes a network's outputs of its scores: the name of a function of `HEADS`, or None.

    Args:
        outputs, scores: float64 (N, C).
    """
    return next((name for name, head in HEADS.items() if np.allclose(outputs, head(scores), atol=1e-3)), None)


def _softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _sigmoid(scores):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-scores))


#: Name -> function: scores (..., C) -> probabilities (..., C).
HEADS = {"softmax": _softmax, "sigmoid": _sigmoid}
