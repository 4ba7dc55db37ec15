"""Curves and bars, the elements from which the figures of the evaluations are drawn.

No figure uses pyplot, its list of open figures or matplotlib's settings, so that figures can be drawn in threads.

Styles follow the order in which curves are given: with the same order of methods, a method looks the same in all figures.
Legends are sorted by the curves' means, highest first. Up to `DIRECT` curves are labelled at their end, more in a legend beside
the axes. Colours are those of Okabe and Ito 2008, "Color universal design", without yellow, which is too faint on white; each
dash pattern is combined with all colours, so 42 curves differ.

Needs NumPy and matplotlib only.
"""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure

from tf_lrp.evaluation.tables import number

#: Up to this many curves are labelled at their end instead of in a legend.
DIRECT = 6

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (10, 2.5)), (0, (4, 1.3, 1.2, 1.3, 1.2, 1.3)))

_DPI = 150
GREY = "#767676"
_SMALL = 8.5  # points, of labels beside the axes
_ROWS = 24  # of a legend, before it takes a second column
_CROWD = 14  # curves, above which lines are thinner
_NAME = 36  # characters, before a name is wrapped


def save(figure, path):
    """Writes a figure as a PNG; returns ``path``."""
    figure.savefig(path, format="png")
    return path


def draw_bands(curves, parts, title, xlabel, ylabel):
    """Curves of means with their deviations as bands.

    Args:
        curves: dict from a curve's name to (x (P,), means (P,), deviations (P,)). Means that are NaN are skipped; a deviation
            of NaN (of one sample) has no width.
        parts: what the three arrays are called in errors.
        title, xlabel, ylabel: texts.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no curves, or a curve whose arrays differ in length.
    """
    curves = checked_curves(curves, parts)
    figure, axes = curves_figure(curves, title, xlabel, ylabel)
    draw_lines(axes, curves)
    axes.margins(x=0)
    label_curves(figure, axes, curves)
    return figure


