"""Explanations, neurons and the account of relevance. In the worker's thread."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lrp.conservation import CAUSES
from tf_lrp.explain import Session
from tf_lrp.presets import Preset
from tf_lrp.studio import schemas
from tf_lrp.studio.network import Network
from tf_lrp.studio.problems import ProblemError
from tf_lrp.vision.picture_explainer import HEADS

#: Pictures whose activations are kept, and the bytes that these may take.
_MOST_SESSIONS, _MOST_BYTES = 6, 2**31

Check = Callable[[], None]


class Explaining:
    """Explains the pictures of a gallery.

    Of the last pictures the activations are kept, so that another preset, or another class, costs the backward pass only, and
    of it only what is below the change.

    Args:
        network: `Network`.
        pictures: `Pictures`.
    """

    def __init__(self, network: Network, pictures):
        self.network, self._pictures = network, pictures
        self._sessions: OrderedDict[str, tuple[Session, list]] = OrderedDict()

    def session(self, picture: str) -> Session:
        """The `tf_lrp.explain.Session` of a picture."""
        return self._opened(picture)[0]

    def x(self, picture: str) -> np.ndarray:
        """The model's input for a picture: an array (1, ...)."""
        return self._pictures.x(picture)

    def scores(self, picture: str) -> np.ndarray:
        """float64 (classes,)."""
        return _finite(self.session(picture).output[0].astype(float), "The scores of this picture")

    def target(self, target, scores) -> int:
        """The index of a class that a request names."""
        if target == "top":
            return int(np.argmax(scores))
        if not 0 <= target < len(scores):
            raise ProblemError(400, f"There is no class {target}: the model has the classes 0 to {len(scores) - 1}.")
        return target

    def probabilities(self, scores: np.ndarray) -> np.ndarray | None:
        """float64 (classes,), or None for a model that ends in scores."""
        return None if self.network.head is None else HEADS[self.network.head](scores)

    def class_scores(self, scores: np.ndarray, indices) -> list[schemas.ClassScore]:
        """Some classes with their scores."""
        probabilities, names = self.probabilities(scores), self.network.classes.names
        return [
            schemas.ClassScore(
                index=int(k),
                name=names[k],
                score=float(scores[k]),
                probability=None if probabilities is None else float(probabilities[k]),
            )
            for k in indices
        ]

    def predictions(self, picture: str, top: int, classes: list[int]) -> list[schemas.ClassScore]:
        """The strongest classes, and others that are asked for."""
        scores = self.scores(picture)
        wanted = [self.target(k, scores) for k in classes]
        return self.class_scores(scores, list(dict.fromkeys([*strongest(scores, top), *wanted])))

    def relevance(self, request: schemas.Explained, preset: Preset, layers, check: Check) -> tuple[dict, int, np.ndarray]:
        """(name -> NumPy relevance, the input's under "input"; index of the class; scores) of a request."""
        session, selected = self._opened(request.picture)
        scores = self.scores(request.picture)
        target = self.target(request.target, scores)
        if selected != [target]:
            session.select(target)
            selected[:] = [target]
        return session.analyze(preset, layers=tuple(dict.fromkeys(layers)), between=check), target, scores

    def explain(self, request: schemas.ExplainRequest, preset: Preset, check: Check) -> schemas.Explanation:
        """Relevance of the input and of layers, summed over channels."""
        maps, target, scores = self.relevance(request, preset, request.layers, check)
        (of_class,) = self.class_scores(scores, [target])
        of_input = maps.pop("input")[0]
        is_signal = self.network.kind == "signal" and of_input.ndim == 2 and of_input.shape[1] > 1
        return schemas.Explanation(
            target=target,
            name=of_class.name,
            score=of_class.score,
            probability=of_class.probability,
            input=as_map(of_input if self.network.kind == "picture" else of_input.reshape(len(of_input), -1)),
            channels=[as_map(channel[:, np.newaxis]) for channel in of_input.T] if is_signal else None,
            layers={name: as_map(np.sum([u[0] for u in _uses(values)], axis=0)) for name, values in maps.items()},
        )

    # -- neurons ----------------------------------------------------------------------------------------------------------

    def neurons(self, request: schemas.NeuronsRequest, preset: Preset, check: Check) -> schemas.Neurons:
        """Sums over space for each channel of a layer."""
        relevance, activation = self._of_layer(request, preset, check)
        axes = tuple(range(relevance.ndim - 1))
        sums = {
            "positive": np.maximum(relevance, 0).sum(axis=axes),
            "negative": np.minimum(relevance, 0).sum(axis=axes),
            "activation": activation.sum(axis=axes),
        }
        sums = {name: _finite(values, "The sums") for name, values in sums.items()}
        orders = {f"by_{name}": np.argsort(-np.abs(values), kind="stable").tolist() for name, values in sums.items()}
        return schemas.Neurons(layer=request.layer, **{name: values.tolist() for name, values in sums.items()}, **orders)

    def neuron_maps(self, request: schemas.NeuronMapsRequest, preset: Preset, check: Check) -> schemas.NeuronMaps:
        """Heatmaps of chosen channels, in the size of the layer."""
        relevance, activation = self._of_layer(request, preset, check)
        outside = [c for c in request.channels if c >= relevance.shape[-1]]
        if outside:
            raise ProblemError(
                400, f"There is no channel {outside[0]} of the layer {request.layer!r}, which has {relevance.shape[-1]}."
            )
        return schemas.NeuronMaps(
            neurons=[
                schemas.NeuronMap(channel=c, relevance=as_map(relevance[..., [c]]), activation=as_map(activation[..., [c]]))
                for c in request.channels
            ]
        )

    def _of_layer(self, request, preset, check):
        """Relevance and activation of a layer for one sample, (..., channels); of several uses the sums."""
        maps, *_ = self.relevance(request, preset, [request.layer], check)
        values = self.session(request.picture).activations([request.layer])
        relevance, activation = (
            np.sum([use[0].astype(float) for use in _uses(each[request.layer])], axis=0) for each in (maps, values)
        )
        if relevance.ndim == 0:
            raise ProblemError(400, f"The layer {request.layer!r} has no channels.")
        return relevance, activation

    # -- the account -------------------------------------------------------------------------------------------------------

    def conservation(self, request: schemas.Explained, preset: Preset) -> schemas.Conservation:
        """Where the relevance went."""
        target = self.target(request.target, self.scores(request.picture))
        analyzer = self.network.analyzer.with_preset(preset)
        account = analyzer.conservation(self.x(request.picture), target)
        layers = [
            schemas.LayerBalance(
                name=b.name,
                layer_class=b.layer_class,
                rule=b.rule,
                received=_number(b.received),
                passed=_number(b.passed),
                kept=_kept(b),
                rounding=_number(b.rounding),
            )
            for b in account.layers
        ]
        return schemas.Conservation(
            output=_number(account.output), input=_number(account.input), kept=_kept(account),
            rounding=_number(account.rounding), layers=layers,
        )  # fmt: skip

    def _opened(self, picture):
        if picture in self._sessions:
            self._sessions.move_to_end(picture)
            return self._sessions[picture]
        opened = self.network.analyzer.session(self.x(picture)), []
        self._sessions[picture] = opened
        while len(self._sessions) > 1 and (
            len(self._sessions) > _MOST_SESSIONS or sum(s.nbytes for s, _ in self._sessions.values()) > _MOST_BYTES
        ):
            self._sessions.popitem(last=False)
        return opened


