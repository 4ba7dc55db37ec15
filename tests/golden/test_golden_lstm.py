"""Relevance equals what LRP_for_LSTM (Arras et al. 2017) computed for its bidirectional LSTM on sentences.

Its weights have the gates in the order i, g, f, o and two biases; Keras has i, f, g (called c), o and one bias, their sum.
Its rule is `Epsilon(eps, bias_factor)` for the output layer and both directions alike.
"""

import functools

import golden_models
import keras
import numpy as np
import pytest
import sequence_reference

import tf_lrp
from tf_lrp.rules import Epsilon

UNITS, EMBEDDING, CLASSES = 60, 60, 5
SIDES = ("Left", "Right")
SENTENCES = ("s0", "s1", "s2")
SETTINGS = tuple(
    f"{target}_eps{eps}_bf{factor}"
    for target, eps, factor in [
        ("pred", "0.001", 0),
        ("pred", "0.001", 1),
        ("pred", "0.01", 0),
        ("pred", "1e-6", 1),
        ("other", "0.001", 0),
        ("other", "0.001", 1),
    ]
)
BUILDS = ("bidirectional", "two layers", "initial states")

#: Largest errors, relative to the map's maximum. With bias_factor 1 all of a neuron's relevance goes on, also where its
#: denominator nearly cancels: rounding the weights to float32 alone moves maps by 3e-5 then. Ours are off by 7.6e-5 (7e-7
#: without bias_factor).
BOUND = {"float64": 1e-12, "float32": 1e-5}
BOUND_WITH_BIAS_FACTOR = {"float64": 1e-12, "float32": 2e-4}


def bound(setting, dtype):
    return (BOUND_WITH_BIAS_FACTOR if setting.endswith("bf1") else BOUND)[dtype]


@pytest.fixture(scope="module")
def path(shared_golden):
    return shared_golden / "lstm.npz"


def keras_weights(golden, side):
    """Kernel, recurrent kernel and bias in Keras's layout."""

    def gates(array):
        i, g, f, o = np.split(array, 4)
        return np.concatenate([i, f, g, o])

    bias = golden[f"weights/bxh_{side}"] + golden[f"weights/bhh_{side}"]
    return [gates(golden[f"weights/Wxh_{side}"]).T, gates(golden[f"weights/Whh_{side}"]).T, gates(bias)]


def output_kernel(golden):
    return np.concatenate([golden[f"weights/Why_{side}"].T for side in SIDES])


@functools.cache
def classifier(path, build, dtype):
    """The classifier: one input; an input for each side; or the input and the initial states h, c of both sides."""
    golden = golden_models.load(path)
    inputs = [keras.Input((None, EMBEDDING), dtype=dtype) for _ in range(2 if build == "two layers" else 1)]
    ahead = keras.layers.LSTM(UNITS, name="ahead", dtype=dtype)
    back = keras.layers.LSTM(UNITS, name="back", go_backwards=build == "two layers", dtype=dtype)
    if build == "two layers":
        hidden = keras.layers.Concatenate(dtype=dtype)([ahead(inputs[0]), back(inputs[1])])
    else:
        states = [keras.Input((UNITS,), dtype=dtype) for _ in range(4)] if build == "initial states" else None
        both = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, dtype=dtype), name="lstm", dtype=dtype)
        hidden = both(inputs[0], initial_state=states)
        inputs += states or []
        ahead, back = both.forward_layer, both.backward_layer
    output = keras.layers.Dense(CLASSES, use_bias=False, name="out", dtype=dtype)
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], output(hidden))
    for layer, side in zip((ahead, back), SIDES, strict=True):
        layer.set_weights(keras_weights(golden, side))
    output.set_weights([output_kernel(golden)])
    return model


def model_inputs(build, x):
    if build == "two layers":
        return [x, x]
    return [x, *[np.zeros((len(x), UNITS), x.dtype)] * 4] if build == "initial states" else x


@functools.cache
def analyzer_of(path, build, dtype, eps, factor):
    return tf_lrp.Analyzer(classifier(path, build, dtype), preset=Epsilon(eps, bias_factor=factor))


def explain(path, sentence, setting, build, dtype):
    """Relevance of each input of the model, as a list."""
    golden = golden_models.load(path)
    given = f"{sentence}/lrp/{setting}"
    analyzer = analyzer_of(path, build, dtype, float(golden[f"{given}/eps"]), float(golden[f"{given}/bias_factor"]))
    x = golden[f"{sentence}/x"][None].astype(dtype)
    found = analyzer.analyze(model_inputs(build, x), neuron_selection=int(golden[f"{given}/class"]))
    return found if isinstance(found, list) else [found]


