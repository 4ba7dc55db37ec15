"""Targets in structured outputs: an anchor's class, a class over a mask."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import pictures, randomize

import tf_lrp
from tf_lrp import methods
from tf_lrp.target import neuron, region


def segmenter(size=6, classes=3, data_format=None):
    shape = (3, size, size) if data_format == "channels_first" else (size, size, 3)
    options = {"padding": "same", "data_format": data_format}
    stack = [keras.layers.Conv2D(4, 3, activation="relu", **options), keras.layers.Conv2D(classes, 3, **options)]
    return randomize(keras.Sequential([keras.Input(shape), *stack]))


def detector(boxes=5, classes=4):
    """Pictures -> scores (N, boxes, classes)."""
    inputs = keras.Input((6, 6, 3))
    h = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="relu")(inputs))
    return randomize(keras.Model(inputs, keras.layers.Reshape((boxes, classes))(keras.layers.Dense(boxes * classes)(h))))


SEGMENTER, DETECTOR = segmenter(), detector()
ANALYZERS = {model: tf_lrp.Analyzer(model, "cmp_a2", batch_size=2) for model in (SEGMENTER, DETECTOR)}
X = pictures(3, size=6)


def r_init(model, weights):
    """R_init as floats: output * weights."""
    return (model(X).numpy() * weights).astype("float32")


def one_hot(shape, *index):
    hot = np.zeros(shape)
    hot[(slice(None), *index)] = 1
    return hot


# -- neurons --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (neuron(2, 3), (2, 3)),
        (neuron(-1, -4), (4, 0)),
        (neuron(np.int64(4), np.uint8(1)), (4, 1)),
        (neuron(np.array(0), np.array(-1)), (0, 3)),
    ],
    ids=str,
)
def test_a_neuron_is_r_init_at_one_place(target, index):
    analyzer = ANALYZERS[DETECTOR]
    start = r_init(DETECTOR, one_hot((3, 5, 4), *index))
    np.testing.assert_allclose(analyzer.analyze(X, target), analyzer.analyze(X, start), rtol=1e-5, atol=1e-6)


def test_each_sample_has_its_own_neuron():
    analyzer = ANALYZERS[DETECTOR]
    best = DETECTOR(X).numpy()[..., 2].argmax(axis=1)
    hot = np.zeros((3, 5, 4))
    hot[np.arange(3), best, 2] = 1
    expected = analyzer.analyze(X, r_init(DETECTOR, hot))
    for target in (neuron(best, 2), neuron(list(best), [2, 2, 2]), neuron(best - 5, -2)):
        np.testing.assert_allclose(analyzer.analyze(X, target), expected, rtol=1e-5, atol=1e-6)


def test_a_neuron_of_a_plain_classifier_is_its_index():
    model = randomize(keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)]))
    analyzer, x = tf_lrp.Analyzer(model, "epsilon"), np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    np.testing.assert_array_equal(analyzer.analyze(x, neuron(1)), analyzer.analyze(x, 1))
    np.testing.assert_array_equal(analyzer.analyze(x, neuron(-1)), analyzer.analyze(x, 2))


def test_relevance_sums_to_the_neurons_score():
    model = detector()
    for weights in model.weights:
        if weights.name == "bias":
            weights.assign(tf.zeros(weights.shape))
    found = tf_lrp.Analyzer(model, "z").analyze(X, neuron(3, 1))
    np.testing.assert_allclose(found.sum((1, 2, 3)), model(X).numpy()[:, 3, 1], rtol=1e-3)
    books = tf_lrp.Analyzer(model, "z").conservation(X, neuron(3, 1))
    np.testing.assert_allclose(books.output, model(X).numpy()[:, 3, 1].sum(), rtol=1e-5)


# -- regions --------------------------------------------------------------------------------------------------------------

MASK = np.zeros((6, 6), bool)
MASK[1:4, 2:6] = True
SOFT = np.random.default_rng(0).uniform(size=(3, 6, 6))


@pytest.mark.parametrize("mask", [MASK, MASK.astype("uint8"), MASK.astype("float32"), SOFT, SOFT[0], SOFT > 0.5], ids=str)
@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("channel", [1, -1])
def test_a_region_is_r_init_over_a_mask(mask, reduce, channel):
    analyzer = ANALYZERS[SEGMENTER]
    weights = np.broadcast_to(np.asarray(mask, float), (3, 6, 6))
    if reduce == "mean":
        weights = np.stack([of_sample / of_sample.sum() for of_sample in weights])
    start = r_init(SEGMENTER, weights[..., None] * np.eye(3)[channel])
    found = analyzer.analyze(X, region(mask, channel, reduce))
    np.testing.assert_allclose(found, analyzer.analyze(X, start), rtol=1e-4, atol=1e-6)


def test_relevance_sums_to_the_scores_over_the_mask():
    model = segmenter()
    for weights in model.weights:
        if weights.name == "bias":
            weights.assign(tf.zeros(weights.shape))
    scores, analyzer = model(X).numpy()[..., 2], tf_lrp.Analyzer(model, "z")
    total = analyzer.analyze(X, region(MASK, 2)).sum((1, 2, 3))
    np.testing.assert_allclose(total, scores[:, MASK].sum(axis=1), rtol=1e-3)
    mean = analyzer.analyze(X, region(MASK, 2, "mean")).sum((1, 2, 3))
    np.testing.assert_allclose(mean, scores[:, MASK].mean(axis=1), rtol=1e-3)


def test_a_mask_on_the_whole_output_and_channels_first():
    analyzer = ANALYZERS[SEGMENTER]
    whole = np.repeat(MASK[..., None], 3, axis=2)
    start = r_init(SEGMENTER, whole)
    np.testing.assert_allclose(analyzer.analyze(X, region(whole)), analyzer.analyze(X, start), rtol=1e-4, atol=1e-6)

    first = randomize(
        keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(3, 3, padding="same"), keras.layers.Permute((3, 1, 2))])
    )
    last = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(3, 3, padding="same")])
    last.set_weights(first.get_weights())
    found = tf_lrp.Analyzer(first, "epsilon").analyze(X, region(MASK, 2, axis=1))
    expected = tf_lrp.Analyzer(last, "epsilon").analyze(X, region(MASK, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    depth = randomize(
        keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(1, 3, padding="same"), keras.layers.Reshape((6, 6))])
    )
    found = tf_lrp.Analyzer(depth, "epsilon").analyze(X, region(MASK, reduce="mean"))
    expected = tf_lrp.Analyzer(depth, "epsilon").analyze(X, (depth(X).numpy() * MASK / MASK.sum()).astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_derivatives_begin_with_the_mask():
    gradient = methods.Gradient(SEGMENTER)
    x = tf.constant(X)
    for target, weights in (
        (region(MASK, 1), MASK[..., None] * np.eye(3)[1]),
        (region(MASK, 1, "mean"), MASK[..., None] * np.eye(3)[1] / MASK.sum()),
        (neuron(2, 3, 1), one_hot((1, 6, 6, 3), 2, 3, 1)[0]),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(SEGMENTER(x) * weights)
        np.testing.assert_allclose(gradient.analyze(X, target), tape.gradient(score, x), rtol=1e-4, atol=1e-6)


def test_methods_that_run_the_network_often_explain_targets():
    integrated = methods.IntegratedGradients(SEGMENTER, steps=16, rule="gauss_legendre", steps_at_once=4)
    scores = SEGMENTER(X).numpy()[:, MASK, 1].sum(axis=1) - SEGMENTER(0 * X).numpy()[:, MASK, 1].sum(axis=1)
    np.testing.assert_allclose(integrated.analyze(X, region(MASK, 1)).sum((1, 2, 3)), scores, rtol=0.05, atol=0.05)
    completeness = integrated.completeness(X, region(MASK, 1))
    np.testing.assert_allclose(completeness.difference, scores, rtol=1e-4, atol=1e-4)
    occlusion = methods.Occlusion(DETECTOR, 6)
    dark = DETECTOR(X).numpy()[:, 1, 2] - DETECTOR(0 * X).numpy()[:, 1, 2]
    np.testing.assert_allclose(occlusion.analyze(X, neuron(1, 2)).sum((1, 2, 3)), dark, rtol=1e-3, atol=1e-4)


# -- several targets, tensors, files --------------------------------------------------------------------------------------


def test_a_list_of_targets_comes_from_one_pass():
    for model, targets in (
        (DETECTOR, [neuron(0, 1), neuron(-1, 2), neuron([1, 2, 3], 0)]),
        (SEGMENTER, [region(MASK, 1), region(SOFT, 2, "mean")]),
    ):
        analyzer = ANALYZERS[model]
        found = analyzer.analyze(X, targets, layers=[model.layers[1].name])
        assert found["input"].shape == (3, len(targets), 6, 6, 3)
        for k, target in enumerate(targets):
            np.testing.assert_allclose(found["input"][:, k], analyzer.analyze(X, target), rtol=1e-4, atol=1e-6)
        assert analyzer.analyze(X, targets[:1]).shape == (3, 1, 6, 6, 3)


def test_more_targets_than_are_laid_out_in_one_graph(monkeypatch):
    monkeypatch.setattr("tf_lrp.explain.batches.TARGETS_AT_ONCE", 2)
    targets, analyzer = [neuron(k, 3 - k) for k in range(3)], tf_lrp.Analyzer(DETECTOR, "epsilon")
    found = analyzer.analyze(X, targets)
    for k, target in enumerate(targets):
        np.testing.assert_allclose(found[:, k], analyzer.analyze(X, target), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "target"),
    [(DETECTOR, neuron(2, -1)), (DETECTOR, [neuron(2, 1), neuron(0, 0)]), (SEGMENTER, region(MASK, 1, "mean"))],
    ids=lambda value: type(value).__name__,
)
def test_targets_in_pipelines_graphs_and_models(model, target):
    analyzer = ANALYZERS[model]
    expected = analyzer.analyze(X, target)
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(analyzer(X, target), expected, **close)
    np.testing.assert_allclose(tf.function(lambda x: analyzer(x, target))(tf.constant(X)), expected, **close)
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(2)
    mapped = np.concatenate(list(dataset.map(lambda x: analyzer(x, target)).as_numpy_iterator()))
    np.testing.assert_allclose(mapped, expected, **close)
    written = [r for _, _, r in tf_lrp.data.explain(dataset, analyzer, target).as_numpy_iterator()]
    np.testing.assert_allclose(np.concatenate(written), expected, **close)
    inputs = keras.Input((6, 6, 3))
    np.testing.assert_allclose(keras.Model(inputs, analyzer(inputs, target))(X), expected, **close)


def test_targets_that_are_tensors():
    best, masks = tf.constant([1, 4, -1]), tf.constant(SOFT)

    @tf.function
    def of_detector(x, best):
        return ANALYZERS[DETECTOR](x, neuron(best, tf.constant(2)))

    @tf.function
    def of_segmenter(x, masks):
        return ANALYZERS[SEGMENTER](x, [region(masks, -1), region(masks[0] > 0.5, 1, "mean")])

    expected = ANALYZERS[DETECTOR].analyze(X, neuron([1, 4, -1], 2))
    np.testing.assert_allclose(of_detector(X, best), expected, rtol=1e-4, atol=1e-6)
    expected = ANALYZERS[SEGMENTER].analyze(X, [region(SOFT, -1), region(SOFT[0] > 0.5, 1, "mean")])
    np.testing.assert_allclose(of_segmenter(X, masks), expected, rtol=1e-4, atol=1e-6)


def test_lengths_that_are_free():
    model = randomize(
        keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Conv2D(3, 1)]
        )
    )
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    scores = model(X).numpy()
    hot = one_hot(scores.shape, 1, -2, 2)
    expected = analyzer.analyze(X, (scores * hot).astype("float32"))
    np.testing.assert_allclose(analyzer.analyze(X, neuron(1, -2, 2)), expected, rtol=1e-4, atol=1e-6)
    inside = MASK[1:5, 1:5]
    expected = analyzer.analyze(X, (scores * inside[..., None] * np.eye(3)[1]).astype("float32"))
    np.testing.assert_allclose(analyzer.analyze(X, region(inside, 1)), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no such index"):
        analyzer.analyze(X, neuron(4, 0, 0))
    with pytest.raises(tf.errors.InvalidArgumentError, match="have different shapes"):
        analyzer.analyze(X, region(MASK[:1, 2:3] | True, 1))  # would be broadcast


def test_a_saved_model_with_its_target(tmp_path):
    for model, target, name in (
        (DETECTOR, [neuron(2, 1), neuron(0, 0)], "neuron(2, 1), neuron(0, 0)"),
        (SEGMENTER, region(MASK, 1, "mean"), str(region(MASK, 1, "mean"))),
    ):
        analyzer = ANALYZERS[model]
        analyzer.export(tmp_path / "e", neuron_selection=target, overwrite=True)
        loaded = tf.saved_model.load(str(tmp_path / "e"))
        key = loaded.signatures["serving_default"].structured_input_signature[1]
        for x in (X, X[:1]):
            found = loaded.signatures["serving_default"](**{next(iter(key)): tf.constant(x)})["relevance"]
            np.testing.assert_allclose(found, analyzer.analyze(x, target), rtol=1e-4, atol=1e-5)
        description = json.loads((tmp_path / "e" / "assets" / "tf_lrp.json").read_text())
        assert description["neuron_selection"] == name
    with pytest.raises(ValueError, match="selecting"):
        ANALYZERS[DETECTOR].export(tmp_path / "x.tflite", "litert", neuron_selection=neuron(1, 1), selecting=True)
    with pytest.raises(ValueError, match=r"one for each of 1 samples"):
        ANALYZERS[DETECTOR].export(tmp_path / "x", neuron_selection=neuron([1, 2, 3], 1))
    assert not (tmp_path / "x").exists() and not (tmp_path / "x.tflite").exists()


def test_two_masks_are_two_targets():
    names = {str(region(mask, 1)) for mask in (MASK, ~MASK, SOFT)}
    assert len(names) == 3 and all(name.startswith("region(mask of ") for name in names)
    assert str(neuron([1, 2, 3, 4, 5], -2)) == "neuron([1, 2, 3, 4, ...], -2)"


def test_a_portable_file_with_its_target(tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter

    for model, target in ((DETECTOR, neuron(2, -1)), (SEGMENTER, [region(MASK, 1), region(~MASK, 0, "mean")])):
        path = ANALYZERS[model].export(tmp_path / "e.tflite", "litert", neuron_selection=target, batch_size=3, overwrite=True)
        runner = interpreter(model_path=str(path)).get_signature_runner()
        found = runner(**{next(iter(runner.get_input_details())): X})["relevance"]
        np.testing.assert_allclose(found, ANALYZERS[model].analyze(X, target), rtol=1e-3, atol=1e-4)


def test_the_callback_watches_targets(tmp_path):
    for model, target, expected in (
        (SEGMENTER, region(SOFT, 1), (SEGMENTER(X).numpy()[..., 1] * SOFT).sum((1, 2))),
        (DETECTOR, neuron([0, 1, 2], 3), DETECTOR(X).numpy()[range(3), range(3), 3]),
        (DETECTOR, [neuron(0, 0), neuron(4, 1)], DETECTOR(X).numpy()[:, [0, 4], [0, 1]]),
    ):
        watch = tf_lrp.callbacks.RelevanceCallback(X, tmp_path, neuron_selection=target, max_images=2, conservation=1)
        watch.set_model(model)
        snapshot = watch.snapshot()
        np.testing.assert_allclose(snapshot.output, expected[:2], rtol=1e-4)
        of_both = [neuron([0, 1], 3)] if len(np.shape(expected)) == 1 and model is DETECTOR else target
        if model is DETECTOR:
            found = tf_lrp.Analyzer(model).analyze(X[:2], of_both)
            np.testing.assert_allclose(snapshot.relevance, found.reshape(snapshot.relevance.shape), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(snapshot.conservation.output, np.ravel(expected)[0], rtol=1e-4)


# -- what is none ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: neuron(), ValueError, "an index for each axis"),
        (lambda: neuron("a", 1), TypeError, "An index is an integer"),
        (lambda: neuron(1.0, 1), TypeError, "An index is an integer"),
        (lambda: neuron(True), TypeError, "An index is an integer"),
        (lambda: neuron([[1]], 2), ValueError, r"array of shape \(1, 1\)"),
        (lambda: neuron([], 2), TypeError, "one for each sample; got"),
        (lambda: neuron(tf.constant(1.5)), TypeError, "got float32"),
        (lambda: region(MASK, "disc"), TypeError, "channel is an integer"),
        (lambda: region(MASK, 1, "max"), ValueError, '"sum" or "mean"'),
        (lambda: region(MASK, 1, axis=0), ValueError, "the batch's"),
        (lambda: region(MASK * 5, 1), TypeError, "found == 5"),
        (lambda: region([["a"]], 1), TypeError, "A mask is of bools"),
        (lambda: region([[1], [0, 1]], 1), ValueError, "rectangular"),
        (lambda: region(-SOFT, 1), ValueError, "finite and >= 0"),
        (lambda: region(SOFT * np.nan, 1), ValueError, "finite and >= 0"),
        (lambda: region(tf.constant([1, 2]), 1), TypeError, "bools or floats"),
    ],
)
def test_what_is_no_target(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        (DETECTOR, neuron(5, 0), r"no neuron\(5, 0\): .*\(N, 5, 4\), and 5 is outside of -5 to 4"),
        (DETECTOR, neuron(0, -5), "-5 is outside of -4 to 3"),
        (DETECTOR, neuron(1), "give 2 indices"),
        (DETECTOR, neuron([0, 1], 2), "one for each of 3 samples"),
        (DETECTOR, 3, r"tf_lrp\.target\.neuron"),
        (SEGMENTER, region(MASK[:5], 1), r"needs the shape \(6, 6\), or \(3, 6, 6\)"),
        (SEGMENTER, region(SOFT[:2], 1), r"needs the shape \(6, 6\), or \(3, 6, 6\)"),
        (SEGMENTER, region(MASK, 3), "no channel 3"),
        (SEGMENTER, region(MASK, 1, axis=7), "no axis 7"),
        (SEGMENTER, region(MASK), "Say which class with channel="),
        (SEGMENTER, region(MASK[0], 1), "does not fit the output"),
        (SEGMENTER, region(MASK & False, 1), "is empty"),
        (SEGMENTER, region(SOFT * [[[1]], [[0]], [[1]]], 1), "of sample 1 is empty"),
    ],
    ids=str,
)
def test_targets_that_do_not_fit_the_output(model, target, message):
    with pytest.raises(ValueError, match=message):
        ANALYZERS[model].analyze(X, target)
    if "samples" not in message and "3, 6, 6" not in message:
        with pytest.raises(ValueError, match=message):
            ANALYZERS[model](X, target)


def test_lists_hold_one_kind():
    with pytest.raises(TypeError, match="either neurons or regions, not both"):
        ANALYZERS[SEGMENTER].analyze(X, [neuron(1, 1, 1), region(MASK, 1)])
    with pytest.raises(TypeError, match="either neurons or regions, not both"):
        ANALYZERS[SEGMENTER].analyze(X, [neuron(1, 1, 1), 3])
    with pytest.raises(ValueError, match="one target per sample"):
        ANALYZERS[DETECTOR].conservation(X, [neuron(1, 1)])


# -- measures -------------------------------------------------------------------------------------------------------------


def test_measures_of_targets():
    from tf_lrp.evaluation.measures import randomization, robustness

    for model, target in ((DETECTOR, neuron([0, 1, 4], 3)), (SEGMENTER, region(MASK, 1, "mean"))):
        analyzer = ANALYZERS[model]
        weights = one_hot((3, 5, 4), 0, 3) if model is DETECTOR else MASK[..., None] * np.eye(3)[1] / MASK.sum()
        if model is DETECTOR:
            weights = np.stack([one_hot((1, 5, 4), k, 3)[0] for k in (0, 1, 4)])
        scores = (model(X).numpy() * weights).reshape(3, -1).sum(axis=1)
        sums = analyzer.analyze(X, target).sum((1, 2, 3))
        expected = np.abs(sums - scores) / np.abs(scores)
        np.testing.assert_allclose(robustness.completeness(analyzer, X, target), expected, rtol=1e-2, atol=1e-5)
        moved = robustness.sensitivity(analyzer, X, target, radius=1e-3, draws=2)
        assert (moved.maximum >= moved.average).all() and (moved.average > 0).all() and (moved.average < 1).all()
    model = detector()
    rows = randomization.parameter_randomization(tf_lrp.Analyzer(model, "z"), model, X, neuron(2, 1), similarities=("rank",))
    assert len(rows) == 2 and all(row.similarities["rank"].shape == (3,) for row in rows)
