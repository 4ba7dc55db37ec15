"""Layers of tf.* are explained as the same layers of Keras: convolutions, products, normalizations, loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from tensorflow_layers import Computes, assert_equal, numbers, raw_model, relevance_of

import tf_lrp

pytestmark = pytest.mark.eager

FEW = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
PRESETS = ("alpha2_beta1", "epsilon_plus_flat")


class Weights(layers.Layer):
    """A layer of TensorFlow with the weights of a layer of Keras.

    Args:
        twin: the layer of Keras.
        function: (tensor, *weights) -> tensor.
    """

    def __init__(self, twin, function, **options):
        super().__init__(**options)
        self.twin, self.function = twin, function

    def call(self, x):
        return self.function(x, *[tf.convert_to_tensor(w) for w in self.twin.weights])


def filled(layer, seed=0):
    """The layer with random weights; variances are positive."""
    rng = np.random.default_rng(seed)
    layer.set_weights(
        [rng.uniform(0.5, 1.5, w.shape) if "variance" in w.name else rng.normal(0, 0.5, w.shape) for w in layer.weights]
    )
    return layer


def check_layer(twin, function, shape, before=None):
    """A layer of Keras and the function of TensorFlow that it is have the same explanations and facts."""
    twin.build((None, *shape))
    filled(twin)
    inputs = keras.Input(shape)
    x = numbers(2, *shape)
    results = {}
    for name, layer in (("own", twin), ("raw", Weights(twin, function, name="raw"))):
        head = layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))
        hidden = inputs if before is None else before(inputs)
        model = keras.Model(inputs, head(layers.Flatten()(layers.ReLU()(layer(hidden)))))
        for preset in PRESETS:
            analyzer = tf_lrp.Analyzer(model, preset, verbose=False)
            assert_equal(analyzer.twin(x), model(x))
            rules = [row[2] for row in analyzer.rules() if "structural" not in row[3]]
            results[name, preset] = analyzer.analyze(x, neuron_selection="all"), rules
    for preset in PRESETS:
        assert_equal(results["raw", preset][0], results["own", preset][0], 1e-5)
        assert results["raw", preset][1] == results["own", preset][1]


PADDING = st.sampled_from(["same", "valid"])
BIAS = st.booleans()


def biased(z, bias):
    return tf.nn.bias_add(z, bias[0]) if bias else z


@FEW
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), PADDING, BIAS, st.sampled_from([1, 2]))
def test_convolutions(size, stride, dilation, padding, bias, groups):
    dilation = 1 if stride > 1 or groups > 1 else dilation
    twin = layers.Conv2D(4, size, stride, padding, dilation_rate=dilation, use_bias=bias, groups=groups)
    check_layer(
        twin,
        lambda x, w, *b: biased(tf.nn.conv2d(x, w, stride, padding.upper(), dilations=dilation), b),
        (6, 7, 2),
    )


@FEW
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), PADDING, BIAS)
def test_convolutions_along_time(size, stride, dilation, padding, bias):
    dilation = 1 if stride > 1 else dilation
    twin = layers.Conv1D(4, size, stride, padding, dilation_rate=dilation, use_bias=bias)
    check_layer(twin, lambda x, w, *b: biased(tf.nn.conv1d(x, w, stride, padding.upper(), dilations=dilation), b), (9, 2))


@FEW
@given(st.integers(2, 3), st.integers(2, 3), PADDING, BIAS)
def test_dilated_convolutions_of_tensorflow_1(size, rate, padding, bias):
    """A convolution of what was spread over the batch."""
    reach = (size - 1) * rate
    before = reach // 2 if padding == "same" else 0
    behind = reach - before if padding == "same" else 0
    rest = [-(length + before + behind) % rate for length in (8, 7)]
    twin = layers.Conv2D(3, size, 1, padding, dilation_rate=rate, use_bias=bias)

    def spread(x, w, *b):
        x = tf.space_to_batch(x, [rate, rate], [[before, behind + r] for r in rest])
        return biased(tf.batch_to_space(tf.nn.conv2d(x, w, 1, "VALID"), [rate, rate], [[0, r] for r in rest]), b)

    check_layer(twin, spread, (8, 7, 2))


@FEW
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), PADDING, BIAS)
def test_depthwise_convolutions(size, stride, multiplier, padding, bias):
    twin = layers.DepthwiseConv2D(size, stride, padding, depth_multiplier=multiplier, use_bias=bias)
    check_layer(
        twin,
        lambda x, w, *b: biased(tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], padding.upper()), b),
        (6, 7, 2),
    )


@FEW
@given(st.integers(1, 4), st.integers(1, 3), PADDING, BIAS, st.booleans())
def test_transposed_convolutions(size, stride, padding, bias, free):
    twin = layers.Conv2DTranspose(3, size, stride, padding, use_bias=bias)
    sizes = [4 * stride if padding == "same" else 3 * stride + size + max(stride - size, 0) for _ in range(2)]

    def transposed(x, w, *b):
        return biased(tf.nn.conv2d_transpose(x, w, [tf.shape(x)[0], *sizes, 3], stride, padding.upper()), b)

    check_layer(twin, transposed, (4, 4, 2))


def test_convolutions_in_three_dimensions():
    check_layer(
        layers.Conv3D(3, 2, padding="same"),
        lambda x, w, b: tf.nn.conv3d(x, w, [1, 1, 1, 1, 1], "SAME") + b,
        (3, 4, 4, 2),
    )
    check_layer(
        layers.Conv3DTranspose(3, 2, 2),
        lambda x, w, b: tf.nn.conv3d_transpose(x, w, [tf.shape(x)[0], 6, 8, 8, 3], 2, "VALID") + b,
        (3, 4, 4, 2),
    )


def test_explicit_padding():
    inputs = keras.Input((7, 7, 2))
    conv = layers.Conv2D(3, 3, 2)
    own = keras.Model(inputs, layers.Flatten()(conv(layers.ZeroPadding2D(1)(inputs))))
    filled(conv)
    raw = Weights(conv, lambda x, w, b: tf.nn.conv2d(x, w, 2, [[0, 0], [1, 1], [1, 1], [0, 0]]) + b)
    raw = keras.Model(inputs, layers.Flatten()(raw(inputs)))
    x = numbers(2, 7, 7, 2)
    for preset in PRESETS:
        assert_equal(relevance_of(raw, preset, x)[0], relevance_of(own, preset, x)[0])


@FEW
@given(st.sampled_from([(5,), (3, 5), (2, 3, 5)]), BIAS, st.booleans())
def test_dense_layers(shape, bias, turned):
    def dense(x, w, *b):
        w = tf.transpose(w) if turned else w
        if len(shape) == 1:
            return biased(tf.matmul(x, w, transpose_b=turned), b)
        z = tf.linalg.matmul(x, w, transpose_b=True) if turned else tf.tensordot(x, w, 1)
        return biased(z, b)

    check_layer(layers.Dense(4, use_bias=bias), dense, shape)


def test_einsum_with_a_bias():
    check_layer(
        layers.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="de"),
        lambda x, w, b: tf.einsum("abc,cde->abde", x, w) + b,
        (3, 5),
    )


BATCH_NORMALIZATIONS = {
    "tf.nn": lambda x, g, b, m, v: tf.nn.batch_normalization(x, m, v, b, g, 1e-3),
    "fused": lambda x, g, b, m, v: tf.compat.v1.nn.fused_batch_norm(x, g, b, m, v, 1e-3, is_training=False)[0],
    "by hand": lambda x, g, b, m, v: g * (x - m) / tf.sqrt(v + 1e-3) + b,
    "by hand, with rsqrt": lambda x, g, b, m, v: (x - m) * tf.math.rsqrt(v + 1e-3) * g + b,
    "raw, version 1": lambda x, g, b, m, v: tf.raw_ops.FusedBatchNorm(
        x=x, scale=g, offset=b, mean=m, variance=v, epsilon=1e-3, is_training=False
    )[0],
    "raw, version 2": lambda x, g, b, m, v: tf.raw_ops.FusedBatchNormV2(
        x=x, scale=g, offset=b, mean=m, variance=v, epsilon=1e-3, is_training=False
    )[0],
}


@pytest.mark.parametrize("way", BATCH_NORMALIZATIONS)
@pytest.mark.parametrize("after_convolution", [True, False])
def test_batch_normalizations_are_found_and_folded(way, after_convolution):
    convolution = filled_convolution() if after_convolution else None
    check_layer(
        layers.BatchNormalization(),
        BATCH_NORMALIZATIONS[way],
        (5, 5, 3) if after_convolution else (5, 5, 2),
        before=convolution,
    )


def filled_convolution():
    convolution = layers.Conv2D(3, 3, padding="same")
    convolution.build((None, 5, 5, 3))
    return filled(convolution, 3)


LAYER_NORMALIZATIONS = {
    "moments": lambda x, g, b: tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), b, g, 1e-3),
    "by hand": lambda x, g, b: (x - tf.reduce_mean(x, -1, keepdims=True))
    / tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + 1e-3) * g + b,
    "squares": lambda x, g, b: g * ((x - tf.reduce_mean(x, -1, keepdims=True)) * tf.math.rsqrt(
        tf.reduce_mean((x - tf.reduce_mean(x, -1, keepdims=True)) ** 2, -1, keepdims=True) + 1e-3)) + b,
    "keras": lambda x, g, b: ops.layer_normalization(x, g, b, epsilon=1e-3),
}  # fmt: skip


@pytest.mark.parametrize("way", LAYER_NORMALIZATIONS)
def test_layer_normalizations_are_found(way):
    check_layer(layers.LayerNormalization(), LAYER_NORMALIZATIONS[way], (4, 6))


def explained(function, x, preset="z"):
    inputs = keras.Input(x.shape[1:])
    return relevance_of(keras.Model(inputs, layers.Flatten()(Computes(function, name="raw")(inputs))), preset, x)


def test_branches_and_loops_are_written_out():
    x = numbers(2, 4, 3)
    w = numbers(3, 3, seed=1)

    def loop(x):
        array = tf.TensorArray(tf.float32, size=4, element_shape=(None, 3))
        steps = tf.transpose(x, [1, 0, 2])

        def body(n, state, array):
            state = tf.nn.relu(tf.matmul(state, w) + steps[n])
            return n + 1, state, array.write(n, state)

        _, state, array = tf.while_loop(lambda n, *_: n < 4, body, (0, tf.zeros_like(steps[0]), array))
        scale = tf.cond(tf.shape(x)[1] > 3, lambda: tf.square(state), lambda: state)
        return tf.reduce_sum(tf.transpose(array.stack(), [1, 0, 2]), 1) + tf.switch_case(
            tf.constant(1), [lambda: state, lambda: scale]
        )

    def written_out(x):
        state, total = ops.zeros_like(x[:, 0]), []
        for n in range(4):
            state = ops.relu(ops.add(ops.matmul(state, w), x[:, n]))
            total.append(state)
        return ops.add(ops.sum(ops.transpose(ops.stack(total), (1, 0, 2)), 1), ops.square(state))

    (got, outputs), (want, expected) = explained(loop, x), explained(written_out, x)
    assert_equal(outputs, expected)
    assert_equal(got, want, 1e-5)


def test_a_branch_that_depends_on_the_inputs_is_chosen_when_it_runs():
    x = numbers(2, 5)

    def branch(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.square(x), lambda: 3 * x)

    for sign in (1, -1):
        values = sign * np.abs(x)
        relevance, outputs = explained(branch, values)
        assert_equal(outputs, values**2 if sign > 0 else 3 * values)
        assert_equal(relevance, outputs)


def test_loops_of_unknown_length_are_refused_with_the_reason():
    def loop(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) > 1, lambda y: (y / 2,), (x,))[0]

    with pytest.raises(tf_lrp.UnsupportedLayerError, match=r"raw.*number of steps that depends on what it computes.*While at"):
        explained(loop, numbers(2, 3))


def test_what_is_missing_is_one_sentence_with_all_operations():
    def missing(x):
        with tf.name_scope("first"):
            y = tf.math.lgamma(x)
        with tf.name_scope("second"):
            return tf.math.digamma(y) + tf.linalg.diag_part(tf.linalg.diag(tf.math.lgamma(y)))

    with pytest.raises(
        tf_lrp.UnsupportedLayerError,
        match=r"no rule: Digamma at second/Digamma; Lgamma at first/Lgamma, second/Lgamma; MatrixDiagPartV3 at [\w/]+; Mat",
    ):
        explained(missing, numbers(2, 3))


@pytest.mark.compiled
def test_lengths_stay_free():
    def function(x):
        n, height, width = tf.shape(x)[0], tf.shape(x)[1], tf.shape(x)[2]
        flat = tf.reshape(x, [n, height * width, 3])
        scale = 1 / tf.cast(tf.reduce_prod(tf.shape(x)[1:]), tf.float32)
        padded = tf.concat([flat, tf.zeros([n, 2, 3])], 1)
        return tf.reduce_sum(tf.square(padded[:, : height * width // 2]), 1) * scale

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Computes(function, name="raw")(inputs))
    analyzer = tf_lrp.Analyzer(model, "z", verbose=False)
    for height, width in ((4, 3), (2, 5)):
        x = numbers(2, height, width, 3)
        assert_equal(analyzer.twin(x), model(x))
        assert_equal(analyzer.analyze(x, neuron_selection="all").sum((1, 2, 3)), np.asarray(model(x)).sum(1), 1e-4)


def test_variables_stay_live_and_layers_inside_stay_layers():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.dense = layers.Dense(4, name="inner")

        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], shape[-1]), name="w")
            self.dense.build(shape)

        def call(self, x):
            with tf.name_scope("scope"):
                y = tf.matmul(tf.nn.relu(self.dense(x)), tf.exp(tf.convert_to_tensor(self.w)), name="product")
            return tf.nn.relu(y)

    inputs, block, head = keras.Input((4,)), Block(), layers.Dense(2, name="head")
    model = keras.Model(inputs, head(block(inputs)))
    analyzer = tf_lrp.Analyzer(model, "epsilon", verbose=False)
    assert [row[0] for row in analyzer.rules()] == ["inner", "block.scope.Relu", "product", "block.Relu", "head"]
    assert [row[1] for row in analyzer.rules()][:3] == ["Dense", "Relu", "GraphDense"]
    x = numbers(3, 4)
    first = analyzer.analyze(x)
    block.w.assign(block.w * 2 + 0.1)
    assert np.abs(analyzer.analyze(x) - first).max() > 1e-3
    assert_equal(analyzer.analyze(x), tf_lrp.Analyzer(model, "epsilon", verbose=False).analyze(x), 1e-7)
    stopped = tf_lrp.Preset(
        [(tf_lrp.select.name("scope/product"), tf_lrp.rules.Stop()), (tf_lrp.select.all(), tf_lrp.rules.Epsilon())]
    )
    assert not tf_lrp.Analyzer(model, stopped, verbose=False).analyze(x).any()


def test_lambda_layers():
    x = numbers(2, 4)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Lambda(lambda t: tf.square(t))(inputs))
    assert_equal(*relevance_of(model, "z", x))


def test_a_variable_whose_value_cannot_be_followed_is_warned_of():
    class Scales(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(), initializer="ones", name="w")

        def call(self, x):
            return x * float(self.w)  # a number: neither symbolic tensors nor a graph see the variable

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(Scales(name="scales")(inputs)))
    with pytest.warns(UserWarning, match=r"'scales' \(Scales\) computes with the value of a variable.*make a new Analyzer"):
        tf_lrp.Analyzer(model, "z", verbose=False)


def test_layers_of_tensorflow_in_mixed_precision():
    x = numbers(3, 6)
    found = []
    for by_tensorflow in (False, True):
        inputs, policy = keras.Input((6,)), keras.DTypePolicy("mixed_float16")
        twin = filled_dense(policy)
        hidden = Weights(twin, lambda t, w, b: tf.nn.relu(tf.matmul(t, w) + b), dtype=policy)
        outputs = (hidden if by_tensorflow else lambda t, layer=twin: ops.relu(layer(t)))(inputs)
        head = layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1), dtype="float32")
        found.append(relevance_of(keras.Model(inputs, head(outputs)), "z", x))
    for own, raw in zip(*found, strict=True):
        assert_equal(raw, own, 1e-6)


def filled_dense(policy):
    """Its weights are numbers of float16: a graph rounds others, and layers of Keras are explained without that."""
    layer = layers.Dense(5, dtype=policy)
    layer.build((None, 6))
    filled(layer).set_weights([w.astype("float16") for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("gate", [0.001, -0.001])
def test_bounded_activations_pass_relevance_at_their_corners(gate):
    """ReLU6 just above and just below 0 and 6, and as the minimum of a maximum."""
    x = np.array([[gate, 6 + gate, 3.0, -1.0]], "float32")
    own = keras.Sequential([keras.Input((4,)), layers.ReLU(6.0)])
    written = (tf.nn.relu6, lambda t: tf.minimum(tf.nn.relu(t), 6.0), lambda t: tf.clip_by_value(t, 0.0, 6.0))
    expected = tf_lrp.Analyzer(own, "z", verbose=False).analyze(x, neuron_selection="all")
    np.testing.assert_allclose(expected, own(x), rtol=1e-6)  # relevance passes: R = y, also where the unit is saturated
    for function in written:
        found = tf_lrp.Analyzer(raw_model(function, (4,)), "z", verbose=False).analyze(x, neuron_selection="all")
        assert_equal(found, expected, 1e-6)
