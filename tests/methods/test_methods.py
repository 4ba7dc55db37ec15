"""Methods besides LRP: against NumPy written out, against theory, and behind the contract that all explainers share."""

import itertools
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from eagerly import eagerly
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from locations import ROOT
from small_models import convnet, pictures, randomize, without_biases

import tf_lrp
from tf_lrp import methods
from tf_lrp.methods import catalog

pytestmark = [pytest.mark.eager, pytest.mark.filterwarnings("ignore::tf_lrp.methods.MethodWarning")]


def mlp(weights, dtype="float64"):
    """ReLU network of dense layers from [(kernel, bias), ...]."""
    x = inputs = keras.Input((len(weights[0][0]),), dtype=dtype)
    for n, (kernel, _) in enumerate(weights):
        last = n == len(weights) - 1
        x = keras.layers.Dense(kernel.shape[1], activation=None if last else "relu", dtype=dtype, name=f"d{n}")(x)
    model = keras.Model(inputs, x)
    model.set_weights([w for pair in weights for w in pair])
    return model


@st.composite
def networks(draw):
    """(weights, x, neuron) of a small dense network, zeros and both signs in it."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=3, max_size=4))
    numbers = st.integers(-4, 4).map(lambda n: n / 2)
    weights = [
        (draw(hnp.arrays(float, pair, elements=numbers)), draw(hnp.arrays(float, pair[1], elements=numbers)))
        for pair in itertools.pairwise(sizes)
    ]
    x = draw(hnp.arrays(float, (2, sizes[0]), elements=numbers))
    return weights, x, draw(st.integers(0, sizes[-1] - 1))


def backward(weights, x, start, at_relu):
    """Explicit loops: signals from the output to the input, ``at_relu(z, signal)`` at each hidden neuron."""
    found = np.zeros_like(x)
    for n in range(len(x)):
        a, zs = x[n], []
        for kernel, bias in weights:
            z = np.array([sum(a[i] * kernel[i, j] for i in range(len(a))) + bias[j] for j in range(kernel.shape[1])])
            zs.append(z)
            a = np.maximum(z, 0)
        signal = start(zs[-1])
        for layer in reversed(range(len(weights))):
            kernel = weights[layer][0]
            if layer < len(weights) - 1:
                signal = np.array([at_relu(z, s) for z, s in zip(zs[layer], signal, strict=True)])
            signal = np.array([sum(kernel[i, j] * signal[j] for j in range(len(signal))) for i in range(len(kernel))])
        found[n] = signal
    return found


def one_hot(neuron, of_value):
    return lambda z: np.array([(z[j] if of_value else 1.0) if j == neuron else 0.0 for j in range(len(z))])


@settings(max_examples=25, deadline=None)
@given(networks())
def test_gradients_by_loops(case):
    weights, x, neuron = case
    model = mlp(weights)
    gradient = backward(weights, x, one_hot(neuron, False), lambda z, s: s * (z > 0))
    value = one_hot(neuron, True)
    expected = {
        methods.Gradient(model): gradient,
        methods.Gradient(model, "absolute"): np.abs(gradient),
        methods.Gradient(model, "squared"): gradient**2,
        methods.InputTimesGradient(model): x * gradient,
        methods.GuidedBackprop(model): backward(weights, x, value, lambda z, s: max(s, 0) * (z > 0)),
        methods.DeconvNet(model): backward(weights, x, value, lambda z, s: max(s, 0)),
    }
    for method, relevance in expected.items():
        np.testing.assert_allclose(method.analyze(x, neuron), relevance, atol=1e-10, err_msg=type(method).__name__)


def test_l2_sums_to_the_norm_over_channels():
    model, x = convnet(), pictures()
    gradient, saliency = methods.Gradient(model).analyze(x), methods.Gradient(model, "l2").analyze(x)
    np.testing.assert_allclose(saliency.sum(-1), np.linalg.norm(gradient, axis=-1), rtol=1e-5)


# -- Integrated Gradients -------------------------------------------------------------------------------------------------


STEPS = 12
PLACES = {
    "left": [(k / STEPS, 1 / STEPS) for k in range(STEPS)],
    "right": [((k + 1) / STEPS, 1 / STEPS) for k in range(STEPS)],
    "midpoint": [((k + 0.5) / STEPS, 1 / STEPS) for k in range(STEPS)],
    "trapezoid": [(k / (STEPS - 1), (1 if 0 < k < STEPS - 1 else 0.5) / (STEPS - 1)) for k in range(STEPS)],
    "gauss_legendre": [((t + 1) / 2, w / 2) for t, w in zip(*np.polynomial.legendre.leggauss(STEPS), strict=True)],
}


@settings(max_examples=25, deadline=None)
@given(networks(), st.sampled_from([*PLACES, "matched"]), st.integers(1, 5))
def test_integrated_gradients_by_loops(case, rule, at_once):
    weights, x, neuron = case
    baseline = 0.2371  # no kink of the drawn networks lies on a step
    model = mlp(weights)

    def gradient(t):
        return backward(weights, baseline + t * (x - baseline), one_hot(neuron, False), lambda z, s: s * (z > 0))

    def score(t):
        return model(baseline + t * (x - baseline)).numpy()[:, neuron]

    mean = np.zeros_like(x)
    for t, weight in PLACES.get(rule, ()):
        mean += weight * gradient(t)
    for k in range(STEPS if rule == "matched" else 0):
        first, last = gradient(k / STEPS), gradient((k + 1) / STEPS)
        rise = (score((k + 1) / STEPS) - score(k / STEPS)) * STEPS
        for n in range(len(x)):
            slopes = first[n] @ (x[n] - baseline), last[n] @ (x[n] - baseline)
            part = 0.5 if np.isclose(*slopes) else np.clip((rise[n] - slopes[1]) / (slopes[0] - slopes[1]), 0, 1)
            mean[n] += (part * first[n] + (1 - part) * last[n]) / STEPS
    found = methods.IntegratedGradients(model, STEPS, baseline, rule, steps_at_once=at_once).analyze(x, neuron)
    np.testing.assert_allclose(found, (x - baseline) * mean, atol=1e-8 * max(1, np.abs(mean).max()))


def test_a_single_kink_is_integrated_exactly():
    """f = relu(x - 0.3): the gradient jumps once, wherever it does."""
    model = mlp([(np.array([[1.0]]), np.array([-0.3])), (np.array([[2.0]]), np.array([0.0]))])
    for steps in (1, 3, 7):
        np.testing.assert_allclose(methods.IntegratedGradients(model, steps).analyze(np.array([[1.0]])), [[1.4]], rtol=1e-12)


def test_completeness_is_met_and_reported():
    model, x = convnet(), pictures(4)
    method = methods.IntegratedGradients(model, 256, baseline=pictures(1, seed=3)[0], steps_at_once=8)
    report = method.completeness(x, [0, 1, 2, 3])
    scores = model(x).numpy()[range(4), range(4)] - model(pictures(1, seed=3)).numpy()[0, :4]
    np.testing.assert_allclose(report.difference, scores, rtol=1e-4)
    np.testing.assert_allclose(report.relevance, method.analyze(x, [0, 1, 2, 3]).sum((1, 2, 3)), rtol=1e-5)
    assert np.abs(report.error / report.difference).max() < 1e-3
    assert "within" in str(report)
    worse = methods.IntegratedGradients(model, 4, rule="left", baseline=pictures(1, seed=3)[0]).completeness(x, [0, 1, 2, 3])
    assert np.abs(worse.error).max() > 10 * np.abs(report.error).max()


def test_the_strongest_neuron_at_the_input_is_explained_on_the_whole_way():
    """Near the baseline another neuron is stronger."""
    model = mlp([(np.array([[3.0, 0.0]]), np.array([0.0, 1.0]))])
    np.testing.assert_allclose(methods.IntegratedGradients(model, 8).analyze(np.array([[2.0]])), [[6.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps needs an integer >= 1"),
        ({"rule": "simpson"}, "rule is one of"),
        ({"baseline": np.zeros((5, 5))}, "fit a sample"),
        ({"baseline": np.nan}, "finite"),
        ({"steps_at_once": 0}, "steps_at_once"),
    ],
)
def test_wrong_arguments_of_integrated_gradients(arguments, message):
    with pytest.raises(ValueError, match=message):
        methods.IntegratedGradients(convnet(), **arguments)


# -- noise ----------------------------------------------------------------------------------------------------------------


def test_statistics_under_noise():
    model, x = convnet(), pictures(3)
    inner = tf_lrp.Analyzer(model, "epsilon")
    smooth = {s: methods.SmoothGrad(inner, 5, 0.2, statistic=s, seed=3) for s in ("mean", "variance", "mean_square")}
    extent = np.ptp(x, axis=(1, 2, 3), keepdims=True)
    draws = [np.asarray(tf.random.stateless_normal((1, 8, 8, 3), [3, k])) for k in range(5)]
    strongest = model(x).numpy().argmax(1)
    maps = np.stack([inner.analyze(x + 0.2 * extent * d, strongest) for d in draws]).astype(float)
    scale = np.abs(maps).max()
    np.testing.assert_allclose(smooth["mean"].analyze(x), maps.mean(0), atol=1e-5 * scale)
    np.testing.assert_allclose(smooth["variance"].analyze(x), maps.var(0), atol=1e-5 * scale**2)
    np.testing.assert_allclose(smooth["mean_square"].analyze(x), (maps**2).mean(0), atol=1e-5 * scale**2)


def test_noise_depends_on_the_seed_and_on_nothing_else():
    model, x = convnet(), pictures(4)
    first = methods.SmoothGrad(model, 4, seed=1).analyze(x)
    np.testing.assert_array_equal(methods.SmoothGrad(model, 4, seed=1).analyze(x), first)
    np.testing.assert_allclose(methods.SmoothGrad(model, 4, seed=1, batch_size=3).analyze(x[::-1])[::-1], first, atol=1e-5)
    assert np.abs(methods.SmoothGrad(model, 4, seed=2).analyze(x) - first).max() > 1e-3
    np.testing.assert_allclose(methods.SmoothGrad(model, 2, 0.0).analyze(x), methods.Gradient(model).analyze(x), atol=1e-6)


def test_noise_around_what_is_no_explainer():
    with pytest.raises(TypeError, match=r"needs an explainer or a keras\.Model"):
        methods.SmoothGrad("cmp_a2_flat")


# -- occlusion ------------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.5]))
def test_occlusion_by_loops(height, width, size, stride, value):
    inputs = keras.Input((height, width, 2))
    model = randomize(
        keras.Sequential([inputs, keras.layers.Flatten(), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2)])
    )
    x = np.random.default_rng(0).normal(size=(2, height, width, 2)).astype("float32")
    total, covers = np.zeros(x.shape), np.zeros(x.shape)

    def firsts(length):
        edge = min(size, length)
        return sorted({*range(0, length - edge + 1, min(stride, length)), length - edge}), edge

    (rows, tall), (columns, wide) = firsts(height), firsts(width)
    for r in rows:
        for c in columns:
            covered = x.copy()
            covered[:, r : r + tall, c : c + wide] = value
            loss = (model(x) - model(covered)).numpy()[:, 1] / (tall * wide * 2)
            total[:, r : r + tall, c : c + wide] += loss[:, None, None, None]
            covers[:, r : r + tall, c : c + wide] += 1
    found = methods.Occlusion(model, size, stride, value).analyze(x, 1)
    expected = np.divide(total, covers, out=np.zeros_like(total), where=covers > 0)  # between windows there is nothing
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_occlusion_of_tables_and_sequences():
    model = mlp([(np.array([[1.0], [-2.0], [3.0]]), np.array([5.0]))])
    np.testing.assert_allclose(methods.Occlusion(model).analyze(np.array([[1.0, 1.0, 2.0]])), [[1, -2, 6]])
    sequence = randomize(
        keras.Sequential(
            [keras.Input((16, 2)), keras.layers.Conv1D(3, 3), keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(2)]
        )
    )
    x = np.random.default_rng(0).normal(size=(2, 16, 2))
    found = methods.Occlusion(sequence, 4).analyze(x)
    assert (np.ptp(found.reshape(2, 4, 8), axis=2) < 1e-6).all()  # evenly within each window
    with pytest.raises(ValueError, match="known size"):
        methods.Occlusion(
            keras.Sequential(
                [keras.Input((None, 2)), keras.layers.Conv1D(3, 3), keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(2)]
            )
        )


# -- Grad-CAM -------------------------------------------------------------------------------------------------------------


def test_grad_cam_by_hand():
    model, x = convnet(), pictures(2)
    inner = keras.Model(model.input, [model.get_layer("relu2").output, model.output])
    with tf.GradientTape() as tape:
        maps, scores = inner(x, training=False)
        score = tf.reduce_sum(scores[:, 2])
    alpha = tape.gradient(score, maps).numpy().mean((1, 2), keepdims=True)
    cam = np.maximum((alpha * maps.numpy()).sum(-1, keepdims=True), 0)
    expected = tf.image.resize(cam, (8, 8)).numpy()
    np.testing.assert_allclose(methods.GradCAM(model).analyze(x, 2).sum(-1, keepdims=True), expected, atol=1e-5)
    np.testing.assert_allclose(
        methods.GradCAM(model, layer="relu2").analyze(x, 2), methods.GradCAM(model).analyze(x, 2), atol=1e-6
    )


def test_guided_grad_cam_by_loops():
    model, x = convnet(), pictures(2)
    cam, guided = methods.GradCAM(model).analyze(x, 2).sum(-1), methods.GuidedBackprop(model)
    begun_at_one = guided.analyze(x, np.eye(5, dtype="float32")[[2, 2]])
    expected = np.zeros_like(x)
    for n, row, column, channel in np.ndindex(x.shape):
        expected[n, row, column, channel] = begun_at_one[n, row, column, channel] * cam[n, row, column]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(methods.GuidedGradCAM(model).analyze(x, 2), expected, rtol=1e-4, atol=1e-6)
    several = methods.GuidedGradCAM(model, "relu2").analyze(x, [[2, 0], [2, 1]])
    np.testing.assert_allclose(several[:, 0], expected, rtol=1e-4, atol=1e-6)
    strongest = model(x).numpy().argmax(1)
    np.testing.assert_allclose(
        methods.GuidedGradCAM(model).analyze(x), methods.GuidedGradCAM(model).analyze(x, strongest), atol=1e-6
    )


def headed(*head):
    """Convolutions that keep the size, so that nothing is enlarged, and a head; no biases."""
    stack = [
        keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="last"),
    ]
    return without_biases(randomize(keras.Sequential([keras.Input((6, 6, 3)), *stack, *head])))


def test_grad_cam_is_lrp_at_the_last_convolution_under_a_linear_head_only():
    x = pictures(3, size=6)

    def both(model):
        cam = methods.GradCAM(model, rectify=False).analyze(x, 1).sum(-1)
        return cam, tf_lrp.Analyzer(model, "z").analyze(x, 1, layers=["last"])["last"].sum(-1)

    np.testing.assert_allclose(*both(headed(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3))), atol=1e-5)
    cam, lrp = both(
        headed(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3))
    )
    np.testing.assert_allclose(cam, lrp, atol=1e-4 * np.abs(lrp).max())  # one derivative for all places: still
    cam, lrp = both(headed(keras.layers.Flatten(), keras.layers.Dense(3)))
    assert np.abs(cam - lrp).max() > 0.1 * np.abs(lrp).max()  # weights that differ from place to place: no longer
    model = headed(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3))
    cam = methods.GradCAM(model, rectify=False).analyze(x, 1).sum(-1)
    lrp = tf_lrp.Analyzer(model, "zplus").analyze(x, 1, layers=["last"])["last"].sum(-1)
    assert np.abs(cam - lrp).max() > 0.1 * np.abs(lrp).max()  # nor under another rule


def test_where_grad_cam_cannot_be():
    with pytest.raises(ValueError, match="needs a convolution"):
        methods.GradCAM(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="one input of pictures"):
        methods.GradCAM(mlp([(np.ones((3, 2)), np.zeros(2))]))
    with pytest.raises(ValueError, match="returns maps"):
        methods.GradCAM(convnet(), layer="scores")
    with pytest.raises(ValueError, match=r"no layer 'relu3'"):
        methods.GradCAM(convnet(), layer="relu3")


# -- patterns -------------------------------------------------------------------------------------------------------------


@pytest.mark.compiled
@pytest.mark.parametrize("estimator", ["linear", "relu"])
def test_patterns_recover_the_signal_not_the_filter(estimator):
    """Kindermans et al. 2018, figure 2: x = a y + b epsilon; the filter w cancels the distractor b, the signal is a."""
    rng = np.random.default_rng(0)
    a, b = np.array([1.0, 0.0]), np.array([1.0, 1.0])
    x = rng.normal(size=(20000, 1)) * a + rng.normal(size=(20000, 1)) * b
    w = np.array([[1.0], [-1.0]])  # w^T x = y
    method = methods.PatternNet(mlp([(w, np.zeros(1))]), estimator=estimator).fit(x)
    np.testing.assert_allclose(method.patterns.arrays["d0"][:, 0], a, atol=0.03)
    one = np.array([[2.0, 0.0]])
    np.testing.assert_allclose(method.analyze(one), 2 * a[None], atol=0.1)
    attribution = methods.PatternAttribution(mlp([(w, np.zeros(1))]), method.patterns)
    np.testing.assert_allclose(attribution.analyze(one), 2 * (w[:, 0] * a)[None], atol=0.1)
    np.testing.assert_allclose(methods.Gradient(mlp([(w, np.zeros(1))])).analyze(one), w.T)  # the gradient shows the filter


def test_patterns_by_loops_over_patches():
    """A convolution's statistics, patch by patch in NumPy; and the dense layer's above it."""
    inputs = keras.Input((6, 6, 2))
    h = keras.layers.Conv2D(3, 3, strides=2, activation="relu", name="conv")(inputs)
    model = randomize(keras.Model(inputs, keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(h))))
    x = np.random.default_rng(2).normal(size=(40, 6, 6, 2)).astype("float32") + 0.3
    kernel, bias = model.get_layer("conv").get_weights()
    patches = np.stack([x[n, r : r + 3, c : c + 3] for n in range(40) for r in (0, 2) for c in (0, 2)]).astype(float)
    y = np.einsum("prsc,rscf->pf", patches, kernel) + bias
    pattern = np.zeros(kernel.shape)
    for f in range(3):
        on = y[:, f] > 0
        covariance = (patches[on] * y[on, f, None, None, None]).mean(0) - patches[on].mean(0) * y[:, f].mean()
        pattern[..., f] = covariance / (kernel[..., f] * covariance).sum()
    method = methods.PatternNet(model).fit(x, batch_size=7)
    np.testing.assert_allclose(method.patterns.arrays["conv"], pattern, rtol=1e-3, atol=1e-3 * np.abs(pattern).max())
    a = keras.Model(inputs, model.get_layer("conv").output)(x).numpy().reshape(40, -1).astype(float)
    z, w = model(x).numpy().astype(float), model.get_layer("dense").get_weights()[0]
    covariance = a.T @ z / 40 - np.outer(a.mean(0), z.mean(0))  # no ReLU follows: over all samples
    expected = covariance / (w * covariance).sum(0)
    np.testing.assert_allclose(method.patterns.arrays["dense"], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.compiled
def test_patterns_are_streamed_saved_and_loaded(tmp_path):
    model, x = convnet(), pictures(12)
    method = methods.PatternNet(model).fit(x)
    stream = tf.data.Dataset.from_tensor_slices((x, np.zeros(12))).batch(5)
    streamed = methods.PatternAttribution(model).fit(stream)
    for name, array in method.patterns.arrays.items():
        np.testing.assert_allclose(streamed.patterns.arrays[name], array, rtol=1e-4, atol=1e-4 * np.abs(array).max())
    path = method.patterns.save(tmp_path / "patterns")
    np.testing.assert_array_equal(methods.PatternNet(model, path).analyze(x), method.analyze(x))
    np.testing.assert_array_equal(methods.PatternNet(model, str(path)).analyze(x), method.analyze(x))


def test_patterns_that_do_not_fit():
    model = convnet()
    with pytest.raises(ValueError, match=r"call fit\(data\)"):
        methods.PatternNet(model).analyze(pictures())
    with pytest.raises(ValueError, match="patterns for 'conv1'"):
        methods.PatternNet(model, methods.Patterns({"conv1": np.zeros((3, 3, 3, 4))}))
    arrays = methods.PatternNet(model).fit(pictures()).patterns.arrays
    with pytest.raises(ValueError, match="kernel's shape"):
        methods.PatternNet(model, methods.Patterns({**arrays, "conv1": np.zeros((2, 2))}))
    with pytest.raises(ValueError, match="no samples"):
        methods.PatternNet(model).fit(tf.data.Dataset.from_tensor_slices(pictures()).batch(2).take(0))
    sequence = keras.Sequential(
        [keras.Input((4, 3)), keras.layers.EinsumDense("btc,cd->btd", (4, 5)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="knows the signal of dense and convolutional layers"):
        methods.PatternNet(sequence)


# -- decompositions -------------------------------------------------------------------------------------------------------


def test_deep_taylor_begins_at_the_positive_part_and_conserves_it():
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs))
    model, x = without_biases(randomize(keras.Model(inputs, keras.layers.Dense(3)(h)))), pictures(12, seed=4)
    scores = np.maximum(model(x).numpy()[:, 1], 0)
    assert 0 < (scores > 0).sum() < 12
    for method in (methods.DeepTaylor(model), methods.DeepTaylor(model, -3.0, 3.0)):
        relevance = method.analyze(x, 1)
        np.testing.assert_allclose(relevance.sum((1, 2, 3)), scores, rtol=1e-4, atol=1e-5)
        assert relevance.min() > -1e-6
    with pytest.raises(ValueError, match="both low and high"):
        methods.DeepTaylor(model, low=0.0)


def test_excitations_are_probabilities():
    found = methods.ExcitationBackprop(convnet()).analyze(np.abs(pictures(4)), 2)
    np.testing.assert_allclose(found.sum((1, 2, 3)), 1, rtol=1e-4)
    assert found.min() >= 0


# -- what models should be ------------------------------------------------------------------------------------------------


def test_models_outside_the_assumptions():
    tanh = randomize(
        keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2, activation="softmax")]
        )
    )
    negative = mlp([(np.ones((2, 2)), -np.ones(2)), (np.ones((2, 1)), np.zeros(1))])
    cases = [
        (lambda **how: methods.Gradient(tanh, strip_softmax=False, **how), "turns scores into probabilities"),
        (lambda **how: methods.GuidedBackprop(tanh, **how), "has no ReLU"),
        (lambda **how: methods.DeepTaylor(tanh, **how), r"other activation\(s\): 'dense.*_activation' \(tanh\)"),
        (lambda **how: methods.DeepTaylor(negative, **how), "2 negative ones"),
    ]
    for build, message in cases:
        with pytest.warns(methods.MethodWarning, match=message):
            build()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            build(check=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        methods.GuidedBackprop(convnet())
        methods.Gradient(tanh)  # its softmax is left out
        methods.DeepTaylor(without_biases(mlp([(np.ones((2, 2)), np.zeros(2)), (np.ones((2, 1)), np.zeros(1))])))


# -- the contract that all methods share ----------------------------------------------------------------------------------


METHODS = [name for name in catalog.names() if name not in tf_lrp.presets.names()]
FEW = {
    "integrated_gradients": {"steps": 3},
    **{name: {"samples": 3} for name in ("smoothgrad", "vargrad", "smoothgrad_squared")},
}


def method_of(name, model, x):
    """A method of the catalog, cheap and ready."""
    method = catalog.explainer(name, model, **FEW.get(name, {}))
    if hasattr(method, "fit"):
        method.fit(x)
    return method


@pytest.mark.compiled
@pytest.mark.parametrize("name", METHODS)
def test_every_method_behind_the_contract(name):
    model, x = convnet(activation="softmax"), pictures(5)
    method = method_of(name, model, x)
    targets = np.array([[0, 3], [1, 1], [4, 2], [2, 0], [3, 4]])
    alone = [method.analyze(x, targets[:, k]) for k in (0, 1)]
    assert alone[0].shape == x.shape and alone[0].dtype == np.float32
    scale = np.abs(alone[0]).max()
    together = method.analyze(x, targets, batch_size=2)
    np.testing.assert_allclose(together, np.stack(alone, axis=1), atol=2e-5 * scale)
    labels = tf.constant(targets[:, 0])
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(2).map(method)
    np.testing.assert_allclose(np.concatenate([*dataset]), alone[0], atol=2e-5 * scale)
    compiled = tf.function(lambda t, n: method(t, n), jit_compile=True)(tf.constant(x), labels)
    if type(method) not in (methods.SmoothGrad, methods.Random):  # XLA draws other numbers from the same seed
        np.testing.assert_allclose(compiled, alone[0], atol=1e-4 * scale)


@pytest.mark.parametrize("name", METHODS)
def test_what_every_method_can_be_asked_for(name):
    model, x = convnet(activation="softmax"), pictures(5)
    method = method_of(name, model, x)
    strongest = method.analyze(x, model(x).numpy().argmax(1))
    np.testing.assert_allclose(method.analyze(x), strongest, atol=2e-5 * np.abs(strongest).max())
    assert np.isfinite(method.analyze(x, "all")).all()
    if method.explains_layers:
        maps = method.analyze(x, 1, layers=["conv2", "conv1"])
        assert list(maps) == ["input", "conv2", "conv1"] and maps["conv1"].shape[:3] == (5, 8, 8)
    else:
        with pytest.raises(ValueError, match="explains inputs only"):
            method.analyze(x, layers=["conv1"])


@pytest.mark.slow
@pytest.mark.compiled
def test_exported_methods_run_without_this_library(tmp_path):
    model, x = convnet(), pictures(3)
    expected = {}
    for name in METHODS:
        method = method_of(name, model, x)
        method.export(tmp_path / name)
        with eagerly():
            expected[name] = method.analyze(x)
            expected[f"{name}/select"] = method.analyze(x, [0, 2, 1])
    np.savez(tmp_path / "expected.npz", x=x, **expected)
    script = """
