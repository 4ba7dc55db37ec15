"""Region perturbation and pixel flipping: the score while parts of the input are replaced in the order of their relevance."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tf_lrp.messages import checks

ORDERS = ("morf", "lerf", "random")
REPLACEMENTS = ("negate", "mean", "blur", "noise", "dataset_mean")

#: Number of compiled functions in the cache: usually many explanations of few models are measured.
_CACHE_SIZE = 8
#: Steps of the conjugate gradient method that interpolates missing pixels.
_ITERATIONS = 50
#: Standard deviation of the noise that is added to interpolated pixels, relative to that of the channel in this sample.
_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores of N samples while more and more of their patches are replaced.

    Attributes:
        scores: (N, L + 1), f(x^k): the score after k steps, from f(x^0) = f(x) to f(x^L), in units of the score.
        fraction: (N, L + 1), the share of the pixels (positions, features) that are replaced after k steps, from 0 to 1.
    """

    scores: np.ndarray
    fraction: np.ndarray

    @property
    def aopc(self):
        """(N,): 1/(L+1) sum_{k=0..L} (f(x^0) - f(x^k)), the area over the curve. Large where the score falls early.

        Source: Samek et al. 2017, there with the mean over samples, `numpy.mean` of this.
        """
        return (self.scores[:, :1] - self.scores).mean(axis=1)

    def mean(self):
        """(L + 1,): the curve of the mean over the samples."""
        return self.scores.mean(axis=0)

    def standard_error(self):
        """(L + 1,): s / sqrt(N) with the standard deviation s over N - 1; NaN for a single sample."""
        count = len(self.scores)
        return self.scores.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full_like(self.scores[0], np.nan)


def area_between(morf, lerf):
    """1/(L+1) sum_{k=0..L} (f_lerf(x^k) - f_morf(x^k)), which is aopc_morf - aopc_lerf: 0 on average for random relevance.

    Args:
        morf, lerf: `Curves` of the same samples and steps, the most and the least relevant replaced first.

    Returns:
        (N,), in units of the score.

    Raises:
        ValueError: the curves differ in shape.
    """
    if morf.scores.shape != lerf.scores.shape:
        raise ValueError(
            f"The two curves need the same samples and steps; got scores of shape {morf.scores.shape} and {lerf.scores.shape}."
        )
    return (lerf.scores - morf.scores).mean(axis=1)


