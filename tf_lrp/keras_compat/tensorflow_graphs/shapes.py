"""Shapes, axes and parts of tensors; the arithmetic with lengths that are known only when the graph runs."""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from tf_lrp.keras_compat.parameters import LEARNED
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import ON_LENGTHS, add, replays
from tf_lrp.keras_compat.tensorflow_graphs.values import (
    Complex,
    as_list,
    as_tensor,
    computed,
    is_lengths,
    is_tensor,
    lengths,
    number,
    shape_of,
)
from tf_lrp.keras_compat.tensorflow_graphs.weighted import GraphConv, GraphDense


def _known(value):
    """The numbers in a constant; what depends on the inputs cannot say where values go."""
    if is_tensor(value) or isinstance(value, LEARNED):
        raise Unexplainable("where its values go depends on what the graph computes")
    return value


@replays("Shape", always=True)
def _shape(node, x):
    dtype = node.attr("out_type")
    if isinstance(x, (np.ndarray, *LEARNED)):
        return np.asarray(np.shape(x) if isinstance(x, np.ndarray) else x.shape, "int32" if dtype is None else dtype.name)
    return shape_of(x.real if isinstance(x, Complex) else x)


@replays("ShapeN", always=True)
def _shapes(node, *xs):
    return tuple(_shape(node, x) for x in xs)


@replays("Rank", always=True)
def _rank(node, x):
    return np.asarray(len(x.shape), "int32")


@replays("Size", always=True)
def _size(node, x):
    return _product(_shape(node, x))


def _product(array):
    return lengths(functools.reduce(lambda a, b: a * b, as_list(array), 1))


@replays("Reshape")
def _reshape(node, x, shape):
    shape = as_list(_known(shape))
    dense = _over_last_axis(node, x, shape)
    return ops.reshape(x, shape) if dense is None else dense


def _over_last_axis(node, x, shape):
    """The dense layer that TensorFlow computes as a product of matrices between two reshapes; None if it is something else."""
    made = node.weighted(x)
    flat = None if made is None or not isinstance(made.layer, GraphDense) else node.made(made.inputs[0], "Reshape")
    if flat is None or len(x.shape) != 2:
        return None
    inner = flat.inputs[0]
    known = [n for n in shape if isinstance(n, int) and n != -1]
    same = len(shape) == len(inner.shape) and inner.shape[-1] == made.layer.kernel.shape[0] and shape[-1] == x.shape[-1]
    alike = all(
        a is None or b == a for a, b in zip(inner.shape[:-1], shape[:-1], strict=False) if isinstance(b, int) and b != -1
    )
    # With a single unknown length, the number of entries says what it is.
    return node.layer(made.layer, inner, made=made) if same and alike and len(known) >= len(shape) - 1 else None


@replays("Transpose")
def _transpose(node, x, order):
    order = as_list(_known(order))
    return x if order == list(range(len(order))) else ops.transpose(x, order)


@replays("Squeeze")
def _squeeze(node, x):
    axes = node.attr("squeeze_dims") or [axis for axis, length in enumerate(x.shape) if length == 1]
    one_dimensional = _one_dimensional(node, x, axes)
    return ops.squeeze(x, axis=tuple(axes)) if one_dimensional is None else one_dimensional


def _one_dimensional(node, x, axes):
    """The one-dimensional convolution that TensorFlow computes in two dimensions, with an axis added and removed."""
    made = node.weighted(x)
    expanded = None if made is None or not isinstance(made.layer, GraphConv) else node.made(made.inputs[0], "ExpandDims")
    if expanded is None or len(x.shape) != 4 or len(axes) != 1:
        return None
    axis, layer = axes[0] % 4, made.layer
    place = axis - (2 if layer.data_format == "channels_first" else 1)
    if int(np.ravel(expanded.inputs[1])[0]) % 4 != axis or place not in (0, 1) or layer.kernel_size[place] != 1:
        return None
    other = 1 - place
    geometry = {name: (getattr(layer, name)[other],) for name in ("strides", "dilation_rate")}
    inner = layer.changed(kernel=computed(lambda v: v[0] if place == 0 else v[:, 0], layer.kernel), **geometry)
    return node.layer(inner, expanded.inputs[0], made=made)