import sys
sys.modules["tf_lrp"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
values = np.load(sys.argv[1] + "/expected.npz")
for name in values.files:
    if name == "x" or name.endswith("/select"): continue
    model, scale = tf.saved_model.load(sys.argv[1] + "/" + name), abs(values[name]).max()
    x = tf.constant(values["x"])
    found = model.signatures["serving_default"](picture=x)["relevance"]
    assert np.allclose(found, values[name], atol=2e-5 * scale), name
    chosen = model.signatures["select"](picture=x, neuron_selection=tf.constant([0, 2, 1]))["relevance"]
    assert np.allclose(chosen, values[name + "/select"], atol=2e-5 * scale), name
    print("same", name)
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1500:]
    assert run.stdout.count("same") == len(METHODS)
    assert '"method": "Occlusion"' in (tmp_path / "occlusion" / "assets" / "tf_lrp.json").read_text()


@pytest.mark.compiled
def test_two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    h = keras.layers.Dense(5, activation="relu")(keras.layers.Concatenate()([a, b]))
    model = randomize(keras.Model({"a": a, "b": b}, keras.layers.Dense(2)(h)))
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=(3, 3))}
    for method in (
        methods.Gradient(model),
        methods.IntegratedGradients(model, 64),
        methods.SmoothGrad(model, 3),
        methods.Occlusion(model),
    ):
        found = method.analyze(x, 1)
        assert {k: v.shape for k, v in found.items()} == {"a": (3, 4), "b": (3, 3)}
    report = methods.IntegratedGradients(model, 256, baseline={"a": np.ones(4), "b": 0.0}).completeness(x, 1)
    assert np.abs(report.error).max() < 1e-3 * np.abs(report.difference).max()


