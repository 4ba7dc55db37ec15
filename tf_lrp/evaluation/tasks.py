"""What is asked of a method on a batch: functions of a `runs.Batch`, each computing its measures on the device."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation import localization
from tf_lrp.evaluation.complexity import complexity, sparseness
from tf_lrp.evaluation.perturbation import flip
from tf_lrp.evaluation.randomization import parameter_randomization, random_logit
from tf_lrp.evaluation.robustness import completeness, sensitivity


def of_localization(explainer, prepare, k=1000, tolerance=0):
    """`localization.measure` of each pair of picture and class, and how the map changes with the class.

    One compiled step goes from the network's input to the numbers: maps never leave the device.

    Args:
        explainer: an `Explainer` of a network that takes one picture.
        prepare: uint8 pictures -> the network's input.
        k, tolerance: see `localization.measure`.

    Returns:
        A function of a `Batch`: dict of arrays (N, K), and "discrimination" (N, K), the same for all classes of a picture.
    """

    def step(x, labels, masks):
        maps = localization.pool(explainer(x, labels))
        found = localization.measure(maps, masks, k, tolerance)
        between = localization.class_discrimination(maps)
        return {**found, "discrimination": tf.repeat(between[:, tf.newaxis], labels.shape[1], axis=1)}

    compiled = _compiled(step)

    def measure(batch):
        found = compiled(prepare(batch.images), batch.labels, batch.masks)
        return {name: value.numpy() for name, value in found.items()}

    return measure


def _compiled(step):
    """``step`` as a tf.function that is traced once for each number of classes, whatever the number of pictures."""
    traced = {}

    def call(*arrays):
        tensors = [tf.convert_to_tensor(a) for a in arrays]
        key = tuple((t.shape[1:], t.dtype) for t in tensors)
        if key not in traced:
            signature = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors]
            traced[key] = tf.function(step, input_signature=signature)
        return traced[key](*tensors)

    return call


def of_context(model, prepare, colour):
    """How the score of each class changes when its object, or all around it, is covered: f(x') - f(x).

    Args:
        model: keras.Model, pictures -> scores (N, classes).
        prepare: uint8 pictures -> the network's input.
        colour: three numbers in 0..255, RGB, that replace what is covered.

    Returns:
        A function of a `Batch`: {"object": (N, K), "context": (N, K), "area": (N, K)}, in units of the score.

    Source: Kohlbrenner et al. 2020, section III-B and Fig. 2.
    """

    def step(x, cover, labels, masks):
        classes = labels.shape[1]
        place = masks[..., tf.newaxis]
        seen, cover = x[:, tf.newaxis], cover[:, tf.newaxis]
        covered = tf.concat([tf.where(place, cover, seen), tf.where(place, seen, cover)], axis=1)  # (N, 2 K, H, W, C)
        scores = model(tf.reshape(covered, tf.concat([[-1], tf.shape(x)[1:]], axis=0)), training=False)
        whole = tf.gather(model(x, training=False), labels, batch_dims=1)  # (N, K)
        scores = tf.reshape(scores, tf.stack([-1, 2, classes, tf.shape(scores)[-1]]))
        of_class = tf.tile(labels[:, tf.newaxis], (1, 2, 1))
        hidden = tf.gather(scores, of_class, batch_dims=3)  # (N, 2, K)
        return {"object": hidden[:, 0] - whole, "context": hidden[:, 1] - whole, "area": localization.area(masks)}

    compiled = _compiled(step)

    def measure(batch):
        cover = np.broadcast_to(np.round(colour).astype(np.uint8), batch.images.shape)
        found = compiled(prepare(batch.images), prepare(cover), batch.labels, batch.masks)
        return {name: value.numpy() for name, value in found.items()}

    return measure


def of_perturbation(explainer, model, prepare, **options):
    """What the strongest score loses while patches are replaced, the most and the least relevant first.

    Args:
        explainer: an `Explainer`; None for patches in random order.
        model: keras.Model, pictures -> scores (N, classes).
        prepare: uint8 pictures -> the network's input.
        **options: of `perturbation.flip`.

    Returns:
        A function of a `Batch`: {"morf": (N, L + 1), "lerf": (N, L + 1), "fraction": (N, L + 1)}; for random order {"random",
        "fraction"}.
    """

    def measure(batch):
        x = prepare(batch.images)
        target = np.asarray(model(x, training=False)).argmax(axis=1)
        relevance = None if explainer is None else explainer.analyze(x, target)
        orders = ("random",) if explainer is None else ("morf", "lerf")
        curves = {}
        for order in orders:
            # Random draws depend on a sample's place in its batch, so batches need seeds of their own.
            seed = batch.number
            curves[order] = flip(model, x, relevance, target, order=order, seed=seed, batch_size=len(x), **options)
        return {**{order: c.scores for order, c in curves.items()}, "fraction": curves[orders[0]].fraction}

    return measure


def of_sanity(explainer, model, prepare, radius, draws):
    """What an explanation of the strongest class should hold and depend on.

    Args:
        explainer: an `Explainer` of ``model``.
        model: the explained keras.Model, whose weights are shuffled and put back.
        prepare: uint8 pictures -> the network's input.
        radius, draws: of `robustness.sensitivity`.

    Returns:
        A function of a `Batch`: dict of arrays (N,): "completeness", "sparseness", "complexity", "sensitivity_max",
        "sensitivity_mean", "random_logit_rank", "random_logit_ssim"; and (N, layers), output first: "randomization_rank",
        "randomization_ssim".
    """

    def measure(batch):
        x = prepare(batch.images)
        maps = localization.pool(explainer.analyze(x))
        moved = sensitivity(explainer, x, radius=radius, draws=draws, seed=batch.number)
        other = random_logit(explainer, x, seed=batch.number)
        rows = parameter_randomization(explainer, model, x, seed=batch.number)
        return {
            "completeness": completeness(explainer, x),
            "sparseness": sparseness(maps),
            "complexity": complexity(maps),
            "sensitivity_max": moved.maximum,
            "sensitivity_mean": moved.average,
            **{f"random_logit_{name}": values for name, values in other.items()},
            **{
                f"randomization_{name}": np.stack([row.similarities[name] for row in rows], axis=1)
                for name in rows[0].similarities
            },
        }

    return measure
