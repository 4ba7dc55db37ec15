"""Checks of arguments that are numbers: one wording for all functions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable


def is_integer(value):
    """Whether a value is an integer of Python or NumPy; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_finite_number(value):
    """Whether a value is a finite real number of Python or NumPy; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def integer(name, value, least=1):
    """The value as an int.

    Args:
        name: of the argument, for the error.
        value: what was given.
        least: the smallest integer that is allowed.

    Raises:
        ValueError: it is not an integer, or smaller than ``least``.
    """
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} needs an integer >= {least}, got {value!r}.")
    return int(value)


def integers(name, given, count, least=1):
    """One integer for each of ``count`` axes, as a list of ints.

    Args:
        name: of the argument, for the error.
        given: one integer for all axes, or a sequence of ``count`` integers.
        count: number of axes.
        least: the smallest integer that is allowed.

    Raises:
        ValueError: another number of values, or one that is not an integer >= ``least``.
    """
    if count == 1 and is_integer(given):
        return [integer(name, given, least)]
    values = [given] * count if is_integer(given) else list(given) if isinstance(given, Iterable) else []
    if len(values) != count or not all(is_integer(v) and v >= least for v in values):
        several = f", or {count} of them" if count > 1 else ""
        raise ValueError(f"{name} needs an integer >= {least}{several}; got {given!r}.")
    return [int(v) for v in values]
