"""A session and `with_preset` explain as new analyzers do, and compute again only what a change concerns."""

import pickle

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from random_networks import float64, inputs, networks, presets  # noqa: F401
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import select
from tf_lrp.explain import Session
from tf_lrp.rules import Epsilon, Gamma, Stop, ZPlus

pytestmark = pytest.mark.eager
BATCH = inputs(8)


def close(ours, theirs, tolerance=1e-9):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1e-300, np.abs(theirs).max()))


@settings(max_examples=25, deadline=None)
@given(networks(), st.lists(presets, min_size=2, max_size=3))
def test_every_preset_is_explained_as_by_an_analyzer(model, several):
    analyzer = tf_lrp.Analyzer(model, several[0], trace="never")
    session = analyzer.session(BATCH)
    for preset in (several[0], *several, several[0]):
        expected = tf_lrp.Analyzer(model, preset, trace="never").analyze(BATCH)
        close(session.analyze(preset), expected)
        close(analyzer.with_preset(preset).analyze(BATCH), expected, 1e-12)


def chain(depth=6):
    h = x = keras.Input((4,), dtype="float64")
    for n in range(depth):
        h = layers.Dense(4, activation="relu", name=f"d{n}", dtype="float64")(h)
    return randomize(keras.Model(x, layers.Dense(3, name="scores", dtype="float64")(h)))


@pytest.fixture
def calls(monkeypatch):
    """Names of the twins that ran forward, and of those that propagated relevance."""
    from tf_lrp.twins import planned

    forward, backward = [], []
    real_call, real_propagate = tf_lrp.twins.AffineTwin.call, planned.PlannedPropagation.propagate

    def call(self, *inputs):
        forward.append(self.name)
        return real_call(self, *inputs)

    def propagate(self, relevance):
        backward.append(self.affine.layer.name)
        return real_propagate(self, relevance)

    monkeypatch.setattr(tf_lrp.twins.AffineTwin, "call", call)
    monkeypatch.setattr(planned.PlannedPropagation, "propagate", propagate)
    return forward, backward


def test_only_what_lies_below_a_change_is_propagated_again(calls):
    forward, backward = calls
    model, x = chain(), np.random.default_rng(0).normal(size=(2, 4))
    names = [layer.name for layer in model.layers[1:]]
    session = tf_lrp.Analyzer(model, "epsilon").session(x)
    assert forward == names
    session.analyze()
    assert backward == names[::-1]
    forward.clear(), backward.clear()
    session.analyze()
    session.analyze("epsilon")
    assert forward == backward == []
    session.analyze(tf_lrp.Preset([(select.name("d2"), Gamma(0.3)), (select.all(), Epsilon(1e-6))]))
    assert "d2" in forward and not {"d0", "d4", "d5", "scores"} & set(forward)  # a neighbour may get another plan
    assert backward[-3:] == ["d2", "d1", "d0"] and not {"d5", "scores"} & set(backward)


def test_targets_layers_and_outputs():
    model, x = convnet(), pictures()
    first, second = tf_lrp.Analyzer(model, "epsilon"), tf_lrp.Analyzer(model, "cmp_a2_flat")
    hot = np.zeros((3, 5), "float32")
    hot[:, 2] = 0.7
    for selection in (None, "all", 2, [0, 4, 1], np.tile([3, 1], (3, 1)), tf_lrp.target.neuron(1), hot):
        session = first.session(x, selection)
        for analyzer in (first, second):
            wanted, got = (
                e.analyze(*given, layers=["conv1", "bn2"])
                for e, given in ((analyzer, (x, selection)), (session, (analyzer.preset,)))
            )
            keras.tree.map_structure(lambda a, b: close(a, b, 1e-5), got, wanted)
        close(session.output, first.with_output(x)[0], 1e-5)
    assert session.analyze(dtype="float16").dtype == np.float16
    assert session.preset.name == "cmp_a2_flat"


def test_several_inputs_and_outputs_with_a_shared_layer():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    shared = layers.Dense(4, activation="relu", name="shared")
    both = layers.Add()([shared(left), shared(right)])
    outputs = [layers.Dense(2, name="one")(both), layers.Dense(2, name="other")(shared(left))]
    model = randomize(keras.Model([left, right], outputs))
    x = [np.random.default_rng(n).normal(size=(2, 3)).astype("float32") for n in range(2)]
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    for output in ("one", "other"):
        session = analyzer.session(x, output=output)
        for preset in ("epsilon", "gamma"):
            expected = tf_lrp.Analyzer(model, preset).analyze(x, output=output, layers="shared")
            keras.tree.map_structure(lambda a, b: close(a, b, 1e-5), session.analyze(preset, layers="shared"), expected)


def test_words_and_steps():
    inputs = keras.Input((5,), dtype="int32")
    h = layers.LSTM(4)(layers.Embedding(9, 3)(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(2)(h)))
    x = np.array([[1, 2, 3, 4, 0], [8, 8, 1, 0, 0]])
    session = tf_lrp.Analyzer(model, "epsilon").session(x)
    for preset in ("epsilon", "z", tf_lrp.Preset([(select.kind("recurrent"), ZPlus()), (select.all(), Epsilon(0.1))])):
        close(session.analyze(preset), tf_lrp.Analyzer(model, preset).analyze(x), 1e-5)
    with pytest.raises(ValueError, match="accepts integers from 0 to 8"):
        tf_lrp.Analyzer(model, "epsilon").session(x + 5)


