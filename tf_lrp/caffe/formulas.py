"""The formula types of the LRP Toolbox's Caffe program (`relpropformulatype`), by their numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tf_lrp.messages.checks import is_integer


@dataclass(frozen=True)
class Formula:
    """One formula type.

    Attributes:
        dense: rule of inner products: "epsilon", "alpha-beta"; "" where it is no LRP.
        conv: rule of convolutions.
        lower: rule of both at positions up to the maximal layer index, "flat", "w^2" or "alpha-beta"; "" for none.
        method: what is computed instead of LRP.
    """

    dense: str = ""
    conv: str = ""
    lower: str = ""
    method: str = ""

    def __str__(self):
        if self.method:
            return self.method
        upper = self.dense if self.dense == self.conv else f"{self.dense} (inner products), {self.conv} (convolutions)"
        return f"{upper}; {self.lower} up to max_layer" if self.lower else upper


FORMULAS = {
    0: Formula("epsilon", "epsilon"),
    2: Formula("alpha-beta", "alpha-beta"),
    11: Formula(method="sensitivity: the derivative times the score"),
    26: Formula(method="deconvolution"),
    54: Formula("epsilon", "epsilon", "flat"),
    56: Formula("epsilon", "epsilon", "w^2"),
    58: Formula("alpha-beta", "alpha-beta", "flat"),
    60: Formula("alpha-beta", "alpha-beta", "w^2"),
    99: Formula(method="sensitivity: the norm of type 11 over the channels"),
    100: Formula("epsilon", "alpha-beta"),
    102: Formula("epsilon", "alpha-beta", "flat"),
    104: Formula("epsilon", "alpha-beta", "w^2"),
    114: Formula("epsilon", "epsilon", "alpha-beta"),
    166: Formula(method="guided backpropagation"),
}


def formula(number: int) -> Formula:
    """The `Formula` of a number.

    Raises:
        ValueError: for a number that is none, listing those that are.
    """
    if not is_integer(number) or number not in FORMULAS:
        raise ValueError(f"There is no formula type {number!r}; there are {', '.join(map(str, FORMULAS))}.")
    return FORMULAS[number]
