"""Sanity: does an explanation sum to the score, and does it depend on the weights, the class and small noise?"""

from __future__ import annotations

import numpy as np

from tf_lrp.evaluation import figures
from tf_lrp.evaluation.engine import method_names
from tf_lrp.evaluation.measures.complexity import complexity, sparseness
from tf_lrp.evaluation.measures.localization import pool
from tf_lrp.evaluation.measures.randomization import parameter_randomization, random_logit
from tf_lrp.evaluation.measures.robustness import completeness, sensitivity
from tf_lrp.evaluation.tables import Table, mean


def task(explainer, model, prepare, radius, draws):
    """Measures the properties of explanations of the strongest class.

    Args:
        explainer: an `Explainer` of ``model``.
        model: the explained keras.Model, whose weights are shuffled and restored.
        prepare: function from uint8 pictures to the network's input.
        radius, draws: of `measures.robustness.sensitivity`.

    Returns:
        Function of a `Batch` that returns a dict of arrays (N,): "completeness", "sparseness", "complexity",
        "sensitivity_max", "sensitivity_mean", "random_logit_rank", "random_logit_ssim"; and (N, layers), output first:
        "randomization_rank", "randomization_ssim".
    """

    def measure(batch):
        x = prepare(batch.images)
        maps = pool(explainer.analyze(x))
        changes = sensitivity(explainer, x, radius=radius, draws=draws, seed=batch.number)
        other_class = random_logit(explainer, x, seed=batch.number)
        rows = parameter_randomization(explainer, model, x, seed=batch.number)
        return {
            "completeness": completeness(explainer, x),
            "sparseness": sparseness(maps),
            "complexity": complexity(maps),
            "sensitivity_max": changes.maximum,
            "sensitivity_mean": changes.average,
            **{f"random_logit_{name}": values for name, values in other_class.items()},
            **{
                f"randomization_{name}": np.stack([row.similarities[name] for row in rows], axis=1)
                for name in rows[0].similarities
            },
        }

    return measure


def tables(log, methods, about):
    """Properties of explanations, and what they depend on.

    Args:
        log: `MeasurementLog` of `task`.
        methods: names.
        about: network and data, for the titles.

    Returns:
        (list of `Table`, method -> (shares of layers randomized, rank correlations, errors)).
    """
    properties, dependence, curves = [], [], {}
    for method in methods:
        values = log.per_picture(method)
        keys = ("completeness", "sparseness", "complexity")
        properties.append([method, *(mean(values[key]) for key in keys), len(values["sparseness"])])
        steps = values["randomization_rank"].shape[1]
        means = [mean(values["randomization_rank"][:, k]) for k in range(steps)]
        curves[method] = (
            np.arange(steps + 1) / steps,
            np.array([1.0, *(m.value for m in means)]),
            np.array([0.0, *(m.error for m in means)]),
        )
        keys = ("random_logit_rank", "random_logit_ssim", "sensitivity_mean", "sensitivity_max")
        last = [mean(values[f"randomization_{name}"][:, -1]) for name in ("rank", "ssim")]
        dependence.append([method, *last, *(mean(values[key]) for key in keys)])
    result = [
        Table(
            f"Properties of the relevance of the strongest class: {about}",
            ["method", "deviation of the sum from the score", "sparseness (Gini)", "complexity (entropy)", "pictures"],
            properties,
        ),
        Table(
            f"What the relevance depends on: {about}",
            [
                "method",
                "rank correlation, all layers randomized",
                "SSIM, all layers randomized",
                "rank correlation, random class",
                "SSIM, random class",
                "mean sensitivity",
                "maximal sensitivity",
            ],
            dependence,
            [
                "Similarity to the map of the trained network and of the strongest class: low if the map depends on what was "
                "learned, and on the class. Sensitivity: relative change of the map under small noise."
            ],
        ),
    ]
    return result, curves


def draw(curves, title=""):
    """Similarity of the maps to those of the trained network while layers are randomized, one line for each method.

    Args:
        curves: dict from a method's name to (shares (P,), means (P,), errors (P,)): shares of the layers that are randomized,
            from the output, mean rank correlation over the samples, and its standard error, drawn as a band.
        title: text.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no curves, or a curve whose arrays differ in length.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps".
    """
    xlabel, ylabel = "share of the layers randomized, from the output", "rank correlation ± 1 standard error"
    return figures.draw_bands(curves, ("shares", "means", "errors"), title, xlabel, ylabel)


def run(evaluation, methods, parse, noise=0.02, draws=5):
    """Measures properties and dependence of explanations and writes their tables and figure.

    Args:
        evaluation: `EvaluationRun`.
        methods: text for `method_names`.
        parse: text of a preset that is not in the catalog -> (preset, label).
        noise: radius of the noise, as a share of the range of the network's input.
        draws: noisy copies of each picture.

    Returns:
        (list of `Table`, paths written).
    """
    prepare, shape = evaluation.classifier.prepare, (1, *evaluation.classifier.size, 3)
    black, white = (prepare(np.full(shape, value, np.uint8)) for value in (0, 255))
    radius = noise * float(np.abs(white - black).max())
    explainers = evaluation.explainers(method_names(methods), parse)
    log, configuration = evaluation.log("sanity", noise=noise, draws=draws)
    model = evaluation.classifier.model
    evaluation.measure({name: task(e, model, prepare, radius, draws) for name, e in explainers.items()}, log)
    result, curves = tables(log, list(explainers), evaluation.title)
    title, file = evaluation.title, "sanity_randomization.png"
    figures.save(draw(curves, title), evaluation.out / file)
    caption = (
        "Similarity to the map of the trained network while its layers are randomized from the output on (Adebayo et al. 2018)."
    )
    return result, evaluation.write("sanity", f"Sanity: {title}", configuration, result, [(file, caption)])
