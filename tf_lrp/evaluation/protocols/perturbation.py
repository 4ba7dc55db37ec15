"""Perturbation: how the score changes while patches are replaced in the order of their relevance (Samek et al. 2017)."""

from __future__ import annotations

import numpy as np

from tf_lrp.evaluation import figures
from tf_lrp.evaluation.engine import method_names, scores_model
from tf_lrp.evaluation.measures.perturbation import flip
from tf_lrp.evaluation.tables import Table, mean

#: The name under which patches in random order are measured, as a baseline for the methods.
RANDOM = "random order"


def task(explainer, model, prepare, **options):
    """Measures the strongest score while patches are replaced, the most and the least relevant first.

    Args:
        explainer: an `Explainer`; None for patches in random order.
        model: keras.Model, pictures -> scores (N, classes).
        prepare: function from uint8 pictures to the network's input.
        **options: of `measures.perturbation.flip`.

    Returns:
        Function of a `Batch` that returns {"morf": (N, L + 1), "lerf": (N, L + 1), "fraction": (N, L + 1)}; for random order
        {"random", "fraction"}.
    """

    def measure(batch):
        x = prepare(batch.images)
        target = np.asarray(model(x, training=False)).argmax(axis=1)
        relevance = None if explainer is None else explainer.analyze(x, target)
        orders = ("random",) if explainer is None else ("morf", "lerf")
        curves = {}
        for order in orders:
            # Random draws depend on a sample's place in its batch, so each batch needs its own seed.
            seed = batch.number
            curves[order] = flip(model, x, relevance, target, order=order, seed=seed, batch_size=len(x), **options)
        return {**{order: c.scores for order, c in curves.items()}, "fraction": curves[orders[0]].fraction}

    return measure


def tables(log, methods, about):
    """How much the score drops when relevant pixels are replaced, and when irrelevant ones are.

    Args:
        log: `MeasurementLog` of `task`.
        methods: names; `RANDOM` for patches in random order.
        about: network and data, for the titles.

    Returns:
        (`Table`, by the area between the curves; order -> method -> (fractions, means, errors), each (L + 1,)).
    """
    rows, curves = [], {"morf": {}, "lerf": {}}
    for method in methods:
        values = log.per_picture(method)
        fraction, aopc = values["fraction"].mean(axis=0), {}
        for order in ("morf", "lerf"):
            scores = values["random" if method == RANDOM else order]
            aopc[order] = (scores[:, :1] - scores).mean(axis=1)
            steps = [mean(scores[:, k]) for k in range(scores.shape[1])]
            curves[order][method] = (fraction, np.array([m.value for m in steps]), np.array([m.error for m in steps]))
        between = mean(aopc["morf"] - aopc["lerf"])
        rows.append([method, mean(aopc["morf"]), mean(aopc["lerf"]), between, between.count])
    rows.sort(key=lambda row: -row[3].value)
    table = Table(
        f"Loss of the strongest score while patches are replaced: {about}",
        ["method", "AOPC, most relevant first", "AOPC, least relevant first", "area between the curves", "pictures"],
        rows,
        [
            "AOPC: mean over the steps of what the score has lost so far. For a good map it is large with the most relevant "
            "patches first, and small with the least relevant first."
        ],
    )
    return table, curves


def draw(curves, title="", xlabel="share of the pixels replaced", ylabel="mean score ± 1 standard error"):
    """The score of the explained class while pixels are replaced in the order of their relevance, one line for each method.

    Args:
        curves: dict from a method's name to (fractions (P,), means (P,), errors (P,)): shares of the pixels that are replaced,
            mean score over the samples, and its standard error, drawn as a band. Means that are NaN are skipped; an error of
            NaN (of one sample) has no width.
        title, xlabel, ylabel: texts.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no curves, or a curve whose arrays differ in length.

    Source: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned".
    """
    return figures.draw_bands(curves, ("fractions", "means", "errors"), title, xlabel, ylabel)


def run(evaluation, methods, parse, patch=None, replacement="mean", steps=None):
    """Measures the perturbation curves and writes their table and figures.

    Args:
        evaluation: `EvaluationRun`.
        methods: text for `method_names`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        patch: edge of a patch in pixels; by default an eighth of the picture's longer side.
        replacement, steps: of `measures.perturbation.flip`; "dataset_mean" is the mean of the data set's first pictures.

    Returns:
        (list of `Table`, paths written).
    """
    prepare = evaluation.classifier.prepare
    patch = max(1, round(max(evaluation.classifier.size) / 8)) if patch is None else patch
    options = {"patch": patch, "replacement": replacement, "steps": steps}
    if replacement == "dataset_mean":
        options["mean"] = prepare(evaluation.first_pictures()).mean(axis=(0, 1, 2))
    explainers = evaluation.explainers(method_names(methods), parse)
    model = scores_model(evaluation.classifier.model)
    log, configuration = evaluation.log("perturbation", patch=patch, replacement=replacement, steps=steps)
    tasks = {name: task(e, model, prepare, **options) for name, e in {**explainers, RANDOM: None}.items()}
    evaluation.measure(tasks, log)
    table, curves = tables(log, list(tasks), evaluation.title)
    order, title, drawn = [row[0] for row in table.rows], evaluation.title, []
    for key, words in (("morf", "most"), ("lerf", "least")):
        file = f"perturbation_{key}.png"
        drawn.append((file, f"The strongest score while patches are replaced, the {words} relevant first."))
        figure = draw({name: curves[key][name] for name in order}, f"{title}, {words} relevant first")
        figures.save(figure, evaluation.out / file)
    return [table], evaluation.write("perturbation", f"Perturbation: {title}", configuration, [table], drawn)
