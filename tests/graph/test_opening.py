"""Models that define their own call: what they call becomes the graph, and the model stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tf_lrp
from tf_lrp.keras_compat import models


def seeded(model, seed=0):
    """Seeded weights of both signs for every layer, however deep."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed_generator" not in weight.path:
            values = rng.normal(size=weight.shape) * 0.5
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def check(model, x, preset="z", rtol=1e-4, **options):
    """The twin equals the model, and all relevance is accounted for; returns the analyzer."""
    analyzer = tf_lrp.Analyzer(model, preset, **options)
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(analyzer.twin(x), expected, rtol=rtol, atol=1e-5 * np.abs(expected).max())
    balance = analyzer.conservation(x)
    assert abs(balance.rounding) < 1e-4 * max(abs(balance.output), abs(balance.input))
    relevance = keras.tree.flatten(analyzer.analyze(x))
    assert all(np.isfinite(r).all() for r in relevance)
    return analyzer


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


class Block(keras.layers.Layer):
    """A pre-norm residual block whose behaviour in training is another."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.norm, self.dense = keras.layers.LayerNormalization(), keras.layers.Dense(units, activation="gelu")
        self.drop = keras.layers.Dropout(0.5)

    def call(self, x, training=None):
        h = self.drop(self.dense(self.norm(x)), training=training)
        if training:
            h = h * keras.random.uniform(ops.shape(h))
        return x + h


class Stack(keras.Model):
    """Blocks in a list, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.blocks = [Block(6, name="block_a"), Block(6, name="block_b")]
        self.shared, self.head = keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(3)

    def call(self, x, training=None):
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.shared(self.shared(x)))


def called(model, x):
    model(x)
    return seeded(model)


def test_a_subclassed_model_opens_into_its_layers():
    x = numbers(2, 6)
    analyzer = check(called(Stack(), x), x)
    names = [row[0] for row in analyzer.rules()]
    assert "block_a.dense" not in names or names.index("block_a.dense") < names.index("head_dense")
    classes = [row[1] for row in analyzer.rules()]
    assert classes.count("LayerNormalization") == 2 and classes.count("Dense") == 5


def test_relevance_at_composite_layers_and_at_both_uses_of_a_shared_one():
    x = numbers(2, 6)
    model = called(Stack(), x)
    maps = tf_lrp.Analyzer(model, "z").analyze(x, layers=["block_a", "block_b", model.shared.name])
    assert maps["block_a"].shape == maps["block_b"].shape == (2, 6)
    assert [m.shape for m in maps[model.shared.name]] == [(2, 6), (2, 6)]


def test_the_model_and_keras_stay_as_they_were():
    x = numbers(2, 6)
    model = called(Stack(), x)
    kept = [keras.Operation.symbolic_call, keras.layers.Layer.symbolic_call, ops.shape, ops.reshape, keras.Variable.__mul__]
    layers = list(model._flatten_layers())
    before = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    weights = model.get_weights()
    tf_lrp.Analyzer(model, "z").analyze(x)
    assert [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers] == before
    assert kept == [
        keras.Operation.symbolic_call,
        keras.layers.Layer.symbolic_call,
        ops.shape,
        ops.reshape,
        keras.Variable.__mul__,
    ]
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_models_that_other_threads_build_stay_as_they_are():
    from concurrent.futures import ThreadPoolExecutor

    def explain(seed):
        inputs = keras.Input((5, 4))
        h = ops.reshape(keras.layers.Dense(3, activation="relu")(inputs[:, 1:]), (-1, 12))
        model = seeded(keras.Model(inputs, keras.layers.Dense(2)(h + 1.0)), seed)
        return tf_lrp.Analyzer(model, "z").analyze(numbers(2, 5, 4)).shape

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(explain, range(24))) == {(2, 5, 4)}


def test_names_do_not_depend_on_how_often_a_model_was_opened():
    x = numbers(2, 6)
    model = called(Stack(), x)
    assert list(tf_lrp.Analyzer(model, "z").rules()) == list(tf_lrp.Analyzer(model, "z").rules())


def test_later_weights_count():
    x = numbers(2, 6)
    model = called(Stack(), x)
    analyzer = tf_lrp.Analyzer(model, "z")
    before = analyzer.analyze(x)
    seeded(model, seed=1)
    np.testing.assert_allclose(analyzer.twin(x), model(x), rtol=1e-4)
    assert not np.allclose(before, analyzer.analyze(x))