def draw_bars(names, values, errors=None, title="", xlabel=""):
    """Horizontal bars with their standard errors, the highest value on top, values that are NaN (without a bar) at the bottom.

    Args:
        names: list of N names.
        values: (N,) numbers.
        errors: (N,) standard errors, NaN where there is none; or None.
        title, xlabel: texts.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no names, or other than one value and error for each of them.
    """
    values = np.asarray(values, float)
    errors = np.full(values.shape, np.nan) if errors is None else np.asarray(errors, float)
    if not len(names) or values.shape != (len(names),) or errors.shape != values.shape:
        raise ValueError(
            f"Bars take a list of names, at least one, with a value and an error for each; got {len(names)} names, values of "
            f"shape {values.shape}, errors of shape {errors.shape}."
        )
    order = np.argsort(-values, kind="stable")  # sorts NaN last
    places = np.arange(len(names))
    figure = Figure(figsize=(8, 1.2 + 0.24 * len(names)), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot(facecolor="white")
    axes.barh(places, values[order], height=0.7, color=COLOURS[4], zorder=2)
    axes.errorbar(values[order], places, xerr=np.nan_to_num(errors[order]), fmt="none", ecolor="black", elinewidth=1, zorder=3)
    axes.axvline(0, color="black", linewidth=0.8, zorder=3)
    axes.set_yticks(places, [textwrap.fill(str(names[n]), _NAME) for n in order], fontsize=_SMALL, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    for place, n in zip(places, order, strict=True):
        error = errors[n] if np.isfinite(errors[n]) else None
        text = number(values[n], error) if np.isfinite(values[n]) else "no value"
        axes.text(1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=_SMALL)
    axes.tick_params(axis="y", length=0)
    _style_axes(axes, title, xlabel, "", grid="x")
    return figure


def checked_curves(curves, parts):
    """The curves as float arrays, in the order given, without the points whose mean is NaN.

    Args:
        curves: dict from a curve's name to arrays of one length; the second holds the means.
        parts: what the arrays are called in errors.

    Raises:
        ValueError: no curves, or a curve whose arrays differ in number or length.
    """
    if not curves:
        raise ValueError("A figure needs at least one curve; got none.")
    result = {}
    for name, given in curves.items():
        arrays = [np.asarray(array, float) for array in given]
        shapes = [array.shape for array in arrays]
        if len(arrays) != len(parts) or arrays[0].ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"Curve {name!r} needs ({', '.join(parts)}), vectors of one length; got the shapes {shapes}.")
        finite = np.isfinite(arrays[1])
        result[str(name)] = [array[finite] for array in arrays]
    return result


def _order(curves):
    """Names by their curve's mean, highest first; curves without a point last."""
    return sorted(curves, key=lambda name: -curves[name][1].mean() if curves[name][1].size else np.inf)


def curves_figure(curves, title, xlabel, ylabel):
    """(Figure, its axes) with space for the labels or the legend of these curves."""
    rows, columns = _legend_size(curves)
    width = 8 + max(0, columns - 1) * (1 + 0.065 * min(_NAME, max(map(len, curves))))
    figure = Figure(figsize=(width, max(4.6, 0.9 + 0.18 * rows)), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot(facecolor="white")
    _style_axes(axes, title, xlabel, ylabel, grid="both")
    return figure, axes


def _legend_size(curves):
    """(lines of text, columns) of the legend, (0, 0) where curves are labelled at their end."""
    if len(curves) <= DIRECT:
        return 0, 0
    columns = -(-len(curves) // _ROWS)
    height = max(1 + textwrap.fill(name, _NAME).count("\n") for name in curves)
    return height * -(-(len(curves) + 1) // columns), columns


def _style_axes(axes, title, xlabel, ylabel, grid):
    axes.set_title(textwrap.fill(title, 80), fontsize=11, loc="left", parse_math=False)
    axes.set_xlabel(xlabel, fontsize=10, parse_math=False)
    axes.set_ylabel(ylabel, fontsize=10, parse_math=False)
    axes.tick_params(labelsize=9)
    axes.grid(axis=grid, color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_lines(axes, curves):
    """Draws each curve (x, means) as a line; of (x, means, deviations) the deviations as a band."""
    styles = {name: (COLOURS[n % len(COLOURS)], DASHES[n // len(COLOURS) % len(DASHES)]) for n, name in enumerate(curves)}
    width = 1.6 if len(curves) <= _CROWD else 1.1
    for name in _order(curves):
        colour, dash = styles[name]
        x, means, *spread = curves[name]
        marker = "o" if len(x) == 1 else None  # a line of one point would not be seen
        axes.plot(x, means, color=colour, linestyle=dash, linewidth=width, marker=marker, label=name)
        if spread:
            half = np.nan_to_num(spread[0])
            alpha = 0.16 if len(curves) <= DIRECT else 0.08
            axes.fill_between(x, means - half, means + half, color=colour, alpha=alpha, linewidth=0, label=name)


def label_curves(figure, axes, curves):
    """Labels at the lines' ends, or a legend beside the axes: the curves, then other lines with a label, such as a baseline."""
    drawn = {line.get_label(): line for line in axes.get_lines()}
    others = [name for name in drawn if name not in curves and not name.startswith("_")]  # matplotlib's own labels have a _
    lines = {name: drawn[name] for name in (*_order(curves), *others)}
    texts = {name: name if line.get_xdata().size else f"{name} (no values)" for name, line in lines.items()}
    texts = {name: textwrap.fill(text, _NAME) for name, text in texts.items()}
    _, columns = _legend_size(curves)
    if columns:
        legend = figure.legend(
            list(lines.values()),
            list(texts.values()),
            loc="outside right upper",
            ncols=columns,
            fontsize=_SMALL,
            handlelength=3.6,
            frameon=False,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    # Lines that end at one height keep the order of their means; those without a point are labelled at the bottom.
    ends = {name: (line.get_ydata()[-1] - low) / (high - low) if line.get_xdata().size else 0.0 for name, line in lines.items()}
    names = sorted(lines, key=ends.get, reverse=True)[::-1]
    heights = [0.05 * (1 + texts[name].count("\n")) for name in names]
    for name, height in zip(names, _without_overlap([ends[name] for name in names], heights), strict=True):
        x, y = lines[name].get_data()
        leader = {"arrowstyle": "-", "color": lines[name].get_color(), "relpos": (0, 0.5), "shrinkB": 0}
        leader |= {"linewidth": 0.8, "linestyle": ":"}  # not to be taken for the line itself
        axes.annotate(
            texts[name],
            (x[-1], y[-1]) if len(x) else (1, height),
            (1.05, height),
            xycoords="data" if len(x) else "axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=_SMALL,
            parse_math=False,
            annotation_clip=False,
            arrowprops=leader if len(x) else None,
        )


def _without_overlap(centres, heights):
    """Centres of labels of the given heights, from the bottom up, moved until none meets the next, and below 1."""
    moved = list(centres)
    for n in range(1, len(moved)):
        moved[n] = max(moved[n], moved[n - 1] + (heights[n - 1] + heights[n]) / 2)
    moved[-1] = min(moved[-1], 1.0)
    for n in reversed(range(len(moved) - 1)):
        moved[n] = min(moved[n], moved[n + 1] - (heights[n] + heights[n + 1]) / 2)
    return moved
