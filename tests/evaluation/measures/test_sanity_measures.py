"""Similarity, complexity, sensitivity and randomization of explanations: known answers, loops, SciPy, scikit-image, Quantus."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from eagerly import eagerly
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import structural_similarity
from small_models import convnet, pictures

import tf_lrp
from tf_lrp.evaluation.measures.complexity import complexity, sparseness
from tf_lrp.evaluation.measures.randomization import parameter_randomization, random_logit, randomize, weighted_layers
from tf_lrp.evaluation.measures.robustness import completeness, sensitivity
from tf_lrp.evaluation.measures.similarity import SIMILARITIES, pearson, rank_correlation, ssim
from tf_lrp.methods import catalog


def maps(n=4, size=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size, size))


def linear(weights, bias=0.0):
    """f(x) = x W + b without an activation."""
    weights = np.asarray(weights, "float64")
    inputs = keras.Input((len(weights),), dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(weights.shape[1], dtype="float64")(inputs))
    model.set_weights([weights, np.full(weights.shape[1], bias)])
    return model


def batch_norm_model():
    keras.utils.set_random_seed(5)
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), keras.layers.Conv2D(5, 3, name="inner_conv"), keras.layers.ReLU()], name="nested"
    )
    h = keras.layers.Conv2D(4, 3, name="conv")(inputs := keras.Input((8, 8, 3)))
    h = keras.layers.BatchNormalization(name="bn")(h)
    h = inner(keras.layers.ReLU()(h))
    h = keras.layers.Dropout(0.5, name="dropout")(keras.layers.Flatten()(h))
    model = keras.Model(inputs, keras.layers.Dense(4, name="scores")(h))
    bn, rng = model.get_layer("bn"), np.random.default_rng(0)
    bn.set_weights([rng.uniform(0.5, 2, 4) for _ in range(4)])
    return model


def bits(model):
    return [v.numpy().tobytes() for v in model.variables]


# -- similarity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [pearson, rank_correlation])
def test_correlation_of_a_map_with_itself_its_negative_and_its_multiples(function):
    a = maps()
    np.testing.assert_allclose(function(a, a), 1)
    np.testing.assert_allclose(function(a, -a), -1)
    np.testing.assert_allclose(function(a, 1e-30 * a), 1)
    np.testing.assert_allclose(function(a, 3e30 * a + 1e30), 1)
    assert np.abs(function(a, maps(seed=1))).max() < 0.3


def test_rank_correlation_of_a_curve():
    a = np.array([[1.0, 2, 3, 4, 5]])
    np.testing.assert_allclose(rank_correlation(a, np.exp(a)), 1)
    assert pearson(a, np.exp(a)) < 0.9
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: deviations' products 4.5, squares 4.5 and 5.
    np.testing.assert_allclose(rank_correlation([[0, 7, 7, 9]], [[1, 2, 3, 4]]), 4.5 / np.sqrt(4.5 * 5))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(float, st.tuples(st.just(2), st.integers(1, 3), st.integers(2, 30)), elements=st.integers(-3, 3).map(float)))
def test_correlations_are_those_of_scipy_ties_included(pair):
    constant = (np.ptp(pair, axis=2) == 0).any(axis=0)
    ours = [pearson(*pair).numpy(), rank_correlation(*pair).numpy()]
    for found in ours:
        np.testing.assert_array_equal(np.isnan(found), constant)
    for n in np.flatnonzero(~constant):
        theirs = [scipy.stats.pearsonr(*pair[:, n])[0], scipy.stats.spearmanr(*pair[:, n])[0]]
        np.testing.assert_allclose([found[n] for found in ours], theirs, rtol=1e-9, atol=1e-9)


def test_constant_maps_correlate_with_nothing():
    a, constant = maps(1), np.full((1, 16, 16), 0.1, "float32")
    for function in (pearson, rank_correlation):
        assert np.isnan(function(a, constant)) and np.isnan(function(constant, a)) and np.isnan(function(constant, constant))
        assert np.isnan(function(a, 0 * a))


@pytest.mark.parametrize("signed", [True, False])
def test_ssim_is_that_of_scikit_image(signed):
    a, b = maps(3, 24), maps(3, 24) + 0.5 * maps(3, 24, seed=1)
    found = ssim(a, b, signed=signed).numpy()
    for n in range(3):
        shown = [r / np.abs(r).max() for r in (a[n], b[n])]
        shown = [(1 + r) / 2 if signed else np.abs(r) for r in shown]
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        # A Gaussian of 11 pixels, and the mean over the windows that lie inside.
        assert found[n] == pytest.approx(structural_similarity(*shown, **options), abs=1e-4)


def test_ssim_of_special_maps():
    a = maps(2)
    zero = np.zeros_like(a)
    np.testing.assert_allclose(ssim(a, 5 * a), 1, atol=1e-5)
    np.testing.assert_allclose(ssim(zero, zero), 1, atol=1e-5)
    np.testing.assert_allclose(ssim(zero, 0 * zero + 3, signed=False), 0.01**2 / (1 + 0.01**2), atol=1e-5)
    assert (ssim(a, -a).numpy() < -0.5).all() and (ssim(a, zero).numpy() < 0.5).all()
    np.testing.assert_allclose(ssim(a, -a, signed=False), 1, atol=1e-5)
    np.testing.assert_allclose(ssim(np.ones((1, 2, 3)), np.ones((1, 2, 3))), 1, atol=1e-5)  # a window of one pixel
    np.testing.assert_allclose(ssim(np.stack([a, a], -1), np.stack([a, a], -1)), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"SSIM compares maps"):
        ssim(a[:, 0], a[:, 0])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_are_of_each_sample_alone_and_of_tensorflow(name):
    a, b = maps(5), maps(5, seed=1)
    function = SIMILARITIES[name]
    whole = function(a, b).numpy()
    np.testing.assert_allclose([function(a[n : n + 1], b[n : n + 1])[0] for n in range(5)], whole, rtol=1e-5, atol=1e-7)
    compiled = tf.function(function, input_signature=[tf.TensorSpec((None, 16, 16), tf.float64)] * 2)
    np.testing.assert_allclose(compiled(a, b), whole, rtol=1e-5, atol=1e-7)
    broken = a.copy()
    broken[2, 3, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(function(broken, b)), [False, False, True, False, False])
    broken[2, 3, 3] = np.inf
    np.testing.assert_array_equal(np.isnan(function(b, broken)), [False, False, True, False, False])
    with pytest.raises(ValueError, match="the same shape"):
        function(a, b[:, :8])


def test_similarities_of_quantus():
    quantus = pytest.importorskip("quantus")
    a, b = maps(4).reshape(4, -1), np.round(maps(4, seed=1)).reshape(4, -1)
    theirs = quantus.similarity_func
    np.testing.assert_allclose(pearson(a, b), theirs.correlation_pearson(a, b, batched=True), rtol=1e-9)
    np.testing.assert_allclose(rank_correlation(a, b), theirs.correlation_spearman(a, b, batched=True), rtol=1e-9)


# -- complexity --------------------------------------------------------------------------------------------------------


def test_one_pixel_and_all_pixels():
    one = np.zeros((1, 5, 4))
    one[0, 2, 1] = -7
    np.testing.assert_allclose(sparseness(one), 19 / 20)
    np.testing.assert_allclose(complexity(one), 0, atol=1e-12)
    for value in (1e-40, -2.0, 1e38):
        uniform = np.full((1, 5, 4), value)
        np.testing.assert_allclose(sparseness(uniform), 0, atol=1e-12)
        np.testing.assert_allclose(complexity(uniform), np.log(20))
    np.testing.assert_allclose(sparseness([[1.0, -3.0]]), 0.25)  # (-1 * 1 + 1 * 3) / (2 * 4)
    np.testing.assert_allclose(complexity([[1.0, -3.0]]), -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


def test_a_map_without_relevance_is_neither():
    relevance = np.stack([np.zeros((3, 3)), np.ones((3, 3))])
    for function in (sparseness, complexity):
        np.testing.assert_array_equal(np.isnan(function(relevance)), [True, False])


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        float, st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)), elements=st.integers(-9, 9).map(float)
    )
)
def test_sparseness_and_complexity_by_pairs_and_loops(relevance):
    for n, sample in enumerate(relevance):
        sizes = [abs(v) for v in sample.ravel()]
        if sum(sizes) == 0:
            continue
        # The Gini index is the mean absolute difference of all pairs, by twice the mean.
        gini = sum(abs(a - b) for a in sizes for b in sizes) / (2 * len(sizes) * sum(sizes))
        entropy = -sum(s / sum(sizes) * np.log(s / sum(sizes)) for s in sizes if s)
        np.testing.assert_allclose(sparseness(relevance)[n], gini, atol=1e-12)
        np.testing.assert_allclose(complexity(relevance)[n], entropy, atol=1e-12)


def test_complexity_of_quantus():
    quantus = pytest.importorskip("quantus")
    relevance, model, x = np.abs(maps(3, 8))[..., None].astype("float32"), convnet(), pictures(3)
    arguments = {"channel_first": False, "softmax": False}
    for metric, function in ((quantus.Sparseness, sparseness), (quantus.Complexity, complexity)):
        theirs = metric(normalise=False, disable_warnings=True)(model, x, np.arange(3), relevance.copy(), **arguments)
        np.testing.assert_allclose(function(relevance), theirs, rtol=1e-4)


# -- completeness and sensitivity --------------------------------------------------------------------------------------


def test_what_a_bias_keeps_is_missed():
    # f = x W + 1, and input times gradient is x W.
    model = linear([[1.0, 2.0], [3.0, -1.0]], bias=1.0)
    explainer = catalog.explainer("input_t_gradient", model)
    x = np.array([[2.0, 1.0], [-1.0, 1.0], [-1.0, 0.0], [1.0, 2.0]])  # f_0 = 6, 3, 0, 8; f_1 = 4, -2, -1, 1
    np.testing.assert_allclose(completeness(explainer, x, 0), [1 / 6, 1 / 3, np.inf, 1 / 8])
    np.testing.assert_allclose(completeness(explainer, x, [0, 1, 1, 1], batch_size=3), [1 / 6, 1 / 2, 1, 1])
    np.testing.assert_allclose(completeness(explainer, x), [1 / 6, 1 / 3, np.inf, 1 / 8])
    exact = catalog.explainer("input_t_gradient", linear([[1.0], [1.0]]))
    np.testing.assert_allclose(completeness(exact, [[1.0, 3.0], [0.0, 0.0], [1.0, -1.0]]), 0)  # a score of 0 included


def test_a_map_of_constants_is_not_sensitive_and_one_of_the_input_is_as_the_input():
    model, x = linear([[2.0, 0.0], [-1.0, 1.0], [0.5, 1.0]]), np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    still = sensitivity(catalog.explainer("gradient", model), x, 0, radius=0.1)
    np.testing.assert_array_equal(still, np.zeros((2, 2)))
    # R = w x, and so R(x + d) - R(x) = w d: at most radius ||w||.
    found = sensitivity(catalog.explainer("input_t_gradient", model), x, 0, radius=0.1, draws=500)
    limit = 0.1 * np.linalg.norm([2, -1, 0.5]) / np.linalg.norm(x * [2, -1, 0.5], axis=1)
    assert (found.maximum <= limit).all() and (found.maximum > 0.9 * limit).all()
    assert (found.average < 0.8 * limit).all() and (found.average > 0.3 * limit).all()


def test_sensitivity_by_loops_and_in_any_batch():
    model, x = convnet(), pictures(3)
    explainer = tf_lrp.Analyzer(model, "epsilon")
    found = sensitivity(explainer, x, radius=0.2, draws=4, seed=3)
    neurons = model.predict(x, verbose=0).argmax(1)
    for n in range(3):
        base, ratios = explainer.analyze(x[n : n + 1], neurons[n]), []
        for k in range(4):
            noise = tf.random.stateless_uniform((8, 8, 3), [3, 4 * n + k], -0.2, 0.2)
            change = explainer.analyze(x[n : n + 1] + noise, neurons[n]) - base
            ratios.append(np.sqrt((change.astype("float64") ** 2).sum() / (base.astype("float64") ** 2).sum()))
        np.testing.assert_allclose([found.maximum[n], found.average[n]], [max(ratios), np.mean(ratios)], rtol=1e-3)
    for batch_size in (1, 5, 100):
        again = sensitivity(explainer, x, radius=0.2, draws=4, seed=3, batch_size=batch_size)
        np.testing.assert_allclose(again, found, rtol=1e-4)
    assert np.abs(sensitivity(explainer, x, radius=0.2, draws=4, seed=4).average / found.average - 1).max() > 1e-3


def test_a_map_of_zeros_has_no_sensitivity():
    explainer = catalog.explainer("input_t_gradient", linear([[1.0], [1.0]]))
    found = sensitivity(explainer, np.array([[0.0, 0.0], [1.0, 0.0]]), radius=1)
    np.testing.assert_array_equal(np.isnan(found), [[True, False]] * 2)


def test_arguments_of_robustness():
    explainer, x = catalog.explainer("gradient", linear([[1.0], [1.0]])), np.ones((2, 2))
    for change, said in (({"radius": 0}, "> 0"), ({"draws": 0}, "draws needs"), ({"batch_size": 0}, "batch_size needs")):
        with pytest.raises(ValueError, match=said):
            sensitivity(explainer, x, **{"radius": 1} | change)
    for selection in ([0, 0, 0], "all", [[0], [0]], 0.5):
        with pytest.raises(ValueError, match="one for each of 2 samples"):
            completeness(explainer, x, selection)


def test_the_ratio_of_quantus():
    quantus = pytest.importorskip("quantus")
    model, x = convnet(), pictures(1)
    explainer = tf_lrp.Analyzer(model, "epsilon")
    noise = tf.random.stateless_uniform((8, 8, 3), [0, 0], -0.2, 0.2).numpy()

    def explain(model, inputs, targets, **_):
        return explainer.analyze(inputs, np.asarray(targets))

    def disturb(arr, **_):
        return arr + noise.reshape(1, -1)

    metric = quantus.MaxSensitivity(nr_samples=1, perturb_func=disturb, disable_warnings=True)
    # Quantus swaps axes of what has its channels last; a channels-first picture is left as it is.
    theirs = metric(model, x, np.array([2]), explain_func=explain, channel_first=True, softmax=False)
    ours = sensitivity(explainer, x, 2, radius=0.2, draws=1)
    np.testing.assert_allclose(ours.maximum, theirs, rtol=1e-3)


# -- randomization -----------------------------------------------------------------------------------------------------


def test_layers_with_weights_from_input_to_output():
    assert [layer.name for layer in weighted_layers(batch_norm_model())] == ["conv", "bn", "inner_conv", "scores"]
    shared = keras.layers.Dense(3, name="twice")
    x = inputs = keras.Input((3,))
    for layer in (keras.layers.Normalization(mean=0.0, variance=1.0), shared, keras.layers.ReLU(), shared):
        x = layer(x)
    assert [layer.name for layer in weighted_layers(keras.Model(inputs, x))] == ["twice"]


def test_randomized_weights_are_the_old_ones_in_another_order():
    model = batch_norm_model()
    before = {v.path: v.numpy() for v in model.variables}
    with randomize(model, seed=1) as same:
        assert same is model
        inside = {v.path: v.numpy() for v in model.variables}
        kernels = [path for path in inside if path.endswith("kernel")]
        assert len(kernels) == 3 and all((inside[p] != before[p]).mean() > 0.9 for p in kernels)
        for path, values in inside.items():
            np.testing.assert_array_equal(np.sort(values.ravel()), np.sort(before[path].ravel()))
        assert (model.get_layer("bn").moving_variance > 0).numpy().all()
    for v in model.variables:
        np.testing.assert_array_equal(v.numpy(), before[v.path])


def test_weights_come_back_bit_by_bit_also_after_exceptions_and_from_within():
    model = batch_norm_model()
    model.get_layer("conv").kernel.assign_add(np.full((3, 3, 3, 4), 1e-8, "float32"))
    model.get_layer("scores").bias.assign([np.nan, -0.0, np.inf, 1e-42])
    before = bits(model)
    with randomize(model, ["conv", "scores"], 3), randomize(model, [model.get_layer("conv")], 4):
        assert bits(model) != before
    assert bits(model) == before
    with pytest.raises(KeyboardInterrupt), randomize(model):
        model.get_layer("conv").kernel.assign(np.zeros((3, 3, 3, 4)))
        raise KeyboardInterrupt
    assert bits(model) == before
    with pytest.raises(ValueError, match="there is no 'none'"), randomize(model, ["conv", "none"]):
        pass
    assert bits(model) == before


def test_an_exception_among_the_explanations_leaves_the_model_as_it_was():
    model, calls = batch_norm_model(), []
    before = bits(model)

    def explain(model):
        calls.append(bits(model))
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return tf_lrp.Analyzer(model, "epsilon")

    with pytest.raises(RuntimeError, match="out of memory"):
        parameter_randomization(explain, model, pictures(2), 0)
    assert calls[0] == before and calls[2] != before and bits(model) == before


def test_the_permutation_depends_on_the_seed_and_the_layer_alone():
    model = batch_norm_model()

    def kernel(layers, seed):
        with randomize(model, layers, seed):
            return model.get_layer("nested").get_layer("inner_conv").kernel.numpy()

    alone = kernel(["inner_conv"], 0)
    np.testing.assert_array_equal(kernel(None, 0), alone)
    np.testing.assert_array_equal(kernel(["scores", "inner_conv"], 0), alone)
    assert (kernel(["inner_conv"], 1) != alone).mean() > 0.9


def test_steps_of_a_cascade():
    model, x = batch_norm_model(), pictures(3)
    explainer = tf_lrp.Analyzer(model, "epsilon")
    before, trained = bits(model), explainer.analyze(x, [0, 1, 2])
    names = ["conv", "bn", "inner_conv", "scores"]
    randomized = {
        "cascading": [names[k:] for k in (3, 2, 1, 0)],
        "bottom_up": [names[: k + 1] for k in range(4)],
        "independent": [[name] for name in reversed(names)],
    }
    for order, steps in randomized.items():
        rows = parameter_randomization(
            explainer, model, x, [0, 1, 2], order=order, similarities=("pearson", "ssim"), seed=2, batch_size=2
        )
        assert [row.layer for row in rows] == (names if order == "bottom_up" else names[::-1])
        for row, layers in zip(rows, steps, strict=True):
            with randomize(model, layers, 2):
                maps = explainer.analyze(x, [0, 1, 2])
            np.testing.assert_allclose(row.similarities["pearson"], pearson(trained, maps), rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(row.similarities["ssim"], ssim(trained, maps), rtol=1e-3, atol=1e-4)
    assert bits(model) == before


def test_explainers_follow_and_factories_agree():
    model, x = convnet(), pictures(3)
    for name in ("cmp_a2_flat", "gradient"):
        options = {"absolute": True, "similarities": ("rank",)}
        compiled_once = parameter_randomization(catalog.explainer(name, model), model, x, **options)
        with eagerly():  # every step has a new explainer, which would be traced
            factory = parameter_randomization(lambda m, name=name: catalog.explainer(name, m), model, x, **options)
        for one, other in zip(compiled_once, factory, strict=True):
            np.testing.assert_allclose(one.similarities["rank"], other.similarities["rank"], rtol=1e-2, atol=1e-3)
    restricted = parameter_randomization(catalog.explainer("gradient", model), model, x, layers=["conv2", "scores"])
    assert [row.layer for row in restricted] == ["scores", "conv2"]


def test_maps_that_do_not_look_at_weights_stay_the_same():
    model, x = convnet(), pictures(2)
    for row in parameter_randomization(catalog.explainer("input", model), model, x):
        for values in row.similarities.values():
            np.testing.assert_allclose(values, 1, atol=1e-5)


def test_the_class_of_the_trained_model_is_explained_throughout():
    # Two classes with opposite maps; when the biases change places, the other one is stronger.
    model = linear([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]])
    model.layers[-1].bias.assign([0.0, 100.0])
    rows = parameter_randomization(catalog.explainer("gradient", model), model, np.zeros((1, 3)), similarities=("pearson",))
    with randomize(model):
        gradient = model.layers[-1].kernel.numpy()[:, 1]
    np.testing.assert_allclose(rows[0].similarities["pearson"], pearson([[-1.0, -2, -3]], gradient[None]))


def test_random_logit_of_two_classes_is_the_other_class():
    model, x = linear([[1.0, -2.0], [2.0, -4.0], [3.0, -6.0]]), np.ones((3, 3))
    found = random_logit(catalog.explainer("gradient", model), x, [0, 1, 0], similarities=("pearson", "rank"))
    np.testing.assert_allclose(found["pearson"], -1)
    np.testing.assert_allclose(found["rank"], -1)
    same = random_logit(catalog.explainer("input", model), pictures(3)[:, 0, 0], similarities=("rank",))
    np.testing.assert_allclose(same["rank"], 1)


def test_random_logit_draws_any_other_class():
    weights = np.array([[1.0, 1, 1, 1], [0, 1, 2, 3], [0, 0, 1, 5]])
    explainer, x = catalog.explainer("gradient", linear(weights)), np.ones((60, 3))
    found = random_logit(explainer, x, 2, similarities=("pearson",), seed=1)["pearson"]
    others = pearson(np.tile(weights[:, 2], (3, 1)), weights[:, [0, 1, 3]].T).numpy()
    drawn = np.abs(found[:, None] - others).argmin(1)
    np.testing.assert_allclose(found, others[drawn], atol=1e-9)
    assert np.bincount(drawn, minlength=3).min() > 8
    parts = random_logit(explainer, x, 2, similarities=("pearson",), seed=1, batch_size=7)["pearson"]
    np.testing.assert_array_equal(found, parts)


def test_arguments_of_randomization():
    model, x = linear([[1.0], [1.0]]), np.ones((2, 2))
    explainer = catalog.explainer("gradient", model)
    with pytest.raises(ValueError, match="two or more"):
        random_logit(explainer, x)
    with pytest.raises(ValueError, match="order is one of"):
        parameter_randomization(explainer, model, x, order="top_down")
    with pytest.raises(ValueError, match="similarities is a list"):
        parameter_randomization(explainer, model, x, similarities=("cosine",))
    with pytest.raises(ValueError, match="similarities is a list"):
        parameter_randomization(explainer, model, x, similarities="rank")
