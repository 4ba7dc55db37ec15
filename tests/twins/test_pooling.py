"""Ties in max-pooling and maximum, and layers that copy."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import Epsilon, Flat, WinnerTakesAll

pytestmark = pytest.mark.compiled


def explain(layer, x, start, rule=None):
    inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
    rules = [(select.kind("pooling", "merge"), rule)] if rule else []
    preset = tf_lrp.Preset([*rules, (select.all(), Epsilon())])
    return tf_lrp.Analyzer(keras.Model(inputs, layer(inputs)), preset).analyze(x, neuron_selection=start)


def naive(x, start, size, stride, padding, ties):
    """Loops over windows: the winner's share of each output."""
    relevance = np.zeros(x.shape)
    lengths, outputs = x.shape[1:-1], start.shape[1:-1]
    before = [
        max((o - 1) * stride + size - n, 0) // 2 if padding == "same" else 0 for n, o in zip(lengths, outputs, strict=True)
    ]
    for n, c in itertools.product(range(len(x)), range(x.shape[-1])):
        for place in itertools.product(*map(range, outputs)):
            taps = [
                [i for i in range(p * stride - b, p * stride - b + size) if 0 <= i < length]
                for p, b, length in zip(place, before, lengths, strict=True)
            ]
            window = [(n, *at, c) for at in itertools.product(*taps)]
            best = max(x[w] for w in window)
            winners = [w for w in window if x[w] == best]
            winners = winners if ties == "share" else winners[:1]
            for w in winners:
                relevance[w] += start[(n, *place, c)] / len(winners)
    return relevance


@pytest.mark.parametrize("ties", ["first", "share"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_ties(dims, padding, ties):
    rng = np.random.default_rng(dims)
    x = rng.integers(-1, 2, (2, *[5] * dims, 2)).astype("float32")
    layer = [layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D][dims - 1](3, strides=2, padding=padding)
    start = rng.normal(size=layer(x).shape)
    got = explain(layer, x, start, WinnerTakesAll(ties))
    np.testing.assert_allclose(got, naive(x, start, 3, 2, padding, ties), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ties", ["first", "share"])
@pytest.mark.parametrize("keepdims", [True, False])
def test_global_max_pooling(keepdims, ties):
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 2)).astype("float32")
    start = np.random.default_rng(1).normal(size=(2, 2))
    layer = layers.GlobalMaxPooling2D(keepdims=keepdims)
    shape = (2, 1, 1, 2) if keepdims else (2, 2)
    got = explain(layer, x, start.reshape(shape), WinnerTakesAll(ties))
    want = np.zeros(x.shape)
    for n, c in itertools.product(range(2), range(2)):
        at = [i for i in itertools.product(range(3), range(4)) if x[(n, *i, c)] == x[n, ..., c].max()]
        for i in at if ties == "share" else at[:1]:
            want[(n, *i, c)] = start[n, c] / (len(at) if ties == "share" else 1)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_flat_at_max_pooling_shares_the_window():
    x, start = np.arange(8.0).reshape(1, 4, 2), np.ones((1, 2, 2))
    np.testing.assert_allclose(explain(layers.MaxPooling1D(2), x, start, Flat()), np.full((1, 4, 2), 0.5))


@pytest.mark.parametrize(("layer", "largest"), [(layers.Maximum, True), (layers.Minimum, False)])
@pytest.mark.parametrize("ties", ["first", "share"])
def test_maximum_and_minimum(layer, largest, ties):
    xs = [np.array([[1.0, 2.0, 0.0]]), np.array([[1.0, 3.0, 0.0]]), np.array([[0.0, 3.0, 0.0]])]
    inputs = [keras.Input((3,), dtype="float64") for _ in xs]
    preset = tf_lrp.Preset([(select.kind("merge"), WinnerTakesAll(ties)), (select.all(), Epsilon())])
    model = keras.Model(inputs, layer(dtype="float64")(inputs))
    got = tf_lrp.Analyzer(model, preset).analyze(xs, neuron_selection=np.full((1, 3), 6.0))
    values = np.concatenate(xs)
    best = values == (values.max(axis=0) if largest else values.min(axis=0))
    share = best / best.sum(axis=0) if ties == "share" else best & (np.cumsum(best, axis=0) == 1)
    np.testing.assert_allclose(np.concatenate(got), 6 * share)


def test_copies_sum_and_slices_route():
    x = np.array([[[0.0], [2.0]]])
    start = np.arange(1.0, 5.0).reshape(1, 4, 1)
    np.testing.assert_allclose(explain(layers.UpSampling1D(2), x, start)[0, :, 0], [3, 7])
    picture = x.reshape(1, 1, 2, 1)
    start = np.arange(8.0).reshape(1, 2, 4, 1)
    np.testing.assert_allclose(explain(layers.UpSampling2D(2), picture, start)[0, 0, :, 0], [0 + 1 + 4 + 5, 2 + 3 + 6 + 7])
    inputs = keras.Input((3, 2), dtype="float64")
    first = tf_lrp.Analyzer(keras.Model(inputs, inputs[:, 0]), "z")
    got = first.analyze(np.ones((1, 3, 2)), neuron_selection=np.array([[5.0, 6.0]]))
    np.testing.assert_allclose(got, [[[5, 6], [0, 0], [0, 0]]])


@pytest.mark.parametrize("name", ["amax", "amin"])
def test_other_names_of_max_and_min(name):
    inputs = keras.Input((4, 3))
    x = np.random.default_rng(1).normal(size=(2, 4, 3)).astype("float32")
    found, expected = (
        tf_lrp.Analyzer(keras.Model(inputs, getattr(keras.ops, function)(inputs, axis=1)), "z").analyze(x, neuron_selection=0)
        for function in (name, name[1:])
    )
    assert found.any()
    np.testing.assert_array_equal(found, expected)
