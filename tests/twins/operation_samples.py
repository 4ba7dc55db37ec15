"""Small models of one operation each: every class that has a twin or is described as an affine map, in several ranks."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from tf_lrp.keras_compat.own_layers import ClippedAveragePooling2D, ClippedMaxPooling2D, LocalResponseNormalization
from tf_lrp.operations.activation_table import ELEMENTWISE_CLASSES
from tf_lrp.operations.routing_table import TRAINING_CLASSES


@dataclass(frozen=True)
class Sample:
    """One operation on inputs of given shapes.

    Attributes:
        shapes: of the inputs without the batch.
        function: symbolic tensors -> symbolic tensor, or several.
        degree: of a function that is homogeneous and linear in each operand (1: linear): its relevance under the z-rule is
            x df/dx / degree. None for others.
        kind: how the inputs are drawn: "any" sign, "positive", "fraction" (between 0.1 and 0.9), "eighths" (which float16
            holds), or "index" (0, 1 or 2).
        batch: number of samples in the inputs' shapes; None leaves it free.
    """

    shapes: tuple
    function: object
    degree: int | None = None
    kind: str = "any"
    batch: int | None = None

    def features(self, inputs):
        """What the function makes of symbolic inputs, as tensors (N, features)."""
        outputs = keras.tree.flatten(self.function(*inputs))
        return [layers.Flatten()(t) if len(t.shape) > 1 else ops.expand_dims(t, -1) for t in outputs if "float" in t.dtype]

    def inputs(self, seed):
        """Arrays of two samples, unless the batch is fixed."""
        random = np.random.default_rng(seed)
        shapes = [(self.batch or 2, *s) for s in self.shapes]
        if self.kind == "index":
            return [random.integers(0, 3, s).astype("float32") for s in shapes]
        if self.kind == "fraction":
            return [random.uniform(0.1, 0.9, s).astype("float32") for s in shapes]
        values = [random.normal(size=s).astype("float32") for s in shapes]
        if self.kind == "eighths":
            return [np.round(v * 8) / 8 for v in values]
        return [np.abs(v) + 0.1 for v in values] if self.kind == "positive" else values


def weights(*shape):
    """A constant operand."""
    return ops.convert_to_tensor(np.random.default_rng(sum(shape)).normal(size=shape).astype("float32"))


class Flattened(layers.Layer):
    """A layer that asks for lengths which are known when the graph runs."""

    def call(self, x):
        flat = ops.reshape(x, (ops.shape(x)[0], 12))
        return ops.concatenate([flat, ops.broadcast_to(weights(1, 2), (ops.shape(x)[0], 2))], 1)


def _images(layer, channels=3, size=8, **how):
    return Sample(((size, size, channels),), layer, **how)


def _recurrent(layer, shape=(5, 3), **how):
    return Sample((shape,), layer, **how)


def _step_sum(cell):
    return lambda x: layers.RNN(cell, return_sequences=True)(x)


_PLACES = np.array([[[0], [2], [1], [0], [1]]] * 2)


def _time_first(x):
    """A recurrent layer on (T, N, ...), as a sample of a fixed batch."""
    steps_first = ops.transpose(x, (1, 0, 2))
    return ops.transpose(layers.LSTM(4, return_sequences=True)(steps_first), (1, 0, 2))


#: name -> Sample
SAMPLES = {
    # products with weights, on either side and in every rank
    "matmul 2": Sample(((4,),), lambda x: ops.matmul(x, weights(4, 5)), 1),
    "matmul 3": Sample(((3, 4),), lambda x: ops.matmul(x, weights(4, 5)), 1),
    "matmul 3 batched weights": Sample(((3, 4),), lambda x: ops.matmul(x, weights(1, 4, 5)), 1),
    "matmul 4": Sample(((2, 3, 4),), lambda x: ops.matmul(x, weights(2, 4, 5)), 1),
    "matmul left": Sample(((3, 4),), lambda x: ops.matmul(weights(5, 3), x), 1),
    "matmul vector": Sample(((3, 4),), lambda x: ops.matmul(x, weights(4)), 1),
    "matmul both": Sample(((3, 4), (4, 5)), ops.matmul, 2),
    "einsum": Sample(((3, 4),), lambda x: ops.einsum("nij,jk->nik", x, weights(4, 5)), 1),
    "einsum left": Sample(((3, 4),), lambda x: ops.einsum("kj,nij->nk", weights(5, 4), x), 1),
    "einsum both": Sample(((3, 4), (3, 4)), lambda x, y: ops.einsum("nij,nkj->nik", x, y), 2),
    "tensordot 1": Sample(((3, 4),), lambda x: ops.tensordot(x, weights(4, 5), 1), 1),
    "tensordot 2": Sample(((3, 4),), lambda x: ops.tensordot(x, weights(3, 4, 5), 2), 1),
    "tensordot axes": Sample(((3, 4),), lambda x: ops.tensordot(x, weights(5, 3), [[1], [1]]), 1),
    "tensordot left": Sample(((3, 4),), lambda x: ops.transpose(ops.tensordot(weights(5, 3), x, [[1], [1]]), (1, 0, 2)), 1),
    "tensordot both": Sample(((3, 4), (4,)), lambda x, y: ops.tensordot(x, y, [[2], [1]]), 2, batch=2),
    "dot 2": Sample(((4,),), lambda x: ops.dot(x, weights(4, 5)), 1),
    "dot 3": Sample(((3, 4),), lambda x: ops.dot(x, weights(4, 5)), 1),
    "dot 4": Sample(((2, 3, 4),), lambda x: ops.dot(x, weights(4, 5)), 1),
    "dot vector": Sample(((3, 4),), lambda x: ops.dot(x, weights(4)), 1),
    "dot rank 3 weights": Sample(((3, 4),), lambda x: ops.dot(x, weights(2, 4, 5)), 1),
    "dot left": Sample(((3,),), lambda x: ops.reshape(ops.dot(weights(4, 2), x), (2, -1)), 1, batch=2),
    "dot scalar": Sample(((3, 4),), lambda x: ops.dot(x, weights()), 1),
    "dot both": Sample(((3, 4), (4,)), lambda x, y: ops.dot(x, ops.transpose(y)), 2, batch=2),
    "inner 2": Sample(((4,),), lambda x: ops.inner(x, weights(5, 4)), 1),
    "inner 3": Sample(((3, 4),), lambda x: ops.inner(x, weights(5, 4)), 1),
    "inner 4": Sample(((2, 3, 4),), lambda x: ops.inner(x, weights(5, 4)), 1),
    "inner vector": Sample(((3, 4),), lambda x: ops.inner(x, weights(4)), 1),
    "inner rank 3 weights": Sample(((4,),), lambda x: ops.inner(x, weights(5, 2, 4)), 1),
    "inner left": Sample(((3, 4),), lambda x: ops.transpose(ops.inner(weights(5, 4), x), (1, 0, 2)), 1),
    "inner both": Sample(((3, 4), (4,)), ops.inner, 2, batch=2),
    "outer": Sample(((4,),), lambda x: ops.reshape(ops.outer(x, weights(3)), (-1, 4, 3)), 1),
    "outer 3": Sample(((2, 4),), lambda x: ops.reshape(ops.outer(x, weights(2, 3)), (-1, 8, 6)), 1),
    "outer left": Sample(((4,),), lambda x: ops.reshape(ops.transpose(ops.outer(weights(3), x)), (-1, 4, 3)), 1),
    "outer both": Sample(((4,), (3,)), lambda x, y: ops.reshape(ops.outer(x, y), (2, -1)), 2, batch=2),
    "vdot both": Sample(((4,), (4,)), lambda x, y: ops.expand_dims(ops.vdot(x, y), 0), 2, batch=1),
    "kron 2": Sample(((4,),), lambda x: ops.kron(x, weights(1, 3)), 1),
    "kron 2 rows": Sample(((4,),), lambda x: ops.reshape(ops.kron(x, weights(2, 3)), (-1, 24)), 1),
    "kron 3": Sample(((2, 4),), lambda x: ops.kron(x, weights(1, 3, 2)), 1),
    "kron left": Sample(((4,),), lambda x: ops.kron(weights(1, 3), x), 1),
    "kron both": Sample(((4,), (3,)), lambda x, y: ops.reshape(ops.kron(x, y), (2, -1)), 2, batch=2),
    "conv": _images(lambda x: ops.conv(x, weights(3, 3, 3, 4)), degree=1),
    "conv strided": _images(lambda x: ops.conv(x, weights(3, 3, 3, 4), strides=2, padding="same"), degree=1),
    "conv 1": Sample(((8, 3),), lambda x: ops.conv(x, weights(3, 3, 4), dilation_rate=2), 1),
    "conv 3": Sample(((4, 4, 4, 2),), lambda x: ops.conv(x, weights(2, 2, 2, 2, 3)), 1),
    "depthwise_conv": _images(lambda x: ops.depthwise_conv(x, weights(3, 3, 3, 2)), degree=1),
    # sums
    "add": Sample(((4,), (4,)), ops.add, 1),
    "add broadcast": Sample(((3, 4), (1, 4)), ops.add, 1),
    "subtract": Sample(((4,), (4,)), ops.subtract, 1),
    "add number": Sample(((4,),), lambda x: x + 2.0),
    "layer Add": Sample(((4,), (4,)), lambda x, y: layers.Add()([x, y]), 1),
    "layer Subtract": Sample(((4,), (4,)), lambda x, y: layers.Subtract()([x, y]), 1),
    "layer Average": Sample(((3, 4), (4,)), lambda x, y: layers.Average()([x, y]), 1),
    "sum": Sample(((3, 4),), lambda x: ops.sum(x, 1), 1),
    "sum all": Sample(((3, 4),), lambda x: ops.sum(x, (1, 2), keepdims=True), 1),
    "cumsum": Sample(((3, 4),), lambda x: ops.cumsum(x, 1), 1),
    "trace": Sample(((3, 3, 2),), lambda x: ops.trace(x, axis1=1, axis2=2), 1),
    "mean": Sample(((3, 4),), lambda x: ops.mean(x, -1), 1),
    "average_pool": _images(lambda x: ops.average_pool(x, 2, padding="same"), degree=1),
    "resize": _images(lambda x: ops.image.resize(x, (5, 7)), degree=1),
    # products of branches
    "multiply": Sample(((4,), (4,)), ops.multiply, 2),
    "multiply number": Sample(((4,),), lambda x: x * 3.0, 1),
    "multiply by weights": Sample(((3, 4),), lambda x: x * weights(4), 1),
    "divide number": Sample(((4,),), lambda x: ops.divide(x, 3.0), 1),
    "true_divide number": Sample(((4,),), lambda x: ops.true_divide(x, 3.0), 1),
    "divide branch": Sample(((4,), (4,)), ops.divide, kind="positive"),
    "divide_no_nan": Sample(((4,), (4,)), ops.divide_no_nan, kind="positive"),
    "layer Multiply": Sample(((3, 4), (4,)), lambda x, y: layers.Multiply()([x, y]), 2),
    "attention": Sample(((3, 2, 4),), lambda x: ops.dot_product_attention(x, x, x)),
    # the winner takes all
    "maximum": Sample(((4,), (4,)), ops.maximum, 1),
    "minimum": Sample(((3, 4), (4,)), lambda x, y: ops.minimum(x, y[:, None]), 1),
    "layer Maximum": Sample(((4,), (4,)), lambda x, y: layers.Maximum()([x, y]), 1),
    "layer Minimum": Sample(((4,), (4,)), lambda x, y: layers.Minimum()([x, y]), 1),
    "max": Sample(((3, 4),), lambda x: ops.max(x, 1), 1),
    "amax": Sample(((3, 4),), lambda x: ops.amax(x, (1, 2), keepdims=True), 1),
    "min": Sample(((3, 4),), lambda x: ops.min(x, -1), 1),
    "amin": Sample(((3, 4),), lambda x: ops.amin(x, 1), 1),
    "max_pool": _images(lambda x: ops.max_pool(x, 2), degree=1),
    "top_k": Sample(((3, 4),), lambda x: ops.top_k(x, 2)[0], 1),
    # look-ups
    "layer Embedding": Sample(((5,),), layers.Embedding(3, 4), kind="index"),
    "one_hot": Sample(((5,),), lambda x: ops.one_hot(ops.cast(x, "int32"), 3), kind="index"),
    "take": Sample(((5, 3),), lambda x: ops.take(x, [0, 2, 2], axis=1), 1),
    "take by input": Sample(((5,),), lambda x: ops.take(weights(3, 4), ops.cast(x, "int32"), axis=0), kind="index"),
    "take_along_axis": Sample(((5, 3),), lambda x: ops.take_along_axis(x, _PLACES, 2), 1, batch=2),
    # values that move
    "concatenate": Sample(((3, 4), (2, 4)), lambda x, y: ops.concatenate([x, y], 1), 1),
    "stack": Sample(((4,), (4,)), lambda x, y: ops.stack([x, y], 1), 1),
    "hstack": Sample(((4,), (3,)), lambda x, y: ops.hstack([x, y]), 1),
    "vstack": Sample(((4,), (4,)), lambda x, y: ops.reshape(ops.vstack([x, y]), (2, -1)), 1, batch=2),
    "dstack": Sample(((3, 4), (3, 2)), lambda x, y: ops.dstack([x, y]), 1),
    "append": Sample(((4,), (3,)), lambda x, y: ops.append(x, y, axis=1), 1),
    "reshape": Sample(((3, 4),), lambda x: ops.reshape(x, (-1, 2, 6)), 1),
    "transpose": Sample(((3, 4),), lambda x: ops.transpose(x, (0, 2, 1)), 1),
    "getitem": Sample(((3, 4),), lambda x: x[:, 1:, ::2], 1),
    "squeeze": Sample(((1, 4),), lambda x: ops.squeeze(x, 1), 1),
    "expand_dims": Sample(((3, 4),), lambda x: ops.expand_dims(x, 1), 1),
    "split": Sample(((3, 4),), lambda x: ops.split(x, 2, axis=-1), 1),
    "array_split": Sample(((3, 5),), lambda x: ops.array_split(x, 2, axis=-1), 1),
    "hsplit": Sample(((4, 3),), lambda x: ops.hsplit(x, 2), 1),
    "vsplit": Sample(((4, 3),), lambda x: [ops.reshape(t, (4, -1)) for t in ops.vsplit(x, 2)], 1, batch=4),
    "dsplit": Sample(((3, 4),), lambda x: ops.dsplit(x, 2), 1),
    "unstack": Sample(((3, 4),), lambda x: ops.unstack(x, axis=1), 1),
    "swapaxes": Sample(((3, 4),), lambda x: ops.swapaxes(x, 1, 2), 1),
    "moveaxis": Sample(((2, 3, 4),), lambda x: ops.moveaxis(x, 1, 3), 1),
    "flip": Sample(((3, 4),), lambda x: ops.flip(x, 1), 1),
    "fliplr": Sample(((3, 4),), ops.fliplr, 1),
    "flipud": Sample(((3, 4),), ops.flipud, 1, batch=2),
    "roll": Sample(((3, 4),), lambda x: ops.roll(x, 1, 1), 1),
    "rot90": Sample(((3, 4),), lambda x: ops.rot90(x, axes=(1, 2)), 1),
    "repeat": Sample(((3, 4),), lambda x: ops.repeat(x, 2, axis=1), 1),
    "tile": Sample(((3, 4),), lambda x: ops.tile(x, (1, 2, 1)), 1),
    "broadcast_to": Sample(((1, 4),), lambda x: ops.broadcast_to(x, (2, 3, 4)), 1, batch=2),
    "pad": Sample(((3, 4),), lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 2))), 1),
    "ravel": Sample(((3, 4),), lambda x: ops.reshape(ops.ravel(x), (2, 12)), 1, batch=2),
    "diagonal": Sample(((3, 4),), lambda x: ops.diagonal(x, axis1=1, axis2=2), 1),
    "diag": Sample(((),), lambda x: ops.diag(x), 1, batch=3),
    "diagflat": Sample(((),), lambda x: ops.diagflat(x), 1, batch=3),
    "tril": Sample(((3, 4),), ops.tril, 1),
    "triu": Sample(((3, 4),), ops.triu, 1),
    "slice": Sample(((3, 4),), lambda x: ops.slice(x, (0, 1, 0), (2, 2, 3)), 1, batch=2),
    "slice_update": Sample(((3, 4), (2, 3)), lambda x, y: ops.slice_update(x, (0, 1, 1), y), batch=2),
    "slice_update of weights": Sample(((2, 3),), lambda x: ops.slice_update(ops.zeros((2, 3, 4)), (0, 1, 1), x), batch=2),
    "slice_update with weights": Sample(((3, 4),), lambda x: ops.slice_update(x, (0, 1, 0), ops.zeros((2, 2, 2))), batch=2),
    "where": Sample(((4,), (4,)), lambda x, y: ops.where(x > 0, x, y), 1),
    "depth_to_space": _images(lambda x: ops.depth_to_space(x, 2), channels=4, degree=1),
    "space_to_depth": _images(lambda x: ops.space_to_depth(x, 2), degree=1),
    "unfold": Sample(((2, 6, 6),), lambda x: ops.unfold(x, 3), 1),
    "extract_patches": _images(lambda x: ops.image.extract_patches(x, 4, padding="valid"), degree=1),
    "pad_images": _images(lambda x: ops.image.pad_images(x, 1, 2, target_height=10, target_width=12), degree=1),
    "crop_images": _images(lambda x: ops.image.crop_images(x, 1, 2, target_height=4, target_width=4), degree=1),
    "view": Sample(((4,),), lambda x: ops.view(x, "float32")),
    "sort": Sample(((4,),), lambda x: ops.sort(x, axis=1), 1),
    "free lengths": Sample(((3, 4),), lambda x: Flattened()(x), 1),
    # entries by themselves
    "cast": Sample(((4,),), lambda x: ops.cast(x, "float16"), kind="eighths"),
    "saturate_cast": Sample(((4,),), lambda x: ops.saturate_cast(x, "float16"), kind="eighths"),
    "stop_gradient": Sample(((4,),), lambda x: x + ops.stop_gradient(x)),
    "copy": Sample(((4,),), ops.copy, 1),
    "convert_to_tensor": Sample(((4,),), ops.convert_to_tensor, 1),
    "power": Sample(((4,),), lambda x: ops.power(x, 2.0)),
    "logaddexp": Sample(((4,),), lambda x: ops.logaddexp(x, 1.0)),
    "mod": Sample(((4,),), lambda x: ops.mod(x, 1.5)),
    "fmod": Sample(((4,),), lambda x: ops.fmod(x, 1.5)),
    "floor_divide": Sample(((4,),), lambda x: ops.floor_divide(x, 0.25)),
    "heaviside": Sample(((4,),), lambda x: ops.heaviside(x, weights())),
    "arccosh": Sample(((4,),), lambda x: ops.arccosh(x + 1.0), kind="positive"),
    "rsqrt": Sample(((4,),), ops.rsqrt, kind="positive"),
    "clip": Sample(((4,),), lambda x: ops.clip(x, -1.0, 1.0)),
    "threshold": Sample(((4,),), lambda x: ops.threshold(x, 0.1, 0.0)),
    "rms_normalization": Sample(((3, 4),), lambda x: ops.rms_normalization(x, weights(4))),
    "normalize": Sample(((3, 4),), ops.normalize),
    "layer_normalization": Sample(((3, 4),), lambda x: ops.layer_normalization(x, weights(4), weights(4))),
    "softmax": Sample(((3, 4),), ops.softmax),
    "log_softmax": Sample(((3, 4),), ops.log_softmax),
    "sparsemax": Sample(((4,),), ops.sparsemax),
    "layer Softmax": Sample(((3, 4),), layers.Softmax()),
    # layers
    "layer Dense": Sample(((4,),), layers.Dense(3)),
    "layer EinsumDense": Sample(((3, 4),), layers.EinsumDense("nij,jk->nik", (3, 5), bias_axes="k")),
    "layer ReversibleEmbedding": Sample(((3, 4),), lambda x: _reverse(x)),
    "layer Conv1D": Sample(((8, 3),), layers.Conv1D(4, 3, padding="causal")),
    "layer Conv2D": _images(layers.Conv2D(4, 3, strides=2, padding="same")),
    "layer Conv3D": Sample(((4, 4, 4, 2),), layers.Conv3D(3, 2)),
    "layer DepthwiseConv1D": Sample(((8, 3),), layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "layer DepthwiseConv2D": _images(layers.DepthwiseConv2D(3)),
    "layer DepthwiseConv2D first": Sample(((3, 8, 8),), layers.DepthwiseConv2D(3, data_format="channels_first")),
    "layer SeparableConv1D": Sample(((8, 3),), layers.SeparableConv1D(4, 3)),
    "layer SeparableConv2D": _images(layers.SeparableConv2D(4, 3, strides=2)),
    "layer SeparableConv2D first": Sample(((3, 8, 8),), layers.SeparableConv2D(4, 3, data_format="channels_first")),
    "layer SeparableConv1D first": Sample(((3, 8),), layers.SeparableConv1D(4, 3, data_format="channels_first")),
    "layer Conv1DTranspose": Sample(((8, 3),), layers.Conv1DTranspose(4, 3, strides=2)),
    "layer Conv2DTranspose": _images(layers.Conv2DTranspose(4, 3, strides=2)),
    "layer Conv3DTranspose": Sample(((4, 4, 4, 2),), layers.Conv3DTranspose(3, 2)),
    "layer BatchNormalization": _images(layers.BatchNormalization()),
    "layer Normalization": Sample(((4,),), layers.Normalization(mean=0.5, variance=2.0)),
    "layer Rescaling": Sample(((4,),), layers.Rescaling(2.0, 0.5)),
    "layer LayerNormalization": Sample(((3, 4),), layers.LayerNormalization(axis=(1, 2))),
    "layer GroupNormalization": _images(layers.GroupNormalization(2), channels=4),
    "layer RMSNormalization": Sample(((3, 4),), layers.RMSNormalization()),
    "layer UnitNormalization": Sample(((3, 4),), layers.UnitNormalization()),
    "layer AveragePooling1D": Sample(((8, 3),), layers.AveragePooling1D(2), 1),
    "layer AveragePooling2D": _images(layers.AveragePooling2D(3, 2, "same"), degree=1),
    "layer AveragePooling3D": Sample(((4, 4, 4, 2),), layers.AveragePooling3D(2), 1),
    "layer AdaptiveAveragePooling1D": Sample(((8, 3),), layers.AdaptiveAveragePooling1D(2), 1),
    "layer AdaptiveAveragePooling2D": _images(layers.AdaptiveAveragePooling2D(3), degree=1),
    "layer AdaptiveAveragePooling3D": Sample(((4, 4, 4, 2),), layers.AdaptiveAveragePooling3D(2), 1),
    "layer GlobalAveragePooling1D": Sample(((8, 3),), layers.GlobalAveragePooling1D(), 1),
    "layer GlobalAveragePooling2D": _images(layers.GlobalAveragePooling2D(keepdims=True), degree=1),
    "layer GlobalAveragePooling3D": Sample(((4, 4, 4, 2),), layers.GlobalAveragePooling3D(), 1),
    "layer MaxPooling1D": Sample(((8, 3),), layers.MaxPooling1D(2), 1),
    "layer MaxPooling2D": _images(layers.MaxPooling2D(3, 2, "same"), degree=1),
    "layer MaxPooling3D": Sample(((4, 4, 4, 2),), layers.MaxPooling3D(2), 1),
    "layer AdaptiveMaxPooling1D": Sample(((8, 3),), layers.AdaptiveMaxPooling1D(2), 1),
    "layer AdaptiveMaxPooling2D": _images(layers.AdaptiveMaxPooling2D(3), degree=1),
    "layer AdaptiveMaxPooling3D": Sample(((4, 4, 4, 2),), layers.AdaptiveMaxPooling3D(2), 1),
    "layer GlobalMaxPooling1D": Sample(((8, 3),), layers.GlobalMaxPooling1D(), 1),
    "layer GlobalMaxPooling2D": _images(layers.GlobalMaxPooling2D(keepdims=True), degree=1),
    "layer GlobalMaxPooling3D": Sample(((4, 4, 4, 2),), layers.GlobalMaxPooling3D(), 1),
    "layer UpSampling1D": Sample(((4, 3),), layers.UpSampling1D(2), 1),
    "layer UpSampling2D": _images(layers.UpSampling2D(2, interpolation="bilinear"), degree=1),
    "layer UpSampling2D nearest": _images(layers.UpSampling2D(2), degree=1),
    "layer UpSampling3D": Sample(((2, 2, 2, 2),), layers.UpSampling3D(2), 1),
    "layer Resizing": _images(layers.Resizing(5, 7), degree=1),
    "layer Resizing bicubic": _images(layers.Resizing(5, 12, interpolation="bicubic"), degree=1),
    "layer Resizing area": _images(layers.Resizing(5, 7, interpolation="area")),
    "layer Resizing lanczos": _images(layers.Resizing(11, 7, interpolation="lanczos3", antialias=True), degree=1),
    "layer Resizing antialias": _images(layers.Resizing(5, 7, antialias=True), degree=1),
    "layer Resizing cropping": _images(layers.Resizing(5, 7, crop_to_aspect_ratio=True), degree=1),
    "layer CenterCrop": _images(layers.CenterCrop(4, 6), degree=1),
    "layer Flatten": Sample(((3, 4),), layers.Flatten(), 1),
    "layer Reshape": Sample(((3, 4),), layers.Reshape((2, 6)), 1),
    "layer Permute": Sample(((3, 4),), layers.Permute((2, 1)), 1),
    "layer RepeatVector": Sample(((4,),), layers.RepeatVector(3), 1),
    "layer Concatenate": Sample(((4,), (3,)), lambda x, y: layers.Concatenate()([x, y]), 1),
    "layer ZeroPadding1D": Sample(((4, 3),), layers.ZeroPadding1D((1, 2)), 1),
    "layer ZeroPadding2D": _images(layers.ZeroPadding2D(1), degree=1),
    "layer ZeroPadding3D": Sample(((2, 2, 2, 2),), layers.ZeroPadding3D(1), 1),
    "layer Cropping1D": Sample(((4, 3),), layers.Cropping1D(1), 1),
    "layer Cropping2D": _images(layers.Cropping2D(1), degree=1),
    "layer Cropping3D": Sample(((4, 4, 4, 2),), layers.Cropping3D(1), 1),
    "layer TimeDistributed": Sample(((3, 4),), layers.TimeDistributed(layers.Dense(2, use_bias=False)), 1),
    "layer Activation": Sample(((4,),), layers.Activation("gelu")),
    "layer ReLU": Sample(((4,),), layers.ReLU()),
    "layer LeakyReLU": Sample(((4,),), layers.LeakyReLU()),
    "layer PReLU": Sample(((4,),), layers.PReLU()),
    "layer ELU": Sample(((4,),), layers.ELU()),
    "layer Embedding reversible": Sample(((5,),), layers.ReversibleEmbedding(3, 4), kind="index"),
    "layer Identity": Sample(((4,),), layers.Identity(), 1),
    # recurrent layers
    "layer LSTM": _recurrent(layers.LSTM(4)),
    "layer LSTM sequences": _recurrent(layers.LSTM(4, return_sequences=True)),
    "layer LSTM states": _recurrent(layers.LSTM(4, return_sequences=True, return_state=True)),
    "layer LSTM masked": _recurrent(lambda x: layers.LSTM(4, return_sequences=True)(layers.Masking(0.0)(x))),
    "layer LSTM time-major": _recurrent(_time_first, batch=2),
    "layer LSTM backwards": _recurrent(layers.LSTM(4, return_sequences=True, go_backwards=True)),
    "layer LSTM initial state": Sample(
        ((5, 3), (4,)), lambda x, h: layers.LSTM(4, return_sequences=True)(x, initial_state=[h, h])
    ),
    "layer LSTM stacked": _recurrent(lambda x: layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)], return_sequences=True)(x)),
    "layer LSTM stateful": _recurrent(layers.LSTM(4, return_sequences=True, stateful=True), batch=2),
    "layer GRU": _recurrent(layers.GRU(4, return_sequences=True, reset_after=False)),
    "layer GRU states": _recurrent(layers.GRU(4, return_sequences=True, return_state=True)),
    "layer SimpleRNN": _recurrent(layers.SimpleRNN(4, return_sequences=True)),
    "layer RNN": _recurrent(_step_sum(layers.GRUCell(4))),
    "layer Bidirectional": _recurrent(lambda x: layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)),
    "layer Bidirectional states": _recurrent(
        lambda x: layers.Bidirectional(layers.GRU(4, return_sequences=True, return_state=True), merge_mode=None)(x)
    ),
    "layer ConvLSTM1D": _recurrent(layers.ConvLSTM1D(2, 3, return_sequences=True), (4, 6, 2)),
    "layer ConvLSTM2D": _recurrent(layers.ConvLSTM2D(2, 3, return_sequences=True, padding="same"), (3, 5, 5, 2)),
    "layer ConvLSTM2D states": _recurrent(layers.ConvLSTM2D(2, 3, return_sequences=True, return_state=True), (3, 5, 5, 2)),
    "layer ConvLSTM3D": _recurrent(layers.ConvLSTM3D(2, 2, return_sequences=True), (2, 3, 3, 3, 2)),
}


def _reverse(x):
    layer = layers.ReversibleEmbedding(6, 4)
    layer(keras.Input((3,)))
    return layer(x, reverse=True)


def _only_in_training(layer_class):
    for arguments in ((), (0.2,), (0.2, 0.2), (4,)):
        try:
            return layer_class(*arguments)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{layer_class.__name__} takes other arguments.")


_OF_PICTURES = [c for c in TRAINING_CLASSES if not c.__name__.endswith(("1D", "3D"))]
SAMPLES |= {f"layer {c.__name__}": _images(_only_in_training(c)) for c in _OF_PICTURES}
SAMPLES |= {
    "layer SpatialDropout1D": Sample(((4, 3),), layers.SpatialDropout1D(0.2), 1),
    "layer SpatialDropout3D": Sample(((2, 2, 2, 2),), layers.SpatialDropout3D(0.2), 1),
}
SAMPLES |= {
    "logaddexp": Sample(((4,), (4,)), lambda x, y: ops.logaddexp(x, y)),
    "logaddexp2": Sample(((4,), (4,)), lambda x, y: ops.logaddexp2(x, y)),
    "ldexp": Sample(((4,),), lambda x: ops.ldexp(x, np.array([1, 2, 0, 3]))),
    "logsumexp": Sample(((5, 3),), lambda x: ops.logsumexp(x, axis=1)),
    "median": Sample(((5, 3),), lambda x: ops.median(x, axis=1)),
    "percentile": Sample(((5, 3),), lambda x: ops.percentile(x, 30.0, axis=1)),
    "quantile": Sample(((5, 3),), lambda x: ops.quantile(x, 0.3, axis=1)),
    "select": Sample(((5, 3),), lambda x: ops.select([x > 0], [x], 0.5)),
    "nextafter": Sample(((4,),), lambda x: ops.nextafter(x, np.float32(9))),
}
SAMPLES |= {
    "local response normalization": _images(LocalResponseNormalization(1, 0.5, 0.75, 2.0)),
    "layer ClippedMaxPooling2D": _images(ClippedMaxPooling2D((3, 3), (2, 2), (1, 1)), degree=1),
    "layer ClippedAveragePooling2D": _images(ClippedAveragePooling2D((3, 3), (2, 2), (1, 1)), degree=1),
}
_BY_NAME = {name.replace("_", ""): name for name in SAMPLES}
for _class in (c for c in ELEMENTWISE_CLASSES if not issubclass(c, layers.Layer)):
    if _class.__name__.lower() not in _BY_NAME:
        SAMPLES[_class.__name__] = Sample(((4,),), _class(), kind="fraction")
