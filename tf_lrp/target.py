"""Targets in structured outputs, where an index does not say enough: an anchor's class, a class over a mask.

    analyzer.analyze(x, tf_lrp.target.neuron(12, 3))                  # output (N, anchors, classes)
    analyzer.analyze(x, tf_lrp.target.region(mask, channel=5))        # output (N, H, W, classes)

They are given as ``neuron_selection``, to `analyze`, to an analyzer in a tf.data pipeline, and to `export`. A list of K
targets explains K of them from one forward pass, as (N, K) ints do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lrp.messages.checks import is_integer
from tf_lrp.runs.fingerprints import digest


class Target:
    """What is explained of an output (N, ...) of any rank."""

    #: Of the `tf_lrp.explain.neurons.Selection` that it becomes.
    mode = ""

    def values(self, samples, shape, dtype):
        """The values of the selection, as NumPy.

        Args:
            samples: N; 1 where one target serves any number of samples.
            shape: of one sample of the output; None for unknown lengths.
            dtype: of the output.

        Raises:
            ValueError, TypeError: if the output has no such target.
        """
        raise NotImplementedError(f"{type(self).__name__} explains nothing")

    def tensor(self, samples, shape, dtype):
        """As `values`, as a tensor, for a number of samples that is a tensor; where the target holds tensors, unchecked."""
        if self.is_known():
            values = tf.constant(self.values(None, shape, dtype))
            return tf.broadcast_to(values, tf.concat([[samples], tf.shape(values)[1:]], 0))
        return self._unknown(samples, shape, dtype)

    def _unknown(self, samples, shape, dtype):
        """As `tensor` where the target holds tensors."""
        raise NotImplementedError(f"{type(self).__name__} explains nothing")

    def is_known(self):
        """Whether it holds no tensors, whose values are known only when they are computed."""
        raise NotImplementedError(f"{type(self).__name__} explains nothing")


@dataclass(frozen=True, eq=False)
class Neuron(Target):
    """One entry of a sample's output, see `neuron`."""

    indices: tuple

    mode = "position"

    def is_known(self):
        return not any(tf.is_tensor(i) for i in self.indices)

    def values(self, samples, shape, dtype):
        self._check_rank(shape)
        for index, length in zip(self.indices, shape, strict=True):
            if length is None:
                continue
            outside = index[(index < -length) | (index >= length)]
            if outside.size:
                raise ValueError(
                    f"There is no {self}: the output has the shape {_shown(shape)}, and {outside.flat[0]} is outside of "
                    f"{-length} to {length - 1}."
                )
        counts = {len(index) for index in self.indices if index.ndim}
        if len(counts) > 1 or (samples is not None and counts - {samples}):
            raise ValueError(f"A neuron has one index an axis, or one for each of {samples or 'N'} samples; got {self}.")
        count = samples or max(counts, default=1)
        return np.stack([np.broadcast_to(index, (count,)) for index in self.indices], axis=1).astype("int32")

    def _unknown(self, samples, shape, dtype):
        self._check_rank(shape)
        return tf.stack([tf.broadcast_to(tf.cast(index, tf.int32), [samples]) for index in self.indices], axis=1)

    def _check_rank(self, shape):
        if len(shape) != len(self.indices):
            needed = "leave neuron_selection out" if not shape else f"give {len(shape)} indices"
            raise ValueError(f"The output has the shape {_shown(shape)}, and {self} names {len(self.indices)} axes: {needed}.")

    def __str__(self):
        return f"neuron({', '.join(_shortened(index) for index in self.indices)})"


