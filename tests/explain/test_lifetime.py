"""What an analyzer leaves behind when it is dropped, and what is left of it in a pickle or a copy."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lrp
from tf_lrp.keras_compat.tensorflow_internals import gradient_registry
from tf_lrp.methods import catalog

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


def _graphs():
    return [o for o in gc.get_objects() if type(o).__name__ == "FuncGraph"]


def _used_and_dropped(model, preset, x):
    # A function of its own: AutoGraph reads the locals of its callers, and Python 3.11 keeps what it read until the frame ends.
    analyzer = tf_lrp.Analyzer(model, preset)
    analyzer.analyze(x, [[0, 1]] * len(x))
    analyzer.conservation(x)
    tf.function(lambda t: analyzer(t))(x)
    return [weakref.ref(analyzer), weakref.ref(analyzer.twin), *map(weakref.ref, analyzer.twin.layers)]


def test_nothing_is_left_of_dropped_analyzers(model, x):
    tf_lrp.Analyzer(model, "epsilon").analyze(x)
    gc.collect()
    entries, graphs = len(gradient_registry.list()), len(_graphs())
    for preset in ("epsilon", "cmp_a2_flat") * 2:
        references = _used_and_dropped(model, preset, x)
        gc.collect()
        assert all(reference() is None for reference in references)
    assert len(gradient_registry.list()) == entries
    assert len(_graphs()) == graphs


def test_nothing_is_left_of_a_dropped_recurrent_analyzer():
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3), keras.layers.Dense(2)])
    x = np.ones((1, 4, 2), "float32")
    counts = []
    for _ in range(3):
        tf_lrp.Analyzer(model, "epsilon").analyze(x)
        gc.collect()
        counts.append((len(gradient_registry.list()), len(_graphs())))
    assert counts[1] == counts[2]


def test_gradients_of_a_graph_that_lives_are_found_from_outside(model, x):
    """A traced twin is differentiated after tracing, by the gradients that its graph holds."""
    twin = tf_lrp.Analyzer(model, "epsilon").twin
    traced = tf.function(lambda t: twin(t), autograph=False).get_concrete_function(tf.TensorSpec((None, 8, 8, 3)))
    gc.collect()
    found = []
    for run in (traced, twin):
        t = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(t)
            scores = run(t)
        found.append(tape.gradient(scores, t, scores))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-7)


_COPIES = {"pickle": lambda a: pickle.loads(pickle.dumps(a)), "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("how", _COPIES)
def test_copies_of_an_analyzer(model, x, how):
    rules = [(tf_lrp.select.kind("conv"), tf_lrp.rules.Gamma(0.5)), (tf_lrp.select.all(), tf_lrp.rules.Epsilon(1e-3))]
    preset = tf_lrp.Preset(rules, "mine")
    analyzer = tf_lrp.Analyzer(model, preset, batch_size=2, strip_softmax=False, inputs=keras.Input((8, 8, 3), name="seen"))
    analyzer.batch_size = 1
    copied = _COPIES[how](analyzer)
    assert (copied.batch_size, copied.preset.to_json()) == (1, preset.to_json())
    np.testing.assert_allclose(copied.analyze(x, layers=["conv"])["conv"], analyzer.analyze(x, layers=["conv"])["conv"])
    assert copied.twin.inputs[0].name == "seen"


def test_a_deep_copy_has_weights_of_its_own(x):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    analyzer = tf_lrp.Analyzer(model, "z")
    deep, shallow = copy.deepcopy(analyzer), copy.copy(analyzer)
    before = analyzer.analyze(x, 0)
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    np.testing.assert_allclose(deep.analyze(x, 0), before)
    np.testing.assert_allclose(shallow.analyze(x, 0), 2 * before, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["gradient", "smoothgrad", "integrated_gradients", "pattern_attribution", "grad_cam", "occlusion"]
)
def test_copies_of_other_methods(model, x, name):
    explainer = catalog.explainer(name, model)
    if name == "pattern_attribution":
        explainer.fit(x)
    copied = pickle.loads(pickle.dumps(explainer))
    np.testing.assert_allclose(copied.analyze(x, 0), explainer.analyze(x, 0), rtol=1e-4, atol=1e-6)
    assert copied.configuration() == explainer.configuration()


def test_patterns_given_by_position_are_pickled_once(model, x):
    patterns = tf_lrp.methods.PatternNet(model).fit(x).patterns
    explainer = tf_lrp.methods.PatternNet(model, patterns)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(explainer)).analyze(x, 0), explainer.analyze(x, 0), rtol=1e-5)


def test_saving_a_twin_says_what_to_do(model, tmp_path):
    with pytest.raises(NotImplementedError, match=r"analyzer\.export"):
        tf_lrp.Analyzer(model, "z").twin.save(tmp_path / "twin.keras")
