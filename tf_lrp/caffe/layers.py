"""The layers of Caffe as layers of Keras: one function a type. They compute the same numbers, up to rounding."""

from __future__ import annotations

import itertools
import math

import numpy as np
from keras import layers, ops

from tf_lrp.caffe.blobs import Blob, converts, pair, shown
from tf_lrp.errors import CaffeError
from tf_lrp.keras_compat.own_layers import ClippedAveragePooling2D, ClippedMaxPooling2D, LocalResponseNormalization


def _geometry(p):
    """(kernel, strides, padding, dilation) of a convolution."""
    kernel = pair(p, "kernel_size", "kernel_h", "kernel_w")
    strides = pair(p, "stride", "stride_h", "stride_w", 1)
    padding = pair(p, "pad", "pad_h", "pad_w", 0)
    dilation = pair(p, "dilation", "", "", 1)
    if min(*kernel, *strides, *dilation) < 1:
        raise CaffeError(f"kernel {shown(kernel)}, stride {shown(strides)} and dilation {shown(dilation)} must be at least 1")
    return kernel, strides, padding, dilation


def _channels(p, blob):
    """(num_output, groups)"""
    if blob.caffe_axis(p.axis) != 1:
        raise CaffeError(f"it convolves behind the axis {p.axis}, which is supported for the axis 1 only")
    outputs, groups = p.num_output, p.group
    if not outputs or not groups or outputs % groups or blob.shape[0] % groups:
        raise CaffeError(f"{blob.shape[0]} input and {outputs} output channels are no multiples of {groups} group(s)")
    return outputs, groups


