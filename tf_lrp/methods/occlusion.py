"""Occlusion: what the score loses when a part of the input is covered."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from tf_lrp.messages import checks
from tf_lrp.methods.base import Method
from tf_lrp.methods.sampling import accumulate


class Occlusion(Method):
    """R_i = mean over the windows w that cover i of (f(x) - f(x with w covered)) / |w|, in score units.

    |w| counts the elements of a window, so that windows that do not overlap sum to what the score loses by them all. Windows
    run over all axes but samples and channels: squares of a picture, spans of a sequence, single features of a table.

    Args:
        model, **options: see `Method`.
        size: int, or one int per axis: edge of a window; an eighth of each axis (at least 1) by default.
        stride: int or one per axis: step from window to window; by default ``size``. A last window ends at the border; what
            longer steps leave uncovered gets 0.
        value: float, what covers.

    It costs one forward pass per window.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks".
    """

    seed_with_one = True
    explains_layers = False

    def __init__(self, model, size=None, stride=None, value=0.0, **options):
        super().__init__(model, **options)
        self.category_inputs.refuse("Occlusion replaces a part of the input by a number")
        self.size, self.stride, self.value = size, stride, value
        self._windows = [self._windows_of(tensor) for tensor in self.input_spec.tensors]

    def parameters(self):
        return {"size": self.size, "stride": self.stride, "value": self.value}

    def _windows_of(self, tensor):
        """(first places (W, axes), sizes (axes,), axes) of the windows of an input."""
        rank = len(tensor.shape)
        axes = [1] if rank <= 3 else list(range(2, rank) if self.channel_axis == 1 else range(1, rank - 1))
        lengths = [tensor.shape[axis] for axis in axes]
        if rank < 2 or None in lengths:
            raise ValueError(f"Occlusion needs inputs of known size; {tensor.name!r} has shape {tensor.shape}.")
        eighth = [1 if rank == 2 else max(1, length // 8) for length in lengths]
        sizes = _per_axis("size", self.size, eighth, lengths)
        strides = _per_axis("stride", self.stride, sizes, lengths)
        firsts = [sorted({*range(0, n - s + 1, step), n - s}) for n, s, step in zip(lengths, sizes, strides, strict=True)]
        return np.array(list(itertools.product(*firsts)), "int32"), sizes, axes

    @property
    def passes(self):
        return sum(len(firsts) for firsts, _, _ in self._windows)

    def attribute(self, probe, inputs, seeds):
        (explained,) = tf.nest.flatten(probe(inputs, training=False))
        seeds = [seed.fixed(explained) for seed in seeds]
        scores = [seed.score(explained) for seed in seeds]
        relevances = [[] for _ in seeds]
        for position, (x, (firsts, sizes, axes)) in enumerate(zip(inputs, self._windows, strict=True)):
            elements = tf.cast(tf.reduce_prod(tf.shape(x)[1:]), x.dtype)
            places = tf.constant(firsts)

            def step(index, sums, x=x, position=position, places=places, sizes=sizes, axes=axes, elements=elements):
                *maps, covers = sums
                mask = _mask(x, places[index], sizes, axes)
                covered = tf.where(mask > 0, tf.constant(self.value, x.dtype), x)
                given = [covered if n == position else other for n, other in enumerate(inputs)]
                (output,) = tf.nest.flatten(probe(given, training=False))
                size = elements * tf.reduce_mean(mask)
                losses = [(s - seed.score(output)) / size for s, seed in zip(scores, seeds, strict=True)]
                shown = [m + mask * tf.reshape(d, [-1] + [1] * (x.shape.rank - 1)) for m, d in zip(maps, losses, strict=True)]
                return [*shown, covers + mask]

            zeros = [*[tf.zeros_like(x) for _ in seeds], tf.zeros_like(x[:1])]
            *maps, covers = accumulate(len(firsts), step, zeros)
            for each, summed in zip(relevances, maps, strict=True):
                each.append(tf.math.divide_no_nan(summed, covers))
        return explained, relevances


def _mask(x, first, sizes, axes):
    """1 inside a window, 0 outside: (1, ...) of the sample's shape."""
    inside = tf.ones_like(x[:1])
    for n, (size, axis) in enumerate(zip(sizes, axes, strict=True)):
        places = tf.range(tf.shape(x)[axis])
        flags = tf.cast((places >= first[n]) & (places < first[n] + size), x.dtype)
        inside *= tf.reshape(flags, [-1 if a == axis else 1 for a in range(x.shape.rank)])
    return inside


def _per_axis(name, given, default, lengths):
    values = default if given is None else checks.integers(name, given, len(lengths))
    return [min(v, length) for v, length in zip(values, lengths, strict=True)]
