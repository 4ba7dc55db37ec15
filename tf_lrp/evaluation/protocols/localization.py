"""Localization: how much of the relevance lies on the object that is explained (Kohlbrenner et al. 2020, Table I, Fig. 3)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation import figures
from tf_lrp.evaluation import tables as tabulate
from tf_lrp.evaluation.engine import compiled_step, method_names
from tf_lrp.evaluation.measures import localization as measures
from tf_lrp.evaluation.tables import Table, mean

#: The row of the tables for relevance that is spread evenly over the picture.
UNIFORM = "uniform"

#: Name of the baseline in the figure.
BASELINE = "uniform relevance"

#: Kohlbrenner et al. 2020, Table I: (data set, network) -> preset or method -> (mu_w, mu <= 0.25, mu <= 0.5, mu).
PUBLISHED = {
    ("voc", "caffenet"): {
        "cmp_a2_flat": (2.716, 0.307, 0.421, 0.532),
        "cmp_a1": (2.664, 0.306, 0.426, 0.539),
        "cmp_a1_flat": (2.598, 0.301, 0.421, 0.535),
        "cmp_a2": (2.475, 0.276, 0.388, 0.504),
        "z": (2.128, 0.236, 0.353, 0.480),
        "guided_backprop": (1.943, 0.212, 0.335, 0.470),
        "alpha2_beta1": (1.843, 0.205, 0.320, 0.452),
        "alpha1_beta0": (1.486, 0.163, 0.273, 0.403),
        "uniform": (1.000, 0.100, 0.186, 0.322),
    },
    ("imagenet", "vgg16"): {
        "cmp_a2_flat": (1.902, 0.397, 0.534, 0.714),
        "cmp_a2": (1.797, 0.368, 0.505, 0.693),
        "cmp_a1": (1.7044, 0.3467, 0.4887, 0.6898),
        "cmp_a1_flat": (1.7043, 0.3466, 0.4886, 0.6898),
        "alpha2_beta1": (1.702, 0.332, 0.496, 0.706),
        "guided_backprop": (1.640, 0.312, 0.485, 0.710),
        "alpha1_beta0": (1.609, 0.306, 0.475, 0.699),
    },
}


def task(explainer, prepare, k=1000, tolerance=0):
    """Measures localization for each pair of picture and class, and how much the map changes with the class.

    One compiled step goes from the network's input to the numbers: maps never leave the device.

    Args:
        explainer: an `Explainer` of a network that takes one picture.
        prepare: function from uint8 pictures to the network's input.
        k, tolerance: see `measures.localization.measure`.

    Returns:
        Function of a `Batch` that returns a dict of arrays (N, K); "discrimination" is the same for all classes of a picture.
    """

    def step(x, labels, masks):
        maps = measures.pool(explainer(x, labels))
        discrimination = measures.class_discrimination(maps)
        return {
            **measures.measure(maps, masks, k, tolerance),
            "discrimination": tf.repeat(discrimination[:, tf.newaxis], labels.shape[1], axis=1),
        }

    compiled = compiled_step(step)
    return lambda batch: compiled(prepare(batch.images), batch.labels, batch.masks)


def tables(log, methods, about, published=None):
    """Table I of Kohlbrenner et al. 2020, further measures of localization, and a comparison with published values.

    Args:
        log: `MeasurementLog` of `task`.
        methods: names.
        about: network and data, for the titles.
        published: rows of the paper's table, as in `PUBLISHED`; None if the paper has none.

    Returns:
        list of `Table`, by mu_w, highest first, with a row for uniform relevance.
    """
    more = {name: header for name, (header, _) in measures.MEASURES.items() if name not in ("mu", "mu_w")}
    rows, further = [], []
    for method in methods:
        names, values = log.per_pair(method)
        rows.append([method, *_ratios(values["mu"], values["area"], names, values["mu_w"])])
        further.append([method, *(mean(values[key], names) for key in (*more, "discrimination")), len(names)])
    if methods:
        names, values = log.per_pair(methods[0])
        area = values["area"]
        rows.append([UNIFORM, *_ratios(area, area, names, np.ones_like(area))])
        further.append([UNIFORM, *(mean(area, names) for _ in more), None, len(names)])
    rows.sort(key=lambda row: -row[1].value)
    further.sort(key=lambda row: -row[1].value)
    measured = {row[0]: row[1:] for row in rows}
    columns = ["mu_w", "mu <= 0.25", "mu <= 0.5", "mu"]
    result = [
        Table(
            f"Inside-total relevance ratio, {about}",
            ["method", *columns],
            rows,
            ["Mean over pairs of picture and class ± standard error over pictures; `uniform` is relevance spread evenly."],
        ),
        Table(
            f"Further measures of localization, {about}",
            ["method", *more.values(), "class discrimination", "pairs"],
            further,
            ["Class discrimination: 1 - correlation of the maps of two classes of one picture."],
        ),
    ]
    if published:
        compared = [
            [method, *(cell for k in range(4) for cell in (measured[method][k], values[k]))]
            for method, values in published.items()
            if method in measured
        ]
        headers = [header for column in columns for header in (column, f"{column}, paper")]
        result.append(Table(f"Compared with Kohlbrenner et al. 2020, Table I: {about}", ["method", *headers], compared))
    return result


def _ratios(mu, area, names, weighted):
    """mu_w, mu of objects up to a quarter and up to a half of the picture, mu of all."""
    names = np.asarray(names)
    limited = [mean(mu[area <= limit], names[area <= limit]) for limit in (0.25, 0.5)]
    return [mean(weighted, names), *limited, mean(mu, names)]


def curves_by_size(log, methods, bins=100):
    """mu as a function of the object's size: method -> (centres, means), each (bins,)."""
    curves = {}
    for method in methods:
        _, values = log.per_pair(method)
        curves[method] = tabulate.by_size(values["mu"], values["area"], bins)[:2]
    return curves