def flip(
    score,
    x,
    relevance,
    target=None,
    *,
    patch=8,
    steps=None,
    at_once=1,
    order="morf",
    replacement="negate",
    mean=None,
    draws=1,
    seed=0,
    batch_size=32,
):
    """Scores while patches are replaced one after the other, in the order of their relevance.

    Patches tile all axes except samples and channels: squares of pictures, spans of sequences, groups of a table's features;
    those at the far borders may be smaller. The relevance of a patch is the sum over its pixels and channels; patches with
    equal sums are taken in reading order. With the rank of a pixel's patch in this order,

        x^k = replaced value where rank < k * at_once, else x;  the curve is f(x^0), f(x^1) ... f(x^L).

    ==============  ================================================================================================
    "negate"        -x (Bach et al. 2015): the opposite sign, for inputs around 0
    "mean"          the sample's own mean, for each channel
    "blur"          the sample under a Gaussian of standard deviation ``patch``, its weights normalized at borders
    "noise"         interpolation from the remaining pixels, and noise (Rong et al. 2022, ROAD): each missing value is
                    the weighted mean of its neighbours (direct 2, diagonal 1; in sequences 1 and 1), solved by 50
                    steps of conjugate gradients from the mean of the remaining pixels (of all if none remain),
                    plus Gaussian noise with a tenth of the channel's standard deviation in the sample
    "dataset_mean"  ``mean``, (C,) (tables: (F,))
    array           these values; a number, or anything that broadcasts to ``x``
    ==============  ================================================================================================

    Args:
        score: f, a keras.Model, or a function of tensors (n, ...), which is traced; it returns (n,) scores, or (n, classes)
            of which ``target`` is taken. A model's output is used unchanged: give a model that returns logits.
        x: (N, H, W, C), (N, T, C) or (N, F); integers are converted to floats.
        relevance: shaped like ``x``, or without its channels; None for the order "random", which ignores it.
        target: int or ints (N,): the class whose score is recorded.
        patch: int, or one for each tiled axis: edge of a patch.
        steps: L; by default until everything is replaced.
        at_once: patches that are replaced in one step.
        order: "morf" or "lerf", most or least relevant first, or "random".
        replacement, mean: see the table.
        draws: number of repetitions with different random numbers, which are averaged; for the order "random" or for "noise".
        seed: int >= 0. Random numbers depend on it and on the sample's index in ``x``, not on ``batch_size``.
        batch_size: samples in a forward pass. Each sample needs L + 1 forward passes for each draw.

    Returns:
        `Curves`.

    Raises:
        ValueError: shapes that do not fit, relevance that is not finite, an unknown order or replacement, or too many steps.
        tf.errors.InvalidArgumentError: a class that does not exist.

    Sources:
        Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by LRP" (pixel flipping).
        Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned" (regions, AOPC).
        Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods" (ROAD).
    """
    x = _floats(x)
    inner = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
    sizes = checks.integers("patch", patch, len(inner))
    patch_of = _patches(inner, sizes)
    patches = int(patch_of.max()) + 1
    at_once = checks.integer("at_once", at_once)
    draws = checks.integer("draws", draws)
    batch_size = checks.integer("batch_size", batch_size)
    possible = -(-patches // at_once)
    steps = checks.integer("steps", possible if steps is None else steps)
    if steps > possible:
        raise ValueError(
            f"{patches} patches, {at_once} at once, can be replaced in at most {possible} steps; got steps={steps}."
        )
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(map(repr, ORDERS))}; got {order!r}.")
    fill, by_noise = _fill(replacement, x, mean, sizes), isinstance(replacement, str) and replacement == "noise"
    if draws > 1 and not (by_noise or order == "random"):
        raise ValueError(f'All draws are the same unless order="random" or replacement="noise"; got draws={draws}.')

    if order == "random":
        ranks = _random_ranks(len(x) * draws, patches, seed)
    else:
        sums = _patch_sums(relevance, x, patch_of)
        ranks = np.repeat(_ranks(-sums if order == "morf" else sums), draws, axis=0)
    targets = None if target is None else _targets(target, len(x))
    counts = np.minimum(np.arange(steps + 1) * at_once, patches).astype("int32")

    run = _run_of_model if isinstance(score, keras.Model) else _run
    run = run(score, by_noise, targets is not None)
    curves, total = [], len(ranks)
    size = min(batch_size, total)
    for start in range(0, total, size):
        # A smaller last batch is padded, so that nothing is traced again.
        places = np.minimum(np.arange(start, start + size), total - 1)
        chosen = places // draws
        values = tf.constant(x[chosen])
        given = _noise(values, seed, places) if by_noise else fill(values, chosen)
        taken = tf.constant(np.zeros(size, "int32") if targets is None else targets[chosen])
        curves.append(run(values, tf.constant(ranks[places]), tf.constant(patch_of), given, taken, tf.constant(counts)).numpy())
    scores = np.concatenate(curves)[:total].reshape(len(x), draws, -1).mean(axis=1)

    share = np.bincount(patch_of.ravel())[np.argsort(ranks, axis=1)] / patch_of.size
    share = np.concatenate([np.zeros((total, 1)), np.cumsum(share, axis=1)], axis=1)[:, counts]
    return Curves(scores, share.reshape(len(x), draws, -1).mean(axis=1))


def replaced(x, missing, replacement="negate", *, mean=None, patch=8, seed=0):
    """Samples with some of their pixels replaced, as `flip` replaces them.

    Args:
        x, replacement, mean, seed: as for `flip`.
        missing: bool, (N, H, W), (N, T) or (N, F): what is replaced.
        patch: as for `flip`: the standard deviation of "blur".

    Returns:
        Array like ``x``.

    Raises:
        ValueError: shapes that do not fit, or an unknown replacement.
    """
    x, missing = _floats(x), np.asarray(missing, bool)
    inner = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
    if missing.shape != (len(x), *inner):
        raise ValueError(f"missing needs shape {(len(x), *inner)} for these x; got {missing.shape}.")
    fill = _fill(replacement, x, mean, checks.integers("patch", patch, len(inner)))
    values, chosen = tf.constant(x), np.arange(len(x))
    hole = tf.constant(missing if x.ndim == 2 else missing[..., np.newaxis])
    given = interpolated(values, hole) + _noise(values, seed, chosen) if fill is None else fill(values, chosen)
    return tf.where(hole, given, values).numpy()


# -- in TensorFlow --------------------------------------------------------------------------------------------------------


