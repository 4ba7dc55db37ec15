"""Property tests: sequence layers against the naive loops of `sequence_reference`.

Values are drawn from a continuous distribution, and some are exact zeros: a denominator is then exactly zero on both sides
where all of its terms are, and nowhere else.

Relevance is conserved where nothing but contributions makes up a denominator: without biases, under the z-rule. Not
conservative, and therefore not tested for it: Taylor's rule of a softmax (its constant term is dropped, so neither is
attention under `attnlrp`), LayerNorm with a beta, any stabilizer without bias_factor=1.
"""

import functools

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import reference
import sequence_reference
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from keras import layers, ops
from sequence_reference import GATE, UNIFORM

import tf_lrp
from tf_lrp import rules as library_rules
from tf_lrp import select

TOLERANCE = 1e-9

pytestmark = [
    pytest.mark.eager,
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis"),  # of a single element
]

#: Keras's layers with their type set.
FLOAT64 = {"dtype": "float64"}
Input = functools.partial(keras.Input, **FLOAT64)


def examples(number):
    """The same examples in every run; a failing one is small enough as it is, and shrinking it takes minutes."""
    return settings(
        phases=[Phase.generate],
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([4, 3, 2, 1])
biased = st.sampled_from([True, True, False])


# --- Numbers ----------------------------------------------------------------------------------------------------------


def values(rng, shape, zeros=0.15):
    """Normal numbers, and some exact zeros."""
    return np.where(rng.random(size=shape) < zeros, 0.0, rng.normal(size=shape))


def samples(rng, *shape):
    """Mixed signs; non-negative; and one of zeros."""
    return np.stack([values(rng, shape), np.abs(values(rng, shape)), np.zeros(shape)])


def randomize(layer, rng, zeros=0.0):
    layer.set_weights([values(rng, w.shape, zeros) for w in layer.get_weights()])
    return [np.asarray(w) for w in layer.get_weights()]


def assert_close(found, expected, tolerance=TOLERANCE):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    error = np.abs(found - expected).max(initial=0.0)
    assert error <= tolerance * max(np.abs(expected).max(initial=0.0), 1e-3), (error, found, expected)


def assert_agrees(model, preset, x, start, output, relevances, **arguments):
    """The model, its twin and the relevance of its inputs are what the reference found.

    Args:
        x: the inputs, an array or a list.
        start: the relevance of the outputs.
        output: the reference's outputs.
        relevances: the reference's relevance of each input; None for one that is not compared (a mask).
    """
    assert_close(model(x), output, 1e-10)
    analyzer = tf_lrp.Analyzer(model, preset=preset, **arguments)
    assert_close(analyzer.twin(x), output, 1e-10)
    found = analyzer.analyze(x, neuron_selection=start)
    assert_all_close(found if isinstance(x, list) else [found], relevances)


def assert_all_close(found, expected):
    """On the scale of the largest of all: the exact zeros of one input may be rounding errors of another."""
    scale = max(np.abs(one).max(initial=0.0) for one in expected if one is not None)
    for one, want in zip(found, expected, strict=True):
        if want is not None:
            assert one.dtype == np.float64
            assert_close(one, want, TOLERANCE * max(scale / max(np.abs(want).max(initial=0.0), 1e-3), 1.0))


def z_rule(linear, a, relevance):
    return linear.relevance(reference.z_rule, a, relevance)


def with_rule(kind, rule):
    """That rule at one kind of layer, and LRP-z elsewhere."""
    return tf_lrp.Preset([(select.kind(kind), rule), (select.all(), library_rules.ZRule())])


# --- Normalization ----------------------------------------------------------------------------------------------------


@st.composite
def shapes(draw, ranks=(2, 1, 3)):
    return tuple(draw(sizes) for _ in range(draw(st.sampled_from(ranks))))


def normalization(layer, shape):
    x = Input(shape)
    return keras.Model(x, layer(x))


def weight_of(layer, name):
    weight = getattr(layer, name, None)
    return None if weight is None else np.asarray(weight.value)


@examples(8)
@given(data=st.data(), shape=shapes(), seed=seeds, scale=biased, center=biased)
def test_layer_normalization(data, shape, seed, scale, center):
    rng = np.random.default_rng(seed)
    axes = sorted(data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1)))
    layer = layers.LayerNormalization(axis=[axis + 1 for axis in axes], scale=scale, center=center, epsilon=0.1, **FLOAT64)
    model, x, start = normalization(layer, shape), samples(rng, *shape), values(rng, (3, *shape))
    randomize(layer, rng, zeros=0.1)

    def broadcast(weight):
        return None if weight is None else weight.reshape([size if k in axes else 1 for k, size in enumerate(shape)])

    twin = sequence_reference.layer_normalization(
        shape, axes, broadcast(weight_of(layer, "gamma")), broadcast(weight_of(layer, "beta")), layer.epsilon
    )
    assert_agrees(model, library_rules.ZRule(), x, start, twin.forward(x), [twin.relevance(x, start)])


@examples(6)
@given(data=st.data(), before=shapes((1, 2)), seed=seeds, scale=biased, center=biased)
def test_group_normalization(data, before, seed, scale, center):
    rng = np.random.default_rng(seed)
    groups, channels = data.draw(st.sampled_from([(2, 4), (1, 3), (3, 6), (3, 3)]))
    shape = (*before, channels)
    layer = layers.GroupNormalization(-1 if groups == channels else groups, scale=scale, center=center, epsilon=0.1, **FLOAT64)
    model, x, start = normalization(layer, shape), samples(rng, *shape), values(rng, (3, *shape))
    randomize(layer, rng, zeros=0.1)
    gamma, beta = weight_of(layer, "gamma"), weight_of(layer, "beta")
    twin = sequence_reference.group_normalization(shape, groups, gamma, beta, layer.epsilon)
    assert_agrees(model, library_rules.ZRule(), x, start, twin.forward(x), [twin.relevance(x, start)])


@examples(6)
@given(data=st.data(), shape=shapes(), seed=seeds, root=st.booleans())
def test_normalization_by_a_root_mean_square_or_a_norm(data, shape, seed, root):
    rng = np.random.default_rng(seed)
    x, start = samples(rng, *shape), values(rng, (3, *shape))
    if root:
        layer = layers.RMSNormalization(epsilon=0.1, **FLOAT64)
        model = normalization(layer, shape)
        (gamma,) = randomize(layer, rng)
        twin = sequence_reference.RmsNormalization((len(shape) - 1,), gamma, layer.epsilon)
    else:
        axes = sorted(data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1)))
        model = normalization(layers.UnitNormalization(axis=[axis + 1 for axis in axes], **FLOAT64), shape)
        twin = sequence_reference.UnitNormalization(tuple(axes))
    assert_agrees(model, library_rules.ZRule(), x, start, twin.forward(x), [twin.relevance(x, start)])


