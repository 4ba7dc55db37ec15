"""Numbers of a heatmap: where it lies, and how concentrated it is. In the worker's thread."""

from __future__ import annotations

import math

import numpy as np

from tf_lrp.evaluation.measures import complexity, localization
from tf_lrp.studio import schemas
from tf_lrp.studio.changes import decoded_mask
from tf_lrp.studio.problems import ProblemError

#: Name of a measure -> (what is better, description).
_LOCALIZATION = {
    "inside_total_ratio": ("higher", "share of the positive relevance that lies inside the mask"),
    "weighted_inside_total_ratio": ("higher", "the same, relative to a map that is equal everywhere"),
    "rank_accuracy": ("higher", "share of the most relevant pixels, as many as the mask has, that lie inside it"),
    "pointing_game": ("higher", "whether the most relevant pixel lies inside the mask"),
    "area": (None, "share of the picture that the mask covers"),
}


def evaluate(request: schemas.EvaluateRequest, relevance: np.ndarray, own: np.ndarray | None) -> schemas.Numbers:
    """Numbers of one map.

    Args:
        request: of the page.
        relevance: of the input, (height, width, channels), or of another shape for signals and texts.
        own: the picture's own mask of the class, bool (height, width), or None.
    """
    pooled = relevance if relevance.ndim == 1 else relevance.sum(axis=-1)
    numbers = [
        _number("sparseness", complexity.sparseness(pooled[np.newaxis])[0], "higher", "Gini index of the relevance, 0 to 1"),
        _number("complexity", complexity.complexity(pooled[np.newaxis])[0], "lower", "entropy of the relevance, in nats"),
    ]
    mask = _mask(request, pooled.shape, own)
    if mask is not None:
        maps = pooled.astype(np.float32)
        values = {
            "inside_total_ratio": localization.inside_total_ratio(maps, mask),
            "weighted_inside_total_ratio": localization.weighted_inside_total_ratio(maps, mask),
            "rank_accuracy": localization.rank_accuracy(maps, mask),
            "pointing_game": localization.pointing_game(maps, mask),
            "area": localization.area(mask),
        }
        numbers += [_number(name, values[name], *about) for name, about in _LOCALIZATION.items()]
    return schemas.Numbers(numbers=numbers)


def _mask(request, shape, own):
    given = [request.box is not None, request.mask is not None, request.own]
    if sum(given) > 1:
        raise ProblemError(400, "The pixels of a class are given as one of box, mask and own; got several.")
    if not any(given):
        return None
    if len(shape) != 2:
        raise ProblemError(400, "Masks are for pictures; for signals and texts, leave them out.")
    if request.own:
        if own is None:
            raise ProblemError(400, "The pixels of this class are not known for this picture: draw a box or a mask.")
        return own
    if request.mask is not None:
        return decoded_mask(request.mask, shape)
    left, top, right, bottom = request.box
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise ProblemError(
            400, f"A box is [left, top, right, bottom] inside {shape[1]} x {shape[0]} pixels; got {request.box}."
        )
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def _number(name, value, better, description):
    value = float(value)
    return schemas.Number(name=name, value=value if math.isfinite(value) else None, better=better, description=description)
