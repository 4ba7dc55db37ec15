"""What all rules have in common: terms, and the checks of parameters."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from tf_lrp.rules.stabilizer import Stabilizer


@dataclass(frozen=True)
class Term:
    """One fraction of a rule's formula.

    Attributes:
        parts: pairs (activation map, kernel map) whose products a_i w_ij add up to the numerators and to z.
        shares: the pairs of the numerators, where they differ from those that add up to z. Such a term does not conserve
            relevance.
        coefficient: float, the weight of the fraction.
        bias: map of the bias added to z, or None to leave the bias out.
        stabilizer: of the denominator z.
        bias_factor: float, the part of what bias and stabilizer keep that is shared evenly among the inputs of each output.
        where: the outputs j that the term applies to, by the sign of the layer's pre-activation z_j = sum_i a_i w_ij + b_j:
            "all", "positive" (z_j > 0) or "negative" (z_j < 0).
    """

    parts: tuple[tuple[Callable, Callable], ...]
    coefficient: float = 1.0
    bias: Callable | None = None
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    where: str = "all"
    bias_factor: float = 0.0
    shares: tuple[tuple[Callable, Callable], ...] | None = None

    @property
    def numerators(self):
        """Pairs (activation map, kernel map) of the numerators."""
        return self.parts if self.shares is None else self.shares


@dataclass(frozen=True)
class Rule:
    """Base of all rules. Rules are frozen and hashable; they are equal if their classes and parameters are."""

    def __post_init__(self):
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if isinstance(value, np.generic):
                value = value.item()  # JSON holds Python's own numbers
                object.__setattr__(self, f.name, value)
            if isinstance(f.default, bool) and not isinstance(value, bool):
                raise TypeError(f"{type(self).__name__} needs True or False as {f.name}, got {value!r}.")
            if isinstance(f.default, float) and not (isinstance(value, Stabilizer) and f.name.endswith("stabilizer")):
                if not isinstance(value, numbers.Real) or isinstance(value, bool):
                    raise TypeError(f"{type(self).__name__} needs a number as {f.name}, got {value!r}.")
                if not is_finite(value) and f.name not in ("epsilon", "gamma"):
                    raise ValueError(f"{type(self).__name__} needs a finite {f.name}, got {f.name}={value!r}.")
            if f.name in ("epsilon", "gamma") and not (is_finite(value) and value >= 0):  # pyright: ignore[reportOperatorIssue]
                raise ValueError(f"{type(self).__name__} needs a finite {f.name} >= 0, got {f.name}={value!r}.")
            if f.name == "stabilizer":
                as_stabilizer(value)

    def terms(self, nonnegative: bool) -> tuple[Term, ...]:
        """The fractions of the formula.

        Args:
            nonnegative: whether the layer's inputs are known to be >= 0, so that a- need not be computed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no terms")

    def __str__(self):
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(shown)})"


def is_finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def as_stabilizer(value):
    """A rule's parameter as a `Stabilizer`: a number is the epsilon of the additive one."""
    return value if isinstance(value, Stabilizer) else Stabilizer(float(value))


def as_numbers(values):
    """Numbers, perhaps nested, as a float array; None if they are no numbers or have different lengths."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def nested_tuple(values):
    """Nested lists as nested tuples."""
    return tuple(nested_tuple(v) for v in values) if isinstance(values, list) else values
