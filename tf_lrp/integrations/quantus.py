"""Explanations as Quantus asks for them.

    import quantus, tf_lrp.quantus

    metric = quantus.PixelFlipping()
    metric(model, x_batch, y_batch, explain_func=tf_lrp.quantus.explain, explain_func_kwargs={"method": "cmp_a2_flat"})

Quantus is not needed to import this: ``pip install "tf_lrp[quantus]"`` brings it along.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from tf_lrp.keras_compat import models
from tf_lrp.methods import catalog

#: Explainers that are kept: a metric asks for many maps of few models.
_KEPT = 4


def explain(
    model: keras.Model,
    inputs: ArrayLike,
    targets: ArrayLike | None,
    method: str = "cmp_a2_flat",
    *,
    channel_sum: bool = True,
    batch_size: int = 32,
    **parameters: Any,
) -> np.ndarray:
    """The relevance of ``inputs`` for ``targets``: an ``explain_func`` of Quantus.

    Quantus keeps the channels of its data first. It asks for explanations of what the model takes in most metrics, of its own
    layout in others (MPRT, for one), and always compares the answer with data of its own layout.

    Args:
        model: a built Keras 3 model. The explainer is kept and follows its weights, also as Quantus randomizes them.
        inputs: array (N, ...), as the model takes it; or with the channels first where the model has them last.
        targets: N ints, the neuron to explain for each sample; None for the strongest.
        method: a preset or method, one of `tf_lrp.methods.catalog.names`.
        channel_sum: whether relevance of pictures, sequences and the like is summed over the channels, of which one is left,
            first: what every metric of Quantus takes. With all channels it takes relevance only of models with channels first.
        batch_size: samples that are explained at once.
        **parameters: of the preset or method. ``fit=`` is the data that pattern methods estimate their patterns from. What
            Quantus passes on its own behalf (``device``, ``softmax`` ...) is left aside.

    Returns:
        float32 array (N, 1, ...) with ``channel_sum`` (tables: (N, features)), else shaped like ``inputs``; in score units (as
        the method says).
    """
    parameters = {key: value for key, value in parameters.items() if key not in _OF_QUANTUS}
    data = parameters.pop("fit", None)
    try:
        explainer = _explainer(model, method, tuple(sorted(parameters.items())))
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        explainer = catalog.explainer(method, model, **parameters)
    if data is not None and getattr(explainer, "patterns", True) is None:
        explainer.fit(data)  # pyright: ignore[reportAttributeAccessIssue]
    selection = None if targets is None else np.asarray(targets).reshape(-1).astype(int)
    inputs = np.asarray(inputs)
    turned = _turned(inputs, tuple(explainer.twin.inputs[0].shape))
    x = np.moveaxis(inputs, 1, -1) if turned else inputs
    relevance = explainer.analyze(x, selection, batch_size=batch_size, verbose=False)
    if channel_sum and relevance.ndim > 2:
        axis = 1 if _channels_first(model) else -1
        return np.moveaxis(relevance.sum(axis=axis, keepdims=True), axis, 1)
    return np.moveaxis(relevance, -1, 1) if turned else relevance


def _turned(inputs, shape):
    """Whether inputs fit a model's shape only once their channels, which come first, are put last."""

    def fits(given):
        return len(given) == len(shape) and all(s in (None, g) for g, s in zip(given[1:], shape[1:], strict=True))

    given = inputs.shape
    return len(given) > 2 and not fits(given) and fits((given[0], *given[2:], given[1]))


def _channels_first(model):
    """Whether a model's layers take data with the channels before the places."""
    return any(getattr(layer, "data_format", None) == "channels_first" for layer in models.layers_in(model))


_OF_QUANTUS = {"device", "softmax", "channel_first", "model_predict_kwargs"}


@functools.lru_cache(maxsize=_KEPT)
def _explainer(model, method, parameters):
    return catalog.explainer(method, model, **dict(parameters))