class Patches(keras.layers.Layer):
    """A class token before patches, and positions: shapes known only when the graph runs."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")
        self.positions = self.add_weight(shape=(32, shape[-1]), name="positions")

    def call(self, x):
        batch, length, width = ops.shape(x)
        tokens = ops.broadcast_to(self.token, (batch, 1, width))
        x = ops.concatenate([tokens, ops.reshape(x, (batch, -1, width))], axis=1)
        return x + ops.expand_dims(ops.take(self.positions, ops.arange(length + 1), axis=0), 0)


@pytest.mark.parametrize("length", [5, None])
def test_unknown_lengths_stay_unknown(length):
    inputs = keras.Input((length, 4))
    h = keras.layers.GlobalAveragePooling1D()(Patches(name="patches")(inputs))
    model = seeded(keras.Model(inputs, keras.layers.Dense(3)(h)))
    analyzer = check(model, numbers(2, 5, 4))
    assert analyzer.twin.input_shape == (None, length, 4)
    assert analyzer.analyze(numbers(7, 5, 4)).shape == (7, 5, 4)
    if length is None:
        assert analyzer.analyze(numbers(1, 9, 4)).shape == (1, 9, 4)


class Rotary(keras.layers.Layer):
    """Positions made and cut to the length of the input, as rotary embeddings do."""

    def call(self, x):
        samples, length, width = ops.shape(x)
        assert ops.ndim(x) == 3 and ops.ndim(length) == 0
        angles = ops.outer(ops.arange(length + 2, dtype="float32"), 0.1 * ops.arange(width, dtype="float32"))
        angles = angles[None][:, :length]
        ones = ops.ones((samples * 1, length, width), dtype="float32")
        return x * ops.cos(angles) + ones * x[..., ::-1] * ops.sin(angles)[..., : ops.shape(x)[-1]]


@pytest.mark.parametrize("length", [None, 4])
def test_slices_may_end_at_the_length_of_an_axis(length):
    inputs = keras.Input((length, 6))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(Rotary()(inputs))))
    analyzer = check(seeded(model), numbers(2, 4, 6))
    assert analyzer.analyze(numbers(2, 4, 6)).shape == (2, 4, 6)
    if length is None:
        check(model, numbers(3, 7, 6))


def test_a_subclassed_model_takes_any_number_of_samples_and_a_free_length_on_request():
    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(ops.mean(x, axis=1))

    model = called(Mean(), numbers(4, 6, 2))
    assert tf_lrp.Analyzer(model, "z").analyze(numbers(9, 6, 2)).shape == (9, 6, 2)
    analyzer = tf_lrp.Analyzer(model, "z", inputs=keras.Input((None, 2)))
    assert analyzer.analyze(numbers(3, 11, 2)).shape == (3, 11, 2)


def test_variables_may_come_first_in_arithmetic():
    class Scaled(keras.layers.Layer):
        def build(self, shape):
            self.gain = self.add_weight(shape=(shape[-1],), name="gain")
            self.kernel = self.add_weight(shape=(3, shape[-1]), name="kernel")
            self.offset = self.add_weight(shape=(shape[-1],), name="offset")

        def call(self, x):
            return (
                self.offset + np.float32(2) * (self.gain * x) - ops.transpose(ops.matmul(self.kernel, ops.transpose(x)))[:, :1]
            )

    inputs = keras.Input((4,))
    check(seeded(keras.Model(inputs, keras.layers.Dense(3)(Scaled()(inputs)))), numbers(2, 4))


def test_a_learned_offset_takes_its_share_and_a_unit_does_not():
    class Offset(keras.layers.Layer):
        def build(self, shape):
            self.offset = self.add_weight(shape=shape[1:], name="offset")

        def call(self, x):
            return x + self.offset

    inputs = keras.Input((4,))
    for layer, expected in ((Offset(name="offset"), True), (keras.layers.Lambda(lambda t: t + 2.0, name="offset"), False)):
        model = seeded(keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(layer(inputs))))
        balance = tf_lrp.Analyzer(model, "z").conservation(numbers(2, 4))
        assert (abs(balance.bias) > 1e-3) is expected


def test_layers_in_layers_in_models():
    inner = keras.Sequential(
        [keras.Input((7, 6)), Block(6), keras.layers.TimeDistributed(keras.layers.Dense(5, activation="relu"))], name="inner"
    )
    inputs = keras.Input((7, 6))
    h = keras.layers.SpectralNormalization(keras.layers.Conv1D(4, 3))(inner(inputs))
    h = keras.layers.Lambda(lambda t: ops.concatenate([ops.square(t), ops.flip(t, 1)], -1))(h)
    check(seeded(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(h)))), numbers(2, 7, 6))


@pytest.mark.parametrize("time", [4, None])
def test_time_distributed_models(time):
    frames = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    )
    inputs = keras.Input((time, 8, 8, 3))
    h = keras.layers.GlobalAveragePooling1D()(keras.layers.TimeDistributed(frames)(inputs))
    check(seeded(keras.Model(inputs, keras.layers.Dense(3)(h))), numbers(2, 4, 8, 8, 3), "cmp_a1_flat")


def test_masks_travel_through_nested_models():
    embed = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(9, 6, mask_zero=True)], name="embed")
    inputs = keras.Input((None,), dtype="int32")
    model = seeded(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(embed(inputs)))))
    ids = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    relevance = check(model, ids).analyze(ids)
    assert relevance.shape == ids.shape
    assert not relevance[ids == 0].any()


OPERATIONS = {
    "split and stack": lambda x: ops.stack(ops.split(x, 2, axis=-1), axis=1),
    "unstack": lambda x: ops.add(*ops.unstack(x[:, :2], axis=1)),
    "reductions": lambda x: ops.concatenate([ops.max(x, 1), ops.min(x, 1), ops.sum(x, 1), ops.mean(x, 1)], -1),
    "moved axes": lambda x: ops.moveaxis(ops.swapaxes(ops.transpose(x, (0, 2, 1)), 1, 2), 1, 2),
    "padded": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0))),
    "repeated": lambda x: ops.tile(ops.repeat(x, 2, axis=1), (1, 1, 2)),
    "where": lambda x: ops.where(x > 0, x, 0.5 * x),
    "taken": lambda x: ops.take(x, [0, 2, 2], axis=1),
    "einsum": lambda x: ops.einsum("abc,cd->abd", x, numbers(6, 5)),
    "matmul": lambda x: ops.matmul(x, numbers(6, 5)),
    "tensordot": lambda x: ops.tensordot(x, numbers(6, 5), axes=1),
    "conv": lambda x: ops.conv(x, numbers(3, 6, 4), padding="same"),
    "clipped": lambda x: ops.clip(x, -1.0, 1.0),
    "cumulated": lambda x: ops.cumsum(x, axis=1),
    "top": lambda x: ops.top_k(x, 3)[0],
    "pooled": lambda x: ops.average_pool(x, 2) + ops.max_pool(x, 2),
    "layer norm": lambda x: ops.layer_normalization(x, gamma=numbers(6), beta=numbers(6, seed=1)),
    "normalized": lambda x: ops.normalize(x, axis=-1),
    "softmaxed": lambda x: ops.softmax(x, axis=1),
    "bare arithmetic": lambda x: (x - 1.0) / 2.0 * 3.0 + x**2 - abs(x),
}


@pytest.mark.eager
@pytest.mark.parametrize("name", OPERATIONS)
def test_functions_of_keras_ops(name):
    inputs = keras.Input((7, 6))
    model = seeded(
        keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Lambda(OPERATIONS[name])(inputs))))
    )
    check(model, numbers(2, 7, 6))


def test_the_error_says_which_function_of_a_call_is_at_fault():
    class Raw(keras.layers.Layer):
        def call(self, x):
            return tf.math.igamma(x, tf.math.lgamma(x))

    inputs = keras.Input((4,))
    with pytest.raises(tf_lrp.UnsupportedLayerError, match=r"at raw, .* no rule: Igamma at .*; Lgamma at"):
        tf_lrp.Analyzer(keras.Model(inputs, keras.layers.Dense(2)(Raw(name="raw")(inputs))), "z")
    assert models.functional_of(keras.Model(inputs, inputs * 1)) is not None


def test_mixed_precision_opens_in_full_precision():
    policy = keras.mixed_precision.Policy("mixed_float16")

    class Half(keras.layers.Layer):
        def __init__(self):
            super().__init__(dtype=policy)
            self.norm, self.dense = keras.layers.LayerNormalization(dtype=policy), keras.layers.Dense(4, dtype=policy)

        def call(self, x):
            return ops.cast(self.dense(self.norm(x)), self.compute_dtype) * ops.sigmoid(x)

    inputs = keras.Input((4,))
    model = seeded(keras.Model(inputs, keras.layers.Dense(3, dtype=policy)(Half()(inputs))))
    x = numbers(2, 4)
    analyzer = tf_lrp.Analyzer(model, "z")
    assert analyzer.analyze(x).dtype == np.float32
    np.testing.assert_allclose(analyzer.twin(x), np.asarray(model(x), "float32"), rtol=2e-2, atol=2e-2)


class Experts(keras.layers.Layer):
    """A mixture of experts: the two likeliest, weighted by their probabilities."""

    def build(self, shape):
        self.router = keras.layers.Dense(4, use_bias=False)
        self.router.build(shape)
        self.kernels = self.add_weight(shape=(4, shape[-1], 3), name="kernels")

    def call(self, x):
        probabilities = ops.softmax(ops.maximum(self.router(x), ops.cast(x[:, :1] > 0, x.dtype)))
        best, places = ops.top_k(probabilities, k=2)
        best = best / ops.sum(best, axis=-1, keepdims=True)
        weights = ops.sum(ops.one_hot(places, 4) * best[..., None], axis=1)
        return ops.einsum("nd,edk->nk", x, self.kernels) + ops.sum(
            ops.einsum("nd,edk->nek", x, self.kernels) * weights[..., None], axis=1
        )


@pytest.mark.parametrize("preset", ["cp_lrp", "attnlrp"])
def test_places_of_the_largest_take_no_relevance(preset):
    inputs = keras.Input((5,))
    check(seeded(keras.Model(inputs, keras.layers.Dense(2)(Experts()(inputs)))), numbers(3, 5), preset)
