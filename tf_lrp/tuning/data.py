"""The data that presets are measured on, and fingerprints of data and model."""

from __future__ import annotations

import json
from typing import NamedTuple

import keras
import numpy as np

from tf_lrp.runs import fingerprints


class Data(NamedTuple):
    """Samples whose explanations are measured.

    Attributes:
        x: the model's input, an array (N, ...).
        targets: the neurons to explain, ints (N,) or (N, K).
        masks: bool (N, H, W) or (N, K, H, W), the pixels that belong to each target; None if no metric needs them.
    """

    x: np.ndarray
    targets: np.ndarray
    masks: np.ndarray | None = None


def check(data, model, *, masks):
    """Checks the data; returns them as arrays, as given and with an axis of targets.

    Args:
        data: `Data`, or a tuple of its parts.
        model: the model that is explained.
        masks: whether masks are needed.

    Returns:
        (`Data` as arrays, `Data` with targets (N, K) and masks (N, K, H, W)).

    Raises:
        TypeError, ValueError: data that do not fit the model or each other.
    """
    if not isinstance(data, tuple) or not 2 <= len(data) <= 3:
        raise TypeError(f"data is tf_lrp.tuning.Data(x, targets, masks), or such a tuple; got {type(data).__name__}.")
    given = Data(*data)
    x, targets = np.asarray(given.x), np.asarray(given.targets)
    if x.dtype == object or x.ndim < 2 or not len(x):
        raise ValueError(f"x needs to be one array (N, ...) of the model's input, N >= 1; got shape {x.shape}.")
    if not np.issubdtype(targets.dtype, np.integer) or targets.ndim not in (1, 2) or len(targets) != len(x) or not targets.size:
        raise ValueError(
            f"targets needs to be ints, ({len(x)},) or ({len(x)}, K) as x has {len(x)} samples: the neurons to explain; got "
            f"{targets.dtype} of shape {targets.shape}."
        )
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"Expected a model with one output (N, neurons); it has {', '.join(map(str, shapes))}.")
    neurons = shapes[0][1]
    if targets.min() < 0 or targets.max() >= neurons:
        raise ValueError(f"targets lie from {targets.min()} to {targets.max()}; the model has the neurons 0 to {neurons - 1}.")
    pairs = targets[:, np.newaxis] if targets.ndim == 1 else targets
    given = Data(x, targets, None if given.masks is None else _masks(given.masks, x, targets))
    if masks and given.masks is None:
        raise ValueError(
            "Localization metrics need masks that say where relevance should be: Data(x, targets, masks). Give masks, or "
            'choose a metric without them: "faithfulness" or "completeness".'
        )
    if given.masks is None:
        return given, Data(x, pairs)
    return given, Data(x, pairs, given.masks.reshape(*pairs.shape, *given.masks.shape[-2:]))


def _masks(masks, x, targets):
    masks = np.asarray(masks)
    if x.ndim != 4 or masks.shape != (*targets.shape, *x.shape[1:3]):
        wanted = f"{(*targets.shape, *x.shape[1:3])}" if x.ndim == 4 else "pictures x (N, H, W, C)"
        raise ValueError(f"masks needs shape {wanted} for targets {targets.shape} and x {x.shape}; got {masks.shape}.")
    if masks.dtype != bool and not np.isin(masks, (0, 1)).all():
        raise ValueError(f"masks needs to be bool, True on the target's pixels; got {masks.dtype} with values other than 0, 1.")
    masks = masks.astype(bool)
    empty = np.argwhere(~masks.any(axis=(-2, -1)))
    if len(empty):
        first = ", ".join(map(str, empty[0]))
        raise ValueError(
            f"{len(empty)} masks are empty, the first at [{first}]: no relevance can lie inside. Leave out these pairs of "
            "sample and target."
        )
    return masks


# ---- fingerprints ---------------------------------------------------------------------------------------------------


def data_fingerprint(data):
    """A dict for JSON that identifies the data: their shapes and a digest of all values."""
    arrays = {name: value for name, value in zip(Data._fields, data, strict=True) if value is not None}
    hashed = fingerprints.digest(part for name, array in arrays.items() for part in fingerprints.parts(array, name))
    return {**{name: list(array.shape) for name, array in arrays.items()}, "sha256": hashed}


def model_fingerprint(model):
    """A dict for JSON that identifies the model: the number of its weights, and a digest of its layers and their values.

    Names of layers do not count, because Keras numbers them differently in every process.
    """
    layers = [
        json.dumps([type(layer).__name__, _nameless(_configuration(layer))], default=_class_name, sort_keys=True).encode()
        for layer in _leaves(model)
    ]
    weights = [np.asarray(w) for w in model.weights]
    hashed = fingerprints.digest([*layers, *(part for w in weights for part in fingerprints.parts(w))])
    return {"weights": sum(w.size for w in weights), "sha256": hashed}


def _leaves(model):
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _configuration(layer):
    try:
        return layer.get_config()
    except NotImplementedError:  # a custom layer that cannot be saved; its class and weights identify it
        return {}


def _class_name(value):
    """Stands for a value that JSON cannot hold; its repr might contain a memory address."""
    return type(value).__name__


def _nameless(value):
    if isinstance(value, dict):
        return {str(key): _nameless(inner) for key, inner in value.items() if key not in ("name", "shared_object_id")}
    return [_nameless(inner) for inner in value] if isinstance(value, (list, tuple)) else value
