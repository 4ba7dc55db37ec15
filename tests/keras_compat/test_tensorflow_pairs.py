"""Networks written with layers of Keras and with functions of TensorFlow have one explanation.

Each network is a function of a toolbox and an input. One toolbox calls layers of Keras, the other functions of TensorFlow with
the weights of these layers.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow_layers import assert_equal, numbers

import tf_lrp

pytestmark = pytest.mark.eager

PRESETS = ("z", "cmp_a2_flat", "gamma", "attnlrp")


class Own:
    """Layers of Keras, kept in the order in which they are called, and functions of keras.ops."""

    relu, relu6, gelu, sigmoid, tanh, softmax = map(
        staticmethod, (ops.relu, ops.relu6, ops.gelu, ops.sigmoid, ops.tanh, ops.softmax)
    )
    matmul, transpose, reshape, sum, split, square = map(
        staticmethod, (ops.matmul, ops.transpose, ops.reshape, ops.sum, ops.split, ops.square)
    )

    def __init__(self):
        self.layers = []

    def _called(self, layer, x):
        self.layers.append(layer)
        return layer(x)

    def conv(self, x, filters, size, strides=1, padding="same", dilation=1, bias=True):
        return self._called(layers.Conv2D(filters, size, strides, padding, dilation_rate=dilation, use_bias=bias), x)

    def conv1d(self, x, filters, size, dilation=1):
        return self._called(layers.Conv1D(filters, size, padding="same", dilation_rate=dilation), x)

    def conv3d(self, x, filters, size):
        return self._called(layers.Conv3D(filters, size), x)

    def depthwise(self, x, size, strides=1):
        return self._called(layers.DepthwiseConv2D(size, strides, "same"), x)

    def up(self, x, filters):
        return self._called(layers.Conv2DTranspose(filters, 2, 2), x)

    def dense(self, x, units, bias=True):
        return self._called(layers.Dense(units, use_bias=bias), x)

    def batch_norm(self, x):
        return self._called(layers.BatchNormalization(), x)

    def layer_norm(self, x):
        return self._called(layers.LayerNormalization(), x)

    def embed(self, tokens, count, width):
        return self._called(layers.Embedding(count, width), tokens)

    def scale(self, x):
        return self._called(Scale(), x)

    def add(self, *xs):
        return layers.Add()(list(xs))

    def mul(self, *xs):
        return layers.Multiply()(list(xs))

    def concat(self, xs):
        return layers.Concatenate()(xs)

    def max_pool(self, x):
        return layers.MaxPooling2D(2)(x)

    def average_pool(self, x):
        return layers.AveragePooling2D(2)(x)

    def mean(self, x):
        return getattr(layers, f"GlobalAveragePooling{len(x.shape) - 2}D")()(x)

    def flatten(self, x):
        return layers.Flatten()(x)

    def resize(self, x, size):
        return ops.image.resize(x, size)

    def hard_sigmoid(self, x):
        return ops.hard_sigmoid(x)

    def pad(self, x, paddings):
        return ops.pad(x, paddings)

    def steps(self, x):
        return ops.unstack(x, axis=1)

    def zeros_like(self, x):
        return ops.zeros_like(x)


class Scale(layers.Layer):
    """gamma x"""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")

    def call(self, x):
        return ops.multiply(x, self.gamma)


class Raw:
    """Functions of TensorFlow, with the weights of layers of Keras in the order of their calls."""

    relu, relu6, sigmoid, tanh, softmax = map(staticmethod, (tf.nn.relu, tf.nn.relu6, tf.sigmoid, tf.tanh, tf.nn.softmax))
    matmul, transpose, reshape, sum, split, square = map(
        staticmethod, (tf.matmul, tf.transpose, tf.reshape, tf.reduce_sum, tf.split, tf.square)
    )

    def __init__(self, used):
        self.weights = ([tf.convert_to_tensor(w) for w in layer.weights] for layer in used)

    def _biased(self, z, bias):
        return tf.nn.bias_add(z, bias[0]) if bias else z

    def gelu(self, x):
        return tf.nn.gelu(x, approximate=True)

    def conv(self, x, filters, size, strides=1, padding="same", dilation=1, bias=True):
        w, *b = next(self.weights)
        return self._biased(tf.nn.conv2d(x, w, strides, padding.upper(), dilations=dilation), b)

    def conv1d(self, x, filters, size, dilation=1):
        w, *b = next(self.weights)
        return self._biased(tf.nn.conv1d(x, w, 1, "SAME", dilations=dilation), b)

    def conv3d(self, x, filters, size):
        w, b = next(self.weights)
        return tf.nn.conv3d(x, w, [1] * 5, "VALID") + b

    def depthwise(self, x, size, strides=1):
        w, *b = next(self.weights)
        return self._biased(tf.nn.depthwise_conv2d(x, w, [1, strides, strides, 1], "SAME"), b)

    def up(self, x, filters):
        w, b = next(self.weights)
        n, height, width, _ = tf.unstack(tf.shape(x))
        return tf.nn.conv2d_transpose(x, w, tf.stack([n, 2 * height, 2 * width, filters]), 2, "VALID") + b

    def dense(self, x, units, bias=True):
        w, *b = next(self.weights)
        return self._biased(tf.matmul(x, w) if x.shape.rank == 2 else tf.tensordot(x, w, [[x.shape.rank - 1], [0]]), b)

    def batch_norm(self, x):
        gamma, beta, mean, variance = next(self.weights)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)

    def layer_norm(self, x):
        gamma, beta = next(self.weights)
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)

    def embed(self, tokens, count, width):
        return tf.gather(next(self.weights)[0], tokens)

    def scale(self, x):
        return x * next(self.weights)[0]

    def add(self, *xs):
        return xs[0] + xs[1] if len(xs) == 2 else tf.add_n(xs)

    def mul(self, *xs):
        return xs[0] * xs[1]

    def concat(self, xs):
        return tf.concat(xs, -1)

    def max_pool(self, x):
        return tf.nn.max_pool2d(x, 2, 2, "VALID")

    def average_pool(self, x):
        return tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def mean(self, x):
        return tf.reduce_mean(x, list(range(1, x.shape.rank - 1)))

    def flatten(self, x):
        return tf.reshape(x, [tf.shape(x)[0], math.prod(x.shape[1:])])

    def resize(self, x, size):
        return tf.image.resize(x, size)

    def hard_sigmoid(self, x):
        return tf.nn.relu6(x + 3.0) * (1 / 6)

    def pad(self, x, paddings):
        return tf.pad(x, paddings)

    def steps(self, x):
        return tf.unstack(x, axis=1)

    def zeros_like(self, x):
        return tf.zeros_like(x)


PICTURE, SEQUENCE = (8, 8, 3), (6, 5)


def plain_convolutions(t, x):
    x = t.max_pool(t.relu(t.conv(t.relu(t.conv(x, 4, 3)), 6, 3, padding="valid")))
    return t.softmax(t.dense(t.relu(t.dense(t.flatten(x), 8)), 4))


def residual_block(t, x):
    x = t.relu(t.batch_norm(t.conv(x, 4, 3, bias=False)))
    inner = t.batch_norm(t.conv(t.relu(t.batch_norm(t.conv(x, 6, 3, 2))), 6, 3))
    return t.dense(t.mean(t.relu(t.add(inner, t.batch_norm(t.conv(x, 6, 1, 2))))), 4)


def squeeze_and_excite(t, x):
    x = t.relu(t.conv(x, 6, 3))
    gate = t.sigmoid(t.dense(t.relu(t.dense(t.mean(x), 3)), 6))
    return t.dense(t.mean(t.mul(x, t.reshape(gate, (-1, 1, 1, 6)))), 4)


def attention(t, x):
    q, k, v = (t.dense(x, 4, bias=False) for _ in range(3))
    weights = t.softmax(t.matmul(q, t.transpose(k, (0, 2, 1))) * 0.5)
    return t.dense(t.mean(t.dense(t.matmul(weights, v), 5)), 3)


def lstm_cell(t, x):
    """Unrolled over the time steps; each step is written with the same layers."""
    steps = t.steps(x)
    h = c = None
    for step in steps[:3]:
        z = t.dense(step, 12) if h is None else t.add(t.dense(step, 12), t.dense(h, 12, bias=False))
        i, f, g, o = t.split(z, 4, axis=1)
        new = t.mul(t.sigmoid(i), t.tanh(g))
        c = new if c is None else t.add(t.mul(t.sigmoid(f), c), new)
        h = t.mul(t.sigmoid(o), t.tanh(c))
    return t.dense(h, 3)


def inverted_residual(t, x):
    x = t.relu6(t.batch_norm(t.conv(x, 4, 3, 2)))
    inner = t.relu6(t.batch_norm(t.depthwise(t.relu6(t.batch_norm(t.conv(x, 12, 1, bias=False))), 3)))
    return t.dense(t.mean(t.add(x, t.batch_norm(t.conv(inner, 4, 1)))), 4)


def dense_block(t, x):
    x = t.conv(x, 4, 3)
    for _ in range(2):
        x = t.concat([x, t.conv(t.relu(t.batch_norm(x)), 3, 3)])
    x = t.average_pool(t.conv(t.relu(t.batch_norm(x)), 4, 1, bias=False))
    return t.dense(t.mean(t.relu(t.batch_norm(x))), 4)


def inception(t, x):
    branches = [t.conv(x, 3, 1), t.conv(t.relu(t.conv(x, 2, 1)), 3, 3), t.conv(x, 2, 3, dilation=2)]
    return t.dense(t.flatten(t.max_pool(t.relu(t.concat(branches)))), 4)


def u_net(t, x):
    above = t.relu(t.conv(x, 4, 3))
    below = t.relu(t.conv(t.max_pool(above), 6, 3))
    return t.mean(t.conv(t.relu(t.concat([above, t.up(below, 4)])), 3, 1))


def normalized_perceptron(t, x):
    x = t.gelu(t.batch_norm(t.dense(t.flatten(x), 10)))
    return t.softmax(t.dense(t.batch_norm(t.gelu(t.dense(x, 8))), 3))


def transformer(t, x):
    y = t.layer_norm(x)
    q, k, v = (t.dense(y, 5) for _ in range(3))
    x = t.add(x, t.dense(t.matmul(t.softmax(t.matmul(q, t.transpose(k, (0, 2, 1))) * 0.4), v), 5))
    return t.dense(t.mean(t.layer_norm(t.add(x, t.dense(t.gelu(t.dense(t.layer_norm(x), 12)), 5)))), 3)


def temporal_convolutions(t, x):
    x = t.relu(t.conv1d(x, 4, 3))
    return t.dense(t.mean(t.relu(t.conv1d(x, 6, 2, dilation=2))), 3)


def gated_linear_unit(t, x):
    x = t.flatten(x)
    return t.dense(t.mul(t.dense(x, 8), t.sigmoid(t.dense(x, 8))), 3)


def resized(t, x):
    return t.mean(t.conv(t.resize(t.relu(t.conv(x, 4, 3, 2)), (9, 7)), 3, 3))


def sub_pixels(t, x):
    x = t.reshape(t.relu(t.conv(x, 8, 3)), (-1, 8, 8, 2, 2, 2))
    x = t.reshape(t.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 2))
    return t.mean(t.conv(x, 3, 3))


def mixer(t, x):
    mixed = t.transpose(t.dense(t.gelu(t.dense(t.transpose(t.layer_norm(x), (0, 2, 1)), 8)), 6), (0, 2, 1))
    x = t.add(x, mixed)
    return t.dense(t.mean(t.add(x, t.dense(t.gelu(t.dense(t.layer_norm(x), 8)), 5))), 3)


def volumes(t, x):
    return t.dense(t.mean(t.relu(t.conv3d(t.relu(t.conv3d(x, 3, 2)), 4, 2))), 3)


def hard_swish(t, x):
    x = t.batch_norm(t.conv(x, 4, 3, 2))
    x = t.mul(x, t.hard_sigmoid(x))
    gate = t.hard_sigmoid(t.dense(t.relu(t.dense(t.mean(x), 2)), 4))
    return t.dense(t.mean(t.mul(x, t.reshape(gate, (-1, 1, 1, 4)))), 3)


def token_embedding(t, tokens):
    return t.dense(t.relu(t.dense(t.mean(t.embed(tokens, 9, 6)), 5)), 3)


def layer_scale(t, x):
    x = t.layer_norm(t.conv(x, 4, 2, 2, padding="valid"))
    inner = t.scale(t.dense(t.gelu(t.dense(t.layer_norm(t.depthwise(x, 3)), 8)), 4))
    return t.dense(t.layer_norm(t.mean(t.add(x, inner))), 3)


def padded_and_squared(t, x):
    x = t.relu(t.conv(t.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]]), 4, 3, 2, padding="valid"))
    return t.dense(t.sum(t.square(x), axis=[1, 2]), 3)


NETWORKS = {
    network: shape
    for shape, networks in {
        PICTURE: (
            plain_convolutions, residual_block, squeeze_and_excite, inverted_residual, dense_block, inception, u_net,
            normalized_perceptron, gated_linear_unit, resized, sub_pixels, hard_swish, layer_scale, padded_and_squared,
        ),
        SEQUENCE: (attention, lstm_cell, transformer, temporal_convolutions, mixer),
        (4, 5, 5, 2): (volumes,),
        (7,): (token_embedding,),
    }.items()
    for network in networks
}  # fmt: skip


class Network(layers.Layer):
    """A network of functions of TensorFlow."""

    def __init__(self, function, used):
        super().__init__(name="network")
        self.function, self.used = function, used

    def call(self, x):
        return self.function(Raw(self.used), x)


def pair(network, shape):
    """The network of Keras, and that of TensorFlow with the same weights."""
    dtype = "int32" if network is token_embedding else "float32"
    inputs, tools, rng = keras.Input(shape, dtype=dtype), Own(), np.random.default_rng(3)
    own = keras.Model(inputs, network(tools, inputs))
    for layer in tools.layers:
        layer.set_weights(
            [rng.uniform(0.5, 1.5, w.shape) if w.name in ("moving_variance", "gamma") else rng.normal(0, 0.4, w.shape)
             for w in layer.weights]
        )  # fmt: skip
    return own, keras.Model(inputs, Network(network, tools.layers)(inputs))


def weighted_rules(analyzer):
    """The rules of the layers with weights. (Keras and TensorFlow have parallel branches in different orders.)"""
    return sorted(row[2] for row in analyzer.rules() if row[1].removeprefix("Graph") in WEIGHTED)


WEIGHTED = (
    "Dense",
    "Conv",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2D",
    "DepthwiseConv",
    "ConvTranspose",
    "Conv2DTranspose",
)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_networks_of_tensorflow_are_explained_as_those_of_keras(network):
    shape = NETWORKS[network]
    own, raw = pair(network, shape)
    x = numbers(2, *shape)
    if network is token_embedding:
        x = np.random.default_rng(0).integers(0, 9, (2, 7)).astype("int32")
    assert_equal(raw(x), own(x))
    for preset in PRESETS:
        of_own, of_raw = (tf_lrp.Analyzer(model, preset, verbose=False) for model in (own, raw))
        assert weighted_rules(of_raw) == weighted_rules(of_own), preset
        assert_equal(of_raw.analyze(x), of_own.analyze(x), 1e-5)
