"""Replacements for operations of Keras that do not run in every TensorFlow graph, or have no gradient there."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_lrp.keras_compat import keras_classes


def call_of(operation):
    """The function to call in place of ``operation.call``."""
    for operation_class, function in _FUNCTIONS:
        if isinstance(operation, operation_class):
            return function(operation)
    return operation.call


def _of_one_type(x, y):
    x, y = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    dtype = keras.backend.result_type(x.dtype, y.dtype)
    return tf.cast(x, dtype), tf.cast(y, dtype)


def _inner(operation):
    """sum_k x[..., k] y[..., k], for known ranks: Keras asks for them when the graph runs, and builds both branches."""

    def inner(x1, x2):
        x, y = _of_one_type(x1, x2)
        return tf.tensordot(x, y, [[-1], [-1]]) if x.shape.rank and y.shape.rank else x * y

    return inner


def _kron(operation):
    """The Kronecker product, axis by axis: Keras adds axes in a Python loop over a rank that is a tensor."""

    def kron(x1, x2):
        x, y = _of_one_type(x1, x2)
        rank = max(x.shape.rank, y.shape.rank)
        x, y = (tf.reshape(t, tf.concat([[1] * (rank - t.shape.rank), tf.shape(t)], 0)) for t in (x, y))
        ones = tf.ones(rank, tf.int32)
        rows, columns = (tf.reshape(tf.stack(pair, 1), [-1]) for pair in ((tf.shape(x), ones), (ones, tf.shape(y))))
        return tf.reshape(tf.reshape(x, rows) * tf.reshape(y, columns), tf.shape(x) * tf.shape(y))

    return kron


def _slice_update(operation):
    """A slice replaced, by a mask: XlaDynamicUpdateSlice has no gradient. A slice that would stick out is moved inside."""

    def slice_update(inputs, start_indices, updates):
        x, updates = _of_one_type(inputs, updates)
        room = tf.shape(x) - tf.shape(updates)
        start = tf.clip_by_value(tf.cast(keras.ops.convert_to_tensor(start_indices), tf.int32), 0, room)
        around = tf.stack([start, room - start], axis=1)
        replaced = tf.pad(tf.ones_like(updates, tf.bool), around)
        return tf.where(replaced, tf.pad(updates, around), x)

    return slice_update


def _unfold(operation):
    """Windows of (N, C, H, W) as (N, C kH kW, windows), for any N: Keras reads it from the static shape."""

    def unfold(x):
        pairs = operation.kernel_size, operation.dilation, operation.padding, operation.stride
        size, rate, pad, stride = ((p, p) if isinstance(p, int) else p for p in pairs)
        x = tf.transpose(tf.pad(x, [[0, 0], [0, 0], [pad[0]] * 2, [pad[1]] * 2]), (0, 2, 3, 1))
        geometry = {name: [1, *two, 1] for name, two in (("sizes", size), ("strides", stride), ("rates", rate))}
        windows = tf.image.extract_patches(x, padding="VALID", **geometry)
        taps, channels = size[0] * size[1], tf.shape(x)[-1]
        by_window = tf.reshape(windows, tf.stack([tf.shape(x)[0], -1, taps, channels]))
        return tf.reshape(tf.transpose(by_window, (0, 3, 2, 1)), tf.stack([tf.shape(x)[0], channels * taps, -1]))

    return unfold


_FUNCTIONS = [
    (keras_classes.operation_classes(name), function)
    for name, function in (("Inner", _inner), ("Kron", _kron), ("SliceUpdate", _slice_update), ("Unfold", _unfold))
]
