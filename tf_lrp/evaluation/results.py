"""What a run of measurements says: tables and curves from its log."""

from __future__ import annotations

import numpy as np

from tf_lrp.evaluation import summary
from tf_lrp.evaluation.summary import Table, mean

#: Relevance spread evenly, and patches in random order: what methods are measured against.
UNIFORM, RANDOM = "uniform", "random order"


def pairs(log, method):
    """What a method measured, one entry for each pair of picture and class.

    Args:
        log: `runs.Log`.
        method: its name.

    Returns:
        (names (n,), measure -> float64 (n, ...)).
    """
    measured = log.of(method)
    names = [name for m in measured for name in m.names for _ in range(m.labels.shape[1])]
    keys = measured[0].values if measured else ()
    return names, {
        key: np.concatenate([m.values[key].reshape(m.labels.size, *m.values[key].shape[2:]) for m in measured]) for key in keys
    }


def pictures(log, method):
    """What a method measured, one entry for each picture: measure -> float64 (n, ...).

    Args:
        log: `runs.Log`.
        method: its name.
    """
    measured = log.of(method)
    return {key: np.concatenate([m.values[key] for m in measured]) for key in (measured[0].values if measured else ())}


def localization(log, methods, about, paper=None):
    """Table I of Kohlbrenner et al. 2020 and what else was measured of where relevance lands.

    Args:
        log: `runs.Log` of `tasks.of_localization`.
        methods: names.
        about: network and data, for the titles.
        paper: figures to be put beside ours, from `published.localization`.

    Returns:
        list of `Table`: by mu_w, highest first, with the uniform baseline; further measures; ours beside the paper's.
    """
    rows, further, ours = [], [], {}
    for method in methods:
        names, values = pairs(log, method)
        rows.append([method, *_ratios(values["mu"], values["area"], names, values["mu_w"])])
        more = ("rank_accuracy", "top_k", "pointing", "discrimination")
        further.append([method, *(mean(values[key], names) for key in more), len(names)])
    if methods:
        names, values = pairs(log, methods[0])
        area = values["area"]
        rows.append([UNIFORM, *_ratios(area, area, names, np.ones_like(area))])
        further.append([UNIFORM, mean(area, names), mean(area, names), mean(area, names), None, len(names)])
    rows.sort(key=lambda row: -row[1].value)
    further.sort(key=lambda row: -row[1].value)
    ours = {row[0]: row[1:] for row in rows}
    columns = ["mu_w", "mu <= 0.25", "mu <= 0.5", "mu"]
    tables = [
        Table(
            f"Inside-total relevance ratio, {about}",
            ["method", *columns],
            rows,
            ["Mean over pairs of picture and class ± standard error over pictures; `uniform` is relevance spread evenly."],
        ),
        Table(
            f"Further measures of localization, {about}",
            ["method", "rank accuracy", "top-k intersection", "pointing game", "class discrimination", "pairs"],
            further,
            ["Class discrimination: 1 - correlation of the maps of two classes of one picture."],
        ),
    ]
    if paper:
        beside = [
            [method, *(cell for k in range(4) for cell in (ours[method][k], figures[k]))]
            for method, figures in paper.items()
            if method in ours
        ]
        headers = [header for column in columns for header in (column, f"{column}, paper")]
        tables.append(Table(f"Beside Kohlbrenner et al. 2020, Table I: {about}", ["method", *headers], beside))
    return tables


def _ratios(mu, area, names, weighted):
    """mu_w, mu of the smaller objects, mu."""
    names = np.asarray(names)
    limited = [mean(mu[area <= limit], names[area <= limit]) for limit in (0.25, 0.5)]
    return [mean(weighted, names), *limited, mean(mu, names)]


def localization_curves(log, methods, bins=100):
    """mu as a function of the size of the object: method -> (centres, means), each (bins,)."""
    found = {}
    for method in methods:
        _, values = pairs(log, method)
        found[method] = summary.by_size(values["mu"], values["area"], bins)[:2]
    return found