NORMALIZED = {
    "sqrt": lambda centred, variance: centred / ops.sqrt(variance),
    "rsqrt": lambda centred, variance: centred * ops.rsqrt(variance),
    "reciprocal": lambda centred, variance: centred * (1.0 / ops.sqrt(variance)),
}


class HandMadeNormalization(layers.Layer):
    """(x - mean) / std * gamma + beta from single operations."""

    def __init__(self, how, epsilon, **arguments):
        super().__init__(**arguments)
        self.normalized, self.epsilon = NORMALIZED[how], epsilon

    def build(self, shape):
        self.gamma = self.add_weight(shape=shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape[-1:], initializer="zeros", name="beta")

    def call(self, x):
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True) + self.epsilon
        return self.normalized(centred, variance) * self.gamma + self.beta


@pytest.mark.parametrize("how", NORMALIZED)
def test_layer_normalization_by_hand(how):
    rng, shape, epsilon = np.random.default_rng(1), (3, 4), 0.1
    layer = HandMadeNormalization(how, epsilon, **FLOAT64)
    model, x, start = normalization(layer, shape), values(rng, (3, *shape), zeros=0), values(rng, (3, *shape))
    gamma, beta = randomize(layer, rng)
    twin = sequence_reference.layer_normalization(shape, (1,), gamma, beta, epsilon)
    for preset in (library_rules.ZRule(), "attnlrp", "cp_lrp"):
        assert_agrees(model, preset, x, start, twin.forward(x), [twin.relevance(x, start)])


# --- Linear layers ----------------------------------------------------------------------------------------------------

EQUATIONS = {
    "abc,cd->abd": ((3, 4), (3, 5), "d"),
    "abc,cde->abde": ((3, 4), (3, 2, 3), "de"),
    "abcd,cde->abe": ((2, 2, 3), (2, 4), "e"),
    "abc,bd->adc": ((3, 4), (2, 4), "d"),
}

RULES = {
    "ZRule": [{}, {"bias": False}],
    "Epsilon": [{"epsilon": 0.25}, {"epsilon": 1e-6}],
    "ZPlus": [{}, {"stabilizer": 0.0}],
    "AlphaBeta": [{"alpha": 2.0, "beta": 1.0, "stabilizer": 0.25}],
    "Gamma": [{"gamma": 0.25, "stabilizer": 0.25}],
    "WSquare": [{}],
    "Flat": [{}],
    "ZBox": [{"low": -5.0, "high": 5.0}],
}

#: What the library stabilizes by where the reference does not.
STABILIZED = {"ZPlus": {"stabilizer": 1e-6}}


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("name", RULES)
@examples(1)
@given(data=st.data(), seed=seeds, use_bias=biased)
def test_einsum_dense(name, equation, data, seed, use_bias):
    """Like a dense layer, under every rule."""
    rng, arguments = np.random.default_rng(seed), data.draw(st.sampled_from(RULES[name]))
    shape, output_shape, bias_axes = EQUATIONS[equation]
    layer = layers.EinsumDense(equation, output_shape, bias_axes=bias_axes if use_bias else None, **FLOAT64)
    model = normalization(layer, shape)
    kernel, *bias = randomize(layer, rng, zeros=0.1)
    twin = sequence_reference.einsum_dense(equation, kernel, bias[0] if bias else None, shape)
    x = np.clip(samples(rng, *shape), -5, 5)
    start = values(rng, (3, *twin.output_shape))
    expected = twin.relevance(reference.rule(name, **STABILIZED.get(name, {}) | arguments), x, start)
    assert_agrees(model, getattr(library_rules, name)(**arguments), x, start, twin.forward(x), [expected])


@examples(5)
@given(seed=seeds, steps=sizes, features=sizes, preset=st.sampled_from(["z", "attnlrp", "cp_lrp"]))
def test_embedding(seed, steps, features, preset):
    """Ids are the inputs; the layer's own output keeps its dimensions."""
    rng = np.random.default_rng(seed)
    table = layers.Embedding(6, features, name="words", **FLOAT64)
    dense = layers.Dense(3, **FLOAT64)
    inputs = keras.Input((steps,), dtype="int32")
    model = keras.Model(inputs, dense(layers.Flatten(**FLOAT64)(table(inputs))))
    kernel, bias = randomize(dense, rng)
    (rows,) = randomize(table, rng, zeros=0.1)
    ids, start = rng.integers(0, 6, (4, steps)).astype("int32"), values(rng, (4, 3))
    twin, linear = sequence_reference.Embedding(rows), reference.dense(kernel, bias, (steps * features,))
    embedded = twin.forward(ids).reshape(4, -1)
    of_rows = z_rule(linear, embedded, start).reshape(4, steps, features)
    analyzer = tf_lrp.Analyzer(model, preset=library_rules.ZRule() if preset == "z" else preset)
    assert_close(analyzer.twin(ids), linear.forward(embedded), 1e-10)
    found = analyzer.analyze(ids, neuron_selection=start, layers=["words"])
    assert_close(found["input"], twin.relevance(ids, of_rows))
    assert_close(found["words"], of_rows)


