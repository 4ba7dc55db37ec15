"""Positions, ranks, and values that are chosen by index or condition."""

from __future__ import annotations

import numpy as np
from keras import ops

from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import replays
from tf_lrp.keras_compat.tensorflow_graphs.values import as_list, is_tensor


@replays("ArgMax")
def _argmax(node, x, axis):
    return ops.cast(ops.argmax(x, axis=int(np.ravel(axis)[0])), _type(node, "output_type", "int64"))


@replays("ArgMin")
def _argmin(node, x, axis):
    return ops.cast(ops.argmin(x, axis=int(np.ravel(axis)[0])), _type(node, "output_type", "int64"))


def _type(node, name, default):
    dtype = node.attr(name)
    return default if dtype is None else dtype.name


@replays("TopKV2")
def _top(node, x, count):
    return tuple(ops.top_k(x, int(np.ravel(count)[0]), sorted=node.attr("sorted", True)))


@replays("OneHot")
def _one_hot(node, indices, depth, on, off):
    codes = ops.one_hot(indices, int(np.ravel(depth)[0]), axis=node.attr("axis", -1), dtype=_type(node, "T", "float32"))
    on, off = float(on), float(off)
    return codes if (on, off) == (1.0, 0.0) else ops.add(ops.multiply(codes, on - off), off)


@replays("Where")
def _where(node, condition):
    raise Unexplainable("it lists the positions of entries, whose number depends on what the graph computes")


@replays("GatherNd")
def _gather_entries(node, values, indices):
    """Entries at positions that are known: values of the flattened tensor."""
    if is_tensor(indices):
        raise Unexplainable("the positions of the entries that it gathers depend on what the graph computes")
    indices = np.asarray(indices)
    count = indices.shape[-1]
    sizes = values.shape[:count]
    if None in sizes:
        raise Unexplainable("it gathers entries along an axis whose length is unknown")
    flat = ops.reshape(values, (int(np.prod(sizes)), *[-1 if n is None else n for n in values.shape[count:]]))
    return ops.take(flat, np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0)), sizes), axis=0)


def _number_of_segments(segments, count):
    """The number of segments, for operations that are told it (``count``) or take that of the indices."""
    if count is not None:
        return as_list(count)[0]
    if is_tensor(segments):
        raise Unexplainable("the number of its segments depends on what the graph computes")
    return int(np.max(segments)) + 1


@replays("SegmentSum", "UnsortedSegmentSum")
def _segment_sum(node, values, segments, count=None):
    return ops.segment_sum(values, segments, num_segments=_number_of_segments(segments, count))


@replays("SegmentMax", "UnsortedSegmentMax")
def _segment_max(node, values, segments, count=None):
    return ops.segment_max(values, segments, num_segments=_number_of_segments(segments, count))
