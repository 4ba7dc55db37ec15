"""The class of Keras's variables, the type in which they are read, and the module through which keras.random draws."""

from __future__ import annotations

import contextlib

import tensorflow as tf
from keras.src.backend import AutocastScope
from keras.src.backend.common.variables import Variable as KerasVariable
from keras.src.random import random as random_module

from tf_lrp.keras_compat.lengths import in_this_thread

__all__ = ["RANDOM_FUNCTIONS", "KerasVariable", "noting_values", "reading_variables_as"]

#: Context in which float variables are read in a given type.
reading_variables_as = AutocastScope

#: The module in which keras.random looks up its backend.
RANDOM_FUNCTIONS = random_module


@contextlib.contextmanager
def noting_values(note):
    """Context in which ``note()`` is called when the value of a variable of real numbers is taken, outside of a graph."""
    value = KerasVariable.value

    def noted(variable):
        if tf.executing_eagerly() and "float" in variable.dtype:
            note()
        return value.fget(variable)

    KerasVariable.value = property(in_this_thread(noted, value.fget))
    try:
        yield
    finally:
        KerasVariable.value = value
