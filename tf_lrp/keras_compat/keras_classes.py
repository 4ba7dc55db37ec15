"""Classes of Keras, by their names where the public API has none; and the entry of a table that is meant for an operation."""

from __future__ import annotations

import keras
from keras.src.layers.rnn.conv_lstm import ConvLSTM, ConvLSTMCell
from keras.src.ops import core, einops, image, linalg, math, nn, numpy

_MODULES = (numpy, nn, core, math, image, linalg, einops)

Add = numpy.Add
Subtract = numpy.Subtract
Multiply = numpy.Multiply
Divide = numpy.Divide
TrueDivide = numpy.TrueDivide
Maximum = numpy.Maximum
Minimum = numpy.Minimum
Power = numpy.Power

CONVOLUTIONAL_LSTM = ConvLSTM
CONVOLUTIONAL_LSTM_CELLS = (ConvLSTMCell,)

#: What Keras offers for overriding: a subclass that does may compute anything.
_HOOKS = ("call", "convolution_op", "_merge_function")


def operation_classes(*names):
    """The classes behind keras.ops of these names that the installed Keras has."""
    return tuple(getattr(module, name) for name in names for module in _MODULES if hasattr(module, name))


def layer_classes(*names):
    """The classes of keras.layers of these names that the installed Keras has."""
    return tuple(getattr(keras.layers, name) for name in names if hasattr(keras.layers, name))


def nearest_class(table, operation):
    """The entry of the nearest base class in ``table``, provided that the operation's class computes what that base does.

    Args:
        table: dict of classes.
        operation: a Keras layer or operation.

    Returns:
        The entry, or None: if there is no base in the table, or if a class between overrides its ``call``,
        ``convolution_op`` or ``_merge_function``, and so may compute anything.
    """
    for base in type(operation).__mro__:
        if base in table:
            kept = all(getattr(type(operation), hook, None) is getattr(base, hook, None) for hook in _HOOKS)
            return table[base] if kept else None
    return None
