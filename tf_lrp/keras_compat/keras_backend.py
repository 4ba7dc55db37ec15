"""The class of Keras's variables, the type in which they are read, and the module through which keras.random draws."""

from __future__ import annotations

from keras.src.backend import AutocastScope
from keras.src.backend.common.variables import Variable as KerasVariable
from keras.src.random import random as random_module

__all__ = ["RANDOM_FUNCTIONS", "KerasVariable", "reading_variables_as"]

#: Context in which float variables are read in a given type.
reading_variables_as = AutocastScope

#: The module in which keras.random looks up its backend.
RANDOM_FUNCTIONS = random_module