def strongest(scores: np.ndarray, count: int) -> list[int]:
    """Indices of the largest scores, from the largest down."""
    return np.argsort(-scores, kind="stable")[:count].tolist()


def as_map(values: np.ndarray) -> schemas.Map:
    """An array (..., channels), summed over its channels; a vector stays one."""
    if values.ndim > 1:
        values = values.sum(axis=-1, dtype=float)
    values = _finite(values, "The relevance")
    values = values.reshape(-1, values.shape[-1] if values.ndim else 1)
    return schemas.Map(
        height=values.shape[0],
        width=values.shape[1],
        sum=float(values.sum(dtype=float)),
        min=float(values.min()),
        max=float(values.max()),
        values=base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode(),
    )


def _uses(values) -> list[Any]:
    """The arrays of a layer, one for each use."""
    return values if isinstance(values, list) else [values]


def _kept(balance):
    return {cause: _number(getattr(balance, cause)) for cause in CAUSES}


def _number(value):
    return float(_finite(np.asarray(value, float), "The account"))


def _finite(values, what):
    """The values, where all are finite, as float32, too: the page knows no others."""
    if not (np.abs(values) <= np.finfo("f4").max).all():
        raise ProblemError(
            400, f"{what} are not all finite: under these rules a denominator vanishes, or relevance grows without bounds."
        )
    return values
