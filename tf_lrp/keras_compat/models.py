"""The structure of models: their Functional graph, the shapes that they were built for, the arguments of a layer."""

from __future__ import annotations

import re

import keras
from keras.src.backend import compute_output_spec
from keras.src.models.functional import Functional


def takes(layer, argument):
    """Whether a layer's ``call`` has a parameter of this name."""
    signature = getattr(layer, "_call_signature", None)
    return signature is not None and argument in signature.parameters


def functional_of(model):
    """The Functional graph of a Sequential or Functional model, or None for a subclassed or unbuilt one."""
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def input_structure(functional):
    """The nested structure (list, dict, single) of symbolic tensors in which the model takes its inputs."""
    return functional._inputs_struct


def output_structure(functional):
    """The nested structure in which the model returns its outputs."""
    return functional._outputs_struct


def built_shapes(model):
    """The nested shapes that a subclassed model was first called on, or None if it never was."""
    shapes = model._build_shapes_dict or {}
    return next(iter(shapes.values())) if len(shapes) == 1 else None


def shape_is_of_first_call(model):
    """Whether Keras took the shape of a model's input from the first batch, because the model has no Input.

    Only a Sequential model gets its input layer from Keras: with a type, the full shape including the number of samples, and
    a generated name. A user's Input is created with a shape without the batch, or with a name, or without a type. In a saved
    file every input layer has all three; there only an unknown number of samples distinguishes a user's Input.
    """
    if not isinstance(model, keras.Sequential) or functional_of(model) is None:
        return False
    first, second = model._layers[:2]
    inner = functional_of(second)
    if inner is not None and inner.inputs and inner.inputs[0].shape == first.batch_shape:
        return shape_is_of_first_call(second)  # the model begins with another model, which has an input
    given = first._auto_config.config if first._auto_config else {}
    without_batch = given.get("shape") is not None or given.get("batch_size") is not None
    named = not re.fullmatch(r"input_layer(_\d+)?", first.name)
    return not (without_batch or named or given.get("dtype") is None or first.batch_shape[0] is None)


def accepts(model, shape, dtype):
    """Whether a model can be run on an input of this shape, as TensorFlow infers the shapes in it."""
    try:
        compute_output_spec(lambda x: model.call(x, training=False), keras.KerasTensor(shape, dtype))
    except Exception:  # whatever layers raise where lengths do not fit
        return False
    return True


def initial_state(recurrent):
    """The state that a recurrent layer starts from for one sample, as a list (nested for stacked cells)."""
    return keras.layers.RNN.get_initial_state(recurrent, batch_size=1)


def layers_in(model):
    """A model and all layers in it, also those within layers and nested models."""
    return list(model._flatten_layers())


def is_connected(tensor):
    """Whether a symbolic tensor is an input, or computed by layers from inputs, so that a keras.Model can return it."""
    return hasattr(tensor, "_keras_history")
