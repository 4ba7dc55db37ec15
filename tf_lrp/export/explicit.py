"""Gradient operations written with forward ones, which the converters of other runtimes know.

A backward pass in TensorFlow holds operations such as MaxPoolGrad that exist nowhere else. Each function here computes the
same numbers with padding, slicing, comparison and forward convolutions. Shapes are static.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

_EXPLICIT = {}


def lower(graph_def, inputs, outputs):
    """A graph with its gradient operations replaced.

    Args:
        graph_def: tf.compat.v1.GraphDef with static shapes.
        inputs: names of its placeholders.
        outputs: key -> tensor name.

    Returns:
        (tf.Graph, input tensors, {key: tensor}).
    """
    with tf.Graph().as_default() as source:
        tf.graph_util.import_graph_def(graph_def, name="")
    with tf.Graph().as_default() as target:
        if graph_def.library.function:
            tf.graph_util.import_graph_def(
                tf.compat.v1.GraphDef(library=graph_def.library, versions=graph_def.versions), name=""
            )
        tensors = {}
        _rebuild(source, target, tensors)
        results = {key: tf.identity(tensors[name], name=f"result_{n}") for n, (key, name) in enumerate(outputs.items())}
    return target, [tensors[f"{name}:0"] for name in inputs], results


def _rebuild(source, target, tensors):
    """Creates the operations of one graph in another. ``tensors``, by name in the source, may hold what its inputs are."""
    for op in source.get_operations():
        if all(t.name in tensors for t in op.outputs) and op.type == "Placeholder" and op.outputs:
            continue
        taken = [tensors[t.name] for t in op.inputs]
        if op.type in ("Identity", "StopGradient", "PreventGradient", "IdentityN", "Snapshot"):
            results = taken
        elif op.type in _EXPLICIT:
            with tf.name_scope(op.name):
                results = [_EXPLICIT[op.type](op, *taken)]
        elif op.type in ("PartitionedCall", "StatefulPartitionedCall"):
            results = _inline(op, taken, target)
        else:
            attributes = {key: op.node_def.attr[key] for key in op.node_def.attr}
            results = target.create_op(op.type, taken, [t.dtype for t in op.outputs], name=op.name, attrs=attributes).outputs
        tensors.update(zip((t.name for t in op.outputs), results, strict=True))


def _inline(call, taken, target):
    """What a function returns, with its operations in the graph of its caller: Keras compiles some convolutions apart."""
    library = call.graph.as_graph_def().library.function
    (definition,) = (f for f in library if f.signature.name == call.get_attr("f").name)
    body = function_def_to_graph(definition, [t.shape for t in taken])
    tensors = {t.name: value for t, value in zip(body.inputs, taken, strict=True)}
    with tf.name_scope(call.name):
        _rebuild(body, target, tensors)
    return [tensors[t.name] for t in body.outputs]


def _explicit(*types):
    def register(function):
        _EXPLICIT.update(dict.fromkeys(types, function))
        return function

    return register


# -- moving values ----------------------------------------------------------------------------------------------------


def _shape(t) -> Any:
    if not t.shape.is_fully_defined():
        raise ValueError(f"{t.name} has the shape {t.shape}: this format needs all lengths to be known.")
    return t.shape.as_list()


def _insert_zeros(x, axis, stride):
    """stride - 1 zeros between neighbours along an axis: length n -> (n - 1) stride + 1."""
    if stride == 1:
        return x
    shape = _shape(x)
    before, length, after = int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))
    apart = tf.pad(tf.reshape(x, (before, length, 1, after)), [[0, 0], [0, 0], [0, stride - 1], [0, 0]])
    flat = tf.reshape(apart, (before, length * stride, after))[:, : (length - 1) * stride + 1]
    return tf.reshape(flat, [*shape[:axis], (length - 1) * stride + 1, *shape[axis + 1 :]])


def _place(x, begins, sizes):
    """x on a canvas of zeros, from index ``begins`` on; what lies outside is cut off. One entry for each axis."""
    shape = _shape(x)
    low = [max(0, -b) for b in begins]
    high = [min(n, size - b) for n, b, size in zip(shape, begins, sizes, strict=True)]
    cut = tf.slice(x, low, [h - lo for h, lo in zip(high, low, strict=True)])
    paddings = [[max(0, b), size - max(0, b) - (h - lo)] for b, size, h, lo in zip(begins, sizes, high, low, strict=True)]
    return tf.pad(cut, paddings) if np.any(paddings) else cut


def _leading(length, outputs, taps, stride, padding):
    """Padding before the first element along an axis."""
    return max(0, (outputs - 1) * stride + taps - length) // 2 if padding == "SAME" else 0


def _attribute(op, name) -> Any:
    value = op.get_attr(name)
    return value.decode() if isinstance(value, bytes) else value


def _window(op):
    """(kernel size, strides, padding) along height and width."""
    if _attribute(op, "data_format") != "NHWC":
        raise ValueError(f"{op.type} with channels first cannot be exported to this format.")
    return op.get_attr("ksize")[1:3], op.get_attr("strides")[1:3], _attribute(op, "padding")


# -- pooling ----------------------------------------------------------------------------------------------------------


@_explicit("MaxPoolGrad")
def _max_pooling(op, x, y, relevance):
    """To the first of the largest in each window, in row-major order."""
    size, strides, padding = _window(op)
    (samples, *lengths, channels), outputs = _shape(x), _shape(y)[1:3]
    leading = [_leading(*of_axis, padding) for of_axis in zip(lengths, outputs, size, strides, strict=True)]
    needed = [(n - 1) * s + k for n, s, k in zip(outputs, strides, size, strict=True)]
    trailing = [max(0, n - length - lead) for n, length, lead in zip(needed, lengths, leading, strict=True)]
    padded = tf.pad(x, [[0, 0], *zip(leading, trailing, strict=True), [0, 0]], constant_values=x.dtype.min)
    canvas_size = [samples, *(length + a + b for length, a, b in zip(lengths, leading, trailing, strict=True)), channels]
    taken, canvas = tf.zeros_like(y), 0
    for tap in np.ndindex(*size):
        ends = [t + (n - 1) * s + 1 for t, n, s in zip(tap, outputs, strides, strict=True)]
        value = tf.strided_slice(padded, [0, *tap, 0], [samples, *ends, channels], [1, *strides, 1])
        won = tf.cast(tf.equal(value, y), y.dtype) * (1 - taken)
        taken += won
        share = won * relevance
        for axis, stride in enumerate(strides, 1):
            share = _insert_zeros(share, axis, stride)
        canvas += _place(share, [0, *tap, 0], canvas_size)
    return _place(canvas, [0, *(-lead for lead in leading), 0], _shape(x))


@_explicit("AvgPoolGrad")
def _average_pooling(op, _, relevance):
    """Evenly to what lies inside each window."""
    size, strides, padding = _window(op)
    shape, outputs = _shape(op.outputs[0]), _shape(relevance)[1:3]
    counts, leading = [], []
    for length, n, k, s in zip(shape[1:3], outputs, size, strides, strict=True):
        lead = _leading(length, n, k, s, padding)
        starts = np.arange(n) * s - lead
        counts.append(np.minimum(starts + k, length) - np.maximum(starts, 0))
        leading.append(lead)
    share = relevance / tf.constant(np.outer(*counts)[None, :, :, None], relevance.dtype)
    box = tf.ones((*size, shape[3], 1), relevance.dtype)
    return _spread(share, box, strides, [1, 1], leading, shape)


def _spread(share, kernel, strides, dilations, leading, shape):
    """A transposed depthwise convolution with multiplier 1."""
    canvas = _canvas(share, kernel, strides, dilations, leading, shape)
    return tf.nn.depthwise_conv2d(canvas, tf.reverse(kernel, [0, 1]), [1, 1, 1, 1], "VALID", dilations=dilations)


def _canvas(share, kernel, strides, dilations, leading, shape):
    """What a transposed convolution convolves with the kernel turned over: zeros between the values, a border around them."""
    for axis, stride in enumerate(strides, 1):
        share = _insert_zeros(share, axis, stride)
    reach = [(k - 1) * d for k, d in zip(_shape(kernel)[:2], dilations, strict=True)]
    border = [r - lead for r, lead in zip(reach, leading, strict=True)]
    size = [length + r for length, r in zip(shape[1:3], reach, strict=True)]
    return _place(share, [0, *border, 0], [shape[0], *size, _shape(share)[3]])


# -- convolutions -----------------------------------------------------------------------------------------------------


def _convolution(op, kernel, relevance, shape):
    """(strides, dilations, leading paddings) along height and width."""
    if _attribute(op, "data_format") != "NHWC":
        raise ValueError(f"{op.type} with channels first cannot be exported to this format.")
    strides, dilations = op.get_attr("strides")[1:3], op.get_attr("dilations")[1:3]
    padding = _attribute(op, "padding")
    if padding == "EXPLICIT":
        leading = op.get_attr("explicit_paddings")[2:6:2]
    else:
        reach = [(k - 1) * d + 1 for k, d in zip(_shape(kernel)[:2], dilations, strict=True)]
        axes = zip(shape[1:3], _shape(relevance)[1:3], reach, strides, strict=True)
        leading = [_leading(*of_axis, padding) for of_axis in axes]
    return strides, dilations, leading


@_explicit("DepthwiseConv2dNativeBackpropInput")
def _depthwise(op, _, kernel, relevance):
    shape = _shape(op.outputs[0])
    strides, dilations, leading = _convolution(op, kernel, relevance, shape)
    height, width, channels, multiplier = _shape(kernel)
    each = tf.reshape(kernel, (height, width, channels * multiplier, 1))
    gradient = _spread(relevance, each, strides, dilations, leading, shape)
    if multiplier == 1:
        return gradient
    flat = tf.reshape(gradient, (int(np.prod(shape[:3])), channels, multiplier))
    return tf.reshape(tf.reduce_sum(flat, axis=-1), shape)


@_explicit("Conv2DBackpropInput")
def _transposed(op, _, kernel, relevance):
    shape = _shape(op.outputs[0])
    strides, dilations, leading = _convolution(op, kernel, relevance, shape)
    groups = shape[3] // _shape(kernel)[2]
    padding = _attribute(op, "padding")
    if groups == 1 and list(dilations) == [1, 1] and padding != "EXPLICIT":
        reached: Any = shape
        if padding == "VALID":  # the last rows and columns may lie in no window
            sizes = zip(_shape(relevance)[1:3], strides, _shape(kernel)[:2], strict=True)
            reached = [shape[0], *((n - 1) * s + k for n, s, k in sizes), shape[3]]
        return _place(tf.nn.conv2d_transpose(relevance, kernel, reached, [1, *strides, 1], padding), [0, 0, 0, 0], shape)
    canvas = _canvas(relevance, kernel, strides, dilations, leading, shape)
    turned = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
    pairs = zip(tf.split(canvas, groups, axis=3), tf.split(turned, groups, axis=2), strict=True)
    return tf.concat([tf.nn.conv2d(c, k, 1, "VALID", dilations=dilations) for c, k in pairs], axis=3)


@_explicit("SpaceToBatchND")
def _space_to_batch(_, x, block, paddings):
    """As dilated convolutions begin: the rows and columns of each phase become a sample."""
    block, paddings = tf.get_static_value(block).tolist(), tf.get_static_value(paddings).tolist()
    samples, *lengths, channels = _shape(tf.pad(x, [[0, 0], *paddings, [0, 0]]))
    pieces = [n for length, b in zip(lengths, block, strict=True) for n in (length // b, b)]
    split = tf.reshape(tf.pad(x, [[0, 0], *paddings, [0, 0]]), [samples, *pieces, channels])
    axes = len(block)
    order = [*range(2, 2 * axes + 1, 2), 0, *range(1, 2 * axes + 1, 2), 2 * axes + 1]
    return tf.reshape(tf.transpose(split, order), [samples * int(np.prod(block)), *pieces[::2], channels])


@_explicit("BatchToSpaceND")
def _batch_to_space(_, x, block, crops):
    """As dilated convolutions end."""
    block, crops = tf.get_static_value(block).tolist(), tf.get_static_value(crops).tolist()
    samples, *lengths, channels = _shape(x)
    samples, axes = samples // int(np.prod(block)), len(block)
    split = tf.reshape(x, [*block, samples, *lengths, channels])
    order = [axes, *(axis for n in range(axes) for axis in (axes + 1 + n, n)), 2 * axes + 1]
    sizes = [length * b for length, b in zip(lengths, block, strict=True)]
    joined = tf.reshape(tf.transpose(split, order), [samples, *sizes, channels])
    kept = [size - a - b for size, (a, b) in zip(sizes, crops, strict=True)]
    return tf.slice(joined, [0, *(a for a, _ in crops), 0], [samples, *kept, channels])


# -- the rest ---------------------------------------------------------------------------------------------------------


@_explicit("DivNoNan")
def _division(_, x, y):
    zero = tf.equal(y, 0)
    return tf.where(zero, tf.zeros_like(x), x / tf.where(zero, tf.ones_like(y), y))


@_explicit("MulNoNan")
def _product(_, x, y):
    return tf.where(tf.equal(y, 0), tf.zeros_like(y), x * y)


@_explicit("Sum")
def _sum(op, x, axes):
    """With neighbouring axes that are both summed, or both kept, taken as one: other runtimes know few axes."""
    axes = np.atleast_1d(tf.get_static_value(axes)).tolist()
    summed = [axis in {a % len(x.shape) for a in axes} for axis in range(len(x.shape))]
    lengths, flags = [], []
    for length, flag in zip(_shape(x), summed, strict=True):
        if length == 1:
            continue
        if flags and flags[-1] == flag:
            lengths[-1] *= length
        else:
            lengths.append(length)
            flags.append(flag)
    total = tf.reduce_sum(tf.reshape(x, lengths), [n for n, flag in enumerate(flags) if flag])
    return tf.reshape(total, _shape(op.outputs[0]))


@_explicit("Erfc")
def _complementary_error_function(_, x):
    """To 1.5e-7: Abramowitz and Stegun 1964, equation 7.1.26."""
    t = 1 / (1 + 0.3275911 * tf.abs(x))
    tail = 0.0
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = (tail + coefficient) * t
    tail *= tf.exp(-tf.square(x))
    return tf.where(x < 0, 2 - tail, tail)


@_explicit("Erf")
def _error_function(op, x):
    return 1 - _complementary_error_function(op, x)


@_explicit("StridedSliceGrad")
def _slice(op, size, begin, end, strides, relevance):
    sizes, begins, ends, steps = (tf.get_static_value(t).tolist() for t in (size, begin, end, strides))
    masks = {m: op.get_attr(f"{m}_mask") for m in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    pieces = []
    for n, (b, e, s) in enumerate(zip(begins, ends, steps, strict=True)):
        on = {m for m, bits in masks.items() if bits >> n & 1}
        if "ellipsis" in on:
            new = bin(masks["new_axis"]).count("1")
            pieces += [slice(None)] * (len(sizes) - (len(begins) - 1 - new))
        elif "shrink_axis" in on:
            pieces.append(slice(b, b + 1 or None))
        elif "new_axis" not in on:
            pieces.append(slice(None if "begin" in on else b, None if "end" in on else e, s))
    pieces += [slice(None)] * (len(sizes) - len(pieces))
    ranges = [range(*piece.indices(length)) for piece, length in zip(pieces, sizes, strict=True)]
    gradient = tf.reshape(relevance, [len(r) for r in ranges])
    for axis, r in enumerate(ranges):
        gradient = _insert_zeros(tf.reverse(gradient, [axis]) if r.step < 0 else gradient, axis, abs(r.step))
    return _place(gradient, [min(r, default=0) for r in ranges], sizes)


@_explicit("ResizeBilinearGrad", "ResizeNearestNeighborGrad")
def _resizing(op, relevance, _):
    """The transposes of the two interpolations, along height and along width, as matrices."""
    shape, (_, *outputs, _) = _shape(op.outputs[0]), _shape(relevance)
    resize = tf.raw_ops.ResizeBilinear if op.type == "ResizeBilinearGrad" else tf.raw_ops.ResizeNearestNeighbor
    options = {name: op.get_attr(name) for name in ("align_corners", "half_pixel_centers")}
    with tf.Graph().as_default() as graph:
        along_both = [
            resize(images=np.eye(n, dtype="float32")[None, :, None], size=[m, 1], **options)[0, :, 0]
            for n, m in zip(shape[1:3], outputs, strict=True)
        ]
    with tf.compat.v1.Session(graph=graph) as session:
        height, width = session.run(along_both)
    samples, channels = shape[0], shape[3]
    gradient = tf.transpose(relevance, (0, 3, 1, 2))
    gradient = tf.matmul(gradient, tf.constant(width, gradient.dtype))
    gradient = tf.matmul(tf.broadcast_to(tf.constant(height.T, gradient.dtype), (samples, channels, *height.T.shape)), gradient)
    return tf.transpose(gradient, (0, 2, 3, 1))