@dataclass(frozen=True, eq=False)
class Region(Target):
    """A part of a sample's output, see `region`."""

    mask: Any
    channel: int | None = None
    reduce: str = "sum"
    axis: int = -1

    mode = "mask"

    def is_known(self):
        return not tf.is_tensor(self.mask)

    def values(self, samples, shape, dtype):
        mask, axis = np.asarray(self.mask), self._checked_axis(shape, np.shape(self.mask))
        space = shape if axis is None else shape[:axis] + shape[axis + 1 :]
        own = mask.ndim == len(space) + 1
        fits = all(length in (None, m) for length, m in zip(space, mask.shape[own:], strict=True))
        if not fits or (own and samples is not None and len(mask) != samples):
            raise ValueError(
                f"A mask on the output, of shape {_shown(shape)}, needs the shape {tuple(space)}, or {_shown(space, samples)} "
                f"with one for each sample; got {mask.shape}."
            )
        mask = (mask if own else mask[np.newaxis]).astype(float)
        total = mask.sum(axis=tuple(range(1, mask.ndim)), keepdims=True)
        if (total == 0).any():
            which = f" of sample {int(np.argmin(total))}" if own else ""
            raise ValueError(f"The mask{which} is empty: there is nothing to explain.")
        weights = (mask / total if self.reduce == "mean" else mask).astype(dtype)
        if axis is not None:
            hot = np.zeros(shape[axis], dtype)
            hot[self.channel] = 1
            weights = np.expand_dims(weights, axis + 1) * hot.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        return np.broadcast_to(weights, (samples or len(weights), *weights.shape[1:]))

    def _unknown(self, samples, shape, dtype):
        axis = self._checked_axis(shape, self.mask.shape)
        rank = len(shape) - (axis is not None)
        mask = tf.cast(self.mask if self.mask.shape.rank == rank + 1 else self.mask[tf.newaxis], dtype)
        if self.reduce == "mean":
            mask = tf.math.divide_no_nan(mask, tf.reduce_sum(mask, list(range(1, rank + 1)), keepdims=True))
        if axis is not None:
            hot = tf.one_hot(self.channel % shape[axis], shape[axis], dtype=dtype)
            mask = tf.expand_dims(mask, axis + 1) * tf.reshape(hot, [-1 if a == axis else 1 for a in range(len(shape))])
        return tf.broadcast_to(mask, tf.concat([[samples], tf.shape(mask)[1:]], 0))

    def _checked_axis(self, shape, mask_shape):
        """Of the channel in one sample of the output, or None without a channel."""
        rank = len(shape) - (self.channel is not None)
        if len(mask_shape) not in (rank, rank + 1) or rank < 1:
            hint = " Say which class with channel=." if self.channel is None and len(mask_shape) in (rank - 1, rank) else ""
            beside = "" if self.channel is None else " beside a channel"
            raise ValueError(
                f"A mask of shape {tuple(mask_shape)}{beside} does not fit the output, of shape {_shown(shape)}.{hint}"
            )
        if self.channel is None:
            return None
        axis = self.axis + len(shape) if self.axis < 0 else self.axis - 1
        if not 0 <= axis < len(shape):
            raise ValueError(f"The output, of shape {_shown(shape)}, has no axis {self.axis} of channels.")
        channels = shape[axis]
        if channels is None or not -channels <= self.channel < channels:
            known = "an unknown number of" if channels is None else channels
            raise ValueError(
                f"There is no channel {self.channel}: the output, {_shown(shape)}, has {known} at axis {self.axis}."
            )
        return axis

    def __str__(self):
        shape = "x".join("N" if s is None else str(s) for s in self.mask.shape)
        # Two masks of one shape are two targets.
        mark = f" {digest([self.mask])[:8]}" if self.is_known() else ""
        channel = "" if self.channel is None else f", channel={self.channel}"
        return f"region(mask of {shape}{mark}{channel}, reduce={self.reduce!r})"