class Positions(layers.Layer):
    """Adds a weight to every position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="zeros", name="table")

    def call(self, x):
        return x + self.table


@examples(4)
@given(seed=seeds, shape=shapes((2,)))
def test_a_sum_with_a_weight_drops_the_share_of_the_weight(seed, shape):
    rng = np.random.default_rng(seed)
    layer = Positions(**FLOAT64)
    model, x, start = normalization(layer, shape), samples(rng, *shape), values(rng, (3, *shape))
    (table,) = randomize(layer, rng)
    expected, _ = reference.add_relevance([x, np.broadcast_to(table, x.shape)], start)
    assert_agrees(model, library_rules.ZRule(), x, start, x + table, [expected])


# --- Products ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "none": (0, lambda x: x, lambda x: x),
    "relu": (1, ops.relu, reference.positive),
    "silu": (1, ops.silu, lambda x: x * sequence_reference.sigmoid(x)),
    "tanh": (2, ops.tanh, np.tanh),
    "sigmoid": (3, ops.sigmoid, sequence_reference.sigmoid),
    "softmax": (3, lambda x: ops.softmax(x, axis=-1), lambda x: sequence_reference.Softmax().forward(x)),
}

#: What may lie between the gate's activation and the product.
DETOURS = {
    "nothing": (lambda x: x, lambda x: x),
    "a complement": (lambda x: 1.0 - x, lambda x: 1.0 - x),
    "a scale": (lambda x: 0.5 * x + 2.0, lambda x: 0.5 * x + 2.0),
    "reshapes": (lambda x: ops.reshape(ops.reshape(x, (-1, 12)), (-1, 3, 4)), lambda x: x),
}


def gate_of(first, second):
    """Which of two factors is the gate, by the activations that they come from."""
    ranks = ACTIVATIONS[first][0], ACTIVATIONS[second][0]
    return None if ranks[0] == ranks[1] else int(ranks[1] > ranks[0])


@pytest.mark.parametrize("rule", ["SignalTakesAll", "default", "Uniform"])
@examples(8)
@given(seed=seeds, names=st.tuples(*[st.sampled_from(list(ACTIVATIONS))] * 2), layer=st.booleans())
def test_product(rule, seed, names, layer):
    rng = np.random.default_rng(seed)
    inputs, x = [Input((3, 4)), Input((3, 4))], [samples(rng, 3, 4), samples(rng, 3, 4)[::-1]]
    symbolic = [ACTIVATIONS[name][1](one) for name, one in zip(names, inputs, strict=True)]
    model = keras.Model(inputs, layers.Multiply(**FLOAT64)(symbolic) if layer else symbolic[0] * symbolic[1])
    factors = [ACTIVATIONS[name][2](one) for name, one in zip(names, x, strict=True)]
    twin = sequence_reference.Product(None if rule == "Uniform" else gate_of(*names))
    start = values(rng, (3, 3, 4))
    preset = library_rules.ZRule() if rule == "default" else with_rule("product", getattr(library_rules, rule)())
    assert_agrees(model, preset, x, start, twin.forward(*factors), twin.relevance(*factors, start))


@pytest.mark.parametrize("detour", DETOURS)
@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "softmax"])
def test_a_gate_is_recognized_behind(detour, gate):
    rng = np.random.default_rng(5)
    inputs, x, start = [Input((3, 4)), Input((3, 4))], [samples(rng, 3, 4), samples(rng, 3, 4)], values(rng, (3, 3, 4))
    symbolic, number = DETOURS[detour]
    model = keras.Model(inputs, symbolic(ACTIVATIONS[gate][1](inputs[0])) * inputs[1])
    factors = number(ACTIVATIONS[gate][2](x[0])), x[1]
    twin = sequence_reference.Product(gate=0)
    assert_agrees(model, library_rules.ZRule(), x, start, twin.forward(*factors), [0 * x[0], start])


@pytest.mark.parametrize("shapes", [((3, 4), (1, 4)), ((3, 1), (3, 4)), ((1, 4), (3, 1)), ((2, 3, 4), (1, 1, 4))])
@pytest.mark.parametrize("gated", [True, False])
def test_product_that_broadcasts(shapes, gated):
    """A factor that was broadcast gets the sum over the places it was used at."""
    rng = np.random.default_rng(6)
    inputs, x = [Input(shape) for shape in shapes], [samples(rng, *shape) for shape in shapes]
    model = keras.Model(inputs, inputs[0] * (ops.sigmoid(inputs[1]) if gated else inputs[1]))
    factors = x[0], sequence_reference.sigmoid(x[1]) if gated else x[1]
    start = values(rng, np.broadcast_shapes(*(one.shape for one in x)))
    twin = sequence_reference.Product(gate=1 if gated else None)
    expected = twin.relevance(*factors, start)
    assert_agrees(model, library_rules.ZRule(), x, start, twin.forward(*factors), expected)
    uniform = sequence_reference.Product().relevance(*factors, start)
    preset = with_rule("product", library_rules.Uniform())
    assert_agrees(model, preset, x, start, twin.forward(*factors), uniform)


def test_each_of_three_factors_gets_a_third():
    rng = np.random.default_rng(7)
    inputs, x, start = [Input((4,)) for _ in range(3)], [samples(rng, 4) for _ in range(3)], values(rng, (3, 4))
    model = keras.Model(inputs, layers.Multiply(**FLOAT64)(inputs))
    assert_agrees(model, library_rules.Uniform(), x, start, x[0] * x[1] * x[2], [start / 3] * 3)


FUNCTIONS_OF_ONE = {
    "swish": (lambda x: x * ops.sigmoid(x), lambda x: x * sequence_reference.sigmoid(x)),
    "square": (lambda x: x * x, lambda x: x * x),
    "gelu": (lambda x: 0.5 * x * (1.0 + ops.tanh(x)), lambda x: 0.5 * x * (1.0 + np.tanh(x))),
}


@pytest.mark.parametrize("function", FUNCTIONS_OF_ONE)
@pytest.mark.parametrize("preset", ["z", "attnlrp", "cp_lrp"])
def test_a_product_of_functions_of_one_value_passes_relevance(function, preset):
    rng = np.random.default_rng(8)
    inputs, x, start = Input((3, 4)), samples(rng, 3, 4), values(rng, (3, 3, 4))
    symbolic, number = FUNCTIONS_OF_ONE[function]
    preset = library_rules.ZRule() if preset == "z" else preset
    assert_agrees(keras.Model(inputs, symbolic(inputs)), preset, x, start, number(x), [start])


@pytest.mark.parametrize("preset", ["z", "attnlrp", "cp_lrp"])
def test_the_numerator_of_a_quotient_takes_all(preset):
    rng = np.random.default_rng(9)
    inputs, start = [Input((3, 4)), Input((3, 1))], values(rng, (3, 3, 4))
    x = [samples(rng, 3, 4), 1 + np.abs(samples(rng, 3, 1))]
    preset = library_rules.ZRule() if preset == "z" else preset
    assert_agrees(keras.Model(inputs, inputs[0] / inputs[1]), preset, x, start, x[0] / x[1], [start, 0 * x[1]])


# --- Matrix products and softmax --------------------------------------------------------------------------------------

MATMULS = {
    "matmul": lambda a, b: ops.matmul(a, b),
    "operator": lambda a, b: a @ b,
    "einsum": lambda a, b: ops.einsum("nik,nkj->nij", a, b),
    "dot": lambda a, b: layers.Dot(axes=(2, 1), **FLOAT64)([a, b]),
}


@pytest.mark.parametrize("how", MATMULS)
@examples(4)
@given(
    seed=seeds,
    size=st.tuples(sizes, sizes, sizes),
    names=st.tuples(*[st.sampled_from(["none", "sigmoid", "softmax"])] * 2),
    rule=st.sampled_from(["SignalTakesAll", "default", "Uniform"]),
)
def test_matmul(how, seed, size, names, rule):
    rng = np.random.default_rng(seed)
    i, k, j = size
    inputs, x = [Input((i, k)), Input((k, j))], [samples(rng, i, k), samples(rng, k, j)]
    symbolic = [ACTIVATIONS[name][1](one) for name, one in zip(names, inputs, strict=True)]
    factors = [ACTIVATIONS[name][2](one) for name, one in zip(names, x, strict=True)]
    model, start = keras.Model(inputs, MATMULS[how](*symbolic)), values(rng, (3, i, j))
    twin = sequence_reference.Matmul(None if rule == "Uniform" else gate_of(*names))
    preset = library_rules.ZRule() if rule == "default" else with_rule("matmul", getattr(library_rules, rule)())
    assert_agrees(model, preset, x, start, twin.forward(*factors), twin.relevance(*factors, start))


@examples(8)
@given(seed=seeds, shape=shapes(), taylor=st.booleans(), layer=st.booleans(), masked=st.booleans())
def test_softmax(seed, shape, taylor, layer, masked):
    """As the output, kept there. With a mask no relevance starts at what is masked: it is a constant zero."""
    rng = np.random.default_rng(seed)
    x, start = samples(rng, *shape), values(rng, (3, *shape))
    preset = with_rule("softmax", library_rules.Taylor()) if taylor else library_rules.ZRule()
    twin = sequence_reference.Softmax(taylor)
    if masked:
        mask = rng.random((3, *shape)) < 0.6
        mask[..., 0] = True
        inputs = [Input(shape), keras.Input(shape, dtype="bool")]
        model = keras.Model(inputs, layers.Softmax(**FLOAT64)(inputs[0], mask=inputs[1]))
        start = start * mask
        expected = [twin.relevance(x, start, mask), None]
        assert_agrees(model, preset, [x, mask], start, twin.forward(x, mask), expected, strip_softmax=False)
        return
    inputs = Input(shape)
    model = keras.Model(inputs, layers.Softmax(**FLOAT64)(inputs) if layer else ops.softmax(inputs, axis=-1))
    assert_agrees(model, preset, x, start, twin.forward(x), [twin.relevance(x, start)], strip_softmax=False)


@pytest.mark.parametrize("preset", ["z", "attnlrp", "cp_lrp"])
def test_softmax_between_linear_layers(preset):
    rng = np.random.default_rng(10)
    inputs, first, second = Input((4,)), layers.Dense(5, **FLOAT64), layers.Dense(3, **FLOAT64)
    model = keras.Model(inputs, second(layers.Activation("softmax", **FLOAT64)(first(inputs))))
    lower, upper = reference.dense(*randomize(first, rng), (4,)), reference.dense(*randomize(second, rng), (5,))
    x, start, twin = values(rng, (3, 4)), values(rng, (3, 3)), sequence_reference.Softmax(taylor=preset == "attnlrp")
    z = lower.forward(x)
    s = twin.forward(z)
    expected = z_rule(lower, x, twin.relevance(z, z_rule(upper, s, start)))
    preset = library_rules.ZRule() if preset == "z" else preset
    assert_agrees(model, preset, x, start, upper.forward(s), [expected])


# --- Attention --------------------------------------------------------------------------------------------------------

ATTENTION = {"attnlrp": UNIFORM, "cp_lrp": GATE}


def in_keras(scale):
    """The scale that `keras.ops.dot_product_attention` applies on TensorFlow: it takes a Python number through float32."""
    return float(np.float32(scale))


def random_mask(rng, *shape):
    """Every query may look at something."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] = True
    return mask


