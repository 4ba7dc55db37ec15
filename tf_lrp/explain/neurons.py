"""Which output is explained: from a neuron selection to the relevance the pass starts from (R_init)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tf_lrp.target import Target

#: What `tf_lrp.Analyzer.analyze` takes as ``neuron_selection``.
NeuronSelection = ArrayLike | Target | Sequence[Target] | None

#: Modes of K targets per sample -> the mode of each of them; values are (N, K, ...).
SEVERAL = {"indices": "index", "positions": "position", "masks": "mask"}
_SEVERAL_OF = {one: several for several, one in SEVERAL.items()}


@dataclass(frozen=True)
class Selection:
    """A checked neuron selection.

    Attributes:
        mode: "max_activation", "all", "index" (ints, one per sample), "position" (an int for each axis), "mask" (floats that
            the output is multiplied by), one of `SEVERAL` for K of these per sample, or "r_init" (R_init itself).
        values: None, or ints (N,), (N, axes), floats of the output's shape; for several targets with a second axis of length K.
    """

    mode: str
    values: Any = None

    def rows(self, rows: slice) -> Selection:
        """The selection for some of the samples."""
        return self if self.values is None else replace(self, values=self.values[rows])

    def count(self) -> int | None:
        """K where K targets are selected for each sample, else None."""
        return self.values.shape[1] if self.mode in SEVERAL else None

    def each(self) -> list[Selection]:
        """One selection of one target per sample for each of the K targets."""
        count = self.count()
        if count is None:
            return [self]
        return [Selection(SEVERAL[self.mode], self.values[:, k]) for k in range(count)]

    def portions(self, size: int) -> list[Selection]:
        """The selection in portions of at most ``size`` targets per sample."""
        count = self.count()
        if count is None:
            return [self]
        return [replace(self, values=self.values[:, k : k + size]) for k in range(0, count, size)]


def values_spec(mode: str, targets: int | None, output) -> tf.TensorSpec | None:
    """The type and shape of a selection's values, or None for a mode without values.

    Args:
        mode: of a `Selection`.
        targets: K where the mode is one of `SEVERAL`, else None.
        output: symbolic tensor of the explained output.
    """
    batch, *entries = output.shape
    several = () if targets is None else (targets,)
    of_shape = (entries, output.dtype)
    of_mode = {"index": ((), tf.int32), "position": ((len(entries),), tf.int32), "mask": of_shape, "r_init": of_shape}
    one = SEVERAL.get(mode, mode)
    if one not in of_mode:
        return None
    shape, dtype = of_mode[one]
    return tf.TensorSpec((batch, *several, *shape), dtype)


def check(selection: NeuronSelection | Selection, samples: int | None, output_shape, dtype) -> Selection:
    """A user's neuron selection as a `Selection` of NumPy values.

    Args:
        selection: None, "max_activation", "all", an int, N ints, (N, K) ints, floats of the output's shape, a
            `tf_lrp.target.Target` or a list of K of these; a `Selection` is returned as it is.
        samples: N.
        output_shape: shape of the explained output with the batch axis.
        dtype: type of the relevance.

    Raises:
        ValueError, TypeError: if it is none of these, has the wrong shape, or names a neuron that is not there.
    """
    if isinstance(selection, Selection):
        return selection
    shape = tuple(output_shape)[1:]
    if selection is None or isinstance(selection, str):
        mode = "max_activation" if selection is None else selection
        if mode not in ("max_activation", "all"):
            raise ValueError(f'neuron_selection as a word is "max_activation" or "all", got {selection!r}.')
        return Selection(mode)
    targets = _targets(selection)
    if targets is not None:
        return _select_targets(selection, [t.values(samples, shape, dtype) for t in targets], np)
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
        return Selection("r_init", values.astype(dtype))
    neurons = _number_of_neurons(shape)
    if values.ndim > 2 or (values.ndim > 0 and len(values) != samples):
        raise ValueError(
            f"Integer neuron_selection is one index, one per sample, shape ({samples},), or K per sample, shape "
            f"({samples}, K); got shape {values.shape}."
        )
    _check_range(values, neurons)
    if values.ndim == 0:
        values = np.repeat(values, samples or 1)
    return Selection("index" if values.ndim == 1 else "indices", values.astype("int32"))


def _targets(selection) -> list[Target] | None:
    """The targets of a selection as a list, or None if it holds none."""
    if isinstance(selection, Target):
        return [selection]
    if not isinstance(selection, (list, tuple)) or not any(isinstance(t, Target) for t in selection):
        return None
    if len({getattr(t, "mode", None) for t in selection}) > 1:
        raise TypeError(f"A list of targets holds either neurons or regions, not both; got {', '.join(map(str, selection))}.")
    return list(selection)


def is_target(selection) -> bool:
    """Whether a neuron selection is a `tf_lrp.target.Target`, or a list of such."""
    return _targets(selection) is not None


def describe(selection) -> Any:
    """A neuron selection for JSON: a word, ints, floats, or the names of targets."""
    targets = _targets(selection)
    if targets is not None:
        return ", ".join(map(str, targets))
    return selection if selection is None or isinstance(selection, str) else np.asarray(selection).tolist()


def _select_targets(selection, values, library):
    """The `Selection` of one target or of a list, from the values of each target and ``library``, NumPy or TensorFlow."""
    if isinstance(selection, Target):
        return Selection(selection.mode, values[0])
    return Selection(_SEVERAL_OF[selection[0].mode], library.stack(values, axis=1))


def _check_range(values, neurons):
    outside = values[(values < 0) | (values >= neurons)]
    if outside.size:
        raise ValueError(f"There is no neuron {outside.flat[0]}: the output has the neurons 0 to {neurons - 1}.")


def _in_range(values, neurons):
    """The same tensor. An index that names no neuron raises an error: in a graph when it runs, and not under XLA."""
    known = tf.get_static_value(values)
    if known is not None:
        _check_range(known, neurons)
        return values
    outside = tf.reduce_any((values < 0) | (values >= neurons))
    message = f"There is no such neuron: the output has the neurons 0 to {neurons - 1}."
    with tf.control_dependencies([tf.debugging.Assert(~outside, [message, values])]):
        return tf.identity(values)


def _number_of_neurons(shape):
    """How many neurons of an output an index can name."""
    if len(shape) > 1 or shape == (None,):
        raise ValueError(
            f"The explained output has shape (N, {', '.join(map(str, shape))}), where an index does not name a "
            "neuron: give an index for each axis, tf_lrp.target.neuron(...), a part, tf_lrp.target.region(mask, channel), "
            'R_init as floats of that shape, "max_activation" (the largest of all) or "all".'
        )
    return shape[0] if shape else 1


def check_tensor(selection, output, samples) -> Selection:
    """As `check` for tensors whose values are not known yet: only type and rank can be checked.

    Args:
        selection: as for `check`; what is no tensor is checked completely.
        output: symbolic tensor of the explained output.
        samples: N, as a tensor.
    """
    if isinstance(selection, Selection):
        return selection
    if selection is None or isinstance(selection, str):
        return check(selection, None, (None,), None)
    targets = _targets(selection)
    if targets is not None:
        shape, dtype = tuple(output.shape)[1:], tf.as_dtype(output.dtype).as_numpy_dtype
        return _select_targets(selection, [t.tensor(samples, shape, dtype) for t in targets], tf)
    values = tf.convert_to_tensor(selection)
    if values.dtype.is_integer:
        values = _in_range(values, _number_of_neurons(tuple(output.shape)[1:]))
    if values.dtype.is_floating:
        return Selection("r_init", tf.cast(values, output.dtype))
    if not values.dtype.is_integer or values.shape.rank is None or values.shape.rank > 2:
        raise TypeError(
            f"neuron_selection needs integers of rank 0, 1 or 2, or floats; got {values.dtype.name} {values.shape}."
        )
    if values.shape.rank == 0:
        values = tf.fill([samples], values)
    return Selection("indices" if values.shape.rank == 2 else "index", tf.cast(values, tf.int32))


@dataclass(frozen=True)
class InitialRelevance:
    """R_init, the relevance that a backward pass is seeded with, as a function of the explained output.

    Attributes:
        mode: of a `Selection` with one target per sample.
        values: its values as a tensor, or None.
        with_one: whether a selected neuron is seeded with 1, not with its value.
    """

    mode: str
    values: Any = None
    with_one: bool = False

    def __call__(self, output):
        """R_init, shaped like ``output`` (N, ...): at the explained neuron its value (or 1), 0 elsewhere."""
        if self.mode == "r_init":
            return self.values
        if self.mode == "all":
            return tf.ones_like(output) if self.with_one else output
        if self.mode == "mask":
            mask = self._mask(output)
            return mask if self.with_one else tf.math.multiply_no_nan(output, mask)
        flat = tf.reshape(output, tf.stack([tf.shape(output)[0], -1]))
        chosen = tf.one_hot(self._index(output), tf.shape(flat)[-1], dtype=flat.dtype)
        # multiply_no_nan: an infinite score elsewhere must not turn 0 into NaN.
        return tf.reshape(chosen if self.with_one else tf.math.multiply_no_nan(flat, chosen), tf.shape(output))

    def fixed(self, output) -> InitialRelevance:
        """The seed that explains the neurons that are strongest in this output, also when it is called on another one."""
        if self.mode != "max_activation":
            return self
        return replace(self, mode="index", values=self._index(output))

    def repeated(self, times: int) -> InitialRelevance:
        """The seed for the batch repeated ``times`` times along its first axis."""
        if self.values is None or times == 1:
            return self
        return replace(self, values=tf.tile(self.values, [times] + [1] * (self.values.shape.rank - 1)))

    def score(self, output):
        """The explained score (N,): <R_init, output>, with R_init seeded with 1."""
        seed_of_ones = replace(self, with_one=True)
        return tf.reduce_sum(tf.reshape(seed_of_ones(output) * output, tf.stack([tf.shape(output)[0], -1])), axis=-1)

    def _index(self, output):
        """The explained entry (N,) of each sample, counted through all axes."""
        if self.mode == "max_activation":
            flat = tf.reshape(output, tf.stack([tf.shape(output)[0], -1]))
            return tf.argmax(flat, axis=-1, output_type=tf.int32)
        if self.mode == "index":
            return self.values
        index = tf.zeros_like(self.values[:, 0])
        for axis, length in enumerate(output.shape[1:]):
            at = self.values[:, axis]
            size = tf.shape(output)[axis + 1] if length is None else length
            at = tf.where(at < 0, at + size, at)
            if length is None or tf.executing_eagerly():  # lengths that the model fixes were checked before anything ran
                inside = tf.debugging.Assert(
                    tf.reduce_all((at >= 0) & (at < size)), ["The output has no such index:", at, size]
                )
                with tf.control_dependencies([] if inside is None else [inside]):
                    at = tf.identity(at)
            index = index * size + at
        return index

    def _mask(self, output):
        """The mask, checked to have the output's shape: it would be broadcast where a length is 1."""
        if output.shape[1:].is_fully_defined() and not tf.executing_eagerly():
            return self.values
        shapes = [tf.shape(self.values), tf.shape(output)]
        checked = tf.debugging.Assert(
            tf.reduce_all(tf.equal(shapes[0], shapes[1])), ["The mask and the output have different shapes:", *shapes]
        )
        if checked is None:  # it has been checked
            return self.values
        with tf.control_dependencies([checked]):
            return tf.identity(self.values)
