"""TensorFlow's kernels without the preparations of its Python functions, which take longer than kernels on small tensors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def add(x, y):
    """x + y, for two tensors of one type."""
    return tf.raw_ops.AddV2(x=x, y=y)


def multiply(x, y):
    """x * y, for two tensors of one type."""
    return tf.raw_ops.Mul(x=x, y=y)


def reshape(t, shape):
    """A tensor in another shape: ints, of which one may be -1, or a tensor."""
    return tf.raw_ops.Reshape(tensor=t, shape=shape if isinstance(shape, tf.Tensor) else np.array(shape, np.int32))