class MultiHead:
    """Dense projections, attention, and a dense layer for the heads side by side: the reference for Keras's layers."""

    def __init__(self, weights, use_bias, query_shape, value_shape, rule, head_size, causal):
        def linear(equation, number, shape):
            kernel, *bias = weights[number * (1 + use_bias) :][: 1 + use_bias]
            return sequence_reference.einsum_dense(equation, kernel, bias[0] if use_bias else None, shape)

        self.linears = [
            linear("abc,cde->abde", number, shape) for number, shape in enumerate((query_shape, value_shape, value_shape))
        ]
        self.attention = sequence_reference.Attention(rule, in_keras(1 / np.sqrt(head_size)), causal)
        self.out = linear("abcd,cde->abe", 3, (*query_shape[:1], *self.head_shape))

    @property
    def head_shape(self):
        query, _, value = (linear.output_shape for linear in self.linears)
        return query[1], value[2]

    def forward(self, query, value, mask=None):
        heads = [linear.forward(one) for linear, one in zip(self.linears, (query, value, value), strict=True)]
        return self.out.forward(self.attention.forward(*heads, mask))

    def relevance(self, query, value, start, mask=None):
        inputs = query, value, value
        heads = [linear.forward(one) for linear, one in zip(self.linears, inputs, strict=True)]
        of_out = z_rule(self.out, self.attention.forward(*heads, mask), start)
        of_heads = self.attention.relevance(*heads, of_out, mask)
        of_query, of_key, of_value = (
            z_rule(linear, one, relevance) for linear, one, relevance in zip(self.linears, inputs, of_heads, strict=True)
        )
        return of_query, of_key + of_value


@st.composite
def attention_layers(draw):
    """Class, arguments, and the size of the heads.

    No heads of size 1: where there are as many of them as steps, Keras's `ops.add` takes their bias for one of the steps.
    """
    use_bias, size = draw(biased), draw(st.sampled_from([4, 3, 2]))
    if draw(st.booleans()):
        arguments = {"num_heads": draw(sizes), "key_dim": size, "value_dim": draw(st.sampled_from([None, 2]))}
        return layers.MultiHeadAttention, {**arguments, "use_bias": use_bias}, size
    heads, groups = draw(st.sampled_from([(4, 2), (2, 1), (3, 3), (4, 1)]))
    arguments = {"head_dim": size, "num_query_heads": heads, "num_key_value_heads": groups}
    return layers.GroupQueryAttention, {**arguments, "use_bias": use_bias}, size