def neuron(*indices: Any) -> Neuron:
    """One entry of a structured output: ``neuron(12, 3)`` is output[:, 12, 3], an anchor's class.

    The pass starts from its value (or from 1, for methods that are derivatives), so that relevance sums to it.

    Args:
        *indices: one for each axis of the output but the batch: an int, from the end where it is negative, or ints (N,), one
            for each sample; in `analyzer(x, ...)` also integer tensors.

    Raises:
        TypeError: for indices that are no integers.
        ValueError: without any, or for those of more than one axis; later, when the output has no such place.

    Example:
        >>> best = model.predict(x)[..., 3].argmax(axis=1)               # which anchor sees class 3, in each picture
        >>> relevance = analyzer.analyze(x, tf_lrp.target.neuron(best, 3))
    """
    if not indices:
        raise ValueError("neuron needs an index for each axis of the output but the batch, as in neuron(12, 3).")
    return Neuron(tuple(map(_index, indices)))


def region(mask: Any, channel: int | None = None, reduce: str = "sum", axis: int = -1) -> Region:
    """The scores of a class over a mask: sum_p mask_p output[:, p, channel], or their mean, with sum_p mask_p below.

    The pass starts from mask * output at that channel (divided by the mask's sum for the mean), so that relevance sums to the
    sum or mean of the scores; for methods that are derivatives from the mask itself.

    Args:
        mask: bools (or 0 and 1), or floats >= 0 by which places count, on the output without its channels: (H, W) for an
            output (N, H, W, C), or (N, H, W) for one a sample; in `analyzer(x, ...)` also a tensor.
        channel: the class, from the end where it is negative; None where the mask covers the complete output, (N, H, W) or one
            with a mask (H, W, C).
        reduce: "sum" or "mean".
        axis: of the channels in the output with its batch: -1, or 1 for channels first.

    Raises:
        TypeError, ValueError: for what is no mask, channel or axis; later, when they do not fit the output.

    Example:
        >>> found = model.predict(x).argmax(axis=-1)                     # (N, H, W)
        >>> relevance = analyzer.analyze(x, tf_lrp.target.region(found == 5, channel=5))
    """
    if reduce not in ("sum", "mean"):
        raise ValueError(f'reduce is "sum" or "mean"; got {reduce!r}.')
    for name, value in (("channel", channel), ("axis", axis)):
        if not (name == "channel" and value is None) and not is_integer(value):
            raise TypeError(f"{name} is an integer; got {value!r}.")
    if axis == 0:
        raise ValueError("axis=0 is the batch's: channels have axis -1, or 1 where they come first.")
    if not tf.is_tensor(mask):
        mask = _mask(mask)
    elif not (mask.dtype.is_floating or mask.dtype == tf.bool) or mask.shape.rank is None:
        raise TypeError(f"A mask is of bools or floats and a known rank; got {mask.dtype.name} {mask.shape}.")
    return Region(mask, None if channel is None else int(channel), reduce, int(axis))


def _index(value):
    if tf.is_tensor(value):
        if not value.dtype.is_integer or value.shape.rank not in (0, 1):
            raise TypeError(f"An index is an integer, or one for each sample; got {value.dtype.name} {value.shape}.")
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"An index is an integer, or one for each sample; got {value!r}.")
    if array.ndim > 1 or not array.size:
        raise ValueError(f"An index is an integer, or one for each sample; got an array of shape {array.shape}.")
    return array.astype("int64")


def _mask(mask):
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise ValueError(f"The mask is no rectangular array: {error}.") from None
    if array.dtype.kind in "iu" and np.isin(array, (0, 1)).all():
        return array.astype(bool)
    if array.dtype.kind not in "bf":
        raise TypeError(
            f"A mask is of bools, of 0 and 1, or of floats >= 0; got {type(mask).__name__} of type {array.dtype}. Of a map of "
            "classes, take found == 5."
        )
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError("A mask of floats says by how much places count: finite and >= 0; give R_init as floats for others.")
    return array


def _shown(shape, samples=None):
    return f"({', '.join([str(samples or 'N'), *('any' if s is None else str(s) for s in shape)])})"


def _shortened(index):
    if tf.is_tensor(index):
        return f"tensor {index.shape}"
    return str(index) if index.ndim == 0 else f"[{', '.join(map(str, index[:4]))}{', ...' if len(index) > 4 else ''}]"
