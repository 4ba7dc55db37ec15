"""Keras's variables and random numbers: how they are read, and where their backend is found."""

from __future__ import annotations

from keras.src.backend import AutocastScope
from keras.src.backend.common.variables import Variable as KerasVariable
from keras.src.random import random as random_module

__all__ = ["RANDOM_FUNCTIONS", "KerasVariable", "reading_variables_as"]

#: Context in which float variables are read in a given type.
reading_variables_as = AutocastScope

#: Where keras.random finds its backend.
RANDOM_FUNCTIONS = random_module
