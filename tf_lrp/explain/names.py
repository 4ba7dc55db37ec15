"""Outputs and layers as users name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
from keras import tree

from tf_lrp.keras_compat import models
from tf_lrp.messages.names import did_you_mean


def output_names(twin, model) -> list[str]:
    """One name for each output: the keys of a dict (dotted where dicts are nested), else Keras's output names."""
    structure = models.output_structure(twin)
    if isinstance(structure, dict):
        return [".".join(map(str, path)) for path, _ in tree.flatten_with_path(structure)]
    names = getattr(model, "output_names", ())  # a Sequential model has none
    return list(names) if len(names) == len(twin.outputs) else [f"output_{n}" for n in range(len(twin.outputs))]


def output_position(output: str | int | None, names: Sequence[str], tensors: Sequence) -> int:
    """Which output a user means.

    Args:
        output: name or index of an output; None for the only one.
        names: of all outputs.
        tensors: symbolic tensors of all outputs.

    Raises:
        ValueError: if there is no such output, or it holds no floats.
    """
    position = _position(output, names)
    dtype = tensors[position].dtype
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"The output {names[position]!r} is of type {dtype}, which has no relevance: explain the scores that it was "
            "computed from."
        )
    return position


def _position(output, names):
    if output is None and len(names) == 1:
        return 0
    if isinstance(output, str) and names.count(output) == 1:
        return names.index(output)
    if isinstance(output, int) and not isinstance(output, bool) and 0 <= output < len(names):
        return output
    raise ValueError(
        f"The model has {len(names)} output(s): {', '.join(map(repr, names))}. Say which one is explained, output=name or "
        f"output=index; got {output!r}."
    )


def layer_names(layers, layer_outputs: Mapping[str, list]) -> tuple[str, ...] | None:
    """The names of layers as a tuple, or None.

    Args:
        layers: name, list or tuple of names, or None.
        layer_outputs: layer name -> its outputs, for every layer that there is.

    Raises:
        TypeError: for what is no list of names.
        ValueError: for a layer that is not there, with the nearest names.
    """
    if layers is None:
        return None
    if not isinstance(layers, (str, list, tuple)):
        raise TypeError(f"layers is a list of layer names, got {type(layers).__name__}: {layers!r}.")
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    for name in names:
        if name not in layer_outputs:
            raise ValueError(
                f"There is no layer {name!r} below the explained outputs.{did_you_mean(name, layer_outputs)} The model's "
                f"{len(layer_outputs)} layers go from {next(iter(layer_outputs), None)!r} to "
                f"{next(reversed(list(layer_outputs)), None)!r}; model.summary() shows them."
            )
    return names