# --- The reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_reference(sentence, setting, path):
    golden = golden_models.load(path)
    given = f"{sentence}/lrp/{setting}"
    rule = sequence_reference.Epsilon(float(golden[f"{given}/eps"]), float(golden[f"{given}/bias_factor"]))
    cells = [sequence_reference.Lstm(*keras_weights(golden, side), rule) for side in SIDES]
    ahead, back = sequence_reference.Recurrent(cells[0]), sequence_reference.Recurrent(cells[1], go_backwards=True)
    x, kernel = golden[f"{sentence}/x"][None], output_kernel(golden)
    hidden = sequence_reference.Bidirectional(ahead, back).forward(x)
    scores = hidden[0] @ kernel
    assert golden_models.error(scores, golden[f"{sentence}/scores"]) <= 1e-14

    start = scores * np.eye(CLASSES)[golden[f"{given}/class"]]
    (of_hidden,) = sequence_reference.affine_relevance(hidden, [kernel], np.zeros(CLASSES), scores, start, rule)
    of_initial = []
    for side, layer, relevance in zip(SIDES, (ahead, back), np.split(of_hidden[None], 2, axis=1), strict=True):
        of_x, rest = layer.relevance(x, relevance)
        assert golden_models.error(of_x[0], golden[f"{given}/Rx_{side.lower()}"]) <= 1e-12
        of_initial += rest
    assert abs(sum(r.sum() for r in of_initial) - golden[f"{given}/R_rest"]) <= 1e-12


# --- The library ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("build", "dtype"), [*((build, "float64") for build in BUILDS), ("bidirectional", "float32")])
def test_scores(build, dtype, path):
    golden = golden_models.load(path)
    for sentence in SENTENCES:
        x = model_inputs(build, golden[f"{sentence}/x"][None].astype(dtype))
        for m in (classifier(path, build, dtype), analyzer_of(path, build, dtype, 0.001, 0.0).twin):
            assert golden_models.error(np.asarray(m(x))[0], golden[f"{sentence}/scores"]) <= BOUND[dtype]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_relevance(setting, dtype, path):
    """Of every dimension of every word, and of the words."""
    golden = golden_models.load(path)
    for sentence in SENTENCES:
        given = f"{sentence}/lrp/{setting}"
        found = explain(path, sentence, setting, "bidirectional", dtype)[0][0]
        want = {"x": golden[f"{given}/Rx_left"] + golden[f"{given}/Rx_right"], "words": golden[f"{given}/R_words"]}
        golden_models.assert_agree({"x": found, "words": found.sum(axis=1)}, want, dtype, bound(setting, dtype))


@pytest.mark.parametrize("setting", SETTINGS)
def test_relevance_of_either_side(setting, path):
    golden = golden_models.load(path)
    for sentence in SENTENCES:
        given = f"{sentence}/lrp/{setting}"
        (left,), (right,) = explain(path, sentence, setting, "two layers", "float64")
        found = {"Rx_left": left, "Rx_right": right, "R_words_left": left.sum(axis=1), "R_words_right": right.sum(axis=1)}
        golden_models.assert_agree(found, {name: golden[f"{given}/{name}"] for name in found}, "float64", BOUND["float64"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_relevance_of_the_initial_states_and_conservation(setting, path):
    """With bias_factor 1 nothing is lost: words and initial states hold the score. These are zero, and yet get a share."""
    golden = golden_models.load(path)
    for sentence in SENTENCES:
        given = f"{sentence}/lrp/{setting}"
        of_x, *of_states = explain(path, sentence, setting, "initial states", "float64")
        want = {"x": (golden[f"{given}/Rx_left"] + golden[f"{given}/Rx_right"])[None]}
        golden_models.assert_agree({"x": of_x}, want, "float64", BOUND["float64"])
        rest = sum(r.sum() for r in of_states)
        assert abs(rest - golden[f"{given}/R_rest"]) <= 1e-12 * max(1.0, np.abs(of_x).sum())
        assert abs(of_x.sum() + rest - golden[f"{given}/R_total"]) <= 1e-12 * max(1.0, np.abs(of_x).sum())
        if golden[f"{given}/bias_factor"] == 1:
            assert abs(of_x.sum() + rest - golden[f"{given}/score"]) <= 1e-12 * max(1.0, np.abs(of_x).sum())


def test_sentences_of_one_length_can_be_explained_together(path):
    """Samples do not see each other."""
    golden = golden_models.load(path)
    x = golden["s0/x"]
    analyzer = analyzer_of(path, "bidirectional", "float64", 0.001, 0.0)
    found = analyzer.analyze(np.stack([x, x[::-1], 2 * x]), neuron_selection=1)
    for one, alone in zip(found, (x, x[::-1], 2 * x), strict=True):
        assert golden_models.error(one, analyzer.analyze(alone[None], neuron_selection=1)[0]) <= 1e-12


def test_keras_weights_are_those_that_were_converted_elsewhere(path, shared_data):
    golden, converted = golden_models.load(path), golden_models.load(shared_data / "lstm" / "lstm_sst_weights.npz")
    for side in SIDES:
        names = [f"keras/{side}_{name}" for name in ("kernel", "recurrent_kernel", "bias")]
        for name, array in zip(names, keras_weights(golden, side), strict=True):
            np.testing.assert_array_equal(converted[name], array)
    both = np.concatenate([converted[f"keras/dense_{side}_kernel"] for side in SIDES])
    np.testing.assert_array_equal(both, output_kernel(golden))


def test_every_setting_is_tested(path):
    keys = golden_models.under(golden_models.load(path), *(f"{sentence}/lrp/" for sentence in SENTENCES))
    assert {key.split("/")[0] for key in keys} == set(SENTENCES)
    assert {key.split("/")[2] for key in keys} == set(SETTINGS)
