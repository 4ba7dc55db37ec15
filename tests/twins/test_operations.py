"""Functions of keras.ops that open into others are explained as what they are when written out; linear ones by contribution."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tf_lrp

pytestmark = pytest.mark.eager


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


class Of(layers.Layer):
    """A layer whose call is a function."""

    def __init__(self, function, name="of"):
        super().__init__(name=name)
        self.function = function

    def call(self, x):
        return self.function(x)


HEAD = numbers(64, 2, seed=9)


def model_of(function, shape=(4, 6), batch_size=None, in_layer=True):
    """x -> a head without a bias on function(x)."""
    inputs = keras.Input(shape, batch_size=batch_size)
    h = layers.Flatten()((Of(function) if in_layer else function)(inputs))
    head = layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, head(h))
    head.kernel.assign(HEAD[: h.shape[-1]])
    return model


def explained(function, shape=(4, 6), x=None, rtol=1e-4, **how):
    """Relevance of both outputs (2, N, ...), after checks that the twin is the model and all relevance is accounted for."""
    x = numbers(3, *shape) if x is None else x
    model = model_of(function, shape, **how)
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x), model(x), rtol=rtol, atol=1e-5)
    balance = analyzer.conservation(x)
    assert abs(balance.rounding) < 1e-4 * max(abs(balance.output), abs(balance.input), 1)
    relevance = np.stack([analyzer.analyze(x, neuron_selection=n) for n in (0, 1)])
    assert np.isfinite(relevance).all() and relevance.any()
    return relevance


def rolled(x):
    return ops.roll(x, 1, axis=1)


def weighted_mean(x, w):
    return ops.sum(x * w, axis=1) / np.float32(w.sum())


W = np.array([0.5, -1, 2, 3], "float32")[:, None]
PLACES = np.array([0.0, 0.5, 2.0, 2.5, 3.1, 4.0], "float32")
M = numbers(6, 6, seed=3)
IDS = np.array([0, 2, 2, 1])


def with_gap(x):
    """x with what is no number where x is large."""
    return ops.where(x > 0.8, np.float32(np.nan), x)


def no_gap(x, value=0.0):
    return ops.where(x > 0.8, np.float32(value), x)


def count(x):
    return ops.sum(ops.cast(x <= 0.8, "float32"), axis=1)


def variance(x, axis=1):
    return ops.mean(ops.square(x - ops.mean(x, axis=axis, keepdims=True)), axis=axis)


def scanned(x):
    state, states = x[:, 0], []
    for n in range(4):
        state = ops.tanh(state) + x[:, n]
        states.append(state)
    return ops.stack(states, axis=1)


def batch_last(f):
    """A function of the axis 0 in the place of one of the axis 1."""
    return lambda x: ops.transpose(f(ops.transpose(x, (1, 0, 2))), (1, 0, 2))


#: function -> what it is, written out in functions that have a rule of their own.
WRITTEN_OUT = {
    "average": (lambda x: ops.average(x, axis=1, weights=W[:, 0]), lambda x: weighted_mean(x, W)),
    "average, unweighted": (lambda x: ops.average(x, axis=1), lambda x: ops.mean(x, axis=1)),
    "diff": (lambda x: ops.diff(x, axis=1), lambda x: x[:, 1:] - x[:, :-1]),
    "second diff": (lambda x: ops.diff(x, n=2), lambda x: (x[..., 2:] - x[..., 1:-1]) - (x[..., 1:-1] - x[..., :-2])),
    "trapezoid": (
        lambda x: ops.trapezoid(x, x=PLACES),
        lambda x: ops.sum((x[..., 1:] + x[..., :-1]) * (np.diff(PLACES) / 2), axis=-1),
    ),
    "var": (lambda x: ops.var(x, axis=1), variance),
    "std": (lambda x: ops.std(x, axis=1), lambda x: ops.sqrt(variance(x))),
    "moments": (
        lambda x: ops.concatenate(ops.moments(x, [1]), -1),
        lambda x: ops.concatenate([ops.mean(x, 1), variance(x)], -1),
    ),
    "ptp": (lambda x: ops.ptp(x, axis=1), lambda x: ops.max(x, axis=1) - ops.min(x, axis=1)),
    "norm": (lambda x: ops.norm(x, axis=-1), lambda x: ops.sqrt(ops.sum(x**2, axis=-1))),
    "1-norm": (lambda x: ops.norm(x, ord=1, axis=-1), lambda x: ops.sum(ops.abs(x), axis=-1)),
    "3-norm": (lambda x: ops.norm(x, ord=3, axis=-1), lambda x: ops.sum(ops.abs(x) ** 3, axis=-1) ** (1 / 3)),
    "largest": (lambda x: ops.norm(x, ord=np.inf, axis=-1), lambda x: ops.max(ops.abs(x), axis=-1)),
    "Frobenius": (lambda x: ops.norm(x, axis=(1, 2))[:, None], lambda x: ops.sqrt(ops.sum(x**2, axis=(1, 2)))[:, None]),
    "hypot": (lambda x: ops.hypot(x, rolled(x)), lambda x: ops.sqrt(x**2 + rolled(x) ** 2)),
    "cdist": (
        lambda x: ops.cdist(x, 2 * rolled(x)),
        lambda x: ops.sqrt(ops.sum((x[:, :, None] - 2 * rolled(x)[:, None]) ** 2, axis=-1)),
    ),
    "prod": (lambda x: ops.prod(x, axis=1), lambda x: layers.Multiply()([x[:, n] for n in range(4)])),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=1), lambda x: ops.log(ops.sum(ops.exp(x), axis=1))),
    "logaddexp": (lambda x: ops.logaddexp(x, rolled(x)), lambda x: ops.log(ops.exp(x) + ops.exp(rolled(x)))),
    "nansum": (lambda x: ops.nansum(with_gap(x), axis=1), lambda x: ops.sum(no_gap(x), axis=1)),
    "nanmean": (lambda x: ops.nanmean(with_gap(x), axis=1), lambda x: ops.sum(no_gap(x), axis=1) / count(x)),
    "nanmax": (lambda x: ops.nanmax(with_gap(x), axis=1), lambda x: ops.max(no_gap(x, -9.0), axis=1)),
    "nanmin": (lambda x: ops.nanmin(with_gap(x), axis=1), lambda x: ops.min(no_gap(x, 9.0), axis=1)),
    "nancumsum": (lambda x: ops.nancumsum(with_gap(x), axis=1), lambda x: ops.cumsum(no_gap(x), axis=1)),
    "fmax": (lambda x: ops.fmax(with_gap(x), rolled(x)), lambda x: ops.maximum(no_gap(x, -9.0), rolled(x))),
    "fmax with a number": (lambda x: ops.fmax(with_gap(x), 0.3), lambda x: ops.maximum(no_gap(x, 0.3), 0.3)),
    "logaddexp with a number": (lambda x: ops.logaddexp(x, 0.5), lambda x: ops.log(ops.exp(x) + np.exp(0.5))),
    "fmin": (lambda x: ops.fmin(rolled(x), with_gap(x)), lambda x: ops.minimum(rolled(x), no_gap(x, 9.0))),
    "separable_conv": (
        lambda x: ops.separable_conv(x, numbers(2, 6, 2), numbers(1, 12, 3, seed=1), padding="same"),
        lambda x: ops.conv(ops.depthwise_conv(x, numbers(2, 6, 2), padding="same"), numbers(1, 12, 3, seed=1)),
    ),
    "extract_patches": (
        lambda x: ops.image.extract_patches(ops.reshape(x, (-1, 4, 3, 2)), 2, padding="VALID"),
        lambda x: ops.image.extract_patches(ops.reshape(x, (-1, 4, 3, 2)), 2, padding="valid"),
    ),
    "adaptive pooling": (
        lambda x: ops.adaptive_average_pool(ops.reshape(x, (-1, 4, 6, 1)), (2, 3), "channels_last"),
        lambda x: ops.average_pool(ops.reshape(x, (-1, 4, 6, 1)), 2),
    ),
    "adaptive max-pooling": (
        lambda x: ops.adaptive_max_pool(ops.reshape(x, (-1, 4, 6, 1)), (2, 3), "channels_last"),
        lambda x: ops.max_pool(ops.reshape(x, (-1, 4, 6, 1)), 2),
    ),
    "is in": (
        lambda x: x * ops.cast(ops.isin(ops.argmax(x, axis=-1, keepdims=True), np.array([1, 4])), "float32"),
        lambda x: x * ops.cast(ops.abs(ops.abs(ops.argmax(x, axis=-1, keepdims=True) * 2 - 5) - 3) < 1, "float32"),
    ),
    "rearrange": (
        lambda x: ops.rearrange(x, "n (a b) c -> n b (c a)", a=2),
        lambda x: ops.reshape(ops.transpose(ops.reshape(x, (-1, 2, 2, 6)), (0, 2, 3, 1)), (-1, 2, 12)),
    ),
    "rearranged batch": (
        lambda x: ops.rearrange(ops.rearrange(x, "n t c -> (n t) c") * 2, "(n t) c -> n c t", t=4),
        lambda x: ops.transpose(2 * x, (0, 2, 1)),
    ),
    "vander": (
        lambda x: ops.reshape(ops.vander(ops.reshape(x, (-1,)), 3), (-1, 72))[:, :60],
        lambda x: ops.reshape(ops.stack([x**2, x, x**0], axis=-1), (-1, 72))[:, :60],
    ),
    "map": (batch_last(lambda x: ops.map(lambda t: ops.tanh(t) * 2, x)), lambda x: ops.tanh(x) * 2),
    "vectorized_map": (batch_last(lambda x: ops.vectorized_map(lambda t: ops.tanh(t) * 2, x)), lambda x: ops.tanh(x) * 2),
    "scan": (
        batch_last(lambda x: ops.scan(lambda s, t: (ops.tanh(s) + t,) * 2, x[0], x)[1]),
        scanned,
    ),
    "associative_scan": (
        lambda x: ops.associative_scan(ops.add, x, axis=1),
        lambda x: ops.stack([x[:, 0], x[:, 0] + x[:, 1], x[:, 0] + x[:, 1] + x[:, 2], sum(x[:, n] for n in range(4))], 1),
    ),
    "fori_loop": (
        lambda x: ops.fori_loop(1, 3, lambda n, s: ops.tanh(s) * ops.cast(n, "float32") + x, x),
        lambda x: ops.tanh(ops.tanh(x) + x) * 2 + x,
    ),
    "cond": (lambda x: ops.cond(ops.sum(x) > 0, lambda: 2 * x, lambda: x @ M), lambda x: 2 * x),
    "cond, known": (lambda x: ops.cond(True, lambda: 2 * x, lambda: x @ M), lambda x: 2 * x),
    "switch": (
        lambda x: ops.switch(ops.cast(ops.sum(x) > 0, "int32"), [lambda t: 3 * t, lambda t: t @ M, lambda t: t], x),
        lambda x: x @ M,
    ),
    "select": (
        lambda x: ops.select([x > 1, x > 0], [x, 2 * x], 0.5),
        lambda x: ops.where(x > 1, x, ops.where(x > 0, 2 * x, 0.5)),
    ),
    "real": (lambda x: ops.real(ops.conj(x)), lambda x: x * 1),
    "conv_transpose": (
        lambda x: ops.conv_transpose(x, numbers(2, 3, 6), 2),
        lambda x: ops.reshape(ops.einsum("ntc,kfc->ntkf", x, numbers(2, 3, 6)), (-1, 8, 3)),
    ),
    "solve": (
        lambda x: ops.transpose(ops.solve(M, ops.transpose(x[:, 0]))),
        lambda x: ops.matmul(x[:, 0], np.linalg.inv(M).T.astype("float32")),
    ),
}  # fmt: skip
#: Those that Keras cannot run in a layer whose shapes it infers.
FUNCTIONAL = ("average", "associative_scan", "is in")
#: Those that a graph has operations of its own for.
CONTROL_FLOW = ("map", "vectorized_map", "scan", "associative_scan", "fori_loop", "cond", "cond, known", "switch")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.compiled) if name in CONTROL_FLOW else name for name in WRITTEN_OUT]
)
def test_a_function_is_explained_as_what_it_is_written_out(name):
    function, written_out = WRITTEN_OUT[name]
    x = numbers(3, 4, 6, seed=4)
    x *= np.sign(x.sum())
    found, expected = explained(function, x=x, in_layer=name not in FUNCTIONAL), explained(written_out, x=x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def by_contribution(matrix, x, of_output):
    """sum_j x_i w_ij / z_j R_j for a matrix (inputs, outputs), with loops."""
    z = x @ matrix
    relevance = np.zeros_like(x)
    for sample in range(len(x)):
        for i in range(x.shape[1]):
            for j in range(matrix.shape[1]):
                if z[sample, j] != 0:
                    relevance[sample, i] += x[sample, i] * matrix[i, j] / z[sample, j] * of_output[sample, j]
    return relevance


def fourier(length, inverse=False):
    """exp(-+ 2 pi i jk / n)"""
    k = np.arange(length)
    return np.exp((2j if inverse else -2j) * np.pi * np.outer(k, k) / length) / (length if inverse else 1)


def concatenated(parts):
    return ops.concatenate([ops.reshape(p, (-1, int(np.prod(p.shape[1:])))) for p in parts], axis=-1)


def stft_matrix(length, frame, step):
    """Frames of a reflected signal times a Hann window, transformed."""
    padded = np.pad(np.eye(length), ((0, 0), (frame // 2, frame // 2)), mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    starts = range(0, padded.shape[1] - frame + 1, step)
    frames = [(padded[:, s : s + frame] * window) @ fourier(frame)[:, : frame // 2 + 1] for s in starts]
    parts = np.stack(frames, 1)
    return np.concatenate([parts.real.reshape(length, -1), parts.imag.reshape(length, -1)], 1)


def matrix_of(function, length, outputs):
    """The matrix of a linear function, a column for each unit vector."""
    return np.asarray(function(tf.eye(length))).reshape(length, outputs)


F6, F6I = fourier(6), fourier(6, inverse=True)
SEGMENTS = np.eye(4)[IDS][:, :3]
LINEAR = {
    "rfft": (lambda x: concatenated(ops.rfft(x)), np.concatenate([F6.real[:, :4], F6.imag[:, :4]], 1)),
    "fft": (lambda x: concatenated(ops.fft((x, 0 * x))), np.concatenate([F6.real, F6.imag], 1)),
    "irfft": (
        lambda x: ops.irfft((x[:, :4], ops.concatenate([0 * x[:, :1], x[:, 4:], 0 * x[:, :1]], -1))),
        np.concatenate([
            [F6I.real[0], 2 * F6I.real[1], 2 * F6I.real[2], F6I.real[3]], [-2 * F6I.imag[1], -2 * F6I.imag[2]],
        ]),
    ),
    "segment_sum": (
        lambda x: ops.transpose(ops.segment_sum(ops.transpose(x), np.array([0, 2, 2, 1, 0, 0]), 4)),
        np.eye(4)[[0, 2, 2, 1, 0, 0]],
    ),
    "segment_sum to a length": (
        lambda x: ops.transpose(ops.segment_sum(ops.transpose(x), np.array([0, 2, 2, 1, 0, 0]), ops.shape(x)[1])),
        np.eye(6)[[0, 2, 2, 1, 0, 0]],
    ),
    "scatter": (
        lambda x: ops.transpose(ops.scatter([[0], [2], [2], [1], [0], [0]], ops.transpose(x), (4, ops.shape(x)[0]))),
        np.eye(4)[[0, 2, 2, 1, 0, 0]],
    ),
    "fold": (
        lambda x: ops.fold(ops.reshape(x, (-1, 2, 3)), (1, 4), (1, 2))[:, 0, 0],
        np.eye(4)[[0, 1, 2, 1, 2, 3]],
    ),
    "nearest": (
        lambda x: ops.image.resize(ops.reshape(x, (-1, 2, 3, 1)), (4, 3), interpolation="nearest"),
        np.eye(6)[:, [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]],
    ),
    "grayscale": (lambda x: ops.image.rgb_to_grayscale(ops.reshape(x, (-1, 1, 2, 3))), None, 2),
    "sobel": (lambda x: ops.image.sobel_edges(ops.reshape(x, (-1, 2, 3, 1))), None, 12),
    "blur": (lambda x: ops.image.gaussian_blur(ops.reshape(x, (-1, 2, 3, 1))), None, 6),
    "scaled": (
        lambda x: ops.image.scale_and_translate(
            ops.reshape(x, (-1, 2, 3, 1)), (3, 2, 2, 1), np.array([1.1, 0.7], "float32"),
            np.array([0.1, 0.2], "float32"), (1, 2), "linear",
        ),
        None,
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param("fold", marks=pytest.mark.compiled), *(n for n in LINEAR if n != "fold")])
def test_a_linear_function_shares_by_contribution(name):
    function, matrix, *outputs = LINEAR[name]
    matrix = matrix_of(function, 6, *outputs) if matrix is None else matrix
    x = numbers(3, 6, seed=2)
    z, head = x @ matrix, HEAD[: matrix.shape[1]]
    found = explained(function, (6,), x, batch_size=3 if name == "scaled" else None)
    for n in (0, 1):
        expected = by_contribution(matrix, x.astype("float64"), z * head[:, n])
        np.testing.assert_allclose(found[n], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_spectrogram_shares_by_contribution():
    x = numbers(2, 16, seed=2)
    matrix = stft_matrix(16, 8, 4)
    found = explained(lambda t: concatenated(ops.stft(t, 8, 4, 8)), (16,), x)
    expected = by_contribution(matrix, x.astype("float64"), (x @ matrix) * HEAD[: matrix.shape[1], 0])
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    power = explained(lambda t: ops.square(ops.stft(t, 8, 4, 8)[0]), (16,), x)
    assert not np.allclose(power, found)


def test_mel_spectrograms_account_for_all():
    inputs = keras.Input((64,))
    mel = layers.MelSpectrogram(
        fft_length=16, sequence_stride=8, num_mel_bins=4, sampling_rate=100, min_freq=1, power_to_db=False
    )
    head = layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, head(layers.Flatten()(mel(inputs))))
    x = numbers(2, 64)
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x), model(x), rtol=1e-4)
    relevance = analyzer.analyze(x, neuron_selection=1)
    np.testing.assert_allclose(relevance.sum(1), np.asarray(model(x))[:, 1], rtol=1e-3)


def test_correlation_with_weights_is_a_convolution():
    weights = np.array([1.0, -2, 3], "float32")
    model = model_of(lambda x: ops.correlate(ops.reshape(x, (6,)), weights)[None], (6,), 1)
    x = numbers(1, 6)
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x), model(x), rtol=1e-5)
    matrix = np.array([[weights[i - j] if 0 <= i - j < 3 else 0 for j in range(4)] for i in range(6)])
    expected = by_contribution(matrix, x.astype("float64"), (x @ matrix) * HEAD[:4, 0])
    np.testing.assert_allclose(analyzer.analyze(x, 0), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rule", [tf_lrp.rules.AlphaBeta(2, 1), tf_lrp.rules.Flat(), tf_lrp.rules.Epsilon(bias_factor=1.0)])
def test_rules_that_need_the_weights_one_by_one_are_refused(rule):
    preset = tf_lrp.Preset([(tf_lrp.select.kind("transform"), rule), (tf_lrp.select.all(), tf_lrp.rules.ZRule())])
    with pytest.raises(ValueError, match="weights are not available one by one"):
        tf_lrp.Analyzer(model_of(lambda x: ops.rfft(x)[0], (6,)), preset)
    epsilon = tf_lrp.Preset([(tf_lrp.select.kind("transform"), tf_lrp.rules.Epsilon(0.1)), *preset.rules[1:]])
    assert tf_lrp.Analyzer(model_of(lambda x: ops.rfft(x)[0], (6,)), epsilon).analyze(numbers(2, 6)).any()


def test_glu_gives_the_signal_all():
    x = numbers(3, 6)
    found = explained(ops.glu, (6,), x)
    y = x[:, :3] / (1 + np.exp(-x[:, 3:]))
    np.testing.assert_allclose(found[0], np.concatenate([y * HEAD[:3, 0], 0 * y], 1), rtol=1e-4)


def test_quantiles_give_the_entries_they_lie_between_their_weights():
    x = numbers(3, 5)
    for function, shares in (
        (lambda t: ops.quantile(t, 0.3, axis=-1, keepdims=True), [0, 0.8, 0.2, 0, 0]),
        (lambda t: ops.percentile(t, 30.0, axis=-1, keepdims=True), [0, 0.8, 0.2, 0, 0]),
        (lambda t: ops.median(t, axis=-1, keepdims=True), [0, 0, 1, 0, 0]),
    ):
        found = explained(function, (5,), x)
        order = np.argsort(x, axis=1)
        expected = np.zeros_like(x)
        y = np.take_along_axis(x, order, 1) @ np.array(shares, "float32")
        np.put_along_axis(expected, order, (y * HEAD[0, 0])[:, None] * np.array(shares, "float32"), 1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


def test_the_largest_of_a_segment_takes_all_and_updates_replace():
    x = numbers(3, 6)
    ids = np.array([0, 1, 1, 0, 1, 2])
    for function, best in ((ops.segment_max, np.argmax), (ops.segment_min, np.argmin)):
        found = explained(lambda t, f=function: ops.transpose(f(ops.transpose(t), ids, 3)), (6,), x)
        expected = np.zeros_like(x)
        for sample in range(3):
            for segment in range(3):
                (places,) = np.nonzero(ids == segment)
                place = places[best(x[sample, places])]
                expected[sample, place] = x[sample, place] * HEAD[segment, 0]
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    columns = [[1], [3]]

    def updated(t):
        return ops.transpose(ops.scatter_update(ops.transpose(t), columns, 2 * ops.transpose(t[:, :2])))

    found = explained(updated, (6,), x)
    y = x.copy()
    y[:, [1, 3]] = 2 * x[:, :2]
    expected = y * HEAD[:6, 0]
    expected[:, :2] += expected[:, [1, 3]] * [1, 1]
    expected[:, 1] -= y[:, 1] * HEAD[1, 0]
    expected[:, 3] = 0
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_messages_along_edges_that_are_an_input():
    """Nodes (V, 3), edges (E, 2): each node takes the sum of its neighbours' values."""
    nodes, edges = keras.Input((3,), batch_size=4), keras.Input((2,), batch_size=5, dtype="int32")

    def gathered(tensors):
        values, ends = tensors
        return ops.segment_sum(ops.take(values, ends[:, 0], axis=0), ends[:, 1], ops.shape(values)[0])

    head = layers.Dense(2, use_bias=False)
    model = keras.Model([nodes, edges], head(Of(gathered)([nodes, edges])))
    x, e = numbers(4, 3), np.array([[0, 1], [2, 1], [3, 0], [1, 2], [1, 1]], "int32")
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin([x, e]), model([x, e]), rtol=1e-5)
    kernel = np.asarray(head.kernel)
    start = np.zeros((4, 2), "float32")
    start[1, 0] = np.asarray(model([x, e]))[1, 0]
    of_nodes, of_edges = [np.asarray(r) for r in analyzer([x, e], tf.constant(start))]
    expected = np.zeros((4, 3))
    for source in (0, 2, 1):
        expected[source] += x[source] * kernel[:, 0]
    np.testing.assert_allclose(of_nodes, expected, rtol=1e-4, atol=1e-6)
    assert not of_edges.any()