def _run(score, by_noise, with_targets):
    """A compiled function of a batch that returns its curves (n, L + 1)."""

    def scores(x, targets):
        output = score(x, training=False) if isinstance(score, keras.Model) else score(x)
        if not tf.is_tensor(output) or output.shape.rank not in (1, 2):
            raise ValueError(f"score returns a tensor (n,) or (n, classes); got {output!r}.")
        if output.shape.rank == 2 and not with_targets and output.shape[1] != 1:
            raise ValueError(f"score returns {output.shape[1]} classes: name the one to record, target=class.")
        if output.shape.rank == 1 and with_targets:
            raise ValueError("score returns one number for each sample, so there is no class to choose; leave target out.")
        if output.shape.rank == 2:
            classes = tf.shape(output)[1]
            tf.debugging.assert_less(targets, classes, "target is a class that does not exist")
            output = tf.gather(output, targets, axis=1, batch_dims=1)
        return tf.cast(output, x.dtype)

    def curves(x, ranks, patch_of, given, targets, counts):
        ranks = tf.gather(ranks, patch_of, axis=1)
        if x.shape.rank > 2:
            ranks = ranks[..., tf.newaxis]

        def after(count):
            missing = ranks < count
            values = interpolated(x, missing) + given if by_noise else given
            return scores(tf.where(missing, values, x), targets)

        # One step after the other, so that memory does not grow with their number.
        scores_of_steps = tf.map_fn(after, counts, fn_output_signature=x.dtype, parallel_iterations=1)
        return tf.transpose(scores_of_steps)

    return tf.function(curves, autograph=False)


_run_of_model = functools.lru_cache(maxsize=_CACHE_SIZE)(_run)


def interpolated(x, missing, iterations=_ITERATIONS):
    """Replaces missing values by the weighted mean of their neighbours, the solution of a discrete Laplace equation.

    For each missing i: sum_j w_ij (v_i - v_j) = 0 over the neighbours j inside the picture, w = 2 for direct and 1 for diagonal
    neighbours (1 in sequences). The system is symmetric and, if any value is known, positive definite: conjugate gradients need
    about as many steps as a hole is wide, where repeated averaging needs the square of that.

    Args:
        x: tensor (n, H, W, C) or (n, T, C).
        missing: bool, broadcasts to ``x``: the values of ``x`` that are missing. They are ignored unless all are missing.
        iterations: steps of the solver.

    Returns:
        Tensor like ``x``. The solver starts from the mean of the known values; if all are missing, that of ``x`` is returned.
    """
    if x.shape.rank == 3:
        return interpolated(x[:, :, tf.newaxis], missing[:, :, tf.newaxis], iterations)[:, :, 0]
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]])[..., None, None] / 12
    kernel = tf.tile(tf.constant(weights, x.dtype), [1, 1, x.shape[3], 1])

    def neighbours(values):
        return tf.nn.depthwise_conv2d(values, kernel, [1, 1, 1, 1], "SAME")

    def dot(a, b):
        return tf.reduce_sum(a * b, axis=(1, 2), keepdims=True)

    hole = tf.cast(tf.broadcast_to(missing, tf.shape(x)), x.dtype)
    ones = tf.ones_like(x)
    degree = neighbours(ones)
    any_known = dot(1 - hole, ones) > 0
    known = tf.where(any_known, 1 - hole, ones)
    begin = tf.where(hole > 0, dot(known, x) / dot(known, ones), x)
    # If no value is known, any constant is a solution, and steps would only amplify rounding errors.
    residual = tf.where(any_known, hole * (neighbours(begin) - degree * begin), 0)

    def step(index, values, residual, direction, squared):
        image = hole * (degree * direction - neighbours(direction))
        length = tf.math.divide_no_nan(squared, dot(direction, image))
        values, residual = values + length * direction, residual - length * image
        new = dot(residual, residual)
        return index + 1, values, residual, residual + tf.math.divide_no_nan(new, squared) * direction, new

    state = (tf.constant(0), begin, residual, residual, dot(residual, residual))
    return tf.while_loop(lambda index, *_: index < iterations, step, state, parallel_iterations=1)[1]


def _noise(x, seed, places):
    """Gaussian noise like x, relative to each channel's standard deviation; seeded by each sample's index."""
    deviation = tf.math.reduce_std(x, axis=list(range(1, x.shape.rank - 1)), keepdims=True)

    def draw(place):
        return tf.random.stateless_normal(x.shape[1:], tf.stack([seed, place]), dtype=x.dtype)

    return _NOISE * deviation * tf.map_fn(draw, tf.constant(places, tf.int32), fn_output_signature=x.dtype)