@pytest.mark.parametrize("preset", ATTENTION)
@pytest.mark.parametrize("crossed", [False, True])
@examples(5)
@given(data=st.data(), seed=seeds, steps=st.tuples(sizes, sizes), masked=st.booleans(), causal=st.booleans())
def test_attention_layer(preset, crossed, data, seed, steps, masked, causal):
    """Multi-head or with grouped queries, of one sequence or of two, with a mask, causal, or both."""
    rng = np.random.default_rng(seed)
    layer_class, of_layer, size = data.draw(attention_layers())
    layer, use_bias = layer_class(**of_layer, **FLOAT64), of_layer["use_bias"]
    shapes = [(steps[0], 3), (steps[1] if crossed else steps[0], 3)]
    inputs = [Input(shape) for shape in shapes[: 1 + crossed]]
    x = [values(rng, (3, *shape), zeros=0.1) for shape in shapes[: 1 + crossed]]
    arguments, mask = {"use_causal_mask": causal}, None
    symbolic = list(inputs)
    if masked:
        mask = random_mask(rng, 3, shapes[0][0], shapes[1][0])
        symbolic.append(keras.Input(mask.shape[1:], dtype="bool"))
        arguments["attention_mask"] = symbolic[-1]
    model = keras.Model(symbolic if len(symbolic) > 1 else inputs[0], layer(inputs[0], inputs[-1], **arguments))
    weights = randomize(layer, rng)
    twin = MultiHead(weights, use_bias, *shapes, ATTENTION[preset], size, causal)
    start = values(rng, (3, *twin.out.output_shape))
    expected = list(twin.relevance(x[0], x[-1], start, mask))
    if not crossed:
        expected = [expected[0] + expected[1]]
    given_inputs = [*x, mask] if masked else x if crossed else x[0]
    assert_agrees(
        model, preset, given_inputs, start, twin.forward(x[0], x[-1], mask), [*expected, None] if masked else expected
    )


def head_attention(how, q, k, v, scale, mask, causal):
    """One head's attention in the ways in which users write it."""
    if how == "layer":
        arguments = {} if mask is None else {"attention_mask": mask}
        return layers.Attention(**FLOAT64)([scale * q, v, k], use_causal_mask=causal, **arguments)
    if how == "operation":
        q, k, v = (ops.expand_dims(one, 2) for one in (q, k, v))
        mask = None if mask is None else ops.expand_dims(mask, 1)
        return ops.squeeze(ops.dot_product_attention(q, k, v, mask=mask, scale=scale, is_causal=causal), 2)
    if how == "einsum":
        scores = ops.einsum("ntd,nsd->nts", q, k) * scale
        weights = layers.Softmax(**FLOAT64)(scores, mask=mask)
        return ops.einsum("nts,nse->nte", weights, v)
    scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) * scale
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    return ops.matmul(ops.softmax(scores, axis=-1), v)


@pytest.mark.parametrize("how", ["by hand", "einsum", "operation", "layer"])
@pytest.mark.parametrize("preset", ATTENTION)
@examples(3)
@given(seed=seeds, size=st.tuples(sizes, sizes, sizes, sizes), masked=st.booleans(), causal=st.booleans())
def test_attention_of_one_head(how, preset, seed, size, masked, causal):
    rng = np.random.default_rng(seed)
    t, s, d, e = size
    e = d if how == "operation" else e  # it says that its output has the queries' shape
    causal = causal and how in ("operation", "layer")
    if how == "layer":
        masked = False  # it takes masks of sequences
    shapes = [(t, d), (s, d), (s, e)]
    inputs, x = [Input(shape) for shape in shapes], [samples(rng, *shape) for shape in shapes]
    mask = random_mask(rng, 3, t, s) if masked else None
    symbolic_mask = keras.Input((t, s), dtype="bool") if masked else None
    found = head_attention(how, *inputs, 0.7, symbolic_mask, causal)
    model = keras.Model([*inputs, symbolic_mask] if masked else inputs, found)
    scale = in_keras(0.7) if how == "operation" else 0.7
    twin = sequence_reference.Attention(ATTENTION[preset], scale, causal)
    heads = [one[:, :, np.newaxis] for one in x]
    start = values(rng, (3, t, e))
    expected = [one[:, :, 0] for one in twin.relevance(*heads, start[:, :, np.newaxis], mask)]
    output = twin.forward(*heads, mask)[:, :, 0]
    assert_agrees(model, preset, [*x, mask] if masked else x, start, output, [*expected, None] if masked else expected)


@pytest.mark.parametrize("how", ["by hand", "operation", "layer"])
@pytest.mark.parametrize("preset", ATTENTION)
def test_attention_of_a_sequence_to_itself(how, preset):
    """Without projections, one tensor is query, key and value."""
    rng, inputs = np.random.default_rng(21), Input((3, 4))
    model = keras.Model(inputs, head_attention(how, inputs, inputs, inputs, 1.0, None, False))
    x, start = values(rng, (2, 3, 4)), values(rng, (2, 3, 4))
    heads, twin = [x[:, :, np.newaxis]] * 3, sequence_reference.Attention(ATTENTION[preset], 1.0)
    expected = sum(twin.relevance(*heads, start[:, :, np.newaxis]))[:, :, 0]
    assert_agrees(model, preset, x, start, twin.forward(*heads)[:, :, 0], [expected])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_values_take_all_relevance_by_default(causal, masked):
    rng = np.random.default_rng(11)
    layer, inputs = layers.MultiHeadAttention(2, 3, **FLOAT64), Input((4, 3))
    arguments = {"use_causal_mask": causal}
    mask = keras.Input((4, 4), dtype="bool") if masked else None
    if masked:
        arguments["attention_mask"] = mask
    model = keras.Model([inputs, mask] if masked else inputs, layer(inputs, inputs, **arguments))
    weights, x, allowed = randomize(layer, rng), values(rng, (2, 4, 3)), random_mask(rng, 2, 4, 4) if masked else None
    twin = MultiHead(weights, True, (4, 3), (4, 3), GATE, 3, causal)
    start = values(rng, (2, 4, 3))
    of_query, of_value = twin.relevance(x, x, start, allowed)
    assert not of_query.any()
    given_inputs, expected = ([x, allowed], [of_value, None]) if masked else (x, [of_value])
    assert_agrees(model, library_rules.ZRule(), given_inputs, start, twin.forward(x, x, allowed), expected)


