"""Programs for iNNvestigate run with one import changed: its notebooks' calls, its helpers, its exceptions."""

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_lrp
import tf_lrp.innvestigate as innvestigate
import tf_lrp.innvestigate.utils as iutils
import tf_lrp.innvestigate.utils.visualizations as ivis
from tf_lrp.innvestigate.tools import Perturbation, PerturbationAnalysis

pytestmark = pytest.mark.filterwarnings("ignore::tf_lrp.methods.MethodWarning")


@pytest.fixture(scope="module")
def trained():
    """(model with a softmax, (x, y))."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).uniform(-1, 1, (24, 10, 10, 1)).astype(np.float32)
    y = np.arange(24) % 3
    model = keras.models.Sequential([
        keras.Input((10, 10, 1)), layers.Conv2D(4, (3, 3), activation="relu"), layers.MaxPooling2D((2, 2)), layers.Flatten(),
        layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    return model, (x, y)


# -- what its notebooks do ------------------------------------------------------------------------------------------------


def test_introduction(trained):
    """Create, analyze, train, choose a neuron."""
    model, (x, _) = trained
    assert innvestigate.__version__ == tf_lrp.__version__
    image = x[7:8]
    model_wo_sm = innvestigate.model_wo_softmax(model)
    gradient_analyzer = innvestigate.analyzer.Gradient(model_wo_sm)
    analysis = gradient_analyzer.analyze(image)
    assert analysis.squeeze().shape == (10, 10)
    gradient_analyzer = innvestigate.create_analyzer("gradient", model_wo_sm)
    np.testing.assert_array_equal(gradient_analyzer.analyze(image), analysis)
    for name in ("deconvnet", "guided_backprop", "lrp.z", "deep_taylor"):
        assert innvestigate.create_analyzer(name, model_wo_sm).analyze(image).shape == image.shape
    patternnet_analyzer = innvestigate.create_analyzer("pattern.net", model_wo_sm, pattern_type="relu")
    patternnet_analyzer.fit(x, batch_size=8, verbose=0)
    assert patternnet_analyzer.analyze(image).shape == image.shape
    ig = innvestigate.create_analyzer("integrated_gradients", model_wo_sm, reference_inputs=-1, steps=8)
    assert ig.analyze(image).shape == image.shape
    for neuron_index in range(3):
        chosen = innvestigate.create_analyzer("input_t_gradient", model_wo_sm, neuron_selection_mode="index")
        found = chosen.analyze(image, neuron_index)
        expected = tf_lrp.methods.InputTimesGradient(model_wo_sm).analyze(image, neuron_index)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_comparing_methods(trained):
    """A table of methods, each with its way to become a picture."""
    model, (x, _) = trained
    noise_scale = (1 - -1) * 0.1

    def graymap(X):
        return ivis.graymap(np.abs(X), input_is_positive_only=True)

    methods = [
        ("input", {}, lambda X: (X + 1) / 2, "Input"),
        ("gradient", {"postprocess": "abs"}, graymap, "Gradient"),
        ("smoothgrad", {"augment_by_n": 4, "noise_scale": noise_scale, "postprocess": "square"}, graymap, "SmoothGrad"),
        ("deconvnet", {}, lambda X: ivis.project(ivis.clip_quantile(X, 1)), "Deconvnet"),
        ("guided_backprop", {}, ivis.graymap, "Guided Backprop"),
        ("deep_taylor.bounded", {"low": -1, "high": 1}, ivis.heatmap, "DeepTaylor"),
        ("integrated_gradients", {"reference_inputs": -1, "steps": 4}, ivis.heatmap, "Integrated Gradients"),
        ("lrp.z", {}, lambda X: ivis.heatmap(ivis.gamma(X, minamp=0, gamma=0.95)), "LRP-Z"),
        ("lrp.epsilon", {"epsilon": 1}, ivis.heatmap, "LRP-Epsilon"),
        ("lrp.sequential_preset_a_flat", {"epsilon": 1}, ivis.heatmap, "LRP-PresetAFlat"),
    ]
    model_wo_softmax = innvestigate.model_wo_output_activation(model, "softmax")
    analyzers = []
    for method in methods:
        try:
            analyzers.append(innvestigate.create_analyzer(method[0], model_wo_softmax, **method[1]))
        except innvestigate.NotAnalyzeableModelException:
            analyzers.append(None)
    analysis = np.zeros([2, len(analyzers), 10, 10, 3])
    for i, image in enumerate(x[:2]):
        assert model_wo_softmax.predict_on_batch(image[None])[0].shape == (3,)
        for aidx, analyzer in enumerate(analyzers):
            a = analyzer.analyze(image[None])
            a = iutils.postprocess_images(a, color_coding="BGRtoRGB", channels_first=False)
            analysis[i, aidx] = methods[aidx][2](a)[0]
    assert analysis.min() >= 0 and analysis.max() <= 1
    assert all(analysis[:, k].std() > 0 for k in range(len(methods)))


def test_perturbation_notebook(trained):
    model, (x, y) = trained
    analyzer = innvestigate.create_analyzer("gradient", innvestigate.model_wo_softmax(model), postprocess="abs")
    generator = iutils.BatchSequence([x, y], batch_size=10)
    assert len(generator) == 3 and [len(part) for part in generator[2]] == [4, 4]
    perturbation = Perturbation("zeros", region_shape=(5, 5))
    analysis = PerturbationAnalysis(analyzer, model, generator, perturbation, steps=4, regions_per_step=1)
    scores = analysis.compute_perturbation_analysis()
    assert len(scores) == 5 and perturbation.num_perturbed_regions == 0
    np.testing.assert_allclose(scores[0], model.evaluate(x, y, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(scores[4], model.evaluate(0 * x, y, verbose=0), rtol=1e-5)  # all four regions
    again = PerturbationAnalysis(analyzer, model, generator, perturbation, steps=1, recompute_analysis=True)
    np.testing.assert_allclose(again.compute_perturbation_analysis(), scores[:2], rtol=1e-5)


# -- its names ------------------------------------------------------------------------------------------------------------


def test_every_name_is_there():
    for names, module in (
        (("create_analyzer", "model_wo_softmax", "model_wo_output_activation", "NotAnalyzeableModelException"), tf_lrp),
        (("analyzer", "utils", "tools", "create_analyzer", "model_wo_output_activation"), innvestigate),
        (("model_wo_softmax", "model_wo_output_activation"), iutils.keras.graph),
        (("Perturbation", "PerturbationAnalysis"), innvestigate.tools),
    ):
        assert all(hasattr(module, name) for name in names)
    assert set(innvestigate.analyzer.analyzers) == set(innvestigate.NAMES)


def test_classes_are_names(trained):
    model, (x, _) = trained
    scores = innvestigate.model_wo_softmax(model)
    for found, name, arguments in (
        (innvestigate.analyzer.LRPEpsilon(scores, epsilon=0.5), "lrp.epsilon", {"epsilon": 0.5}),
        (innvestigate.analyzer.LRPSequentialPresetBFlat(scores), "lrp.sequential_preset_b_flat", {}),
        (innvestigate.analyzer.BoundedDeepTaylor(scores, low=-1, high=1), "deep_taylor.bounded", {"low": -1, "high": 1}),
    ):
        assert found.name == name
        np.testing.assert_array_equal(found.analyze(x[:2]), tf_lrp.create_analyzer(name, scores, **arguments).analyze(x[:2]))


def test_the_exception():
    class Odd(layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), x.shape)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape)

    inputs = keras.Input((4,))
    with pytest.raises(innvestigate.NotAnalyzeableModelException):
        innvestigate.create_analyzer("lrp.z", keras.Model(inputs, layers.Dense(2)(Odd()(inputs))))


@pytest.mark.parametrize("name", [name for name in innvestigate.NAMES if name.startswith("lrp.sequential")])
def test_models_without_weights(name):
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, layers.Flatten()(layers.AveragePooling2D(2)(inputs)))
    x = np.random.default_rng(0).random((2, 4, 4, 1)).astype(np.float32)
    found = innvestigate.create_analyzer(name, model, **({"until_layer_idx": 1} if name.endswith("idx") else {})).analyze(x)
    means = x.reshape(2, 2, 2, 2, 2).mean(axis=(2, 4))
    expected = np.zeros_like(x)
    strongest = np.unravel_index(means.reshape(2, -1).argmax(axis=1), (2, 2))
    for n, (row, column) in enumerate(zip(*strongest, strict=True)):
        place = np.s_[n, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        expected[place] = x[place] / 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_arguments_of_the_backward_pass(trained):
    model, (x, _) = trained
    scores = innvestigate.model_wo_softmax(model)
    with pytest.warns(UserWarning, match="reverse_verbose: no effect here"):
        innvestigate.create_analyzer("lrp.z", scores, reverse_verbose=True)
    with pytest.raises(ValueError, match="reverse_clip_values would change the relevance"):
        innvestigate.create_analyzer("lrp.z", scores, reverse_clip_values=(-1, 1))
    off = innvestigate.create_analyzer("lrp.z", scores, reverse_verbose=False, reverse_clip_values=False)
    checked = innvestigate.create_analyzer("gradient", scores, reverse_check_finite=True)
    assert np.isfinite(checked.analyze(x[:1])).all() and off.analyze(x[:1]).shape == (1, 10, 10, 1)
    inputs = keras.Input((1,))
    root = keras.Model(inputs, keras.ops.sqrt(layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)))
    steep = innvestigate.create_analyzer("gradient", root, reverse_check_finite=True)
    with pytest.warns(UserWarning, match="'gradient' is not finite"):
        steep.analyze(np.zeros((1, 1), np.float32))


def test_models_without_their_activation():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    inputs = keras.Input((4,))
    for activation, apart in (("sigmoid", False), ("tanh", True), ("softmax", True)):
        dense = layers.Dense(2, activation=None if apart else activation)(inputs)
        model = keras.Model(inputs, layers.Activation(activation)(dense) if apart else dense)
        for asked in (None, activation):
            scores = innvestigate.model_wo_output_activation(model, asked)
            np.testing.assert_allclose(getattr(keras.ops, activation)(scores(x)), model(x), rtol=1e-5)
        with pytest.raises(ValueError, match="There is no relu at the output"):
            innvestigate.model_wo_output_activation(model, "relu")
    with pytest.raises(ValueError, match="There is no activation at the output"):
        innvestigate.model_wo_output_activation(keras.Model(inputs, layers.Dense(2)(inputs)))


# -- its pictures ---------------------------------------------------------------------------------------------------------


def test_projecting():
    x = np.array([[[-2.0, 1.0]], [[0.0, 0.0]], [[0.0, 4.0]]])
    before = x.copy()
    np.testing.assert_allclose(ivis.project(x), [[[0, 0.75]], [[0.5, 0.5]], [[0.5, 1]]])
    np.testing.assert_allclose(ivis.project(x, (0, 255), absmax=4), [[[63.75, 159.375]], [[127.5, 127.5]], [[127.5, 255]]])
    np.testing.assert_allclose(ivis.project(abs(x), input_is_positive_only=True), [[[1, 0.5]], [[0, 0]], [[0, 1]]])
    np.testing.assert_array_equal(x, before)
    assert ivis.batch_flatten(x).shape == (3, 2)


def test_heatmaps():
    x = np.zeros((1, 1, 3, 2), np.float32)
    x[0, 0] = [[3, 1], [-1, -1], [1, -4]]
    seismic, gray = matplotlib.colormaps["seismic"], matplotlib.colormaps["gray"]
    np.testing.assert_allclose(ivis.heatmap(x)[0, 0], [seismic(p)[:3] for p in (255, 63, 31)], rtol=1e-6)  # 4, -2, -3
    strongest = ivis.graymap(x, reduce_op="absmax")[0, 0]
    np.testing.assert_allclose(strongest, [gray(p)[:3] for p in (223, 95, 0)], rtol=1e-6)  # 3, -1, -4
    first = np.moveaxis(x, -1, 1)
    np.testing.assert_array_equal(ivis.heatmap(first, reduce_axis=1), np.moveaxis(ivis.heatmap(x), -1, 1))
    assert ivis.heatmap(x, alpha_cmap=True).shape == (1, 1, 3, 4)
    with pytest.raises(ValueError, match="reduce_op is"):
        ivis.heatmap(x, reduce_op="max")


def test_gamma_and_quantiles():
    x = np.array([-4.0, -1, 0, 1, 4])
    np.testing.assert_allclose(ivis.gamma(x), [-4, -2, 0, 2, 4])
    np.testing.assert_allclose(ivis.gamma(x, 2, minamp=1, maxamp=2), [-11.5, -1, 0.5, 1, 5.5])
    np.testing.assert_array_equal(ivis.gamma(np.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(ivis.clip_quantile(np.arange(101.0), 10), np.clip(np.arange(101.0), 10, 90))
    np.testing.assert_allclose(ivis.clip_quantile(np.arange(101.0), (5, 50)), np.clip(np.arange(101.0), 5, 50))


def test_pictures_in_another_order():
    x = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    np.testing.assert_array_equal(iutils.preprocess_images(np.moveaxis(x, -1, 1)), x)
    np.testing.assert_array_equal(iutils.preprocess_images(x, "RGBtoBGR"), x[..., ::-1])
    np.testing.assert_array_equal(
        iutils.postprocess_images(x, "BGRtoRGB", channels_first=True), np.moveaxis(x[..., ::-1], -1, 1)
    )
    with pytest.raises(ValueError, match="color_coding is"):
        iutils.postprocess_images(x, "RGB")
    assert iutils.to_list(x)[0] is x and iutils.to_list([x])[0] is x


def perturbed_by_loops(x, relevance, count, shape, replace):
    """Regions as slices of a picture that divides."""
    result = x.copy()
    for n in range(len(x)):
        regions = [(i, j) for i in range(0, x.shape[1], shape[0]) for j in range(0, x.shape[2], shape[1])]
        scores = [relevance[n, i : i + shape[0], j : j + shape[1]].mean() for i, j in regions]
        for k in sorted(range(len(regions)), key=lambda k: -scores[k])[:count]:
            i, j = regions[k]
            for c in range(x.shape[3]):
                place = np.s_[n, i : i + shape[0], j : j + shape[1], c]
                result[place] = replace(x[place])
    return result


@pytest.mark.parametrize(("name", "replace"), [("zeros", lambda r: 0), ("mean", np.mean), ("invert", lambda r: -r)])
def test_perturbing_regions(name, replace):
    rng = np.random.default_rng(0)
    x, relevance = rng.normal(size=(3, 6, 8, 2)), rng.normal(size=(3, 6, 8, 2))
    for count in (0, 1, 5, 8):
        found = Perturbation(name, count, region_shape=(3, 2)).perturbate_on_batch(x, relevance)
        np.testing.assert_allclose(found, perturbed_by_loops(x, relevance, count, (3, 2), replace))


def test_regions_that_do_not_fit():
    x = np.ones((1, 5, 5, 1))
    relevance = np.zeros_like(x)
    relevance[0, 4, 4] = 1
    found = Perturbation("zeros", 1, region_shape=(3, 3)).perturbate_on_batch(x, relevance)[0, ..., 0]
    expected = np.ones((5, 5))
    expected[3:, 3:] = 0  # 5 is padded to 6, behind
    np.testing.assert_array_equal(found, expected)
    same = Perturbation(lambda r: r + 3, 4, region_shape=(3, 3), in_place=True, value_range=(0, 2))
    assert same.perturbate_on_batch(x, relevance) is x and (x == 2).all()
    with pytest.raises(ValueError, match="There are 4 regions"):
        Perturbation("zeros", 5, region_shape=(3, 3)).perturbate_on_batch(x, relevance)
    with pytest.raises(ValueError, match="is one of zeros"):
        Perturbation("ones")
