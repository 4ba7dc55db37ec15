"""Loops over many passes whose results are summed, so that memory does not grow with their number."""

from __future__ import annotations

import tensorflow as tf


def accumulate(count, step, zeros):
    """Runs ``step`` for 0, 1, ... count - 1, one after the other, also inside a graph.

    Args:
        count: int.
        step: function (index, sums as a nested structure of tensors) -> sums of the same structure.
        zeros: the sums at the beginning.
    """
    flat = tf.nest.flatten(zeros)

    def body(index, *sums):
        return (index + 1, *tf.nest.flatten(step(index, tf.nest.pack_sequence_as(zeros, list(sums)))))

    _, *totals = tf.while_loop(lambda index, *_: index < count, body, (tf.constant(0), *flat), parallel_iterations=1)
    return tf.nest.pack_sequence_as(zeros, totals)