def _blurred(x, sizes):
    for axis, size in enumerate(sizes, 1):
        place = np.arange(x.shape[axis])
        weights = np.exp(-0.5 * ((place[:, None] - place) / size) ** 2)
        weights = tf.constant(weights / weights.sum(axis=1, keepdims=True), x.dtype)
        others = [a for a in range(x.shape.rank) if a != axis]
        summed = tf.tensordot(x, weights, [[axis], [1]])  # puts the axis last
        x = tf.transpose(summed, np.argsort([*others, axis]))
    return x


def _fill(replacement, x, mean, sizes):
    """A function (batch, indices of its samples) that returns the replacing values; None for "noise", computed in each step."""
    pooled = list(range(1, x.ndim - 1)) or [1]  # a table has no channels
    if not isinstance(replacement, str):
        return _array("replacement", replacement, x)
    if replacement not in REPLACEMENTS:
        raise ValueError(f"replacement is an array or one of {', '.join(map(repr, REPLACEMENTS))}; got {replacement!r}.")
    if (mean is not None) != (replacement == "dataset_mean"):
        got = f"replacement={replacement!r} and mean {'missing' if mean is None else 'given'}"
        raise ValueError(f'mean= is required by replacement="dataset_mean", and only by it; got {got}.')
    if replacement == "dataset_mean":
        return _array("mean", mean, x)
    if replacement in ("blur", "noise") and x.ndim not in (3, 4):
        raise ValueError(
            f"replacement={replacement!r} uses neighbours, in pictures (N, H, W, C) or sequences (N, T, C); x has shape "
            f'{x.shape}. Use "mean", "dataset_mean" or an array.'
        )
    if replacement == "noise":
        return None
    if replacement == "blur":
        return lambda values, _: _blurred(values, sizes)
    if replacement == "mean":
        return lambda values, _: tf.reduce_mean(values, axis=pooled, keepdims=True)
    return lambda values, _: -values


# -- arguments ------------------------------------------------------------------------------------------------------------


def _array(name, given, x):
    try:
        values = np.broadcast_to(np.asarray(given, x.dtype), x.shape)
    except ValueError:
        raise ValueError(f"{name} needs numbers that broadcast to x of shape {x.shape}; got shape {np.shape(given)}.") from None
    return lambda _, chosen: tf.constant(values[chosen])


def _floats(x):
    x = np.asarray(x)
    if x.dtype.kind not in "iufb" or x.ndim not in (2, 3, 4, 5) or not x.size:
        raise ValueError(f"x needs numbers of shape (N, H, W, C), (N, T, C) or (N, F); got shape {x.shape} of type {x.dtype}.")
    return x if x.dtype in (np.float32, np.float64) else x.astype("float32")


def _targets(target, samples):
    values = np.asarray(target)
    if values.dtype.kind not in "iu" or values.shape not in ((), (samples,)) or (values < 0).any():
        raise ValueError(f"target is a class, an integer >= 0, or one for each of {samples} samples; got {target!r}.")
    return np.broadcast_to(values, (samples,)).astype("int32")


def _patches(inner, sizes):
    """For each position the number of its patch, in reading order: int32 (H, W)."""
    patches = np.zeros(inner, "int32")
    for axis, (length, size) in enumerate(zip(inner, sizes, strict=True)):
        along = np.arange(length) // size
        patches = patches * (int(along[-1]) + 1) + along.reshape([-1 if a == axis else 1 for a in range(len(inner))])
    return patches.astype("int32")


def _patch_sums(relevance, x, patch_of):
    """Relevance of each patch: float64 (N, patches)."""
    relevance = np.asarray(relevance)
    shapes = [x.shape] if x.ndim == 2 else [x.shape, x.shape[:-1]]
    if relevance.shape not in shapes:
        raise ValueError(f"relevance needs shape {' or '.join(map(str, shapes))} for these x; got {relevance.shape}.")
    if not np.isfinite(relevance).all():
        raise ValueError("relevance contains NaN or infinite values, which cannot be ordered.")
    # On the host, in float64: accelerators sum in no fixed order, so ties would be broken differently from run to run.
    relevance = relevance.astype("float64")
    if x.ndim > 2 and relevance.ndim == x.ndim:
        relevance = relevance.sum(axis=-1)
    patches = int(patch_of.max()) + 1
    bins = (np.arange(len(x))[:, None] * patches + patch_of.ravel()).ravel()
    return np.bincount(bins, relevance.ravel(), len(x) * patches).reshape(len(x), patches)


def _ranks(keys):
    """The rank of each patch, int32 (N, patches), when they are sorted by their keys; ties keep their order."""
    return np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1, kind="stable").astype("int32")


def _random_ranks(count, patches, seed):
    return np.stack([np.random.default_rng([seed, n]).permutation(patches) for n in range(count)]).astype("int32")