def test_batch_normalization_by_its_function_folds_as_the_layer_does():
    mean, variance, beta, gamma = numbers(5), numbers(5, seed=1) ** 2 + 0.5, numbers(5, seed=2), numbers(5, seed=3)
    layer = layers.BatchNormalization()
    inputs = keras.Input((4,))
    dense, head = layers.Dense(5), layers.Dense(2)
    h = dense(inputs)
    by_layer = keras.Model(inputs, head(layer(h)))
    layer.set_weights([gamma, beta, mean, variance])
    function = Of(lambda t: ops.batch_normalization(t, mean, variance, -1, beta, gamma))
    by_function = keras.Model(inputs, head(function(h)))
    x = numbers(3, 4)
    for options in ({}, {"fold_batchnorm": False}):
        found, expected = [tf_lrp.Analyzer(m, "z", **options).analyze(x) for m in (by_function, by_layer)]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    of_batch = Of(lambda t: ops.batch_normalization(t, *ops.moments(t, [0]), -1, beta, gamma))
    model = keras.Model(inputs, head(of_batch(h)))
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(x), model(x), rtol=1e-4)


# -- random numbers, losses, state ---------------------------------------------------------------------------------------


class Sampling(layers.Layer):
    """mean + exp(log_variance / 2) noise, with the loss of a variational autoencoder, and a count of its calls."""

    def __init__(self, draw, **kwargs):
        super().__init__(**kwargs)
        self.draw, self.seeds = draw, keras.random.SeedGenerator(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.loss_tracker = keras.metrics.Mean()

    def call(self, inputs):
        mean, log_variance = inputs
        loss = -0.5 * ops.mean(1 + log_variance - mean**2 - ops.exp(log_variance))
        self.add_loss(loss)
        self.loss_tracker.update_state(loss)
        self.calls.assign_add(1.0)
        return mean + ops.exp(0.5 * log_variance) * self.draw(mean, self.seeds)


DRAWS = {
    "run-time shape": lambda m, seeds: keras.random.normal(ops.shape(m), seed=seeds),
    "static shape": lambda m, seeds: keras.random.normal((1, 3), seed=seeds),
    "uniform": lambda m, seeds: keras.random.uniform(ops.shape(m), -1.0, 2.0, seed=seeds),
    "truncated": lambda m, seeds: keras.random.truncated_normal(ops.shape(m), stddev=0.5, seed=seeds),
    "shuffled": lambda m, seeds: keras.random.shuffle(ops.ones_like(m), axis=-1, seed=seeds),
    "integers": lambda m, seeds: ops.cast(keras.random.randint(ops.shape(m), 0, 9, seed=seeds), "float32"),
    "gamma": lambda m, seeds: keras.random.gamma(ops.shape(m), 2.0, seed=seeds),
}


@pytest.mark.compiled
@pytest.mark.parametrize("name", DRAWS)
def test_noise_is_a_constant_and_the_model_stays_as_it_was(name):
    inputs = keras.Input((4,))
    mean, log_variance = layers.Dense(3, use_bias=False)(inputs), layers.Dense(3, use_bias=False)(inputs)
    sampling, head = Sampling(DRAWS[name]), layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, head(sampling([mean, log_variance])))
    x = numbers(5, 4)
    before = [np.asarray(v) for v in model.variables], np.asarray(sampling.seeds.state), len(model.losses)
    analyzer = tf_lrp.Analyzer(model, "z")
    first, second = analyzer.analyze(x, 1), analyzer.analyze(x, 1)
    twin = np.asarray(analyzer.twin(x))
    for now, then in zip(model.variables, before[0], strict=True):
        np.testing.assert_array_equal(np.asarray(now), then)
    np.testing.assert_array_equal(np.asarray(sampling.seeds.state), before[1])
    assert len(model.losses) == before[2]
    np.testing.assert_array_equal(first, second)
    # The next noise is the one that the model draws next; all of the output is shared among the inputs.
    np.testing.assert_allclose(twin, model(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.sum(1), twin[:, 1], rtol=1e-3, atol=1e-4)


def test_what_noise_is_added_to_takes_all():
    for function in (
        lambda x: x + 0.3 * keras.random.normal(ops.shape(x), seed=1),
        lambda x: keras.random.uniform(ops.shape(x), seed=1) - x,
        lambda x: layers.Add()([x, keras.random.normal(ops.shape(x), seed=1)]),
    ):
        model = model_of(function, (6,))
        x = numbers(3, 6)
        relevance = tf_lrp.Analyzer(model, "z").analyze(x, 0)
        np.testing.assert_allclose(relevance, np.asarray(function(x)) * HEAD[:6, 0], rtol=1e-4, atol=1e-6)


def test_dropout_that_is_always_on_hands_relevance_to_what_it_kept():
    seeds = keras.random.SeedGenerator(1)
    model = model_of(lambda x: keras.random.dropout(x, 0.5, seed=seeds), (6,))
    x = numbers(3, 6)
    analyzer = tf_lrp.Analyzer(model, "z")
    twin, relevance = np.asarray(analyzer.twin(x)), analyzer.analyze(x, 0)
    np.testing.assert_allclose(twin, model(x), rtol=1e-5)
    np.testing.assert_allclose(relevance.sum(1), twin[:, 0], rtol=1e-4)
    assert 0 < np.count_nonzero(relevance) < relevance.size


def test_noise_of_a_distribution_that_depends_on_the_input():
    by_scale = explained(lambda x: keras.random.normal(ops.shape(x), x, 0.1 * ops.exp(x), seed=2))
    written_out = explained(lambda x: x + 0.1 * ops.exp(x) * keras.random.normal(ops.shape(x), seed=2))
    np.testing.assert_allclose(by_scale, written_out, rtol=1e-4, atol=1e-5)
    model = model_of(lambda x: ops.cast(keras.random.categorical(x[:, 0], 2, seed=1), "float32"))
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="distribution depends on the inputs"):
        tf_lrp.Analyzer(model, "z")


