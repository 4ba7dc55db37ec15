"""Models without the activation at their output."""

from __future__ import annotations

from typing import Any

import keras

from tf_lrp.graph import unroll
from tf_lrp.keras_compat import models


def model_wo_softmax(model: keras.Model) -> keras.Model:
    """A model that returns scores: the given one without the softmax at its output.

    The layers are shared, but for a layer with a softmax of its own at the output, which gets a copy with the same weights.

    Args:
        model: a Sequential or Functional keras.Model with one output.

    Raises:
        ValueError: if there is no softmax at the output, or the model is neither.
    """
    return model_wo_output_activation(model, "softmax")


def model_wo_output_activation(model: keras.Model, activation: str | None = None) -> keras.Model:
    """A model without the activation at its output, as `model_wo_softmax`.

    Args:
        model: a Sequential or Functional keras.Model with one output.
        activation: the name of the activation that is expected there, such as "sigmoid"; None for any but "linear".

    Raises:
        ValueError: if there is none, or another, or the model is neither.
    """
    advice = "Analyzer(model) and the methods in tf_lrp.methods leave a softmax out by themselves (strip_softmax=True)."
    if not isinstance(model, keras.Model) or (models.functional_of(model) is None and model.built):
        raise ValueError(f"model_wo_softmax takes a Sequential or Functional model, got {type(model).__name__}. {advice}")
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError("The model is not built: add a keras.Input, or call model.build(input_shape).")
    last = model.layers[-1]
    applied = (
        "softmax"
        if isinstance(last, keras.layers.Softmax)
        else getattr(getattr(last, "activation", None), "__name__", "linear")
    )
    if applied == "linear" or activation not in (None, applied):
        raise ValueError(
            f"There is no {activation or 'activation'} at the output: the last layer is {last.name!r} "
            f"({type(last).__name__}). {advice}"
        )
    is_bare = isinstance(last, (keras.layers.Softmax, keras.layers.Activation))
    scores: Any = None if is_bare else type(last).from_config({**last.get_config(), "activation": "linear"})
    if models.shape_is_of_first_call(model):
        opened = unroll(model).inputs  # free where the layers take any length
        layers = [keras.Input(batch_shape=opened.shape, dtype=opened.dtype), *model.layers[:-1], *([] if is_bare else [scores])]
        model_of_scores = keras.Sequential(layers, name=model.name)
    else:
        inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
        model_of_scores = keras.Model(inputs, last.input if is_bare else scores(last.input), name=model.name)
    if scores is not None:
        scores.set_weights(last.get_weights())
    return model_of_scores