def draw(curves, baseline=True, title="", ylabel="mean inside-total relevance ratio μ"):
    """A measure of localization as a function of the object's size, one line for each method.

    The vertical lines at 0.25 and 0.5 are the sizes up to which the paper averages. Relevance that is uniform over the picture
    has a ratio μ = S_box / S_picture: the diagonal.

    Args:
        curves: dict from a method's name to (centres (B,), means (B,)): sizes of the boxes as shares of the picture's area, 0
            to 1, and the mean of the measure in each bin. The line skips bins that are NaN (without an object).
        baseline: whether to draw the diagonal. It is the baseline of μ, not of the weighted μ_w.
        title, ylabel: texts.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no curves, a curve whose arrays differ in length, or one with the name of the baseline.

    Source: Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP", Fig. 3.
    """
    curves = figures.checked_curves(curves, ("centres", "means"))
    if BASELINE in curves and baseline:
        raise ValueError(f"A curve has the baseline's name {BASELINE!r}: give it another name, or set baseline=False.")
    figure, axes = figures.curves_figure(curves, title, "size of the object's box (share of the picture)", ylabel)
    for size in (0.25, 0.5):
        axes.axvline(size, color=figures.GREY, linewidth=0.8, zorder=1)
    if baseline:
        axes.plot([0, 1], [0, 1], color=figures.GREY, linewidth=1.6, linestyle=(0, (2, 2)), label=BASELINE, zorder=3)
    figures.draw_lines(axes, curves)
    axes.set_xlim(0, 1)
    figures.label_curves(figure, axes, curves)
    return figure


def run(evaluation, methods, parse, top_k=1000, tolerance=0):
    """Measures localization and writes its tables and figures.

    Args:
        evaluation: `EvaluationRun`.
        methods: text for `method_names`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        top_k: pixels of the top-k intersection.
        tolerance: pixels by which the strongest pixel may miss the object in the pointing game.

    Returns:
        (list of `Table`, paths written).
    """
    explainers = evaluation.explainers(method_names(methods), parse)
    log, configuration = evaluation.log("localization", top_k=top_k, tolerance=tolerance)
    prepare = evaluation.classifier.prepare
    evaluation.measure({name: task(e, prepare, top_k, tolerance) for name, e in explainers.items()}, log)
    title, out = evaluation.title, evaluation.out
    published = PUBLISHED.get((evaluation.data.partition(":")[0].lower(), evaluation.network.lower()))
    result = tables(log, list(explainers), title, published)
    ranked = {row[0]: row[1] for row in result[0].rows if row[0] != UNIFORM}
    figures.save(draw(curves_by_size(log, ranked), title=title), out / "localization_by_size.png")
    values, errors = [m.value for m in ranked.values()], [m.error for m in ranked.values()]
    figures.save(figures.draw_bars(list(ranked), values, errors, title, "μ_w"), out / "localization_mu_w.png")
    drawn = [
        ("localization_by_size.png", "Inside-total relevance ratio by size of the object (Fig. 3 of Kohlbrenner et al. 2020)."),
        ("localization_mu_w.png", "Weighted ratio with standard errors; 1 is relevance spread evenly."),
    ]
    examples = evaluation.examples({name: explainers[name] for name in ranked})
    shown = [(examples, "The first pictures, explained by the methods with the highest μ_w; red is evidence for the class.")]
    return result, evaluation.write("localization", f"Localization: {title}", configuration, result, drawn, shown)