# --- Recurrent layers -------------------------------------------------------------------------------------------------

CELLS = ("lstm", "gru, reset after", "gru, reset before", "simple rnn")
LAYERS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple rnn": layers.SimpleRNN}


def recurrent_layer(cell, units, **arguments):
    if cell.startswith("gru"):
        arguments["reset_after"] = cell.endswith("after")
    return LAYERS[cell.partition(",")[0]](units, **arguments, **FLOAT64)


def reference_cell(cell, weights, use_bias, rule, activation=np.tanh):
    """The reference's cell with a Keras layer's weights."""
    kernel, recurrent_kernel, *bias = weights
    bias = bias[0] if use_bias else np.zeros(kernel.shape[1])
    if cell == "lstm":
        return sequence_reference.Lstm(kernel, recurrent_kernel, bias, rule, activation)
    if cell == "simple rnn":
        return sequence_reference.SimpleRnn(kernel, recurrent_kernel, bias, rule, activation)
    after = cell.endswith("after")
    one, two = bias if after and use_bias else (bias, np.zeros_like(bias))
    return sequence_reference.Gru(kernel, recurrent_kernel, one, two, after, rule, activation)


@st.composite
def recurrent_rules(draw):
    """The library's rule and the reference's: LRP-z, or Epsilon with and without its share for bias and stabilizer."""
    epsilon = draw(st.sampled_from([0.0, 0.001, 0.1]))
    if epsilon == 0.0:
        return library_rules.ZRule(), sequence_reference.Epsilon()
    factor = draw(st.sampled_from([0.0, 1.0, 0.5]))
    rule = library_rules.Epsilon(epsilon, bias_factor=factor) if factor else library_rules.Epsilon(epsilon)
    return rule, sequence_reference.Epsilon(epsilon, factor)


@st.composite
def recurrent_arguments(draw):
    return {
        "use_bias": draw(biased),
        "return_sequences": draw(st.booleans()),
        "go_backwards": draw(st.booleans()),
        "activation": draw(st.sampled_from(["tanh", "tanh", "relu"])),
    }


ACTIVATION_OF = {"tanh": np.tanh, "relu": reference.positive}


@pytest.mark.parametrize("cell", CELLS)
@examples(5)
@given(rules=recurrent_rules(), arguments=recurrent_arguments(), seed=seeds, size=st.tuples(sizes, sizes, sizes))
def test_recurrent_layer(cell, rules, arguments, seed, size):
    rng, (steps, features, units) = np.random.default_rng(seed), size
    layer, inputs = recurrent_layer(cell, units, **arguments), Input((steps, features))
    model = keras.Model(inputs, layer(inputs))
    weights, x = randomize(layer, rng, zeros=0.1), samples(rng, steps, features)
    activation = ACTIVATION_OF[arguments["activation"]]
    twin = sequence_reference.Recurrent(
        reference_cell(cell, weights, arguments["use_bias"], rules[1], activation),
        arguments["return_sequences"],
        arguments["go_backwards"],
    )
    output = twin.forward(x)
    start = values(rng, output.shape)
    assert_agrees(model, rules[0], x, start, output, [twin.relevance(x, start)[0]])


@pytest.mark.parametrize("cell", CELLS)
@examples(4)
@given(rules=recurrent_rules(), arguments=recurrent_arguments(), seed=seeds, size=st.tuples(sizes, sizes, sizes))
def test_recurrent_layer_with_a_mask_and_initial_states(cell, rules, arguments, seed, size):
    """Masked steps hand their relevance on to the steps before; what reaches the initial states is theirs."""
    rng, (steps, features, units) = np.random.default_rng(seed), size
    layer, inputs = recurrent_layer(cell, units, **arguments), Input((steps, features))
    states = [Input((units,)) for _ in range(1 + (cell == "lstm"))]
    allowed = keras.Input((steps,), dtype="bool")
    model = keras.Model([inputs, allowed, *states], layer(inputs, mask=allowed, initial_state=states))
    weights, x = randomize(layer, rng, zeros=0.1), values(rng, (4, steps, features))
    mask = rng.random((4, steps)) < 0.6
    initial = [values(rng, (4, units), zeros=0.1) for _ in states]
    twin = sequence_reference.Recurrent(
        reference_cell(cell, weights, arguments["use_bias"], rules[1], ACTIVATION_OF[arguments["activation"]]),
        arguments["return_sequences"],
        arguments["go_backwards"],
    )
    output = twin.forward(x, mask, initial)
    start = values(rng, output.shape)
    of_x, of_initial = twin.relevance(x, start, mask, initial)
    assert_agrees(model, rules[0], [x, mask, *initial], start, output, [of_x, None, *of_initial])


@pytest.mark.compiled
@pytest.mark.parametrize("cell", CELLS)
def test_final_states_start_the_next_layer(cell):
    """An encoder and a decoder, whose outputs and states are all explained."""
    rng, units = np.random.default_rng(12), 3
    inputs, other = Input((3, 2)), Input((2, 4))
    encoder = recurrent_layer(cell, units, return_sequences=True, return_state=True)
    decoder = recurrent_layer(cell, units, return_state=True)
    sequence, *states = encoder(inputs)
    last, *finals = decoder(other, initial_state=states)
    flat = layers.Flatten(**FLOAT64)(sequence)
    model = keras.Model([inputs, other], layers.Concatenate(**FLOAT64)([last, *finals, flat]))
    rule, x, y = sequence_reference.Epsilon(0.001), values(rng, (2, 3, 2)), values(rng, (2, 2, 4))
    below = sequence_reference.Recurrent(reference_cell(cell, randomize(encoder, rng), True, rule), return_sequences=True)
    above = sequence_reference.Recurrent(reference_cell(cell, randomize(decoder, rng), True, rule))
    outputs, states = below.forward_with_states(x)
    last, finals = above.forward_with_states(y, initial=states)
    output = np.concatenate([last, *finals, outputs.reshape(2, -1)], axis=1)
    start = values(rng, output.shape)
    count = len(finals)
    of_last, *of_finals = np.split(start[:, : units * (1 + count)], 1 + count, axis=1)
    of_y, of_states = above.relevance(y, of_last, initial=states, state_relevance=of_finals)
    of_x, _ = below.relevance(x, start[:, units * (1 + count) :].reshape(outputs.shape), state_relevance=of_states)
    assert_agrees(model, library_rules.Epsilon(0.001), [x, y], start, output, [of_x, of_y])


