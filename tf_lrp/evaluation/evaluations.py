"""The evaluations: each measures a `Study`'s pictures, and writes tables and figures into its folder."""

from __future__ import annotations

import numpy as np

from tf_lrp.evaluation import figures, published, results, tasks
from tf_lrp.evaluation.study import methods_of, scores_of


def localization(study, methods, parse, top_k=1000, tolerance=0):
    """Where relevance lands: Table I and Fig. 3 of Kohlbrenner et al. 2020, and further measures.

    Args:
        study: `Study`.
        methods: text for `methods_of`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        top_k: pixels of the top-k intersection.
        tolerance: pixels by which the pointing game may miss.

    Returns:
        (list of `summary.Table`, paths written).
    """
    explainers = study.explainers(methods_of(methods), parse)
    log, configuration = study.log("localization", top_k=top_k, tolerance=tolerance)
    prepare = study.classifier.prepare
    study.measure({name: tasks.of_localization(e, prepare, top_k, tolerance) for name, e in explainers.items()}, log)
    names = list(explainers)
    paper = published.localization(study.data.partition(":")[0], study.network)
    tables = results.localization(log, names, study.title, paper)
    order = [row[0] for row in tables[0].rows if row[0] != results.UNIFORM]
    curves = results.localization_curves(log, order)
    title = study.title
    drawn = [
        ("localization_by_size.png", "Inside-total relevance ratio by size of the object (Fig. 3 of Kohlbrenner et al. 2020)."),
        ("localization_mu_w.png", "Weighted ratio with standard errors; 1 is relevance spread evenly."),
    ]
    figures.curve_by_size(study.out / drawn[0][0], curves, title=title)
    weighted = [row[1] for row in tables[0].rows if row[0] != results.UNIFORM]
    figures.bars(
        study.out / drawn[1][0], order, [m.value for m in weighted], [m.error for m in weighted], title=title, xlabel="μ_w"
    )
    sheet = study.examples({name: explainers[name] for name in order})
    examples = [(sheet, "The first pictures, explained by the methods of the highest μ_w; red speaks for the class.")]
    return tables, study.write("localization", f"Localization: {title}", configuration, tables, drawn, examples)


def context(study):
    """Whether the network looks at the object or at its surroundings: Fig. 2 of Kohlbrenner et al. 2020.

    What is covered gets the mean colour of the data set's first pictures.

    Args:
        study: `Study`.

    Returns:
        (list of `summary.Table`, paths written).
    """
    colour = study.first_pictures().mean(axis=(0, 1, 2), dtype=np.float64)
    log, configuration = study.log("context", colour=[round(c, 3) for c in colour.tolist()])
    study.measure({"model": tasks.of_context(scores_of(study.classifier.model), study.classifier.prepare, colour)}, log)
    table, curves = results.context(log, "model", study.title)
    title = study.title
    file = "context.png"
    figures.context(study.out / file, {f"{key} covered": curve for key, curve in curves.items()}, title=title)
    caption = "Mean change of the score by the object's size, with one standard deviation (Fig. 2 of Kohlbrenner et al. 2020)."
    return [table], study.write("context", f"Object or context: {title}", configuration, [table], [(file, caption)])


def perturbation(study, methods, parse, patch=None, replacement="mean", steps=None):
    """What the strongest score loses while patches are replaced, in the order of their relevance.

    Args:
        study: `Study`.
        methods: text for `methods_of`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        patch: edge of a patch in pixels; by default an eighth of the picture's longer side.
        replacement, steps: of `perturbation.flip`; "dataset_mean" is the mean of the data set's first pictures.

    Returns:
        (list of `summary.Table`, paths written).
    """
    prepare = study.classifier.prepare
    patch = max(1, round(max(study.classifier.size) / 8)) if patch is None else patch
    options = {"patch": patch, "replacement": replacement, "steps": steps}
    if replacement == "dataset_mean":
        options["mean"] = prepare(study.first_pictures()).mean(axis=(0, 1, 2))
    explainers = study.explainers(methods_of(methods), parse)
    model = scores_of(study.classifier.model)
    log, configuration = study.log("perturbation", patch=patch, replacement=replacement, steps=steps)
    asked = {name: tasks.of_perturbation(e, model, prepare, **options) for name, e in explainers.items()}
    asked[results.RANDOM] = tasks.of_perturbation(None, model, prepare, **options)
    study.measure(asked, log)
    table, curves = results.perturbation(log, list(asked), study.title)
    order, title, drawn = [row[0] for row in table.rows], study.title, []
    for key, words in (("morf", "most"), ("lerf", "least")):
        drawn.append(
            (f"perturbation_{key}.png", f"The strongest score while patches are replaced, the {words} relevant first.")
        )
        figures.perturbation(
            study.out / drawn[-1][0], {name: curves[key][name] for name in order}, f"{title}, {words} relevant first"
        )
    return [table], study.write("perturbation", f"Perturbation: {title}", configuration, [table], drawn)


def sanity(study, methods, parse, noise=0.02, draws=5):
    """What explanations hold (completeness, sparseness) and depend on (weights, class, noise in the input).

    Args:
        study: `Study`.
        methods: text for `methods_of`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        noise: radius of the noise, as a share of the range of the network's input.
        draws: noisy copies of each picture.

    Returns:
        (list of `summary.Table`, paths written).
    """
    prepare, shape = study.classifier.prepare, (1, *study.classifier.size, 3)
    black, white = (prepare(np.full(shape, value, np.uint8)) for value in (0, 255))
    radius = noise * float(np.abs(white - black).max())
    explainers = study.explainers(methods_of(methods), parse)
    log, configuration = study.log("sanity", noise=noise, draws=draws)
    model = study.classifier.model
    study.measure({name: tasks.of_sanity(e, model, prepare, radius, draws) for name, e in explainers.items()}, log)
    tables, curves = results.sanity(log, list(explainers), study.title)
    title, file = study.title, "sanity_randomization.png"
    figures.perturbation(
        study.out / file,
        curves,
        title,
        "share of the layers randomized, from the output",
        "rank correlation ± 1 standard error",
    )
    caption = "Similarity to the map of the trained network, layer by layer randomized from the output (Adebayo et al. 2018)."
    return tables, study.write("sanity", f"Sanity: {title}", configuration, tables, [(file, caption)])
