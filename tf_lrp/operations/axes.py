"""Where an axis of an input lies in the output of an operation that only moves values.

Each function takes (node, axis, before, after): the `Node`, the position of the axis, and the shapes of the input and the
output. It returns the new position, `GONE` where one entry is taken along the axis, or None where the axis is mixed up with
others.
"""

from __future__ import annotations

import math

import numpy as np
from keras import tree

GONE = "gone"


def kept(node, axis, before, after):
    """Axes stay where they are, as far as the number of axes tells."""
    return axis if len(before) == len(after) else None


def mixed(node, axis, before, after):
    """Values move between axes, or compete along them."""
    return None


def unless_flattened(node, axis, before, after):
    """Without an ``axis`` everything is flattened first."""
    return None if node.operation.axis is None else kept(node, axis, before, after)


def sorted_along(node, axis, before, after):
    return axis if node.operation.axis % len(before) == axis else None


def merge_time(node, axis, before, after):
    return axis - 1 if axis > 1 else None


def split_time(node, axis, before, after):
    return axis + 1 if axis > 0 else None


def repeat_vector(node, axis, before, after):
    return axis + 1 if axis else axis


def permute(node, axis, before, after):
    return node.operation.dims.index(axis) + 1 if axis else 0


def transpose(node, axis, before, after):
    rank, axes = len(before), node.operation.axes
    return ([a % rank for a in axes] if axes else list(range(rank))[::-1]).index(axis)


def swap(node, axis, before, after):
    pair = [node.operation.axis1 % len(before), node.operation.axis2 % len(before)]
    return pair[1 - pair.index(axis)] if axis in pair else axis


def move(node, axis, before, after):
    marked = np.zeros([2 if a == axis else 1 for a in range(len(before))])
    return np.moveaxis(marked, node.operation.source, node.operation.destination).shape.index(2)


def rotate(node, axis, before, after):
    marked = np.zeros([2 if a == axis else 1 for a in range(len(before))])
    return np.rot90(marked, node.operation.k, node.operation.axes).shape.index(2)


def stack(node, axis, before, after):
    return axis + (node.operation.axis % len(after) <= axis)


def unstack(node, axis, before, after):
    gone = node.operation.axis % len(before)
    return GONE if gone == axis else axis - (gone < axis)


def expand(node, axis, before, after):
    new = {a % len(after) for a in tree.flatten(node.operation.axis)}
    return [a for a in range(len(after)) if a not in new][axis]


def squeeze(node, axis, before, after):
    rank, axes = len(before), node.operation.axis
    gone = {a for a in range(rank) if before[a] == 1} if axes is None else {a % rank for a in tree.flatten(axes)}
    return GONE if axis in gone else axis - sum(a < axis for a in gone)


def broadcast(node, axis, before, after):
    return axis + len(after) - len(before)


def reshape(node, axis, before, after):
    """The axis of the same length with as many entries behind it."""

    def behind(shape, position):
        rest = shape[position + 1 :]
        return rest.count(None), math.prod(n for n in rest if n is not None)

    same = [a for a, n in enumerate(after) if n == before[axis] and behind(after, a) == behind(before, axis)]
    return same[0] if same else None


def item(node, axis, before, after):
    """The axis after x[key]."""
    key = node.args[1] if len(node.args) > 1 else node.kwargs["key"]
    key = list(key) if isinstance(key, tuple) else [key]
    if not all(part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in key):
        return None  # arrays of positions
    taken = sum(part is not None and part is not Ellipsis for part in key)
    places = [n for n, part in enumerate(key) if part is Ellipsis]
    place = places[0] if places else len(key)
    key[place : place + 1] = [slice(None)] * (len(before) - taken)
    position, source = 0, 0
    for part in key:
        if part is None:
            position += 1
            continue
        is_slice = isinstance(part, slice)
        if source == axis:
            return position if is_slice else GONE
        source, position = source + 1, position + is_slice
    return None


def sized(node, axis, before, after):
    """Functions whose lengths are known when the graph runs."""
    rule = {"item": kept, "broadcast_to": broadcast, "reshape": reshape}.get(node.operation.function.__name__, mixed)
    return rule(node, axis, before, after)