def test_one_tensor_for_both_initial_states():
    """It takes the relevance of both."""
    rng, layer, inputs, state = np.random.default_rng(19), recurrent_layer("lstm", 3), Input((2, 4)), Input((3,))
    model = keras.Model([inputs, state], layer(inputs, initial_state=[state, state]))
    rule = sequence_reference.Epsilon(0.01)
    twin = sequence_reference.Recurrent(reference_cell("lstm", randomize(layer, rng), True, rule))
    x, h, start = values(rng, (2, 2, 4)), values(rng, (2, 3)), values(rng, (2, 3))
    of_x, of_states = twin.relevance(x, start, initial=[h, h])
    assert_agrees(model, library_rules.Epsilon(0.01), [x, h], start, twin.forward(x, initial=[h, h]), [of_x, sum(of_states)])


@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_around_cells(cell):
    """`RNN` around one of Keras's cells, and around two of them, which make one step together."""
    rng, rule = np.random.default_rng(20), sequence_reference.Epsilon(0.01)
    cell_class = {"lstm": layers.LSTMCell, "simple rnn": layers.SimpleRNNCell}.get(cell, layers.GRUCell)
    arguments = {"reset_after": cell.endswith("after")} if cell_class is layers.GRUCell else {}
    x = values(rng, (2, 4, 3))
    for sizes_of_cells in ((4,), (4, 2)):
        cells = [cell_class(units, **arguments, **FLOAT64) for units in sizes_of_cells]
        around = layers.StackedRNNCells(cells, **FLOAT64) if len(cells) > 1 else cells[0]
        layer, inputs = layers.RNN(around, return_sequences=True, **FLOAT64), Input((4, 3))
        model = keras.Model(inputs, layer(inputs))
        weights = randomize(layer, rng)
        each = len(weights) // len(cells)
        twins = [
            sequence_reference.Recurrent(reference_cell(cell, weights[n * each : (n + 1) * each], True, rule), True)
            for n in range(len(cells))
        ]
        activations = [x]
        for twin in twins:
            activations.append(twin.forward(activations[-1]))
        start = relevance = values(rng, activations[-1].shape)
        for twin, activation in zip(reversed(twins), reversed(activations[:-1]), strict=True):
            relevance, _ = twin.relevance(activation, relevance)
        assert_agrees(model, library_rules.Epsilon(0.01), x, start, activations[-1], [relevance])


@pytest.mark.parametrize("cell", CELLS)
@examples(3)
@given(rules=recurrent_rules(), seed=seeds, size=st.tuples(sizes, sizes, sizes), whole=st.booleans(), masked=st.booleans())
def test_bidirectional(cell, rules, seed, size, whole, masked):
    """Keras's wrapper gives zeros for masked steps where it returns sequences."""
    rng, (steps, features, units) = np.random.default_rng(seed), size
    layer = layers.Bidirectional(recurrent_layer(cell, units, return_sequences=whole), **FLOAT64)
    inputs = Input((steps, features))
    model = keras.Model(inputs, layer(layers.Masking(**FLOAT64)(inputs) if masked else inputs))
    x = values(rng, (4, steps, features), zeros=0)
    x[rng.random((4, steps)) < 0.3] = 0.0
    mask = x.any(axis=-1) if masked else None
    weights = randomize(layer, rng)
    half = len(weights) // 2
    ahead, back = (
        sequence_reference.Recurrent(reference_cell(cell, part, True, rules[1]), whole, backwards, whole)
        for part, backwards in ((weights[:half], False), (weights[half:], True))
    )
    twin = sequence_reference.Bidirectional(ahead, back)
    output = twin.forward(x, mask)
    start = values(rng, output.shape)
    assert_agrees(model, rules[0], x, start, output, [twin.relevance(x, start, mask)])


@pytest.mark.compiled
@pytest.mark.parametrize("cell", CELLS)
def test_words_through_stacked_layers(cell):
    """Ids, of which 0 is padding, an embedding, two recurrent layers and a dense one, under Epsilon everywhere."""
    rng, epsilon = np.random.default_rng(13), 0.01
    table = layers.Embedding(7, 3, mask_zero=True, **FLOAT64)
    first, second = recurrent_layer(cell, 4, return_sequences=True), recurrent_layer(cell, 3)
    dense, inputs = layers.Dense(2, **FLOAT64), keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, dense(second(first(table(inputs)))))
    rule = sequence_reference.Epsilon(epsilon)
    words = sequence_reference.Embedding(*randomize(table, rng))
    below = sequence_reference.Recurrent(reference_cell(cell, randomize(first, rng), True, rule), return_sequences=True)
    above = sequence_reference.Recurrent(reference_cell(cell, randomize(second, rng), True, rule))
    linear = reference.dense(*randomize(dense, rng), (3,))
    ids = np.array([[3, 1, 0, 2, 0], [1, 1, 6, 5, 4], [0, 0, 2, 0, 3]], "int32")
    mask, x, start = ids != 0, words.forward(ids), values(rng, (3, 2))
    hidden = below.forward(x, mask)
    last = above.forward(hidden, mask)
    of_last = linear.relevance(reference.rule("Epsilon", epsilon=epsilon), last, start)
    of_words = below.relevance(x, above.relevance(hidden, of_last, mask)[0], mask)[0]
    expected = words.relevance(ids, of_words)
    assert_agrees(model, library_rules.Epsilon(epsilon), ids, start, linear.forward(last), [expected])


# --- The reference itself ---------------------------------------------------------------------------------------------


def constant_gates(cell, weights, x):
    """The outputs of a layer in TensorFlow, where gates and the factors act(z) / z are constants of the sample."""
    kernel, recurrent_kernel, bias = (tf.constant(w) for w in weights)
    stop, units = tf.stop_gradient, recurrent_kernel.shape[0]
    h = c = tf.zeros((len(x), units), tf.float64)

    def act(z):
        return z * stop(tf.tanh(z) / z)

    def gate(z):
        return stop(tf.sigmoid(z))

    outputs = []
    for t in range(x.shape[1]):
        if cell.startswith("gru"):
            after = cell.endswith("after")
            of_x = tf.split(x[:, t] @ kernel + (bias[0] if after else bias), 3, axis=1)
            of_h = tf.split(h @ recurrent_kernel + (bias[1] if after else 0.0), 3, axis=1)
            z, r = gate(of_x[0] + of_h[0]), gate(of_x[1] + of_h[1])
            h = z * h + (1 - z) * act(of_x[2] + (r * of_h[2] if after else (r * h) @ recurrent_kernel[:, 2 * units :]))
        else:
            z = x[:, t] @ kernel + h @ recurrent_kernel + bias
            if cell == "lstm":
                i, f, g, o = tf.split(z, 4, axis=1)
                c = gate(f) * c + gate(i) * act(g)
                h = gate(o) * act(c)
            else:
                h = act(z)
        outputs.append(h)
    return tf.stack(outputs, axis=1)


