"""Weights that are computed: tensors that depend on variables, and not on the inputs of a model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Parameter:
    """A tensor that is computed from variables and constants each time it is used, so that later changes of them count.

    TensorFlow, NumPy and keras.ops take it as they take a tensor.

    Args:
        compute: function without arguments -> tensor.
    """

    def __init__(self, compute):
        self._compute = compute
        with tf.init_scope():
            value = tf.convert_to_tensor(compute())
        self.shape, self.dtype = tuple(value.shape), value.dtype.name

    def __tf_tensor__(self, dtype=None, name=None):
        value = tf.convert_to_tensor(self._compute())
        return value if dtype is None else tf.cast(value, dtype)

    def __array__(self, dtype=None, copy=None):
        with tf.init_scope():
            return np.asarray(tf.convert_to_tensor(self), dtype)


#: Types of what may have been learned.
LEARNED = (keras.Variable, tf.Variable, Parameter)
#: Types of arguments that have values, and shapes.
ARRAYS = (np.ndarray, np.generic, tf.Tensor, *LEARNED)
