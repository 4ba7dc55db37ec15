"""Region perturbation against loops written out, linear models whose curves are known, and Quantus."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from small_models import convnet, pictures

import tf_lrp
from tf_lrp.evaluation.measures.perturbation import REPLACEMENTS, Curves, area_between, flip, interpolated, replaced


def weighted_sum(weights):
    """f(x) = sum_i w_i x_i as a function of tensors."""
    return lambda x: tf.reduce_sum(x * tf.constant(weights, x.dtype), axis=list(range(1, x.shape.rank)))


def slow_flip(score, x, relevance, patch, steps, at_once, sign, value):
    """One sample and one patch at a time; ``value(sample)`` is what replaces it. Returns (scores, fractions)."""
    scores, fractions = [], []
    for sample, r in zip(x, relevance, strict=True):
        if r.ndim == sample.ndim and sample.ndim > 1:
            r = r.sum(-1)
        tiles = list(itertools.product(*[range(0, length, patch) for length in r.shape]))
        windows = [tuple(slice(first, first + patch) for first in tile) for tile in tiles]
        order = sorted(range(len(windows)), key=lambda k: (sign * r[windows[k]].astype("float64").sum(), k))
        changed, flags = sample.copy(), np.zeros(r.shape)
        curve, shares = [float(score(tf.constant(changed[None]))[0])], [0.0]
        for step in range(steps):
            for k in order[step * at_once : (step + 1) * at_once]:
                changed[windows[k]] = np.broadcast_to(value(sample), sample.shape)[windows[k]]
                flags[windows[k]] = 1
            curve.append(float(score(tf.constant(changed[None]))[0]))
            shares.append(flags.mean())
        scores.append(curve)
        fractions.append(shares)
    return np.array(scores), np.array(fractions)


# -- curves of linear models, known exactly ----------------------------------------------------------------------------


def test_negating_a_linear_models_features_takes_twice_their_contributions():
    weights, x = np.array([1.0, -2.0, 3.0, 0.5]), np.array([[4.0, 1.0, 2.0, -6.0]])  # contributions 4, -2, 6, -3: 5
    curves = flip(weighted_sum(weights), x, x * weights, patch=1)
    np.testing.assert_allclose(curves.scores, [[5, 5 - 12, 5 - 12 - 8, 5 - 12 - 8 + 4, -5]])
    np.testing.assert_allclose(curves.fraction, [[0, 0.25, 0.5, 0.75, 1]])
    np.testing.assert_allclose(curves.aopc, [(0 + 12 + 20 + 16 + 10) / 5])
    least = flip(weighted_sum(weights), x, x * weights, patch=1, order="lerf")
    np.testing.assert_allclose(least.scores, [[5, 5 + 6, 5 + 6 + 4, 5 + 6 + 4 - 8, -5]])
    np.testing.assert_allclose(area_between(curves, least), curves.aopc - least.aopc)
    np.testing.assert_allclose(area_between(curves, least), [(0 + 18 + 30 + 18 + 0) / 5])


def test_the_last_point_is_the_score_of_what_replaces():
    x, weights = pictures(2, size=6, dtype="float64"), np.random.default_rng(0).normal(size=(6, 6, 3))
    f = weighted_sum(weights)
    last = {
        "negate": -x,
        "mean": np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape),
        "dataset_mean": np.broadcast_to([1.0, 2.0, 3.0], x.shape),
    }
    for name, values in last.items():
        mean = [1.0, 2.0, 3.0] if name == "dataset_mean" else None
        curves = flip(f, x, x, patch=4, replacement=name, mean=mean)
        assert curves.scores.shape == (2, 5)
        np.testing.assert_allclose(curves.scores[:, 0], f(tf.constant(x)), rtol=1e-12)
        np.testing.assert_allclose(curves.scores[:, -1], f(tf.constant(values)), rtol=1e-10)
    flipped = flip(f, x, x, patch=4, replacement=x[:, ::-1]).scores[:, -1]
    np.testing.assert_allclose(flipped, f(tf.constant(x[:, ::-1])), rtol=1e-10)
    np.testing.assert_allclose(flip(f, x, x, patch=4, replacement=0.0).scores[:, -1], 0, atol=1e-12)


def test_ties_go_by_position():
    x = np.arange(1.0, 7.0).reshape(1, 6)
    for order in ("morf", "lerf"):
        curves = flip(weighted_sum(np.ones(6)), x, np.zeros((1, 6)), patch=1, order=order, replacement=0.0)
        np.testing.assert_allclose(curves.scores, [[21, 20, 18, 15, 11, 6, 0]])


def test_border_patches_are_smaller():
    relevance = np.zeros((1, 3, 5))
    relevance[0, 2, 4] = 1
    curves = flip(weighted_sum(np.ones((3, 5, 1))), np.ones((1, 3, 5, 1)), relevance, patch=2, replacement=0.0)
    np.testing.assert_allclose(curves.scores[0, :3], [15, 14, 10])
    np.testing.assert_allclose(curves.fraction[0, :3], [0, 1 / 15, 5 / 15])
    np.testing.assert_allclose(curves.scores[0], 15 * (1 - curves.fraction[0]), atol=1e-12)


def test_statistics_over_samples():
    curves = Curves(np.array([[1.0, 0.0, 2.0], [3.0, 2.0, 0.0]]), np.array([[0, 0.5, 1]] * 2))
    np.testing.assert_allclose(curves.mean(), [2, 1, 1])
    np.testing.assert_allclose(curves.standard_error(), [1, 1, 1])
    np.testing.assert_allclose(curves.aopc, [0, 4 / 3])
    assert np.isnan(Curves(curves.scores[:1], curves.fraction[:1]).standard_error()).all()
    with pytest.raises(ValueError, match="same samples and steps"):
        area_between(curves, Curves(curves.scores[:1], curves.fraction[:1]))


# -- against loops -----------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_flip_is_the_loop(data):
    inner = data.draw(st.sampled_from([(5,), (6, 2), (4, 5, 2), (3, 3, 1)]))
    patch, order = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["morf", "lerf"]))
    at_once, name = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["negate", "mean", "number"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x, weights = rng.normal(size=(3, *inner)), rng.normal(size=inner)
    # Whole numbers: patches with equal sums are frequent.
    relevance = rng.integers(-1, 2, size=x.shape if data.draw(st.booleans()) or len(inner) == 1 else x.shape[:-1])
    tiled = inner if len(inner) == 1 else inner[:-1]
    patches = np.prod([-(-length // patch) for length in tiled])
    steps = data.draw(st.integers(1, int(-(-patches // at_once))))

    def score(x):
        return tf.reduce_sum(tf.sin(x) * weights, axis=list(range(1, x.shape.rank))) ** 2

    axes = tuple(range(len(tiled)))
    value = {"negate": lambda s: -s, "mean": lambda s: s.mean(axis=axes, keepdims=True), "number": lambda s: 0.5}[name]
    expected = slow_flip(score, x, relevance, patch, steps, at_once, -1 if order == "morf" else 1, value)
    found = flip(
        score,
        x,
        relevance,
        patch=patch,
        steps=steps,
        at_once=at_once,
        order=order,
        replacement=0.5 if name == "number" else name,
        batch_size=2,
    )
    np.testing.assert_allclose(found.scores, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.fraction, expected[1], rtol=1e-12)


def test_a_model_is_followed_at_its_targets():
    model, x = convnet(), pictures(5)
    relevance = tf_lrp.Analyzer(model, "epsilon").analyze(x, [0, 1, 2, 3, 4])
    found = flip(model, x, relevance, [0, 1, 2, 3, 4], patch=3, batch_size=2)
    for n in range(5):
        score = lambda values, n=n: model(values)[:, n]  # noqa: E731
        one = slow_flip(score, x[n : n + 1], relevance[n : n + 1], 3, 9, 1, -1, lambda s: -s)
        np.testing.assert_allclose(found.scores[n], one[0][0], rtol=1e-4, atol=1e-5)
    tensors = flip(model, tf.constant(x), tf.constant(relevance), tf.range(5), patch=3)
    np.testing.assert_allclose(tensors.scores, found.scores, rtol=1e-4, atol=1e-5)
    by_function = flip(lambda values: model(values), x, relevance.sum(-1), np.arange(5), patch=3)
    np.testing.assert_allclose(by_function.scores, found.scores, rtol=1e-4, atol=1e-5)


def test_a_model_whose_weights_change_is_measured_as_it_is():
    model, x = convnet(), pictures(2)
    before = flip(model, x, x, 0, patch=8)
    model.layers[-1].bias.assign_add(np.ones(5))
    np.testing.assert_allclose(flip(model, x, x, 0, patch=8).scores, before.scores + 1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"order": "random"}, {"replacement": "noise"}])
def test_random_numbers_do_not_depend_on_the_batch(options):
    x, model = pictures(5), convnet()
    whole = flip(model, x, x, 1, patch=4, draws=3, **options)
    parts = flip(model, x, x, 1, patch=4, draws=3, batch_size=2, **options)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.fraction, whole.fraction)
    first = flip(model, x[:2], x[:2], 1, patch=4, draws=3, **options)
    np.testing.assert_allclose(first.scores, whole.scores[:2], rtol=1e-4, atol=1e-5)
    other = flip(model, x, x, 1, patch=4, draws=3, seed=1, **options)
    assert np.abs(other.scores - whole.scores).max() > 1e-3


def test_random_order_takes_every_patch_and_is_averaged():
    weights, x = np.array([8.0, 4.0, 2.0, 1.0]), np.ones((1, 4))
    one = flip(weighted_sum(weights), x, None, patch=1, order="random", replacement=0.0)
    assert sorted(-np.diff(one.scores[0])) == [1, 2, 4, 8]
    many = flip(weighted_sum(weights), x, None, patch=1, order="random", replacement=0.0, draws=400)
    np.testing.assert_allclose(many.scores[0], [15, 11.25, 7.5, 3.75, 0], atol=0.5)  # five standard errors of the mean


# -- replacements ------------------------------------------------------------------------------------------------------


def slow_interpolation(picture, missing):
    """The linear system of (H, W) written out and solved as a whole."""
    height, width = picture.shape
    matrix, right = np.eye(height * width), picture.reshape(-1).astype("float64").copy()
    for i, j in zip(*np.nonzero(missing), strict=True):
        row = i * width + j
        matrix[row, row], right[row] = 0, 0
        for di, dj in itertools.product((-1, 0, 1), repeat=2):
            a, b = i + di, j + dj
            if (di, dj) != (0, 0) and 0 <= a < height and 0 <= b < width:
                weight = 2 if 0 in (di, dj) else 1
                matrix[row, row] += weight
                matrix[row, a * width + b] -= weight
    return np.linalg.solve(matrix, right).reshape(height, width)


#: Traced once for all sizes: its loop has fifty steps.
INTERPOLATED = tf.function(
    interpolated,
    autograph=False,
    input_signature=[tf.TensorSpec((2, None, None, 2), tf.float64), tf.TensorSpec((2, None, None, 1), tf.bool)],
)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.floats(0.05, 0.95), st.integers(0, 999))
def test_interpolation_solves_the_system(height, width, share, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, height, width, 2))
    missing = rng.random((2, height, width, 1)) < share
    missing[:, rng.integers(height), rng.integers(width)] = False
    hidden = np.where(missing, 1e3, x)  # what is missing must not be looked at
    found = INTERPOLATED(tf.constant(hidden), tf.constant(missing)).numpy()
    for n, channel in itertools.product(range(2), repeat=2):
        expected = slow_interpolation(x[n, ..., channel], missing[n, ..., 0])
        np.testing.assert_allclose(found[n, ..., channel], expected, rtol=1e-6, atol=1e-6)


def test_interpolation_closes_large_holes():
    ramp = np.broadcast_to(np.linspace(-1, 1, 96, dtype="float32")[:, None, None], (96, 96, 1))[None]
    missing = np.zeros((1, 96, 96, 1), bool)
    missing[:, 20:70, 1:95] = True  # half of the picture, in one piece
    np.testing.assert_allclose(interpolated(tf.constant(ramp), tf.constant(missing)), ramp, atol=0.1)
    scattered = np.random.default_rng(0).random((1, 96, 96, 1)) < 0.9
    inside = np.abs(interpolated(tf.constant(ramp), tf.constant(scattered)) - ramp)[:, 8:-8]
    assert inside.mean() < 0.03 and inside.max() < 0.25


def test_interpolation_where_nothing_is_known_is_the_mean_and_where_all_is_known_nothing_happens():
    x = tf.constant(pictures(2, size=5, dtype="float64"))
    everything = interpolated(x, tf.ones((2, 5, 5, 1), bool))
    np.testing.assert_allclose(everything, np.broadcast_to(x.numpy().mean((1, 2), keepdims=True), x.shape), rtol=1e-12)
    np.testing.assert_array_equal(interpolated(x, tf.zeros((2, 5, 5, 1), bool)), x)


def test_interpolation_in_sequences_is_linear_between_what_is_known():
    x = tf.constant([0.0, 9, 9, 3, 9, 5, 9, 9], tf.float64)[None, :, None]
    missing = tf.constant([False, True, True, False, True, False, True, True])[None, :, None]
    np.testing.assert_allclose(interpolated(x, missing)[0, :, 0], [0, 1, 2, 3, 4, 5, 5, 5], atol=1e-9)


def test_noise_is_upon_the_replaced_alone_and_of_the_stated_size():
    x = pictures(1, size=32, dtype="float64")
    seen = []

    def score(values):
        return tf.py_function(lambda v: seen.append(v.numpy()) or v[:, 0, 0, 0], [values], tf.float64)

    def checked(values):
        return tf.ensure_shape(score(values), [None])

    flip(checked, x, x, patch=16, replacement="noise")
    assert len(seen) == 5
    np.testing.assert_array_equal(seen[0], x)
    changed = seen[2] != x
    assert changed.mean() == 0.5
    smooth = interpolated(tf.constant(x), tf.constant(changed[..., :1])).numpy()
    noise = (seen[2] - smooth)[changed].reshape(-1, 3)
    np.testing.assert_allclose(noise.std(axis=0), 0.1 * x.std(axis=(0, 1, 2)), rtol=0.2)


@pytest.mark.parametrize("edges", [[2, 2], [1, 3]])
def test_blur_is_a_normalized_gaussian(edges):
    x, blurred = pictures(1, size=7, dtype="float64"), np.zeros((1, 7, 7, 3))
    for i, j in itertools.product(range(7), repeat=2):
        rows, columns = np.mgrid[:7, :7]
        exponents = -((rows - i) ** 2) / (2 * edges[0] ** 2) - (columns - j) ** 2 / (2 * edges[1] ** 2)
        blurred[0, i, j] = np.average(x[0].reshape(49, 3), axis=0, weights=np.exp(exponents).ravel())
    weights = np.random.default_rng(1).normal(size=(7, 7, 3))
    found = flip(weighted_sum(weights), x, x, patch=edges, replacement="blur")
    np.testing.assert_allclose(found.scores[0, -1], (blurred * weights).sum(), rtol=1e-9)


def test_blur_of_a_constant_sequence_is_the_sequence():
    found = flip(weighted_sum(np.ones((9, 2))), np.ones((1, 9, 2)), np.ones((1, 9)), patch=3, replacement="blur")
    np.testing.assert_allclose(found.scores, [[18] * 4])


# -- what cannot be measured -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relevance": np.zeros((2, 4, 4, 2))}, "relevance needs shape"),
        ({"relevance": np.full((2, 8, 8), np.nan)}, "cannot be ordered"),
        ({"x": np.zeros(5)}, "x needs numbers"),
        ({"order": "most"}, "order is one of"),
        ({"replacement": "grey"}, "an array or one of"),
        ({"replacement": np.zeros(7)}, "broadcast to x"),
        ({"replacement": "dataset_mean"}, "only by it; got .*missing"),
        ({"mean": [0, 0, 0]}, "is required by"),
        ({"steps": 5}, "at most 4 steps"),
        ({"steps": 0}, "steps needs an integer >= 1"),
        ({"patch": [4, 4, 4]}, "or 2 of them"),
        ({"draws": 2}, "draws are the same"),
        ({"target": [0]}, "one for each of 2 samples"),
        ({"target": -1}, ">= 0"),
        ({"target": None}, "name the one to record"),
    ],
)
def test_errors_say_what_is_wrong(change, said):
    x = pictures(2)
    arguments = {"score": convnet(), "x": x, "relevance": x, "target": 0, "patch": 4} | change
    with pytest.raises(ValueError, match=said):
        flip(**arguments)


def test_scores_that_are_none_and_classes_that_are_not_there():
    x = pictures(2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not exist"):
        flip(convnet(), x, x, 5, patch=4)
    with pytest.raises(ValueError, match=r"\(n,\) or \(n, classes\)"):
        flip(lambda values: values, x, x)
    with pytest.raises(ValueError, match="leave target out"):
        flip(weighted_sum(np.ones((8, 8, 3))), x, x, 0)
    with pytest.raises(ValueError, match="uses neighbours"):
        flip(weighted_sum(np.ones(4)), np.ones((1, 4)), np.ones((1, 4)), patch=1, replacement="noise")


# -- Quantus -----------------------------------------------------------------------------------------------------------


def grey_model():
    keras.utils.set_random_seed(3)
    h = layers.Conv2D(4, 3, activation="relu")(inputs := keras.Input((8, 8, 1)))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(h)))


def test_pixel_flipping_of_quantus():
    quantus = pytest.importorskip("quantus")
    model, rng = grey_model(), np.random.default_rng(0)
    x, relevance = rng.normal(size=(2, 2, 8, 8, 1)).astype("float32")
    metric = quantus.PixelFlipping(features_in_step=4, perturb_baseline="black", normalise=False, disable_warnings=True)
    theirs = metric(model, x, np.array([0, 2]), relevance[:, None, ..., 0], channel_first=False, softmax=False)
    darkest = x.min(axis=(1, 2, 3), keepdims=True)  # what Quantus calls black
    ours = flip(model, x, relevance, [0, 2], patch=1, at_once=4, replacement=darkest)
    np.testing.assert_allclose(ours.scores[:, 1:], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_region_perturbation_of_quantus(order):
    quantus = pytest.importorskip("quantus")
    model, rng = grey_model(), np.random.default_rng(1)
    x, relevance = rng.normal(size=(2, 2, 8, 8, 1)).astype("float32")
    options = {"patch_size": 4, "order": order, "perturb_baseline": "black", "normalise": False, "disable_warnings": True}
    metric = quantus.RegionPerturbation(**options)
    theirs = metric(model, x, np.array([1, 0]), relevance[:, None, ..., 0], channel_first=False, softmax=False)
    darkest = x.min(axis=(1, 2, 3), keepdims=True)
    ours = flip(model, x, relevance, [1, 0], patch=4, order=order, replacement=darkest).scores
    np.testing.assert_allclose(ours[:, :1] - ours[:, 1:], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_replaced_pixels_are_those_of_the_curve(replacement):
    """f(x^1) of a curve is the score of what `replaced` returns, for the patches of largest relevance."""
    x = np.random.default_rng(0).normal(size=(1, 12, 8, 3))
    missing = np.zeros((1, 12, 8), bool)
    missing[0, 4:8, :4] = missing[0, 8:, 4:] = True
    weights = np.random.default_rng(1).normal(size=x.shape[1:])
    options = {"replacement": replacement, "patch": 4, "mean": [0.1, 0.2, 0.3] if replacement == "dataset_mean" else None}
    curve = flip(weighted_sum(weights), x, missing.astype(float), at_once=2, steps=1, **options)
    changed = replaced(x, missing, **options)
    assert (changed[~missing] == x[~missing]).all() and (changed[missing] != x[missing]).all()
    np.testing.assert_allclose((changed * weights).sum(), curve.scores[0, 1], rtol=1e-9)


def test_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\)"):
        replaced(np.zeros((1, 4, 4, 3)), np.zeros((4, 4), bool))