@pytest.mark.parametrize("cell", CELLS)
def test_lrp_z_is_the_gradient_of_a_layer_whose_gates_are_constants(cell):
    """Times the input, and from start / output: a formula that has nothing in common with the reference's loops."""
    rng = np.random.default_rng(17)
    layer = recurrent_layer(cell, 3)
    layer.build((None, 4, 2))
    weights, x = randomize(layer, rng), tf.constant(values(rng, (2, 4, 2)))
    start = values(rng, (2, 4, 3), zeros=0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = constant_gates(cell, weights, x)
    expected = x * tape.gradient(outputs, x, output_gradients=start / outputs)
    twin = sequence_reference.Recurrent(reference_cell(cell, weights, True, sequence_reference.Epsilon()), True)
    assert_close(twin.forward(x.numpy()), outputs, 1e-13)
    assert_close(twin.relevance(x.numpy(), start)[0], expected, 1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_reference_loses_nothing_where_bias_and_stabilizer_are_shared_out(cell):
    rng = np.random.default_rng(18)
    layer = recurrent_layer(cell, 3)
    layer.build((None, 4, 2))
    rule = sequence_reference.Epsilon(0.1, bias_factor=1.0)
    twin = sequence_reference.Recurrent(reference_cell(cell, randomize(layer, rng), True, rule), True)
    x, start, mask = values(rng, (2, 4, 2)), values(rng, (2, 4, 3)), np.array([[1, 1, 0, 1], [1, 0, 0, 1]], bool)
    of_x, of_states = twin.relevance(x, start, mask)
    total = of_x.sum(axis=(1, 2)) + sum(r.sum(axis=1) for r in of_states)
    np.testing.assert_allclose(total, start.sum(axis=(1, 2)), rtol=0, atol=1e-12 * np.abs(of_x).sum())


# --- Conservation -----------------------------------------------------------------------------------------------------


def assert_conserves(model, preset, x, start, tolerance=TOLERANCE):
    found = tf_lrp.Analyzer(model, preset=preset).analyze(x, neuron_selection=start)
    found = found if isinstance(found, list) else [found]
    total = sum(one.reshape(len(one), -1).sum(axis=1) for one in found)
    size = sum(np.abs(one).reshape(len(one), -1).sum(axis=1) for one in found)
    np.testing.assert_array_less(np.abs(total - start.reshape(len(start), -1).sum(axis=1)), tolerance * (1 + size))


CONSERVING = {
    "layer normalization": (lambda: layers.LayerNormalization(center=False, **FLOAT64), ["attnlrp", "cp_lrp"]),
    "group normalization": (lambda: layers.GroupNormalization(2, center=False, **FLOAT64), ["attnlrp", "cp_lrp"]),
    "rms normalization": (lambda: layers.RMSNormalization(**FLOAT64), ["attnlrp", "cp_lrp"]),
    "unit normalization": (lambda: layers.UnitNormalization(**FLOAT64), ["attnlrp", "cp_lrp"]),
    "einsum": (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), **FLOAT64), ["attnlrp", "cp_lrp"]),
    "swiglu": (lambda: SwiGlu(**FLOAT64), ["attnlrp", "cp_lrp"]),
    "attention": (lambda: SelfAttention(causal=False, **FLOAT64), ["cp_lrp"]),
    "causal attention": (lambda: SelfAttention(causal=True, **FLOAT64), ["cp_lrp"]),
    **{
        cell: (lambda cell=cell: recurrent_layer(cell, 3, return_sequences=True, use_bias=False), ["attnlrp", "cp_lrp"])
        for cell in CELLS
    },
}


class SwiGlu(layers.Layer):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.gate, self.up = layers.Dense(5, use_bias=False, **FLOAT64), layers.Dense(5, use_bias=False, **FLOAT64)

    def call(self, x):
        return ops.silu(self.gate(x)) * self.up(x)


class SelfAttention(layers.Layer):
    def __init__(self, causal, **arguments):
        super().__init__(**arguments)
        self.causal = causal
        self.attention = layers.MultiHeadAttention(2, 3, use_bias=False, **FLOAT64)

    def call(self, x):
        return self.attention(x, x, use_causal_mask=self.causal)


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name, (_, presets) in CONSERVING.items() for preset in presets]
)
def test_relevance_is_conserved(name, preset):
    rng, layer, inputs = np.random.default_rng(14), CONSERVING[name][0](), Input((3, 4))
    model = keras.Model(inputs, layer(inputs))
    randomize(layer, rng)
    x = values(rng, (3, 3, 4), zeros=0)
    assert_conserves(model, preset, x, values(rng, model(x).shape, zeros=0))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_recurrent_layers_conserve_where_bias_and_stabilizer_are_shared_out(cell, use_bias):
    """All of it, at inputs and initial states together."""
    rng, layer, inputs = np.random.default_rng(15), recurrent_layer(cell, 3, use_bias=use_bias), Input((4, 2))
    states = [Input((3,)) for _ in range(1 + (cell == "lstm"))]
    model = keras.Model([inputs, *states], layer(inputs, initial_state=states))
    randomize(layer, rng)
    x = [values(rng, (3, 4, 2)), *(values(rng, (3, 3)) for _ in states)]
    assert_conserves(model, library_rules.Epsilon(0.01, bias_factor=1.0), x, values(rng, (3, 3), zeros=0))


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers_lose_less_the_smaller_epsilon(cell):
    rng, layer, inputs = np.random.default_rng(16), recurrent_layer(cell, 3, use_bias=False), Input((3, 2))
    model = keras.Model(inputs, layer(inputs))
    randomize(layer, rng)
    x, start = values(rng, (3, 3, 2), zeros=0), values(rng, (3, 3), zeros=0)
    for epsilon in (1e-6, 1e-12):
        assert_conserves(model, library_rules.Epsilon(epsilon), x, start, tolerance=1e3 * epsilon)
