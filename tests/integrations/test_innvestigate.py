"""iNNvestigate's names: its numbers where they are right, the right ones where they are not."""

import json
import re

import golden_models
import keras
import numpy as np
import pytest
import reference
from golden_models import error
from locations import ROOT
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import innvestigate, methods
from tf_lrp.rules import Epsilon, Flat, ZRule

pytestmark = pytest.mark.filterwarnings("ignore::tf_lrp.methods.MethodWarning")

PAGE = ROOT / "docs" / "from-innvestigate.md"

#: Key of the golden archive -> (name, arguments), where they differ from the key alone.
CALLS = {
    "lrp.epsilon": ("lrp.epsilon", {"epsilon": 1e-7}),
    "lrp.epsilon_0.1": ("lrp.epsilon", {"epsilon": 0.1}),
    "lrp.epsilon_0.1_nobias": ("lrp.epsilon", {"epsilon": 0.1, "bias": False}),
    "lrp.z_bounded_input": ("lrp.z", {"input_layer_rule": (-3.0, 3.0)}),
    "integrated_gradients": ("integrated_gradients", {"steps": 64}),
    "deep_taylor.bounded": ("deep_taylor.bounded", {"low": -3.0, "high": 3.0}),
}
GRADIENTS = ("gradient", "input_t_gradient", "guided_backprop", "deconvnet", "integrated_gradients")
LRP = (
    "lrp.z", "lrp.epsilon", "lrp.epsilon_0.1", "lrp.epsilon_0.1_nobias", "lrp.alpha_2_beta_1_IB", "lrp.alpha_1_beta_0_IB",
    "lrp.z_plus", "lrp.z_bounded_input", "deep_taylor", "deep_taylor.bounded", "lrp.w_square", "lrp.flat",
)  # fmt: skip
#: What iNNvestigate computes soundly; b has batch normalizations, which it folds wrongly.
SOUND = {"a": GRADIENTS + LRP, "b": GRADIENTS, "c": GRADIENTS + LRP, "d": GRADIENTS + LRP}


@pytest.mark.parametrize("net", "abcd")
def test_its_numbers(net, shared_golden):
    golden, model = (
        golden_models.load(shared_golden / f"innvestigate_net_{net}.npz"),
        golden_models.innvestigate(net, "float32"),
    )
    compared = 0
    for key in SOUND[net]:
        if f"R/{key}/max" not in golden:
            assert (net, key) == ("b", "integrated_gradients")  # it crashes there
            continue
        name, arguments = CALLS.get(key, (key, {}))
        strongest = innvestigate.create_analyzer(name, model, **arguments)
        chosen = innvestigate.create_analyzer(name, model, neuron_selection_mode="index", **arguments)
        found = strongest.analyze(golden["x"]), chosen.analyze(golden["x"], neuron_selection=int(golden["index"]))
        for got, tag in zip(found, ("max", "idx"), strict=True):
            assert error(got, golden[f"R/{key}/{tag}"]) < 1e-5, (net, key, tag)  # 4e-6 measured
            compared += 1
    assert compared >= 8


# -- names and arguments --------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "lrp": {"rule": "Z"},
    "lrp.rule_until_index": {"rule": "Alpha2Beta1", "until_layer_idx": 1, "until_layer_rule": "Flat"},
    "lrp.alpha_beta": {"alpha": 3, "beta": 2},
    "lrp.sequential_preset_a_flat_until_idx": {"until_layer_idx": 1},
    "lrp.sequential_preset_b_flat_until_idx": {"until_layer_idx": 1},
    "deep_taylor.bounded": {"low": -3.0, "high": 3.0},
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"augment_by_n": 3},
}


@pytest.mark.parametrize("name", innvestigate.NAMES)
def test_every_name_explains(name):
    model, x = convnet(), pictures(4)
    analyzer = tf_lrp.create_analyzer(name, model, **ARGUMENTS.get(name, {})).fit(x)
    relevance = analyzer.analyze(x)
    assert relevance.shape == x.shape
    assert np.isfinite(relevance).all() and np.abs(relevance).max() > 0
    chosen = tf_lrp.create_analyzer(name, model, neuron_selection_mode="index", **ARGUMENTS.get(name, {})).fit(x)
    each = chosen.analyze(x, neuron_selection=model(x).numpy().argmax(1))
    np.testing.assert_allclose(each, relevance, atol=1e-5 * np.abs(relevance).max())
    np.testing.assert_allclose(chosen(x, model(x).numpy().argmax(1)), each, atol=1e-5 * np.abs(relevance).max())
    whole = tf_lrp.create_analyzer(name, model, neuron_selection_mode="all", **ARGUMENTS.get(name, {})).fit(x)
    assert np.isfinite(whole.analyze(x)).all()