@replays("ExpandDims")
def _expand(node, x, axis):
    return ops.expand_dims(x, axis=int(np.ravel(_known(axis))[0]))


@replays("Tile")
def _tile(node, x, multiples):
    return ops.tile(x, as_list(_known(multiples)))


@replays("BroadcastTo")
def _broadcast(node, x, shape):
    return ops.broadcast_to(x, as_list(_known(shape)))


@replays("Fill")
def _fill(node, shape, value):
    return ops.broadcast_to(as_tensor(value), as_list(shape))


@replays("Range")
def _range(node, start, limit, delta):
    return ops.arange(*(number(v) for v in (start, limit, delta)), dtype="int32")


@replays("ConcatV2", "Concat")
def _concatenate(node, *values):
    axis, values = (values[-1], values[:-1]) if node.op.type == "ConcatV2" else (values[0], values[1:])
    return ops.concatenate([as_tensor(value) for value in values], axis=int(np.ravel(axis)[0]))


@replays("Pack")
def _stack(node, *values):
    return ops.stack([as_tensor(value) for value in values], axis=node.attr("axis", 0))


@replays("Unpack")
def _unstack(node, x):
    return tuple(ops.unstack(x, num=node.attr("num"), axis=node.attr("axis", 0)))


@replays("Split")
def _split(node, axis, x):
    return tuple(ops.split(x, node.attr("num_split"), axis=int(np.ravel(axis)[0])))


@replays("SplitV")
def _split_at(node, x, sizes, axis):
    axis, sizes = int(np.ravel(axis)[0]) % len(x.shape), as_list(_known(sizes))
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(size for size in sizes if size != -1)
    return tuple(ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis))


@replays("Slice")
def _slice(node, x, begin, sizes):
    pairs = zip(as_list(_known(begin)), as_list(_known(sizes)), strict=True)
    return x[tuple(slice(start, None if _is_rest(size) else start + size) for start, size in pairs)]


def _is_rest(size):
    return isinstance(size, int) and size == -1


@replays("StridedSlice")
def _strided_slice(node, x, begin, end, strides):
    return x[_key(node, begin, end, strides)]


def _key(node, begin, end, strides):
    """The key of x[key]."""
    key = []
    for n, (start, stop, step) in enumerate(zip(*map(as_list, map(_known, (begin, end, strides))), strict=True)):

        def bit(name, n=n):
            return node.attr(name, 0) >> n & 1

        if bit("ellipsis_mask"):
            key.append(Ellipsis)
        elif bit("new_axis_mask"):
            key.append(None)
        elif bit("shrink_axis_mask"):
            key.append(start)
        else:
            bounds = (None if bit("begin_mask") else start), (None if bit("end_mask") else stop)
            key.append(slice(*bounds, None if isinstance(step, int) and step == 1 else step))
    return tuple(key)


@replays("Pad", "PadV2")
def _pad(node, x, paddings, value=None):
    constant = 0 if value is None else number(value)
    return ops.pad(x, np.asarray(_known(paddings)).tolist(), constant_values=None if constant == 0 else constant)


@replays("MirrorPad")
def _mirror(node, x, paddings):
    return ops.pad(x, np.asarray(_known(paddings)).tolist(), mode=node.attr("mode", "REFLECT").lower())


@replays("ReverseV2")
def _reverse(node, x, axes):
    return ops.flip(x, axis=tuple(as_list(_known(axes))))


@replays("Roll")
def _roll(node, x, shift, axis):
    for by, along in zip(as_list(_known(shift)), as_list(_known(axis)), strict=True):
        x = ops.roll(x, by, axis=along)
    return x


@replays("SpaceToDepth")
def _space_to_depth(node, x):
    return _blocks(node, x, True)