# -- preprocessing at inference ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        layers.Resizing(5, 6, interpolation="nearest"),
        layers.Resizing(5, 7, crop_to_aspect_ratio=True),
        layers.RandomCrop(8, 8),
        layers.AutoContrast(),
        layers.Solarization(),
        layers.Equalization(),
        layers.Pipeline([layers.RandomFlip(), layers.RandomCrop(8, 8)]),
    ],
    ids=lambda layer: layer.name,
)
def test_picture_layers_at_inference(layer):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(layers.Flatten()(layer(inputs))))
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    analyzer = tf_lrp.Analyzer(model, "z")
    expected = model(x, training=False)
    np.testing.assert_allclose(analyzer.twin(x), expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(analyzer.analyze(x, 0).sum((1, 2, 3)), np.asarray(expected)[:, 0], rtol=1e-3, atol=1e-2)


# -- refusals ------------------------------------------------------------------------------------------------------------


class Raw(layers.Layer):
    def call(self, x):
        return tf.math.lgamma(tf.matmul(x, tf.ones((6, 4))))


class Lengths(layers.Layer):
    def call(self, x):
        return x * len(x)

    def compute_output_shape(self, shape):
        return shape


def refusal(layer, shape=(6,)):
    inputs = keras.Input(shape)
    with pytest.raises(tf_lrp.UnsupportedLayerError) as caught:
        tf_lrp.Analyzer(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layer(inputs)))), "z")
    return str(caught.value)


def test_messages_name_what_failed_and_offer_what_is_open():
    raw = refusal(Raw())
    assert "there is no rule: Lgamma at Lgamma" in raw and "Pass()" not in raw
    python = refusal(Lengths())
    assert "len is not well defined" in python and "x * len(x)" in python and "Pass()" in python
    unknown = refusal(Of(lambda x: ops.map(lambda row: 2 * row, x)))
    assert "whose length is unknown" in unknown
    inside = refusal(layers.STFTSpectrogram(mode="angle", frame_length=8, frame_step=4, fft_length=8), (32, 1))
    assert "Arctan2" in inside and "write the layer's call" not in inside and "Pass()" not in inside
    users = refusal(Of(lambda x: ops.det(ops.reshape(x, (-1, 1, 2, 3))[..., :2])))
    assert "Det" in users and "write the layer's call" in users and "Pass()" not in users


def test_a_model_that_fails_at_inference_is_said_to():
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(
        inputs, layers.Dense(2)(layers.Flatten()(layers.RandomCrop(8, 8)(inputs)))
    )  # pictures are not cropped at inference
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="at inference"):
        tf_lrp.Analyzer(model, "z")