def test_a_list_of_names():
    both = tf_lrp.create_analyzer(["gradient", "lrp.z"], convnet(), neuron_selection_mode="index")
    assert [a.name for a in both] == ["gradient", "lrp.z"]
    assert both[1].analyze(pictures(), 2).shape == pictures().shape


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m: tf_lrp.create_analyzer("lrp.zplus", m), KeyError, r"no analyzer 'lrp\.zplus'.* mean 'lrp\.z_plus'"),
        (lambda m: tf_lrp.create_analyzer("lrp.z", m, epsilon=1), TypeError, "'lrp.z' does not take epsilon"),
        (lambda m: tf_lrp.create_analyzer("lrp", m), ValueError, "needs a rule"),
        (lambda m: tf_lrp.create_analyzer("lrp", m, rule="Alpha2Beta"), ValueError, "mean 'Alpha2Beta1'"),
        (lambda m: tf_lrp.create_analyzer("lrp", m, rule=["Z"]), ValueError, r"3 layers with weights.*got 1"),
        (lambda m: tf_lrp.create_analyzer("lrp", m, rule=[]), ValueError, "empty list"),
        (lambda m: tf_lrp.create_analyzer("lrp", m, rule=[(lambda _: False, "Z")]), ValueError, "No condition is met"),
        (lambda m: tf_lrp.create_analyzer("lrp.z", m, bn_layer_fuse_mode="both"), ValueError, "one_linear"),
        (
            lambda m: tf_lrp.create_analyzer("lrp.z", m, until_layer_idx=99, until_layer_rule="Flat"),
            ValueError,
            "layers go from 0",
        ),
        (lambda m: tf_lrp.create_analyzer("lrp.alpha_beta", m), ValueError, "needs alpha="),
        (lambda m: tf_lrp.create_analyzer("deep_taylor.bounded", m), ValueError, "needs low= and high="),
        (lambda m: tf_lrp.create_analyzer("gradient", m, postprocess="cube"), ValueError, "postprocess is None"),
        (lambda m: tf_lrp.create_analyzer("gradient", m, neuron_selection_mode="max"), ValueError, "neuron_selection_mode is"),
        (lambda m: tf_lrp.create_analyzer("gradient", m).analyze(pictures(), 1), ValueError, 'neuron_selection_mode="index"'),
        (
            lambda m: tf_lrp.create_analyzer("gradient", m, neuron_selection_mode="index").analyze(pictures()),
            ValueError,
            "needs a neuron_selection",
        ),
    ],
)
def test_wrong_calls(call, kind, message):
    with pytest.raises(kind, match=message):
        call(convnet())


def test_rules_by_layer():
    model, x = convnet(), pictures()
    is_conv = [(lambda layer: isinstance(layer, keras.layers.Conv2D), "Flat"), (lambda layer: True, "Epsilon")]
    by_condition = tf_lrp.create_analyzer("lrp", model, rule=is_conv)
    in_order = tf_lrp.create_analyzer("lrp", model, rule=["Flat", "Flat", "Epsilon"])  # from the input to the output
    np.testing.assert_allclose(by_condition.analyze(x), in_order.analyze(x), rtol=1e-6)
    rules = {row[0]: row[2] for row in in_order.rules()}
    assert (rules["conv1"], rules["conv2"], rules["scores"]) == ("Flat()", "Flat()", str(Epsilon(1e-7)))
    below = tf_lrp.create_analyzer("lrp.epsilon", model, until_layer_idx=1, until_layer_rule="Flat", input_layer_rule="WSquare")
    rules = {row[0]: row[2] for row in below.rules()}
    assert (rules["conv1"], rules["conv2"]) == ("WSquare()", str(Epsilon(1e-7)))  # layers 0 and 1: the input and conv1
    unfolded = tf_lrp.create_analyzer("lrp", model, rule="Z", bn_layer_rule=Epsilon(0.1))
    assert {row[0]: row[2] for row in unfolded.rules()}["bn2"] == str(Epsilon(0.1))
    own = tf_lrp.create_analyzer("lrp", model, rule=ZRule())
    np.testing.assert_array_equal(own.analyze(x), tf_lrp.create_analyzer("lrp.z", model).analyze(x))


