"""From measurements of single pictures to tables: means with standard errors, curves over object size, numbers as text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error.

    Attributes:
        value: NaN if there was nothing to average.
        error: its standard error; NaN for fewer than two groups.
        count: measurements averaged, without NaN.
    """

    value: float
    error: float
    count: int


def mean(values, groups=None):
    """The mean of ``values`` and its standard error; NaN values are ignored.

    Measurements of the same picture are not independent, so the error is that of independent groups (clusters):
    sqrt(G / (G - 1) sum_g (sum_{i in g} (v_i - mean))^2) / n, which is s / sqrt(n) where each group has one value.

    Args:
        values: floats (n,).
        groups: n hashable labels, such as names of pictures; by default each value is its own group.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    values = values[finite]
    if not len(values):
        return Mean(float("nan"), float("nan"), 0)
    average = values.mean()
    if groups is None:
        deviations = values - average
    else:
        _, places = np.unique(np.asarray(groups)[finite], return_inverse=True)
        deviations = np.bincount(places, values - average)
    clusters = len(deviations)
    if clusters < 2:
        return Mean(float(average), float("nan"), len(values))
    error = np.sqrt(clusters / (clusters - 1) * (deviations**2).sum()) / len(values)
    return Mean(float(average), float(error), len(values))


def by_size(values, sizes, bins=100):
    """Mean and standard deviation as functions of the size of the object.

    Args:
        values: floats (n,); NaN values are ignored.
        sizes: shares of the picture (n,), 0 < size <= 1.
        bins: number of equal intervals of (0, 1]; bin b holds b / bins < size <= (b + 1) / bins.

    Returns:
        (centres, means, deviations, counts), each (bins,); NaN in bins without measurements.

    Source: Kohlbrenner et al. 2020, Figs. 2 and 3.
    """
    values, sizes = np.asarray(values, float), np.asarray(sizes, float)
    finite = np.isfinite(values)
    values, sizes = values[finite], sizes[finite]
    # Sizes are quotients of pixel counts: b / bins itself belongs to the bin below it, whatever its rounding.
    places = np.clip(np.ceil(sizes * bins - 1e-4).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(places, values, minlength=bins) / counts
        squares = np.bincount(places, (values - means[places]) ** 2, minlength=bins) / counts
    return (np.arange(bins) + 0.5) / bins, means, np.sqrt(squares), counts


@dataclass
class Table:
    """A table for people (Markdown) and for programs (CSV, JSON).

    Attributes:
        title: of the table.
        columns: headers.
        rows: cells: str, int, float, None, or `Mean`.
        notes: lines below it.
    """

    title: str
    columns: Sequence[str]
    rows: list = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self):
        """GitHub's Markdown; a mean is followed by its standard error."""
        lines = [f"**{self.title}**", "", f"| {' | '.join(self.columns)} |", f"|{'---|' * len(self.columns)}"]
        lines += [f"| {' | '.join(_text(cell) for cell in row)} |" for row in self.rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def csv(self):
        """Comma-separated; a mean takes two columns, the second its standard error, and a third the number averaged."""
        wide = [any(isinstance(row[k], Mean) for row in self.rows) for k in range(len(self.columns))]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            [name for k, c in enumerate(self.columns) for name in ((c, f"{c} (error)", f"{c} (n)") if wide[k] else (c,))]
        )
        for row in self.rows:
            cells = []
            for k, cell in enumerate(row):
                if isinstance(cell, Mean):
                    cells += [_finite(cell.value), _finite(cell.error), cell.count]
                else:
                    cells += [_finite(cell), None, None] if wide[k] else [_finite(cell)]
            writer.writerow(["" if cell is None else cell for cell in cells])
        return text.getvalue()

    def data(self):
        """The table for JSON: a mean is [value, standard error], a number that is not finite is null."""
        rows = [[[_finite(c.value), _finite(c.error)] if isinstance(c, Mean) else _finite(c) for c in row] for row in self.rows]
        return {"title": self.title, "columns": list(self.columns), "rows": rows, "notes": list(self.notes)}


def number(value, error=None):
    """A number as text: integers unchanged, floats with three decimals, or three significant digits if they are small.

    Floats with a magnitude from 1e-4 to 0.01 have three significant digits; a number that would otherwise read 0, or that is
    1e6 or larger, has an exponent. With a standard error, "value ± error", both have the same number of decimals: that of the
    value alone, or more (up to six) to show the error.
    """
    decimals = 0 if isinstance(value, int) else 3
    if decimals and 1e-4 <= abs(value) < 0.01:
        decimals = 2 - math.floor(math.log10(abs(value)))
    if error and math.isfinite(error):
        decimals = max(decimals, min(6, math.ceil(-math.log10(abs(error)))))
    return " ± ".join(_decimal(part, decimals) for part in (value, error) if part is not None)


def _decimal(part, decimals):
    if isinstance(part, int) and not decimals:
        return str(part)
    needs_exponent = part and math.isfinite(part) and not 10**-decimals <= abs(part) < 1e6
    return f"{part:.2e}" if needs_exponent else f"{part:.{decimals}f}"


def write_json(path, data):
    """Writes ``data`` as standard JSON, which has no NaN."""
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _finite(cell):
    return None if isinstance(cell, float | np.floating) and not np.isfinite(cell) else cell


def _text(cell):
    if isinstance(cell, Mean):
        shown = _text(cell.value)
        return shown if not np.isfinite(cell.error) else f"{shown} ± {_text(cell.error)}"
    if cell is None or _finite(cell) is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float | np.floating) else str(cell).replace("|", "\\|")
