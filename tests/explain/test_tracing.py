"""When a graph is traced: at once, not at all, or once that repays."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp.explain import explainer as explainers
from tf_lrp.methods import Gradient, IntegratedGradients, Occlusion, SmoothGrad

X = pictures(6)


@pytest.fixture(scope="module")
def model():
    return convnet()


@pytest.fixture(scope="module")
def traced(model):
    return tf_lrp.Analyzer(model, "cmp_a2_flat", trace="always")


def traces(explainer):
    return [run.experimental_get_tracing_count() for run in explainer.compiled_passes.values()]


def close(ours, theirs):
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_the_third_pass_is_traced(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    expected = traced.analyze(X)
    for call in range(4):
        close(analyzer.analyze(X), expected)
        assert traces(analyzer) == [1] * (call >= 2)
    assert traces(traced) == [1]


def test_many_batches_are_traced_at_once(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    close(analyzer.analyze(X, batch_size=2), traced.analyze(X))
    assert traces(analyzer) == [1]


def test_two_batches_are_not(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    close(analyzer.analyze(X, batch_size=3), traced.analyze(X))
    assert traces(analyzer) == []
    close(analyzer(X), traced(X))
    assert traces(analyzer) == [1]


def test_each_kind_of_pass_counts_for_itself(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    for selection in (None, 1, [0, 1, 2, 0, 1, 2], np.tile([0, 2], (6, 1))):
        for layer in (None, "conv1"):
            close_all(analyzer.analyze(X, selection, layers=layer), traced.analyze(X, selection, layers=layer))
    assert traces(analyzer) == []


def close_all(ours, theirs):
    keras.tree.map_structure(close, ours, theirs)


def test_never(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", trace="never")
    close(analyzer.analyze(X, batch_size=1), traced.analyze(X))
    assert traces(analyzer) == []


def test_inside_a_function_there_is_a_graph(model, traced):
    for trace in ("auto", "never"):
        analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", trace=trace)
        close(tf.function(analyzer)(tf.constant(X)), traced(X))
        (batch,) = tf.data.Dataset.from_tensors(X).map(analyzer)
        close(batch, traced(X))
        assert traces(analyzer) == [1]


def test_recurrent_networks_are_traced_at_once():
    model = randomize(keras.Sequential([keras.Input((5, 3)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)]))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    for explainer in (tf_lrp.Analyzer(model, "epsilon"), Gradient(model)):
        explainer.analyze(x)
        assert traces(explainer) == [1]


@pytest.mark.parametrize(
    ("build", "many"),
    [
        (lambda m, **k: IntegratedGradients(m, steps=3, **k), True),
        (lambda m, **k: IntegratedGradients(m, steps=1, **k), False),
        (lambda m, **k: SmoothGrad(m, samples=3, **k), True),
        (lambda m, **k: SmoothGrad(m, samples=2, **k), False),
        (lambda m, **k: SmoothGrad(IntegratedGradients(m, steps=2), samples=2, **k), True),
        (lambda m, **k: Occlusion(m, size=4, **k), True),
        (lambda m, **k: Gradient(m, **k), False),
    ],
)
def test_methods_of_many_passes_are_traced_at_once(model, build, many):
    explainer = build(model)
    relevance = explainer.analyze(X)
    assert traces(explainer) == [1] * many
    close(relevance, build(model, trace="never" if many else "always").analyze(X))


def test_copies_and_pickles_keep_the_option(model):
    analyzer = tf_lrp.Analyzer(model, "epsilon", trace="never")
    for copied in (copy.copy(analyzer), pickle.loads(pickle.dumps(analyzer))):
        assert copied.trace == "never"
        copied.analyze(X, batch_size=1)
        assert traces(copied) == []


def test_large_batches_are_traced_at_once(model, traced, monkeypatch):
    bytes_of_a_sample = 4 * (8 * 8 * 4 + 4 * 4 * 4 + 2 * 2 * 6 + 2 * 2 * 6 + 6 + 5)  # the normalization is merged
    for limit, count in ((6 * bytes_of_a_sample, 0), (6 * bytes_of_a_sample - 1, 1)):
        monkeypatch.setattr(explainers, "EAGER_BYTES", limit)
        analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
        close(analyzer.analyze(X), traced.analyze(X))
        assert traces(analyzer) == [1] * count


def test_what_was_traced_goes_on(model):
    analyzer = tf_lrp.Analyzer(model, "epsilon", trace="always")
    analyzer.analyze(X)
    analyzer.trace = "never"
    analyzer.analyze(X)
    assert traces(analyzer) == [1]


def test_wrong_options(model):
    with pytest.raises(ValueError, match=r'trace is "auto", "always" or "never", got True'):
        tf_lrp.Analyzer(model, trace=True)
    with pytest.raises(ValueError, match="XLA compiles graphs"):
        tf_lrp.Analyzer(model, trace="never", jit_compile=True)


def test_errors_are_the_same(model, traced):
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", trace="never")
    for explainer in (analyzer, traced):
        with pytest.raises(ValueError, match="no neuron 99"):
            explainer(tf.constant(X), tf.constant(99))
        with pytest.raises(ValueError, match="shape"):
            explainer(tf.zeros((2, 3, 3, 3)))