def test_what_an_analyzer_gives_besides(tmp_path):
    analyzer = tf_lrp.create_analyzer("lrp.sequential_preset_a_flat", convnet(), batch_size=2)
    assert isinstance(analyzer.explainer, tf_lrp.Analyzer)
    analyzer.export(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "assets" / "tf_lrp.json").read_text())["preset"]
    assert set(analyzer.analyze(pictures(), layers=["conv2"])) == {"input", "conv2"}


def test_models_without_their_softmax():
    x = pictures()
    fused = convnet(activation="softmax")
    inputs = keras.Input((8, 8, 3))
    apart = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(5)(keras.layers.Flatten()(inputs))))
    sequential = randomize(
        keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Activation("softmax")]
        )
    )
    for model in (fused, apart, sequential):
        scores = tf_lrp.model_wo_softmax(model)
        np.testing.assert_allclose(keras.ops.softmax(scores(x)), model(x), rtol=1e-4)
        assert np.abs(scores(x).numpy().sum(1) - 1).max() > 1e-2
    with pytest.raises(ValueError, match="no softmax at the output"):
        tf_lrp.model_wo_softmax(convnet())
    with pytest.raises(ValueError, match="Sequential or Functional"):
        tf_lrp.model_wo_softmax("model.h5")


def test_a_softmax_that_is_still_on():
    with pytest.warns(methods.MethodWarning, match="model_wo_softmax"):
        tf_lrp.create_analyzer("lrp.z", convnet(activation="softmax"))
    with pytest.warns(methods.MethodWarning, match="has no ReLU"):
        tf_lrp.create_analyzer("guided_backprop", keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


def test_checks_can_be_left_out(recwarn):
    tf_lrp.create_analyzer("lrp.z", convnet(activation="softmax"), disable_model_checks=True)
    assert not [w for w in recwarn if issubclass(w.category, methods.MethodWarning)]


# -- where results differ on purpose: each test has a row of the page -----------------------------------------------------

DIFFERENCES = {
    "alpha-beta with biases": "test_biases_of_alpha_beta_are_split_by_sign",
    "batch normalization": "test_batch_normalization_is_folded_exactly",
    "flat at the input": "test_flat_reaches_the_first_layer_with_weights",
    "products, differences, largest of several": "test_relevance_is_conserved_where_it_takes_the_gradient",
    "leaky ReLUs": "test_relevance_is_conserved_where_it_takes_the_gradient",
    "z_plus_fast": "test_z_plus_fast_splits_signs",
    "Integrated Gradients of one index": "test_one_index_for_several_samples",
    "SmoothGrad's noise": "test_noise_is_seeded",
    "sums in deep Taylor": "test_deep_taylor_is_conserved_at_sums",
}


def test_each_difference_has_its_row_and_its_test():
    rows = re.findall(r"^\| ([^|]+) \|.*\|$", PAGE.read_text().split("## Where results differ")[1], re.MULTILINE)
    assert {r.strip() for r in rows} - {"where", "---"} == set(DIFFERENCES)
    assert all(test in globals() for test in DIFFERENCES.values())


def naive(model, x, rule, neuron):
    """By explicit loops, begun with the score."""
    steps = reference.steps_of(model, rule)
    scores = reference.forward(steps, x)[-1]
    start = np.zeros_like(scores)
    start[:, neuron] = scores[:, neuron]
    return reference.relevances(steps, x, start)[0]


def chain(*layers, shape=(5, 5, 2)):
    return randomize(keras.Sequential([keras.Input(shape), *layers]))


def explained(name, model, x, neuron=1, **arguments):
    return tf_lrp.create_analyzer(name, model, neuron_selection_mode="index", **arguments).analyze(x, neuron)


X = np.random.default_rng(3).normal(size=(3, 5, 5, 2))


def test_biases_of_alpha_beta_are_split_by_sign():
    model = chain(
        keras.layers.Conv2D(3, 2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, activation="relu"),
        keras.layers.Dense(3),
    )
    model.layers[-1].bias.assign([0.5, -0.5, 0.5])
    for name, alpha, beta in (("lrp.alpha_2_beta_1", 2, 1), ("lrp.alpha_1_beta_0", 1, 0)):
        expected = naive(model, X, reference.rule("AlphaBeta", alpha=alpha, beta=beta), 2)
        assert error(explained(name, model, X, 2).astype(float), expected) < 1e-4

    def whole_bias(a, w, b, connected, z):
        return reference.ratio(reference.positive(a * w), reference.positive(a * w).sum() + (b or 0))

    theirs = naive(model, X, whole_bias, 2)  # without the sign split its denominators can even vanish
    assert error(explained("lrp.alpha_1_beta_0", model, X, 2).astype(float), theirs) > 0.05


def test_batch_normalization_is_folded_exactly():
    model = chain(
        keras.layers.Conv2D(3, 2),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    )
    for name, rule in (("lrp.z", reference.rule("ZRule")), ("lrp.alpha_2_beta_1_IB", None)):
        gamma, beta, mean, variance = model.layers[1].get_weights()
        kernel, bias = model.layers[0].get_weights()
        scale = gamma / np.sqrt(variance + model.layers[1].epsilon)
        folded = chain(keras.layers.Conv2D(3, 2), keras.layers.ReLU(), keras.layers.Flatten(), keras.layers.Dense(3))
        folded.layers[0].set_weights([kernel * scale, (bias - mean) * scale + beta])
        folded.layers[3].set_weights(model.layers[4].get_weights())
        rule = rule or reference.rule("AlphaBeta", alpha=2, beta=1, bias=False)
        assert error(explained(name, model, X).astype(float), naive(folded, X, rule, 1)) < 1e-4
        wrong = gamma / np.sqrt(variance**2 + model.layers[1].epsilon)
        folded.layers[0].set_weights([kernel * wrong, (bias - mean) * wrong + beta])
        assert error(explained(name, model, X).astype(float), naive(folded, X, rule, 1)) > 0.05


def test_flat_reaches_the_first_layer_with_weights():
    model = chain(
        keras.layers.ZeroPadding2D(1),
        keras.layers.Conv2D(3, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    )
    found = explained("lrp.sequential_preset_a_flat", model, X)
    assert (np.ptp(found, axis=-1) < 1e-5 * np.abs(found).max()).all()  # one value for all channels of a pixel
    rules = {row[0]: row[2] for row in tf_lrp.create_analyzer("lrp.sequential_preset_b_flat", model).rules()}
    assert rules[model.layers[1].name] == str(Flat())


def test_relevance_is_conserved_where_it_takes_the_gradient():
    inputs = keras.Input((6,))
    a, b = keras.layers.Dense(4, use_bias=False)(inputs), keras.layers.Dense(4, use_bias=False)(inputs)
    for joined in (
        keras.layers.Multiply()([a, b]),
        keras.layers.Maximum()([a, b]),
        keras.layers.Subtract()([a, b]),
        keras.layers.LeakyReLU()(a),
        keras.layers.PReLU()(a),
    ):
        model = randomize(keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(joined)))
        x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
        np.testing.assert_allclose(explained("lrp.z", model, x).sum(1), model(x).numpy()[:, 1], rtol=2e-3, atol=1e-4)


def test_z_plus_fast_splits_signs():
    model = chain(keras.layers.Conv2D(3, 2, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3))
    expected = naive(model, X, reference.rule("ZPlus", bias=False), 1)
    assert error(explained("lrp.z_plus_fast", model, X).astype(float), expected) < 1e-4

    def unsplit(a, w, b, connected, z):
        return reference.ratio(a * reference.positive(w), (a * reference.positive(w)).sum())

    assert error(explained("lrp.z_plus_fast", model, X).astype(float), naive(model, X, unsplit, 1)) > 0.05


def test_one_index_for_several_samples():
    model = chain(keras.layers.Conv2D(3, 2, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3))
    together = explained("integrated_gradients", model, X, 2)
    alone = np.concatenate([explained("integrated_gradients", model, x[None], 2) for x in X])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())


def test_noise_is_seeded():
    model = chain(keras.layers.Conv2D(3, 2, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3))
    first = explained("smoothgrad", model, X, augment_by_n=4)
    np.testing.assert_array_equal(explained("smoothgrad", model, X, augment_by_n=4), first)
    assert np.abs(explained("smoothgrad", model, X, augment_by_n=4, seed=1) - first).max() > 1e-3


def test_deep_taylor_is_conserved_at_sums():
    inputs = keras.Input((6,))
    h = keras.layers.Dense(5, activation="relu", use_bias=False)(inputs)
    h = keras.layers.Add()([h, keras.layers.Dense(5, activation="relu", use_bias=False)(h)])
    model = randomize(keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(h)))
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    scores = np.maximum(model(x).numpy()[:, 1], 0)
    assert (scores > 0).any()
    np.testing.assert_allclose(explained("deep_taylor", model, x).sum(1), scores, rtol=1e-4, atol=1e-5)
