"""Context: does the network look at the object or at its surroundings? (Kohlbrenner et al. 2020, section III-B and Fig. 2)"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation import figures
from tf_lrp.evaluation import tables as tabulate
from tf_lrp.evaluation.engine import compiled_step, scores_model
from tf_lrp.evaluation.measures import localization as measures
from tf_lrp.evaluation.tables import Table, mean

#: Limits of the table's rows: shares of the picture that the object covers.
_SIZES = ((0, 0.05), (0.05, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1), (0, 1))


def task(model, prepare, colour):
    """Measures the change of each class's score, f(x') - f(x), when its object or everything else is covered.

    Args:
        model: keras.Model, pictures -> scores (N, classes).
        prepare: function from uint8 pictures to the network's input.
        colour: three numbers in 0..255, RGB, that replace the covered pixels.

    Returns:
        Function of a `Batch` that returns {"object": (N, K), "context": (N, K), "area": (N, K)}, in units of the score.

    Source: Kohlbrenner et al. 2020, section III-B and Fig. 2.
    """

    def step(x, cover, labels, masks):
        classes = labels.shape[1]
        place = masks[..., tf.newaxis]
        visible, cover = x[:, tf.newaxis], cover[:, tf.newaxis]
        covered = tf.concat([tf.where(place, cover, visible), tf.where(place, visible, cover)], axis=1)  # (N, 2 K, H, W, C)
        scores = model(tf.reshape(covered, tf.concat([[-1], tf.shape(x)[1:]], axis=0)), training=False)
        original = tf.gather(model(x, training=False), labels, batch_dims=1)  # (N, K)
        scores = tf.reshape(scores, tf.stack([-1, 2, classes, tf.shape(scores)[-1]]))
        covered_scores = tf.gather(scores, tf.tile(labels[:, tf.newaxis], (1, 2, 1)), batch_dims=3)  # (N, 2, K)
        return {
            "object": covered_scores[:, 0] - original,
            "context": covered_scores[:, 1] - original,
            "area": measures.area(masks),
        }

    compiled = compiled_step(step)

    def measure(batch):
        cover = np.broadcast_to(np.round(colour).astype(np.uint8), batch.images.shape)
        return compiled(prepare(batch.images), prepare(cover), batch.labels, batch.masks)

    return measure


def tables(log, method, about, bins=100):
    """The change of the score when the object or its surroundings are covered.

    Args:
        log: `MeasurementLog` of `task`.
        method: the name under which it was measured.
        about: network and data, for the title.
        bins: number of sizes.

    Returns:
        (`Table` by size of the object, {"object": ..., "context": ...} -> (centres, means, deviations)).
    """
    names, values = log.per_pair(method)
    names, area = np.asarray(names), values["area"]
    rows = []
    for low, high in _SIZES:
        inside = (area > low) & (area <= high)
        changes = (mean(values[key][inside], names[inside]) for key in ("object", "context"))
        rows.append([f"{low:.0%} to {high:.0%}", *changes, int(inside.sum())])
    table = Table(
        f"Change of the score of the class when its object, or everything around it, is covered: {about}",
        ["object's share of the picture", "object covered", "context covered", "pairs"],
        rows,
    )
    return table, {key: tabulate.by_size(values[key], area, bins)[:3] for key in ("object", "context")}


def draw(curves, title=""):
    """How covering the object, and covering everything but the object, changes the class's logit, by size of the object.

    Args:
        curves: dict from what is covered ("object", "context") to (centres (B,), means (B,), deviations (B,)): sizes of the
            boxes as shares of the picture, mean of Δf = f(x') - f(x) in each bin in units of the logit, and its standard
            deviation, drawn as a band. Bins that are NaN are skipped; a deviation of NaN (of one sample) has no width.
        title: text.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: no curves, or a curve whose arrays differ in length.

    Source: Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP", Fig. 2.
    """
    curves = figures.checked_curves(curves, ("centres", "means", "deviations"))
    xlabel, ylabel = "size of the object's box (share of the picture)", "mean change of the logit Δf ± 1 standard deviation"
    figure, axes = figures.curves_figure(curves, title, xlabel, ylabel)
    axes.axhline(0, color=figures.GREY, linewidth=0.8, zorder=1)
    figures.draw_lines(axes, curves)
    axes.set_xlim(0, 1)
    figures.label_curves(figure, axes, curves)
    return figure


def run(evaluation):
    """Measures the change of the score and writes its table and figure.

    Covered pixels get the mean colour of the data set's first pictures.

    Args:
        evaluation: `EvaluationRun`.

    Returns:
        (list of `Table`, paths written).
    """
    colour = evaluation.first_pictures().mean(axis=(0, 1, 2), dtype=np.float64)
    log, configuration = evaluation.log("context", colour=[round(c, 3) for c in colour.tolist()])
    network = evaluation.classifier
    evaluation.measure({"model": task(scores_model(network.model), network.prepare, colour)}, log)
    table, curves = tables(log, "model", evaluation.title)
    title, file = evaluation.title, "context.png"
    figures.save(draw({f"{key} covered": curve for key, curve in curves.items()}, title), evaluation.out / file)
    caption = "Mean change of the score by the object's size, with one standard deviation (Fig. 2 of Kohlbrenner et al. 2020)."
    return [table], evaluation.write("context", f"Object or context: {title}", configuration, [table], [(file, caption)])
