"""Random networks of every operation, and presets for them: what is claimed of graphs is tested on these."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from keras import ops

import tf_lrp
from tf_lrp import select
from tf_lrp.graph import canonize, rewrite, unroll
from tf_lrp.graph.nodes import model_of
from tf_lrp.graph.optimize import OPTIMIZATIONS
from tf_lrp.presets import as_preset
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, ZBox, ZPlus, ZRule


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


def rewritten(model, preset, optimizations=OPTIMIZATIONS):
    """The twin of a model, with these optimizations; () computes every rule's formula as it is."""
    return rewrite(canonize(unroll(model)), as_preset(preset), "twin", optimizations)


def passed(twin, x):
    """(values, relevance) of every symbolic tensor of a twin, by id; relevance starts with 1 at the output."""
    symbolic = {id(t): t for t in twin.model.inputs}
    symbolic |= {id(t): t for step in twin.steps for t in step.outputs if "float" in t.dtype}
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = dict(zip(symbolic, [x, *model_of(twin.model.inputs, list(symbolic.values())[1:])(x)], strict=True))
        output = values[id(twin.model.outputs[0])]
    relevance = dict(zip(symbolic, tape.gradient(output, list(values.values()), tf.ones_like(output)), strict=True))
    return values, {key: r * values[key] if key in twin.ratios else r for key, r in relevance.items() if r is not None}