@converts("Convolution")
def _convolution(step):
    blob, p = step.picture(), step.parameter("convolution_param")
    (kernel, strides, padding, dilation), (outputs, groups) = _geometry(p), _channels(p, blob)
    lengths = tuple(
        (n + 2 * pad - d * (k - 1) - 1) // s + 1
        for n, k, s, pad, d in zip(blob.shape[1:], kernel, strides, padding, dilation, strict=True)
    )
    shapes = [(outputs, blob.shape[0] // groups, *kernel), *[(outputs,)] * p.bias_term]
    weight, *bias = step.expect(*shapes)
    if min(lengths) < 1:
        raise CaffeError(f"its kernel {shown(kernel)} is larger than its input {shown(blob.shape)}")
    x = blob.tensor
    if any(padding):
        x = step.add(layers.ZeroPadding2D, x, padding, part="pad")
    options = {"strides": strides, "dilation_rate": dilation, "groups": groups, "use_bias": p.bias_term}
    weights = [weight.transpose(2, 3, 1, 0), *bias]
    return Blob(step.add(layers.Conv2D, x, outputs, kernel, weights=weights, **options), (outputs, *lengths))


@converts("Deconvolution")
def _deconvolution(step):
    blob, p = step.picture(), step.parameter("convolution_param")
    (kernel, strides, padding, dilation), (outputs, groups) = _geometry(p), _channels(p, blob)
    if max(strides) > 1 < max(dilation):
        raise CaffeError("it has strides and dilation at once, which Keras does not have")
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    lengths = tuple(s * (n - 1) + r - 2 * pad for n, r, s, pad in zip(blob.shape[1:], reach, strides, padding, strict=True))
    weight, *bias = step.expect((blob.shape[0], outputs // groups, *kernel), *[(outputs,)] * p.bias_term)
    if min(lengths) < 1:
        raise CaffeError(f"its output would have the shape {shown((outputs, *lengths))}")
    # Where strides are larger than kernels, Keras fills up the last step.
    extra = [max(s - r, 0) for s, r in zip(strides, reach, strict=True)]
    crop = [(pad, pad + e) for pad, e in zip(padding, extra, strict=True)]
    cropped = bool(np.any(crop))
    parts = []
    for group in range(groups):
        of_inputs, of_outputs = (slice(group * n // groups, (group + 1) * n // groups) for n in (blob.shape[0], outputs))
        x = blob.tensor if groups == 1 else blob.tensor[..., of_inputs]
        part = "" if groups == 1 and not cropped else "conv" if groups == 1 else f"group{group}"
        weights = [weight[of_inputs].transpose(2, 3, 1, 0), *(b[of_outputs] for b in bias)]
        options = {"strides": strides, "dilation_rate": dilation, "use_bias": p.bias_term, "part": part}
        parts.append(step.add(layers.Conv2DTranspose, x, outputs // groups, kernel, weights=weights, **options))
    y = parts[0] if groups == 1 else step.add(layers.Concatenate, parts, part="groups" if cropped else "")
    return Blob(step.add(layers.Cropping2D, y, crop) if cropped else y, (outputs, *lengths))


@converts("InnerProduct")
def _inner_product(step):
    blob, p = step.only(), step.parameter("inner_product_param")
    axis = blob.caffe_axis(p.axis)
    inside, outputs = blob.shape[axis - 1 :], p.num_output
    entries = math.prod(inside)
    weight, *bias = step.expect((entries, outputs) if p.transpose else (outputs, entries), *[(outputs,)] * p.bias_term)
    weight = weight if p.transpose else weight.T
    if axis == 1 and blob.is_picture:
        weight = weight.reshape(*inside, outputs).transpose(1, 2, 0, 3).reshape(entries, outputs)
        x = step.add(layers.Flatten, blob.tensor, part="flatten")
    else:
        x = step.in_caffes_order(blob)
        if len(inside) > 1:
            x = step.add(layers.Reshape, x, (*blob.shape[: axis - 1], entries), part="flatten")
    shape = (*blob.shape[: axis - 1], outputs)
    part = "dense" if len(shape) == 3 else ""
    y = step.add(layers.Dense, x, outputs, use_bias=p.bias_term, weights=[weight, *bias], part=part)
    return step.from_caffes_order(y, shape)


@converts("Pooling")
def _pooling(step):
    blob, p = step.picture(), step.parameter("pooling_param")
    channels, *lengths = blob.shape
    if p.pool not in (0, 1):
        raise CaffeError("it pools at random (STOCHASTIC), which is supported in training only; MAX and AVE are")
    if p.global_pooling:
        pool = layers.GlobalAveragePooling2D if p.pool else layers.GlobalMaxPooling2D
        return Blob(step.add(pool, blob.tensor, keepdims=True), (channels, 1, 1))
    kernel = pair(p, "kernel_size", "kernel_h", "kernel_w")
    strides = pair(p, "stride", "stride_h", "stride_w", 1)
    padding = pair(p, "pad", "pad_h", "pad_w", 0)
    if min(*kernel, *strides) < 1 or any(pad >= k for pad, k in zip(padding, kernel, strict=True)):
        raise CaffeError(
            f"kernel {shown(kernel)} and stride {shown(strides)} must be at least 1, and the padding {shown(padding)} smaller "
            "than the kernel"
        )
    rounds_up = p.round_mode == 0 and p.ceil_mode
    clipped = ClippedAveragePooling2D if p.pool else ClippedMaxPooling2D
    described = clipped(kernel, strides, padding, rounds_up)
    outputs = tuple(described.output_length(n, axis) for axis, n in enumerate(lengths))
    shape = (channels, *outputs)
    if min(outputs) < 1:
        raise CaffeError(f"its output would have the shape {shown(shape)}")
    # Keras's own layer where no window is clipped, or all windows that a maximum is taken of are padded behind the picture.
    behind = [after for _, after in described.border((None, *lengths))]
    if not any(padding) and max(behind) <= 0:
        own = layers.AveragePooling2D if p.pool else layers.MaxPooling2D
        return Blob(step.add(own, blob.tensor, kernel, strides, "valid"), shape)
    same = all(after in (0, 1) and n == -(-m // s) for after, n, m, s in zip(behind, outputs, lengths, strides, strict=True))
    if same and not any(padding) and not p.pool:
        return Blob(step.add(layers.MaxPooling2D, blob.tensor, kernel, strides, "same"), shape)
    return Blob(step.add(clipped, blob.tensor, kernel, strides, padding, rounds_up), shape)


@converts("LRN")
def _local_response_normalization(step):
    p, within = step.parameter("lrn_param"), step.parameter("lrn_param").norm_region == 1
    blob = step.picture()
    if p.local_size % 2 == 0 or p.local_size > 2 * max(blob.shape) + 1:
        raise CaffeError(f"its local_size must be odd and no larger than what it normalizes, and is {p.local_size}")
    # Within a channel Caffe ignores k, and divides by the size of the window, which is clipped at the border.
    options = {"radius": p.local_size // 2, "beta": p.beta, "k": 1.0 if within else p.k}
    if within:
        squares = ops.square(blob.tensor)
        window = ((p.local_size,) * 2, (1, 1), (p.local_size // 2,) * 2)
        mean = step.add(ClippedAveragePooling2D, squares, *window, part="mean")
        return Blob(ops.multiply(blob.tensor, ops.power(1.0 + p.alpha * mean, -p.beta)), blob.shape)
    return Blob(step.add(LocalResponseNormalization, blob.tensor, alpha=p.alpha / p.local_size, **options), blob.shape)


def _same_shape(layer_class):
    def convert(step, *arguments, **options):
        blob = step.only()
        return Blob(step.add(layer_class, blob.tensor, *arguments, **options), blob.shape)

    return convert


converts("Split")(lambda step: [step.only()] * len(step.layer.tops))
converts("Sigmoid")(lambda step: _same_shape(layers.Activation)(step, "sigmoid"))
converts("TanH")(lambda step: _same_shape(layers.Activation)(step, "tanh"))
converts("BNLL")(lambda step: _same_shape(layers.Activation)(step, "softplus"))


@converts("ReLU")
def _relu(step):
    slope = step.parameter("relu_param").negative_slope
    if not 0 <= slope < math.inf:
        raise CaffeError(f"its negative_slope must be at least 0, and is {slope}")
    return _same_shape(layers.ReLU)(step, negative_slope=slope)


@converts("ELU")
def _elu(step):
    return _same_shape(layers.ELU)(step, step.parameter("elu_param").alpha)


@converts("PReLU")
def _prelu(step):
    blob = step.only()
    channels = 1 if step.parameter("prelu_param").channel_shared else blob.shape[0]
    (alpha,) = step.expect((channels,))
    axes = range(1, len(blob.shape) + 1)
    shared = [axis for axis in axes if channels == 1 or axis != blob.axis(1)]
    lengths = [1 if axis in shared else channels for axis in axes]
    weights = [alpha.reshape(lengths)]
    return Blob(step.add(layers.PReLU, blob.tensor, shared_axes=shared or None, weights=weights), blob.shape)


@converts("Dropout")
def _dropout(step):
    ratio = step.parameter("dropout_param").dropout_ratio
    if not 0 <= ratio < 1:
        raise CaffeError(f"its dropout_ratio must be at least 0 and less than 1, and is {ratio}")
    return _same_shape(layers.Dropout)(step, ratio)


@converts("Power")
def _power(step):
    """(shift + scale x)^power"""
    blob, p = step.only(), step.parameter("power_param")
    x = blob.tensor
    if p.scale != 1 or p.shift:
        x = step.add(layers.Rescaling, x, p.scale, p.shift)
    return Blob(x if p.power == 1 else ops.power(x, p.power), blob.shape)


@converts("AbsVal")
def _absolute_value(step):
    blob = step.only()
    return Blob(ops.absolute(blob.tensor), blob.shape)


@converts("Softmax")
def _softmax(step):
    blob = step.only()
    axis = blob.axis(step.parameter("softmax_param").axis)
    return Blob(step.add(layers.Softmax, blob.tensor, -1 if axis == len(blob.shape) else axis), blob.shape)


def _axis_of(p, name, old):
    """The field ``name``, or the one that files of before 2015 have."""
    return getattr(p, old) if p.HasField(old) else getattr(p, name)


@converts("Concat")
def _concatenate(step):
    p, first = step.parameter("concat_param"), step.bottoms[0] if step.bottoms else step.only()
    axis = first.caffe_axis(_axis_of(p, "axis", "concat_dim"))

    def others(blob):
        return blob.shape[: axis - 1] + blob.shape[axis:]

    if any(len(b.shape) != len(first.shape) or others(b) != others(first) for b in step.bottoms):
        raise CaffeError(f"blobs of the shapes {', '.join(shown(b.shape) for b in step.bottoms)} cannot be joined")
    shape = list(first.shape)
    shape[axis - 1] = sum(b.shape[axis - 1] for b in step.bottoms)
    if len(step.bottoms) == 1:
        return first
    at = first.axis(axis)
    y = step.add(layers.Concatenate, [b.tensor for b in step.bottoms], axis=-1 if at == len(shape) else at)
    return Blob(y, tuple(shape))


@converts("Slice")
def _slice(step):
    blob, p = step.only(), step.parameter("slice_param")
    axis = blob.caffe_axis(_axis_of(p, "axis", "slice_dim"))
    length, count = blob.shape[axis - 1], len(step.layer.tops)
    points = list(p.slice_point) or [length * n // count for n in range(1, count)]
    bounds = [0, *points, length]
    if len(points) != count - 1 or any(a >= b for a, b in itertools.pairwise(bounds)) or (
        not p.slice_point and length % count
    ):  # fmt: skip
        raise CaffeError(f"{length} entries cannot be cut into {count} blobs at {', '.join(map(str, points)) or 'no point'}")
    return [_cut(blob, axis, a, b) for a, b in itertools.pairwise(bounds)]


def _cut(blob, axis, begin, end):
    """The entries begin to end along one of Caffe's axes."""
    shape = list(blob.shape)
    shape[axis - 1] = end - begin
    before = (slice(None),) * blob.axis(axis)
    return Blob(blob.tensor[(*before, slice(begin, end))], tuple(shape))


@converts("Crop")
def _crop(step):
    p = step.parameter("crop_param")
    if len(step.bottoms) != 2 or len(step.bottoms[0].shape) != len(step.bottoms[1].shape):
        raise CaffeError("it takes two bottoms of equally many axes, the blob and one of the size to which it is cut")
    blob, like = step.bottoms
    first, offsets = blob.caffe_axis(p.axis), list(p.offset) or [0]
    axes = range(first, len(blob.shape) + 1)
    if len(offsets) not in (1, len(axes)):
        raise CaffeError(f"it needs one offset, or one for each of {len(axes)} axes, and has {len(offsets)}")
    offsets = offsets * len(axes) if len(offsets) == 1 else offsets
    for axis, offset in zip(axes, offsets, strict=True):
        end = offset + like.shape[axis - 1]
        if end > blob.shape[axis - 1]:
            raise CaffeError(f"it cuts the entries {offset} to {end} of an axis that has {blob.shape[axis - 1]}")
        blob = _cut(blob, axis, offset, end)
    return blob


@converts("Flatten")
def _flatten(step):
    blob, p = step.only(), step.parameter("flatten_param")
    first, last = blob.caffe_axis(p.axis), blob.caffe_axis(p.end_axis)
    if first > last:
        raise CaffeError(f"it flattens the axes {p.axis} to {p.end_axis}, of which the first must not be behind the second")
    merged = math.prod(blob.shape[first - 1 : last])
    return step.reshaped(blob, (*blob.shape[: first - 1], merged, *blob.shape[last:]))


@converts("Reshape")
def _reshape(step):
    blob, p = step.only(), step.parameter("reshape_param")
    rank = len(blob.shape) + 1
    first = p.axis if p.axis >= 0 else rank + 1 + p.axis
    last = rank if p.num_axes == -1 else first + p.num_axes
    if not 0 <= first <= last <= rank:
        raise CaffeError(f"it reshapes {p.num_axes} axes from the axis {p.axis} on, and its input has {rank} with the batch")
    wanted = list(p.shape.dim)
    if first == 0:
        if not wanted or wanted[0] not in (0, -1) or last == 0:
            raise CaffeError("it must leave the axis of the batch alone: its first dim is 0")
        wanted, first = wanted[1:], 1
    lengths = []
    for at, length in enumerate(wanted):
        if length == 0 and first + at >= rank:
            raise CaffeError(f"it copies the length of an axis {first + at} that its input, {shown(blob.shape)}, has not")
        lengths.append(blob.shape[first + at - 1] if length == 0 else length)
    shape = [*blob.shape[: first - 1], *lengths, *blob.shape[last - 1 :]]
    entries, known = math.prod(blob.shape), math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known > 0 and entries % known == 0:
        shape[shape.index(-1)] = entries // known
    if not shape or min(shape) < 1 or math.prod(shape) != entries:
        raise CaffeError(f"it makes {shown(wanted)} of a blob of shape {shown(blob.shape)}, which has {entries} entries")
    return step.reshaped(blob, tuple(shape))


@converts("Eltwise")
def _element_wise(step):
    p = step.parameter("eltwise_param")
    shapes = {b.shape for b in step.bottoms}
    if len(shapes) != 1 or len(step.bottoms) < 2:
        raise CaffeError(f"it takes two blobs or more of one shape, and gets {', '.join(shown(b.shape) for b in step.bottoms)}")
    tensors = [b.tensor for b in step.bottoms]
    if len(p.coeff):
        if p.operation != 1 or len(p.coeff) != len(tensors):
            raise CaffeError(f"it has {len(p.coeff)} coeff for {len(tensors)} bottoms; a SUM may have one for each")
        tensors = [
            t if c == 1 else step.add(layers.Rescaling, t, c, part=f"coeff{n}")
            for n, (t, c) in enumerate(zip(tensors, p.coeff, strict=True))
        ]
    merge = (layers.Multiply, layers.Add, layers.Maximum)[p.operation]
    return Blob(step.add(merge, tensors), step.bottoms[0].shape)


@converts("BatchNorm")
def _batch_normalization(step):
    blob, p = step.only(), step.parameter("batch_norm_param")
    if p.HasField("use_global_stats") and not p.use_global_stats:
        raise CaffeError(
            "it normalizes by the statistics of the batch (use_global_stats: false), which explains no single image"
        )
    if not 0 < p.eps < math.inf:
        raise CaffeError(f"its eps must be positive, and is {p.eps}")
    channels = blob.shape[0]
    mean, variance, factor = step.expect((channels,), (channels,), (1,))
    factor = float(factor[0])
    scale = 0.0 if factor == 0 else 1 / factor
    weights = [mean.astype("float64") * scale, variance.astype("float64") * scale]
    options = {"axis": -1 if blob.is_picture else 1, "epsilon": p.eps, "center": False, "scale": False}
    return Blob(step.add(layers.BatchNormalization, blob.tensor, weights=weights, **options), blob.shape)


@converts("Scale")
def _scale(step):
    p = step.parameter("scale_param")
    if len(step.bottoms) == 2:
        return _scale_by_blob(step, p)
    return _affine(step, p, has_scale=True, has_shift=p.bias_term)


@converts("Bias")
def _bias(step):
    return _affine(step, step.parameter("bias_param"), has_scale=False, has_shift=True)


def _affine(step, p, has_scale, has_shift):
    """Scale and shift of each channel: a batch normalization without statistics."""
    blob = step.only()
    if blob.caffe_axis(p.axis) != 1 or p.num_axes != 1:
        raise CaffeError(f"it has numbers for {p.num_axes} axes from {p.axis} on; only channels, axis 1, can have them")
    channels = blob.shape[0]
    own = step.expect(*[(channels,)] * (has_scale + has_shift))
    weights = [*own, np.zeros(channels), np.ones(channels)]
    options = {"axis": -1 if blob.is_picture else 1, "epsilon": 0.0, "scale": has_scale, "center": has_shift}
    return Blob(step.add(layers.BatchNormalization, blob.tensor, weights=weights, **options), blob.shape)


def _scale_by_blob(step, p):
    """The first blob times the second, which has one number for each channel."""
    blob, gate = step.bottoms
    channels = (blob.shape[0], *[1] * (len(gate.shape) - 1))
    if p.axis != 0 or gate.shape != channels or not blob.is_picture or p.bias_term:
        raise CaffeError(
            f"it multiplies {shown(blob.shape)} by {shown(gate.shape)} from the axis {p.axis} on; one number for each channel "
            "of a picture, from the axis 0 on and without a bias, is supported"
        )
    factors = gate.tensor if gate.is_picture else step.add(layers.Reshape, gate.tensor, (1, 1, gate.shape[0]), part="gate")
    return Blob(step.add(layers.Multiply, [blob.tensor, factors]), blob.shape)


TABLE = converts.table