# -- the table ------------------------------------------------------------------------------------------------------------


def test_the_table_lists_everything_once_and_is_in_the_readme():
    listed = [name for entry in catalog.CATALOG for name in entry.names]
    assert sorted(listed) == sorted(catalog.names())
    assert catalog.markdown() in (ROOT / "README.md").read_text()


def test_explainers_by_name():
    model, x = convnet(), pictures()
    np.testing.assert_array_equal(
        catalog.explainer("cmp_a1", model, epsilon=0.1, batch_size=2).analyze(x),
        tf_lrp.Analyzer(model, tf_lrp.preset("cmp_a1", epsilon=0.1)).analyze(x, batch_size=2),
    )
    with pytest.raises(ValueError, match="Did you mean 'grad_cam'"):
        catalog.explainer("gradcam", model)


# -- Quantus --------------------------------------------------------------------------------------------------------------


def test_quantus_asks_for_explanations():
    import tf_lrp.quantus

    model, x = convnet(), pictures(4)
    targets = np.array([0, 1, 2, 3])
    found = tf_lrp.quantus.explain(
        model, x, targets, method="cmp_a1", channel_sum=False, epsilon=0.1, device="cpu", softmax=False
    )
    np.testing.assert_allclose(found, tf_lrp.Analyzer(model, tf_lrp.preset("cmp_a1", epsilon=0.1)).analyze(x, targets))
    summed = tf_lrp.quantus.explain(model, x, targets, method="gradient")
    np.testing.assert_allclose(summed, methods.Gradient(model).analyze(x, targets).sum(-1)[:, None], rtol=1e-6)
    fitted = tf_lrp.quantus.explain(model, x, targets, method="pattern_net", fit=x, channel_sum=False)
    np.testing.assert_allclose(fitted, methods.PatternNet(model).fit(x).analyze(x, targets), rtol=1e-5)
    model.layers[1].kernel.assign(-model.layers[1].kernel)  # as randomization tests do
    again = tf_lrp.quantus.explain(model, x, targets, method="cmp_a1", channel_sum=False, epsilon=0.1)
    assert np.abs(again - found).max() > 1e-3


@pytest.mark.compiled
def test_a_metric_of_quantus_runs_on_our_relevance():
    quantus = pytest.importorskip("quantus")
    import tf_lrp.quantus

    model, x = convnet(size=8), pictures(3)
    scores = quantus.Sparseness(disable_warnings=True)(
        model=model,
        x_batch=x,
        y_batch=np.array([0, 1, 2]),
        explain_func=tf_lrp.quantus.explain,
        explain_func_kwargs={"method": "cmp_a2_flat"},
        channel_first=False,
    )
    assert len(scores) == 3 and all(0 <= s <= 1 for s in scores)
