"""The model that is explained, opened once. Imports TensorFlow: to be used in the worker's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import tree

from tf_lrp.analyzer import Analyzer
from tf_lrp.keras_compat.own_operations import Entries, layer_of
from tf_lrp.studio import schemas
from tf_lrp.vision import classifier
from tf_lrp.vision.class_names import Classes
from tf_lrp.vision.picture_explainer import head_of


@dataclass(frozen=True)
class Network:
    """A classifier of pictures, signals or texts.

    Attributes:
        model: keras.Model.
        source: what the command line was given.
        kind: "picture", "signal" or "tokens".
        classes: `Classes`.
        analyzer: by LRP-z. It has the opened graph; others are made of it by `with_preset`.
        size: (height, width) of the pictures that ``prepare`` takes; None for signals and texts.
        prepare: uint8 pictures (N, height, width, 3) -> the model's input; None for signals and texts.
        head: what follows the scores: "softmax", "sigmoid" or None.
        vocabulary: number of tokens; None for pictures and signals.
    """

    model: Any
    source: str
    kind: schemas.InputKind
    classes: Classes
    analyzer: Analyzer
    size: tuple[int, int] | None
    prepare: Callable[[np.ndarray], np.ndarray] | None
    head: schemas.Head | None
    vocabulary: int | None

    def description(self) -> schemas.Model:
        """What the page is told."""
        chosen = self.analyzer.rewritten.chosen
        return schemas.Model(
            name=self.model.name,
            source=self.source,
            input=self._input(),
            classes=len(self.classes.names),
            head=self.head,
            layers=len(chosen),
            weighted_layers=sum(c.facts.index is not None for c in chosen),
        )

    def _input(self):
        if self.prepare is None or self.size is None:
            shape = list(self.model.inputs[0].shape[1:])
            channels = shape[1] if len(shape) == 2 else None
            return schemas.Input(
                kind=self.kind, shape=shape, height=None, width=None, channels=channels, low=None, high=None,
                vocabulary=self.vocabulary,
            )  # fmt: skip
        black_and_white = np.zeros((2, *self.size, 3), np.uint8)
        black_and_white[1] = 255
        prepared = self.prepare(black_and_white)
        low, high = prepared.min(axis=(0, 1, 2)), prepared.max(axis=(0, 1, 2))
        height, width, channels = prepared.shape[1:]
        return schemas.Input(
            kind=self.kind, shape=[height, width, channels], height=height, width=width, channels=channels,
            low=low.tolist(), high=high.tolist(), vocabulary=None,
        )  # fmt: skip

    def as_picture(self, x: np.ndarray) -> np.ndarray:
        """The picture that the model sees as ``x``: (height, width, channels) -> uint8 (height, width, 3).

        Preparing a picture multiplies its colours by a matrix and adds a vector. This undoes it.
        """
        assert self.prepare is not None and self.size is not None
        colours = np.zeros((4, *self.size, 3), np.uint8)  # black, red, green, blue
        colours[[1, 2, 3], ..., [0, 1, 2]] = 255
        prepared = self.prepare(colours)
        middle = prepared[:, prepared.shape[1] // 2, prepared.shape[2] // 2].astype(float)
        black, matrix = middle[0], (middle[1:] - middle[0]) / 255
        if x.shape[-1] == 1:
            rgb = np.repeat((x - black) / matrix.sum(axis=0), 3, axis=-1)
        else:
            rgb = (x - black) @ np.linalg.inv(matrix)
        return np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)


def open_network(settings) -> Network:
    """The `Network` of `tf_lrp.studio.studio.Settings`.

    Raises:
        ValueError, OSError: as `classifier.load`, or for a model that takes neither a picture, a signal nor a text.
    """
    model, names = None, None
    if classifier.is_file_name(settings.model):
        model, names = classifier.load_model(settings.model, settings.weights)
    if model is None or classifier.is_of_pictures(model):
        options = settings.classes, settings.preprocess, settings.size
        if model is None:
            found = classifier.load(settings.model, settings.weights, *options)
        else:
            found = classifier.from_model(model, settings.model, *options)
        assert found.classes is not None
        analyzer = Analyzer(found.model, "z", verbose=False)
        height, width = found.size
        x = found.prepare(np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8))
        return Network(
            found.model, settings.model, "picture", found.classes, analyzer, found.size, found.prepare,
            _head(found.model, analyzer, x), None,
        )  # fmt: skip
    classes = classifier.classes_of(model, settings.model, names, settings.classes)
    analyzer = Analyzer(model, "z", verbose=False)
    kind, vocabulary, x = _kind(analyzer, settings.model)
    return Network(model, settings.model, kind, classes, analyzer, None, None, _head(model, analyzer, x), vocabulary)


def _kind(analyzer, name):
    """(kind, number of tokens or None, an example) of a model that takes no picture."""
    shapes = [tuple(t.shape) for t in analyzer.input_spec.tensors]
    if len(shapes) == 1 and len(shapes[0]) in (2, 3):
        graph = analyzer.rewritten.graph
        embedding = next((n for n in graph.nodes if "embedding" in _kinds(analyzer, n)), None)
        lengths = [8 if length is None else length for length in shapes[0][1:]]
        if len(shapes[0]) == 2 and embedding is not None and _is_input(graph, embedding.inputs[0]):
            layer = layer_of(embedding.operation)
            return "tokens", getattr(layer, "input_dim", None), np.ones((2, *lengths))
        return "signal", None, np.random.default_rng(0).normal(size=(2, *lengths))
    raise ValueError(
        "The studio takes models of one picture, (N, H, W, 3) or (N, H, W, 1), of one signal, (N, T, C), or of one text as "
        f"numbers of tokens, (N, T); {name} takes {', '.join(map(str, shapes))}. For others, use tf_lrp.Analyzer in Python."
    )


def _kinds(analyzer, node):
    return next(c.facts.kinds for c in analyzer.rewritten.chosen if c.node is node)


def _is_input(graph, tensor):
    """Whether a tensor is an input of the graph, or its entries."""
    node = graph.producers().get(id(tensor))
    if node is not None and isinstance(node.operation, Entries):
        tensor = node.inputs[0]
    return any(t is tensor for t in tree.flatten(graph.inputs))


def _head(model, analyzer, x) -> schemas.Head | None:
    (x,) = analyzer.input_spec.arrays([x])
    outputs, scores = (np.asarray(each(x, training=False), np.float64) for each in (model, analyzer.twin))
    return head_of(outputs, scores)
