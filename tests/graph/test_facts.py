"""What is claimed of tensors and of relevance before anything runs holds for whatever is run, and saves work only."""

import contextlib
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from keras import ops

import tf_lrp
from tf_lrp import conservation, select
from tf_lrp.graph import facts, quotients, signs, vanishing
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, ZBox, ZPlus, ZRule
from tf_lrp.twins.base import NOTHING


@pytest.fixture(autouse=True, scope="module")
def float64():
    """Layers compute in float64, so that a deviation is no rounding."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def relu(x):
    """A user's own function, which only shares its name with Keras's."""
    return x - 1


class Reflected(keras.layers.Add):
    """The place that Keras's merging layers offer for overriding."""

    def _merge_function(self, inputs):
        return inputs[0] - 2 * inputs[1]


#: name -> a function of a tensor (N, height, width, 2). Those in SURE stay >= 0 where it is, and are known to.
SURE = {
    "relu": lambda h: keras.layers.ReLU()(h),
    "relu with a threshold": lambda h: keras.layers.ReLU(threshold=0.5)(h),
    "relu with a limit": lambda h: keras.layers.ReLU(max_value=0.5)(h),
    "a layer as activation": lambda h: keras.layers.Activation(keras.layers.ReLU(max_value=0.5))(h),
    "relu6": lambda h: keras.layers.Activation("relu6")(h),
    "leaky relu": lambda h: keras.layers.LeakyReLU(0.3)(h),
    "leaky relu of a negative slope": lambda h: ops.leaky_relu(h, -0.5),
    "prelu": lambda h: keras.layers.PReLU(alpha_initializer="random_normal")(h),
    "elu": lambda h: keras.layers.ELU(-2.0)(h),
    "selu": lambda h: keras.layers.Activation("selu")(h),
    "celu": lambda h: ops.celu(h, 0.5),
    "gelu": lambda h: keras.layers.Activation("gelu")(h),
    "silu": lambda h: ops.silu(h),
    "mish": lambda h: keras.layers.Activation("mish")(h),
    "tanh": lambda h: ops.tanh(h),
    "softsign": lambda h: keras.layers.Activation("softsign")(h),
    "hard silu": lambda h: keras.layers.Activation("hard_silu")(h),
    "hard shrink": lambda h: ops.hard_shrink(h, 0.3),
    "soft shrink": lambda h: ops.soft_shrink(h, 0.3),
    "soft shrink below 0": lambda h: ops.soft_shrink(h, -0.3),
    "sigmoid": lambda h: ops.sigmoid(h),
    "softplus": lambda h: ops.softplus(h),
    "exponential": lambda h: keras.layers.Activation("exponential")(h),
    "sparse plus": lambda h: ops.sparse_plus(h),
    "softmax": lambda h: keras.layers.Softmax()(h),
    "maximum with 0": lambda h: ops.maximum(h, 0),
    "maximum with -1": lambda h: ops.maximum(h, -1),
    "maximum with a variable": lambda h: ops.maximum(h, keras.Variable(np.array([1.0, 1.0]))),
    "minimum with 1": lambda h: ops.minimum(h, 1),
    "padding": lambda h: ops.pad(h, [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "padding with ones": lambda h: ops.pad(h, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=1),
    "reflected padding": lambda h: ops.pad(h, [[0, 0], [1, 1], [0, 0], [0, 0]], mode="reflect"),
    "zero padding": lambda h: keras.layers.ZeroPadding2D(1)(h),
    "chosen": lambda h: ops.where(h > 0.5, h, 0.25),
    "twice": lambda h: h * 2,
    "half": lambda h: h / np.float64(2),
    "one more": lambda h: h + 1,
    "bilinear": lambda h: keras.layers.UpSampling2D(2, interpolation="bilinear")(h),
    "nearest": lambda h: keras.layers.UpSampling2D(2)(h),
    "resized": lambda h: ops.image.resize(h, (3, 5)),
    "max-pooling": lambda h: keras.layers.MaxPooling2D(2, padding="same")(h),
    "average pooling": lambda h: keras.layers.AveragePooling2D(2, padding="same")(h),
    "smallest": lambda h: ops.min(h, axis=1, keepdims=True),
    "largest of all and -1": lambda h: ops.max(h, axis=1, keepdims=True, initial=-1.0),
    "mean": lambda h: ops.mean(h, axis=2, keepdims=True),
    "running sum": lambda h: ops.cumsum(h, axis=1),
    "sorted": lambda h: ops.sort(h, axis=1),
    "flipped": lambda h: ops.flip(h, axis=1),
    "from behind": lambda h: h[:, ::-1, -2:],
    "repeated": lambda h: ops.repeat(h, 2, axis=1),
    "dropout": lambda h: keras.layers.Dropout(0.5)(h),
    "noise": lambda h: keras.layers.GaussianNoise(0.5)(h),
    "turned": lambda h: keras.layers.Permute((2, 1, 3))(h),
    "square by itself": lambda h: keras.layers.Multiply()([h, h]),
    "weights that are not negative": lambda h: ops.add(h, np.array([0, 2])),
}
OTHERS = {
    "a user's relu": lambda h: keras.layers.Activation(relu)(h),
    "x - tanh(x)": lambda h: ops.tanh_shrink(h),
    "squareplus": lambda h: ops.squareplus(h),
    "negative": lambda h: -h,
    "minimum with -1": lambda h: ops.minimum(h, -1),
    "clip": lambda h: ops.clip(h, -1, 1),
    "clip below 0": lambda h: ops.clip(h, -2, -1),
    "padding with -1": lambda h: ops.pad(h, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=-1),
    "padding with -1 of NumPy": lambda h: ops.pad(h, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=np.int32(-1)),
    "chosen or -1": lambda h: ops.where(h > 0.5, h, -1),
    "chosen by a list": lambda h: ops.where([True, False], h, -1),
    "times -2": lambda h: h * -2,
    "times an array": lambda h: h * np.array([1, -1]),
    "by -2": lambda h: h / -2,
    "one less": lambda h: h - 1,
    "minus one": lambda h: h + (-1),
    "minus one of NumPy": lambda h: ops.add(h, np.int64(-1)),
    "plus a variable": lambda h: ops.add(h, tf.Variable(np.array([[1.0, -2.0]]))),
    "plus a variable of Keras": lambda h: ops.add(h, keras.Variable(np.array([[1.0, -2.0]]))),
    "from 1": lambda h: 1 - h,
    "bicubic": lambda h: keras.layers.UpSampling2D(2, interpolation="bicubic")(h),
    "Lanczos": lambda h: ops.image.resize(h, (5, 5), interpolation="lanczos3"),
    "bicubic resizing": lambda h: keras.layers.Resizing(5, 5, interpolation="bicubic")(h),
    "resized with a border": lambda h: keras.layers.Resizing(6, 3, pad_to_aspect_ratio=True, fill_value=-1.0)(h),
    "resized by an operation with a border": lambda h: ops.image.resize(h, (6, 3), pad_to_aspect_ratio=True, fill_value=-1),
    "smallest of all and -1": lambda h: ops.min(h, axis=1, keepdims=True, initial=-1.0),
    "rescaled": lambda h: keras.layers.Rescaling(2.0, -1.0)(h),
    "normalized": lambda h: keras.layers.BatchNormalization()(h),
    "normalized by layer": lambda h: keras.layers.LayerNormalization()(h),
    "convolution": lambda h: keras.layers.Conv2D(2, 3, padding="same")(h),
    "dense": lambda h: keras.layers.Dense(2)(h),
    "matrix": lambda h: ops.matmul(h, np.array([[1.0, -1.0], [1.0, 1.0]])),
    "difference": lambda h: keras.layers.Subtract()([h, keras.layers.ReLU()(h)]),
    "a sum that is none": lambda h: Reflected()([h, keras.layers.Activation("relu")(h)]),
    "logarithm of softmax": lambda h: ops.log_softmax(h),
}
OPERATIONS = SURE | OTHERS
PAIRS = [
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    lambda: keras.layers.Concatenate(axis=1),
]


@contextlib.contextmanager
def nothing_known():
    """Everything is computed as the formulas say."""
    with (
        mock.patch.object(facts, "nonnegative_tensors", return_value=set()),
        mock.patch.object(vanishing, "gather", lambda graph, *_: [NOTHING] * len(graph.nodes)),
        mock.patch.object(quotients, "gather", return_value=set()),
    ):
        yield


def settle(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed_generator" not in weight.path:
            values = rng.normal(size=weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def inputs(count):
    """Numbers of many sizes, with zeros and equals among them."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 4, 4, 2)) * 10.0 ** rng.integers(-3, 3, size=(count, 1, 1, 1))
    x[::5] = np.round(x[::5])
    x[1::7] = 0
    return x


X = inputs(1000)


def rewritten(model, preset):
    return tf_lrp.Analyzer(model, preset)._rewritten


def claimed(steps):
    """Names of the nodes whose outputs are claimed to be >= 0."""
    known = signs.nonnegative_tensors(SimpleNamespace(nodes=[step.node for step in steps]))
    return [step for step in steps if all(id(t) in known for t in step.node.outputs)]


@pytest.mark.parametrize("rectified", [True, False])
def test_signs_of_every_operation(rectified):
    x = keras.Input((4, 4, 2))
    h = keras.layers.ReLU(name="first")(x) if rectified else x
    outputs = {name: make(h) for name, make in OPERATIONS.items()}
    model = settle(keras.Model(x, outputs))
    with nothing_known():
        twin = tf_lrp.Analyzer(model, "z", strip_softmax=False)._rewritten
    found = twin.model(X)
    known = signs.nonnegative_tensors(SimpleNamespace(nodes=[step.node for step in twin.steps]))
    known = {
        id(new) for step in twin.steps for old, new in zip(step.node.outputs, step.outputs, strict=True) if id(old) in known
    }
    of_outputs = {name: id(t) in known for name, t in zip(sorted(outputs), keras.tree.flatten(twin.model.outputs), strict=True)}
    for name, sure in of_outputs.items():
        assert not sure or np.all(found[name] >= 0), name
    if not rectified:
        assert not of_outputs["maximum with a variable"], "it may change"
    else:
        assert {name for name, sure in of_outputs.items() if sure} == set(SURE)


#: TensorFlow has no gradient of this one in float64.
operations = st.sampled_from(sorted(set(OPERATIONS) - {"Lanczos"}))


@st.composite
def networks(draw):
    """Some operations one after the other, with a second branch here and there, below a dense layer."""
    x = h = keras.Input((4, 4, 2))
    for name in draw(st.lists(operations, min_size=1, max_size=4)):
        if draw(st.booleans()):
            h = keras.layers.Conv2D(2, 1)(h)
        if draw(st.booleans()):
            h = keras.layers.ReLU()(h)
        before, h = h, OPERATIONS[name](h)
        pair = draw(st.sampled_from([None, None, *PAIRS]))
        if pair is not None and before.shape == h.shape:
            h = pair()([before, h])
    return settle(keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(h))), draw(st.integers(0, 9)))


RULES = [Epsilon(0.1), Epsilon(0.1, bias_factor=1.0), Epsilon(0.1, norm_scale=True), ZRule(), ZPlus(), AlphaBeta(2, 1), Gamma(),
         Flat(), ZBox()]  # fmt: skip
presets = st.one_of(
    st.sampled_from(sorted(tf_lrp.presets.names())),
    st.builds(
        lambda one, other: tf_lrp.Preset([(select.kind("conv"), one), (select.kind("weights"), other)]),
        st.sampled_from(RULES),
        st.sampled_from(RULES),
    ),
)


def passed(twin, x):
    """(values, relevance) of every symbolic tensor of a twin, by id; relevance starts with 1 at both outputs."""
    values = conservation._values(twin, [tf.constant(x)])
    (output,) = twin.model.outputs
    arrived = {id(output): tf.ones_like(values[id(output)])}
    conservation._pass(twin, values, arrived)
    return values, arrived


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # smaller ones tell no more
@given(networks(), presets)
def test_what_is_claimed_holds_and_changes_no_relevance(model, preset):
    try:
        with nothing_known():
            plain = rewritten(model, preset)
    except ValueError as refusal:  # Taylor at a layer that is no softmax, and the like
        assume("Pass()" not in str(refusal))
        raise
    values, relevance = passed(plain, X)
    for step in claimed(plain.steps):
        for t in step.outputs:
            assert np.all(values[id(t)] >= 0), step.facts.name

    twin = rewritten(model, preset)
    for step, true in zip(twin.steps, plain.steps, strict=True):
        known = getattr(step.twin, "known", NOTHING)
        for t in true.outputs:
            if known.only_positive and id(t) in relevance:
                assert not np.any(np.asarray(relevance[id(t)])[np.asarray(values[id(t)]) <= 0]), step.facts.name
    few = X[::20]
    values, relevance = passed(twin, few)
    true_values, expected = passed(plain, few)
    for step in twin.steps:
        if getattr(step.twin, "known", NOTHING).settled:
            assert np.all(values[id(step.inputs[0])] >= 0), step.facts.name
    (x,), (true_x,), (y,), (true_y,) = twin.model.inputs, plain.model.inputs, twin.model.outputs, plain.model.outputs
    np.testing.assert_allclose(values[id(y)], true_values[id(true_y)], rtol=1e-9, atol=1e-9)
    found, expected = (np.asarray(r.get(id(t), 0.0)) for r, t in ((relevance, x), (expected, true_x)))
    if expected.ndim:
        # Where a denominator is nothing but rounding, so is what is divided by it: such samples tell nothing.
        shaken = np.asarray(passed(plain, few * (1 + 1e-12))[1][id(true_x)])
        scale = np.abs(expected).max(axis=(1, 2, 3))
        tells = np.abs(shaken - expected).max(axis=(1, 2, 3)) <= 1e-8 * scale
        np.testing.assert_array_less(np.abs(found - expected).max(axis=(1, 2, 3))[tells], 1e-6 * scale[tells] + 1e-12)
    else:
        assert not found.any()


def test_a_limit_within_an_activation_layer_is_kept():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="d"),
            keras.layers.Activation(keras.layers.ReLU(max_value=0.1)),
            keras.layers.Dense(2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(tf_lrp.Analyzer(settle(model), "epsilon").twin(x), model(x), rtol=1e-12)


def test_relevance_below_a_relu_does_not_vanish_where_biases_are_shared_evenly():
    """With a bias factor, the next layer gives something to units that are 0."""
    x = keras.Input((6,))
    h = keras.layers.Dense(7, activation="relu", name="h2")(keras.layers.Dense(8, activation="relu", name="h1")(x))
    model = settle(keras.Model(x, keras.layers.Dense(3)(h)))
    rule, x = Epsilon(0.1, bias_factor=0.25), np.random.default_rng(1).normal(size=(20, 6))
    with nothing_known():
        plain = rewritten(model, rule)
    twin = rewritten(model, rule)
    (taken,), (true,) = twin.model.inputs, plain.model.inputs
    found, expected = passed(twin, x)[1][id(taken)], passed(plain, x)[1][id(true)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    known = {step.facts.name: step.twin.known for step in twin.steps if step.facts.name in ("h1", "h2")}
    assert not any(k.only_positive or k.cut_off for k in known.values())


def test_what_a_user_made_of_a_sum_is_what_is_explained():
    a, b = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([a, b], keras.layers.Dense(1, use_bias=False)(Reflected()([a, b])))
    model.layers[-1].set_weights([np.ones((2, 1))])
    x = [np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]])]
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x), model(x))
    of_a, of_b = analyzer.analyze(x)
    np.testing.assert_allclose((of_a, of_b), ([[3, 1]], [[-2, -4]]), rtol=1e-6)


def test_the_constant_that_wins_a_maximum_keeps_what_it_wins():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(ops.max(x, axis=1, keepdims=True, initial=2.0)))
    model.layers[-1].set_weights([np.ones((1, 1))])
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(
        analyzer.analyze(np.array([[1.0, 0.0, -1.0], [1.0, 3.0, 0.0]])), [[0, 0, 0], [0, 3, 0]], rtol=1e-6
    )
    assert analyzer.conservation(np.array([[1.0, 0.0, -1.0]])).bias == pytest.approx(2)
