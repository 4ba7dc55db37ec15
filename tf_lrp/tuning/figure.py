"""The figure of a search: metrics by trial, or the plane of two metrics."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# The colours of Okabe and Ito, which colour-blind people can distinguish.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_TRIAL, _BEST = "#9a9a9a", "#000000"
_MARKS = ("s", "D", "^", "v", "P", "X")
_STYLES = ("--", "-.", ":", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)), (0, (8, 3)))


def draw(tuned):
    """With two metrics all presets in their plane; otherwise each metric by trial, with the best so far.

    Args:
        tuned: `Tuned`.

    Returns:
        (Figure, caption).
    """
    if len(tuned.metrics) == 2:
        return _plane(tuned)
    return _course(tuned)


def save(path, tuned):
    """Writes the figure; returns its caption."""
    drawn, caption = draw(tuned)
    drawn.savefig(path, dpi=150)
    return caption


def _course(tuned):
    count = len(tuned.metrics)
    drawn = Figure(figsize=(8, 1 + 3.2 * count), layout="constrained")
    trials = [r for r in tuned.trials if r["error"] is None]
    numbers = [r["number"] for r in trials]
    for axes, metric in zip(drawn.subplots(count, 1, squeeze=False, sharex=True)[:, 0], tuned.metrics, strict=True):
        values = [r["values"][metric] for r in trials]
        axes.plot(numbers, values, "o", color=_TRIAL, markersize=4, label="a trial")
        axes.step(numbers, np.maximum.accumulate(values), where="post", color=_BEST, linewidth=1.5, label="best so far")
        for (name, record), colour, style in zip(_references(tuned), _cycle(_COLOURS), _cycle(_STYLES), strict=False):
            value = record["values"][metric]
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.2, label=f"{name}  {value:.4g}")
        axes.set_ylabel(metric)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
        _plain(axes)
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    failed = len(tuned.trials) - len(trials)
    tail = f" {failed} trials failed and are not shown." if failed else ""
    return drawn, f"Values of the trials in their order, the best so far, and the named presets as lines.{tail}"


def _plane(tuned):
    drawn = Figure(figsize=(8, 5), layout="constrained")
    axes = drawn.subplots()
    first, second = tuned.metrics
    trials = [r["values"] for r in tuned.trials if r["error"] is None]
    axes.plot([v[first] for v in trials], [v[second] for v in trials], "o", color=_TRIAL, markersize=4, label="a trial")
    front = [r["values"] for r in tuned.front_records]
    axes.step([v[first] for v in front], [v[second] for v in front], "-", where="post", color=_BEST, linewidth=1.2)
    axes.plot([v[first] for v in front], [v[second] for v in front], "o", color=_BEST, markersize=5, label="Pareto front")
    axes.plot(
        tuned.values[first], tuned.values[second], "o", markersize=13, fillstyle="none", color=_BEST, label="chosen: the knee"
    )
    for (name, record), colour, mark in zip(_references(tuned), _cycle(_COLOURS), _cycle(_MARKS), strict=False):
        axes.plot(record["values"][first], record["values"][second], mark, color=colour, markersize=7, label=name)
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    _plain(axes)
    failed = len(tuned.trials) - len(trials)
    tail = f" {failed} trials failed and are not shown." if failed else ""
    return drawn, f"All presets by {first} and {second} (larger is better), with the Pareto front and the named presets.{tail}"


def _references(tuned):
    return [(r["reference"], r) for r in tuned.references if r["error"] is None]


def _cycle(values):
    while True:
        yield from values


def _plain(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
