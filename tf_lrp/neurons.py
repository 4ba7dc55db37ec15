"""Which output is explained: from a neuron selection to the relevance the pass starts from (R_init)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Selection:
    """A checked neuron selection.

    Attributes:
        mode: "max_activation", "all", "index" (ints, one per sample), "indices" (ints, K per sample) or "relevance"
            (R_init itself).
        values: None, or the ints (N,), (N, K) or floats of the output's shape.
    """

    mode: str
    values: object = None


def check(selection, samples, output_shape, dtype):
    """A user's neuron selection as a `Selection` of NumPy values.

    Args:
        selection: None, "max_activation", "all", an int, N ints, (N, K) ints, or floats of the output's shape.
        samples: N.
        output_shape: shape of the explained output with the batch axis.
        dtype: type of the relevance.

    Raises:
        ValueError, TypeError: if it is none of these, has the wrong shape, or names a neuron that is not there.
    """
    shape = tuple(output_shape)[1:]
    if selection is None or isinstance(selection, str):
        mode = "max_activation" if selection is None else selection
        if mode not in ("max_activation", "all"):
            raise ValueError(f'neuron_selection as a word is "max_activation" or "all", got {selection!r}.')
        return Selection(mode)
    try:
        values = np.asarray(selection)
    except ValueError as error:
        raise ValueError(f"neuron_selection is no rectangular array: {error}.") from None
    if not values.size:
        raise ValueError(f"neuron_selection is empty (shape {values.shape}): there is nothing to explain.")
    if values.dtype == bool or values.dtype.kind not in "iuf":
        raise TypeError(
            "neuron_selection is a neuron's index, one index per sample, (N, K) indices, or R_init as floats of the output's "
            f"shape; got {type(selection).__name__} of type {values.dtype}."
        )
    if values.dtype.kind == "f":
        if values.shape != (samples, *shape) or any(s is None for s in shape):
            known = len(values.shape) == len(shape) + 1 and values.shape[0] == samples
            fits = known and all(s in (None, v) for s, v in zip(shape, values.shape[1:], strict=True))
            if not fits:
                raise ValueError(
                    f"R_init (float neuron_selection) needs the output's shape {(samples, *shape)}, got {values.shape}."
                )
        if not np.isfinite(values).all():
            raise ValueError("R_init (float neuron_selection) holds NaN or infinite values.")
        return Selection("relevance", values.astype(dtype))
    neurons = _neurons(shape)
    if values.ndim > 2 or (values.ndim > 0 and len(values) != samples):
        raise ValueError(
            f"Integer neuron_selection is one index, one per sample, shape ({samples},), or K per sample, shape "
            f"({samples}, K); got shape {values.shape}."
        )
    _check_range(values, neurons)
    if values.ndim == 0:
        values = np.full(samples, values)
    return Selection("index" if values.ndim == 1 else "indices", values.astype("int32"))


def _check_range(values, neurons):
    outside = values[(values < 0) | (values >= neurons)]
    if outside.size:
        raise ValueError(f"There is no neuron {outside.flat[0]}: the output has the neurons 0 to {neurons - 1}.")


def _neurons(shape):
    """How many neurons an index can name."""
    if len(shape) > 1 or shape == (None,):
        raise ValueError(
            f"The explained output has shape (N, {', '.join(map(str, shape))}), where an index does not name a "
            'neuron: give R_init as floats of that shape, "max_activation" (the largest of all) or "all".'
        )
    return shape[0] if shape else 1


def check_tensor(selection, output):
    """As `check` for tensors whose values are not known yet: only type and rank can be looked at.

    Args:
        selection: as for `check`; what is no tensor is known and checked for neurons that are not there.
        output: symbolic tensor of the explained output.
    """
    if selection is None or isinstance(selection, str):
        return check(selection, None, (None,), None)
    if not tf.is_tensor(selection):
        known = np.asarray(selection)
        if known.dtype.kind in "iu":
            _check_range(known, _neurons(tuple(output.shape)[1:]))
    values = tf.convert_to_tensor(selection)
    if values.dtype.is_floating:
        return Selection("relevance", tf.cast(values, output.dtype))
    if not values.dtype.is_integer or values.shape.rank is None or values.shape.rank > 2:
        raise TypeError(
            f"neuron_selection needs integers of rank 0, 1 or 2, or floats; got {values.dtype.name} {values.shape}."
        )
    return Selection("indices" if values.shape.rank == 2 else "index", tf.cast(values, tf.int32))


def initial_relevance(mode, values, output):
    """R_init: the output's value at the explained neuron and 0 elsewhere.

    Args:
        mode: of the `Selection` (with "indices" one column at a time, as "index").
        values: its values as a tensor, or None.
        output: tensor (N, ...), the explained output.

    Returns:
        Tensor shaped like ``output``.
    """
    if mode == "relevance":
        return values
    if mode == "all":
        return output
    flat = tf.reshape(output, tf.stack([tf.shape(output)[0], -1]))
    index = tf.argmax(flat, axis=-1, output_type=tf.int32) if mode == "max_activation" else values
    # multiply_no_nan: an infinite score elsewhere must not turn 0 into NaN.
    selected = tf.math.multiply_no_nan(flat, tf.one_hot(index, tf.shape(flat)[-1], dtype=flat.dtype))
    return tf.reshape(selected, tf.shape(output))