def context(log, method, about, bins=100):
    """The change of the score when the object or its surroundings are covered.

    Args:
        log: `runs.Log` of `tasks.of_context`.
        method: the name under which it was measured.
        about: network and data, for the title.
        bins: number of sizes.

    Returns:
        (`Table` by size of the object, {"object": ..., "context": ...} -> (centres, means, deviations)).
    """
    names, values = pairs(log, method)
    names, area = np.asarray(names), values["area"]
    rows = []
    for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1), (0, 1)):
        inside = (area > low) & (area <= high)
        rows.append(
            [
                f"{low:.0%} to {high:.0%}",
                *(mean(values[key][inside], names[inside]) for key in ("object", "context")),
                int(inside.sum()),
            ]
        )
    table = Table(
        f"Change of the score of the class when its object, or all around it, is covered: {about}",
        ["object's share of the picture", "object covered", "context covered", "pairs"],
        rows,
    )
    return table, {key: summary.by_size(values[key], area, bins)[:3] for key in ("object", "context")}


def perturbation(log, methods, about):
    """What scores lose when relevant pixels go, and when irrelevant ones do.

    Args:
        log: `runs.Log` of `tasks.of_perturbation`.
        methods: names; `RANDOM` for patches in random order.
        about: network and data, for the titles.

    Returns:
        (`Table`, by the area between the curves; order -> method -> (fractions, means, errors), each (L + 1,)).
    """
    rows, curves = [], {"morf": {}, "lerf": {}}
    for method in methods:
        values = pictures(log, method)
        fraction, aopc = values["fraction"].mean(axis=0), {}
        for order in ("morf", "lerf"):
            scores = values["random" if method == RANDOM else order]
            aopc[order] = (scores[:, :1] - scores).mean(axis=1)
            at = [mean(scores[:, k]) for k in range(scores.shape[1])]
            curves[order][method] = (fraction, np.array([m.value for m in at]), np.array([m.error for m in at]))
        between = mean(aopc["morf"] - aopc["lerf"])
        rows.append([method, mean(aopc["morf"]), mean(aopc["lerf"]), between, between.count])
    rows.sort(key=lambda row: -row[3].value)
    table = Table(
        f"Loss of the strongest score while patches are replaced: {about}",
        ["method", "AOPC, most relevant first", "AOPC, least relevant first", "area between the curves", "pictures"],
        rows,
        ["AOPC: mean over the steps of what the score lost by then. Good maps: much first, little second."],
    )
    return table, curves


def sanity(log, methods, about):
    """What explanations hold and depend on.

    Args:
        log: `runs.Log` of `tasks.of_sanity`.
        methods: names.
        about: network and data, for the titles.

    Returns:
        (list of `Table`, method -> (shares of layers randomized, rank correlations, errors)).
    """
    held, depends, curves = [], [], {}
    for method in methods:
        values = pictures(log, method)
        held.append(
            [method, *(mean(values[k]) for k in ("completeness", "sparseness", "complexity")), len(values["sparseness"])]
        )
        steps = values["randomization_rank"].shape[1]
        at = [mean(values["randomization_rank"][:, k]) for k in range(steps)]
        curves[method] = (
            np.arange(steps + 1) / steps,
            np.array([1.0, *(m.value for m in at)]),
            np.array([0.0, *(m.error for m in at)]),
        )
        keys = ("random_logit_rank", "random_logit_ssim", "sensitivity_mean", "sensitivity_max")
        last = [mean(values[f"randomization_{name}"][:, -1]) for name in ("rank", "ssim")]
        depends.append([method, *last, *(mean(values[key]) for key in keys)])
    tables = [
        Table(
            f"What the relevance of the strongest class is: {about}",
            ["method", "deviation of the sum from the score", "sparseness (Gini)", "complexity (entropy)", "pictures"],
            held,
        ),
        Table(
            f"What it depends on: {about}",
            [
                "method",
                "rank correlation, all layers randomized",
                "SSIM, all layers randomized",
                "rank correlation, random class",
                "SSIM, random class",
                "mean sensitivity",
                "maximal sensitivity",
            ],
            depends,
            [
                "Similarity to the map of the trained network and of the strongest class: low if the map depends on what was "
                "learned, and on the class. Sensitivity: relative change of the map under small noise."
            ],
        ),
    ]
    return tables, curves