@replays("DepthToSpace")
def _depth_to_space(node, x):
    return _blocks(node, x, False)


def _blocks(node, x, to_depth):
    """Blocks of b x b positions as channels, or channels as blocks; NHWC, and NCHW in the same order of channels."""
    if node.attr("data_format", "NHWC") not in ("NHWC", "NCHW"):
        raise Unexplainable(f"the data format {node.attr('data_format')} has no rule")
    first = node.attr("data_format", "NHWC") == "NCHW"
    x = ops.transpose(x, (0, 2, 3, 1)) if first else x
    b, (rows, columns, channels) = node.attr("block_size"), ops.shape(x)[1:]
    if to_depth:
        x = ops.reshape(x, (-1, rows // b, b, columns // b, b, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows // b, columns // b, channels * b * b))
    else:
        x = ops.reshape(x, (-1, rows, columns, b, b, channels // (b * b)))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows * b, columns * b, channels // (b * b)))
    return ops.transpose(x, (0, 3, 1, 2)) if first else x


@replays("SpaceToBatchND")
def _space_to_batch(node, x, block, paddings):
    """(N, T b, ...) -> (b N, T, ...): the entries at each place in a block are samples of their own."""
    block, paddings = as_list(_known(block)), np.asarray(_known(paddings)).tolist()
    rest = len(x.shape) - len(block) - 1
    x = ops.pad(x, [[0, 0], *paddings, *[[0, 0]] * rest])
    count, *sizes = ops.shape(x)
    split = [size for length, b in zip(sizes, block, strict=False) for size in (length // b, b)]
    behind = list(sizes[len(block) :])
    x = ops.reshape(x, (count, *split, *behind))
    axes = range(len(block))
    order = [*(2 + 2 * a for a in axes), 0, *(1 + 2 * a for a in axes), *range(1 + 2 * len(block), len(x.shape))]
    return ops.reshape(ops.transpose(x, order), (-1, *split[::2], *behind))


@replays("BatchToSpaceND")
def _batch_to_space(node, x, block, crops):
    block, crops = as_list(_known(block)), np.asarray(_known(crops)).tolist()
    dilated = _dilated(node, x, block, crops)
    if dilated is not None:
        return dilated
    _, *sizes = ops.shape(x)
    behind = list(sizes[len(block) :])
    x = ops.reshape(x, (*block, -1, *sizes))
    axes, n = range(len(block)), len(block)
    order = [n, *(axis for a in axes for axis in (n + 1 + a, a)), *range(2 * n + 1, len(x.shape))]
    x = ops.reshape(ops.transpose(x, order), (-1, *(size * b for size, b in zip(sizes, block, strict=False)), *behind))
    return x[(slice(None), *(slice(before, -after if after else None) for before, after in crops))]


def _dilated(node, x, block, crops):
    """The convolution with dilation that TensorFlow 1 computes as one without, of a tensor that is spread over the batch."""
    made = node.weighted(x)
    layer = None if made is None else made.layer
    if layer is None or getattr(layer, "data_format", "") != "channels_last" or layer.padding != "valid":
        return None
    spread = node.made(made.inputs[0], "SpaceToBatchND")
    if spread is None or set(layer.strides) | set(layer.dilation_rate) != {1} or len(block) != layer.rank:
        return None
    inner, of_spread, paddings = spread.inputs
    paddings = np.asarray(paddings).tolist()
    reach = [(taps - 1) * b for taps, b in zip(layer.kernel_size, block, strict=True)]
    kept = [(p[0] - c[0], p[1] - c[1]) for p, c in zip(paddings, crops, strict=True)]
    # Lengths that are no multiples of the block are padded at their ends, and cut off again.
    if as_list(of_spread) != block or any(c[0] for c in crops):
        return None
    if kept == [(r // 2, r - r // 2) for r in reach]:
        padding = "same"
    elif all(pair == (0, 0) for pair in kept):
        padding = "valid"
    else:
        return None
    return node.layer(layer.changed(padding=padding, dilation_rate=tuple(block)), inner, made=made)


# Lengths, known or not.


def _scalar(function):
    """An operation of two lengths or arrays of them, computed now where both are known."""

    def of_two(a, b):
        if not isinstance(a, (int, np.integer)) or not isinstance(b, (int, np.integer)):
            return function(a, b)
        return _SCALARS[function](int(a), int(b))

    def replayed(node, a, b):
        shape = np.broadcast_shapes(np.shape(a), np.shape(b))
        a, b = (np.broadcast_to(np.asarray(v, object) if not is_lengths(v) else v, shape) for v in (a, b))
        results = [of_two(p, q) for p, q in zip(a.ravel(), b.ravel(), strict=True)]
        return lengths(results).reshape(shape) if shape else lengths(results[0])

    return replayed


_SCALARS = {
    ops.add: lambda a, b: a + b,
    ops.subtract: lambda a, b: a - b,
    ops.multiply: lambda a, b: a * b,
    ops.floor_divide: lambda a, b: a // b,
    ops.mod: lambda a, b: a % b,
    ops.maximum: max,
    ops.minimum: min,
}

for names, function in {
    ("Add", "AddV2"): ops.add,
    ("Sub",): ops.subtract,
    ("Mul",): ops.multiply,
    ("FloorDiv", "TruncateDiv"): ops.floor_divide,
    ("FloorMod",): ops.mod,
    ("Maximum",): ops.maximum,
    ("Minimum",): ops.minimum,
}.items():
    ON_LENGTHS.update(dict.fromkeys(names, _scalar(function)))


def _lengths_of(function):
    """An operation that moves lengths, as NumPy's function of arrays of objects."""

    def replayed(node, *values):
        if not all(isinstance(v, np.ndarray) and v.dtype.kind in "iO" for v in values):
            return None
        if node.op.type not in ("Pack", "ConcatV2") and not is_lengths(values[0]):
            return None  # they are a shape
        result = function(node, *values)
        if isinstance(result, tuple):
            return result
        return lengths(result) if not isinstance(result, np.ndarray) else result

    return replayed


ON_LENGTHS |= {
    name: _lengths_of(function)
    for name, function in {
        "StridedSlice": lambda node, x, *bounds: x[_key(node, *bounds)],
        "Slice": lambda node, x, begin, size: x[int(begin[0]) : None if size[0] == -1 else int(begin[0]) + int(size[0])],
        "Pack": lambda node, *parts: np.stack([np.asarray(p, object) if not is_lengths(p) else p for p in parts]),
        "ConcatV2": lambda node, *parts: np.concatenate([np.asarray(p, object) for p in parts[:-1]]),
        "GatherV2": lambda node, x, indices, axis: x[np.asarray(indices, int)],
        "Unpack": lambda node, x: tuple(map(lengths, x)) if x.ndim == 1 else None,
        "Prod": lambda node, x, axes: _product(x),
        "Reshape": lambda node, x, shape: x.reshape(as_list(shape)),
        "ExpandDims": lambda node, x, axis: np.expand_dims(x, int(np.ravel(axis)[0])),
        "Squeeze": lambda node, x: np.squeeze(x),
        "StopGradient": lambda node, x: x,
    }.items()
}


def _cast_lengths(node, x):
    """Lengths as integers of another size stay lengths; as other numbers they are tensors."""
    return x if node.attr("DstT").is_integer else None


ON_LENGTHS["Cast"] = _cast_lengths


@replays("BroadcastArgs", always=True)
def _broadcast_shapes(node, a, b):
    """The shape of what is computed from tensors of these shapes."""
    a, b = as_list(a), as_list(b)
    size = max(len(a), len(b))
    a, b = [1] * (size - len(a)) + a, [1] * (size - len(b)) + b
    return lengths([q if isinstance(p, int) and p == 1 else p for p, q in zip(a, b, strict=True)])


add(("InvertPermutation",), lambda node, x: ops.argsort(x))