def test_a_preset_that_does_not_fit_leaves_the_session_as_it_was():
    model, x = convnet(), pictures()
    session = tf_lrp.Analyzer(model, "epsilon").session(x)
    before = session.analyze()
    with pytest.raises(ValueError, match="has no rule for"):
        session.analyze(tf_lrp.Preset([(select.name("conv1"), Gamma())]))
    with pytest.raises(ValueError, match="nothing"):
        session.analyze(layers="nothing")
    assert session.preset.name == "epsilon"
    np.testing.assert_array_equal(session.analyze(), before)
    stopped = tf_lrp.Preset([(select.name("conv2"), Stop()), (select.all(), Epsilon())])
    assert not session.analyze(stopped).any()
    np.testing.assert_array_equal(session.analyze("epsilon"), before)


def test_it_checks_its_samples():
    analyzer = tf_lrp.Analyzer(convnet(), "epsilon")
    with pytest.raises(ValueError, match="needs a batch axis"):
        analyzer.session(pictures()[0])
    with pytest.raises(ValueError, match="no neuron 5"):
        analyzer.session(pictures(), 5)
    assert isinstance(analyzer.session(pictures()), Session)


def test_an_analyzer_with_another_preset():
    model, x = convnet(activation="softmax"), pictures()
    options = {"strip_softmax": False, "fold_batchnorm": False, "optimize": False, "batch_size": 2, "trace": "never"}
    analyzer = tf_lrp.Analyzer(model, "epsilon", verbose=False, **options)
    analyzer.batch_size = 3
    other = analyzer.with_preset("gamma")
    assert (other.preset.name, analyzer.preset.name, other.batch_size, other.trace) == ("gamma", "epsilon", 3, "never")
    expected = tf_lrp.Analyzer(model, "gamma", **options).analyze(x)
    close(other.analyze(x), expected, 1e-6)
    close(pickle.loads(pickle.dumps(other)).analyze(x), expected, 1e-6)
    assert str(other.rules()) != str(analyzer.rules())
    model.layers[1].kernel.assign(2 * model.layers[1].kernel)
    close(other.analyze(x), tf_lrp.Analyzer(model, "gamma", **options).analyze(x), 1e-6)
    assert type(tf_lrp.create_analyzer("lrp.epsilon", convnet()).with_preset("z")) is tf_lrp.Analyzer


# -- what is asked of a session besides its maps ------------------------------------------------------------------------------


def samples(count):
    return np.random.default_rng(5).normal(size=(count, 4))


def test_another_neuron_of_the_same_samples_takes_no_forward_pass(calls):
    model, x = chain(), samples(3)
    analyzer = tf_lrp.Analyzer(model, "epsilon", trace="never")
    session = analyzer.session(x, 0)
    selections = (2, [0, 1, 2], np.array([[0, 1], [1, 2], [2, 0]]), None)
    calls[0].clear()
    found = []
    for selection in selections:
        session.select(selection)
        found.append(session.analyze())
    assert calls[0] == []
    for selection, relevance in zip(selections, found, strict=True):
        close(relevance, analyzer.analyze(x, selection))
    with pytest.raises(ValueError, match="7"):
        session.select(7)
    close(session.analyze(), analyzer.analyze(x))


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("allowed", [0, 1, 3, 5, 8, 11])
def test_an_interrupted_explanation_leaves_no_trace(allowed):
    model, x = chain(), samples(3)
    session = tf_lrp.Analyzer(model, "epsilon", trace="never").session(x)
    before = session.analyze()
    left = iter(range(allowed))

    def between():
        if next(left, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        session.analyze(Gamma(0.5), between=between)
    close(session.analyze(), before)
    close(session.analyze(Gamma(0.5)), tf_lrp.Analyzer(model, Gamma(0.5), trace="never").analyze(x))


@settings(max_examples=15, deadline=None)
@given(networks(), presets)
def test_activations_are_those_of_the_textbook_twin(model, preset):
    """Without optimizations the inner tensors of the twin have the model's values; with them, some are clamped at 0."""
    session = tf_lrp.Analyzer(model, preset, trace="never").session(BATCH)
    textbook = tf_lrp.Analyzer(model, preset, trace="never", optimize=False)
    names = [name for name, tensors in textbook.layer_outputs.items() if len(tensors) == 1]
    values = keras.Model(textbook.twin.inputs, [textbook.layer_outputs[name][0] for name in names])(BATCH)
    for _ in range(2):
        for name, value in session.activations(names).items():
            close(value, np.asarray(values[names.index(name)]), 1e-7)
        session.analyze(ZPlus())


def test_ablated_channels_are_zero_for_all_that_follows():
    a = keras.Input((4,), dtype="float64")
    h = layers.Dense(5, activation="relu", name="h", dtype="float64")(a)
    branch = layers.Dense(5, activation="relu", name="branch", dtype="float64")(h)
    model = randomize(keras.Model(a, layers.Dense(3, dtype="float64")(layers.Add()([h, branch]))))
    x = samples(4)
    session = tf_lrp.Analyzer(model, "epsilon", trace="never").session(x)
    before = session.analyze()
    kept = np.array([1, 0, 1, 0, 1.0])
    first, second, third = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    values = np.asarray(first(x)) * kept
    expected = np.asarray(third(values + np.asarray(second(values))))
    close(session.ablated("h", [1, 3]), expected)
    close(session.ablated("h", []), session.output)
    close(session.analyze(), before)
    with pytest.raises(ValueError, match="no channel 5"):
        session.ablated("h", [5])
    with pytest.raises(ValueError, match="no layer 'g'"):
        session.ablated("g", [0])
