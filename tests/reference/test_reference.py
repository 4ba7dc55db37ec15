"""Property tests: every layer family and rule against the naive matrices and formulas of `reference`.

Weights, inputs and start relevances are multiples of 1/4, so that sums of products are exact in float64: a denominator
that is zero is exactly zero on both sides, and one that is not is never a rounding error.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from eagerly import eagerly
from hypothesis import HealthCheck, Phase, given, settings

import tf_lrp
from tf_lrp import rules as library_rules
from tf_lrp import select

pytestmark = pytest.mark.eager

layers = keras.layers
TOLERANCE = 1e-9

RANKED = {
    1: {"conv": layers.Conv1D, "depthwise": layers.DepthwiseConv1D, "separable": layers.SeparableConv1D},
    2: {"conv": layers.Conv2D, "depthwise": layers.DepthwiseConv2D, "separable": layers.SeparableConv2D},
    3: {"conv": layers.Conv3D},
}
TRANSPOSED = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
AVERAGE = {1: layers.AveragePooling1D, 2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
MAX = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
GLOBAL_AVERAGE = {
    1: layers.GlobalAveragePooling1D,
    2: layers.GlobalAveragePooling2D,
    3: layers.GlobalAveragePooling3D,
}
GLOBAL_MAX = {1: layers.GlobalMaxPooling1D, 2: layers.GlobalMaxPooling2D, 3: layers.GlobalMaxPooling3D}
FAMILIES = ("dense", "conv", "depthwise", "separable", "transposed")
POOLINGS = ("average", "global_average", "max", "global_max")


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


# --- Numbers ----------------------------------------------------------------------------------------------------------


def nice(rng, shape, zeros=0.2):
    """Multiples of 1/4 in [-2, 2], a fifth of them exact zeros on top of those that the grid itself gives."""
    values = rng.integers(-8, 9, size=shape) / 4
    return np.where(rng.random(size=shape) < zeros, 0.0, values)


def nice_inputs(rng, shape, batch):
    """The first of: mixed signs, non-negative, negative, all zero, mixed again."""
    samples = [
        nice(rng, shape),
        np.abs(nice(rng, shape)),
        -np.abs(nice(rng, shape)),
        np.zeros(shape),
        nice(rng, shape),
    ]
    return np.stack(samples[:batch])


def set_nice_weights(layer, rng):
    """Weights and biases on the grid; now and then a neuron whose weights, or a layer whose biases, are all zero."""
    if isinstance(layer, layers.BatchNormalization):
        values = {w.path.split("/")[-1]: nice(rng, w.shape) for w in layer.weights}
        if "moving_variance" in values:  # variance + epsilon is 1/4, 1, 4 or 16: its root is exact
            values["moving_variance"] = rng.choice([0.25, 1.0, 4.0, 16.0], size=layer.moving_variance.shape) - 0.25
        layer.set_weights([values[w.path.split("/")[-1]] for w in layer.weights])
        return
    values = [nice(rng, w.shape) for w in layer.weights]
    if values and values[0].ndim > 1 and rng.random() < 0.3:
        values[0][..., 0] = 0.0
    if len(values) > 1 and rng.random() < 0.2:
        values[-1][...] = 0.0
    layer.set_weights(values)


def assert_close(found, expected, tolerance=TOLERANCE):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    error = np.abs(found - expected).max(initial=0.0)
    assert error <= tolerance * max(np.abs(expected).max(initial=0.0), 1e-3), (found, expected)


# --- What Hypothesis draws --------------------------------------------------------------------------------------------


biased = st.sampled_from([True, True, False])


@dataclass
class Case:
    """One layer, by class and arguments, and the shape it is applied to."""

    layer_class: type
    input_shape: tuple
    arguments: dict = field(default_factory=dict)
    dtype: str = "float64"

    def layer(self, rng, **more):
        layer = self.layer_class(dtype=self.dtype, **self.arguments, **more)
        layer.build((None, *self.input_shape))
        set_nice_weights(layer, rng)
        return layer


def upto(largest, smallest=1):
    """Integers, the largest first: what Hypothesis calls its simplest example is then a rich one."""
    return st.sampled_from(range(largest, smallest - 1, -1))


def per_axis(draw, rank, values):
    return tuple(draw(values) for _ in range(rank))


@st.composite
def dense_cases(draw):
    before = draw(st.sampled_from([(), (), (3,), (2, 2)]))
    arguments = {"units": draw(upto(5)), "use_bias": draw(biased)}
    return Case(layers.Dense, (*before, draw(upto(6))), arguments)


@st.composite
def conv_cases(draw, family):
    rank = draw(st.sampled_from([2, 1, 3] if family == "conv" else [2, 1]))
    layer_class = RANKED[rank][family]
    small = 2 if rank == 3 else 3
    kernel_size = per_axis(draw, rank, upto(small))
    steps = draw(st.sampled_from(["strides", "dilation", "neither"]))
    strides = dilations = (1,) * rank
    if steps == "strides":
        strides = per_axis(draw, rank, st.integers(1, small))
    elif steps == "dilation":
        dilations = per_axis(draw, rank, st.integers(1, 2))
    paddings = ["same", "valid"] + (["causal"] if family == "conv" and rank == 1 else [])
    padding = draw(st.sampled_from(paddings))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilations, strict=True)]
    largest = {1: 7, 2: 6, 3: 4}[rank]
    spatial = tuple(draw(upto(largest, extent if padding == "valid" else 2)) for extent in extents)
    arguments = {
        "kernel_size": kernel_size,
        "strides": strides,
        "dilation_rate": dilations,
        "padding": padding,
        "use_bias": draw(biased),
    }
    if family == "conv":
        groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
        channels = groups * draw(upto(2))
        arguments |= {"groups": groups, "filters": groups * draw(upto(2))}
    else:
        channels = draw(upto(3))
        arguments["depth_multiplier"] = draw(upto(2))
        arguments["strides"] = (max(strides),) * rank  # TensorFlow wants them equal
        if family == "separable":
            arguments["filters"] = draw(upto(3))
    return Case(layer_class, (*spatial, channels), arguments)


@st.composite
def transposed_cases(draw):
    rank = draw(st.sampled_from([2, 1, 3]))
    kernel_size = per_axis(draw, rank, upto(3 if rank < 3 else 2))
    strides = dilations = (1,) * rank
    if draw(st.sampled_from([True, True, False])):
        strides = per_axis(draw, rank, st.integers(1, 3 if rank < 3 else 2))
    else:
        dilations = per_axis(draw, rank, st.integers(1, 3 if rank < 3 else 2))
    padding = draw(st.sampled_from(["same", "valid"]))
    output_padding = None
    if draw(st.booleans()):
        output_padding = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
        extents = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilations, strict=True)]
        if padding == "same" and any(e % 2 + p < 1 for e, p in zip(extents, output_padding, strict=True)):
            output_padding = None  # TensorFlow has no convolution that this would be the transpose of
    spatial = per_axis(draw, rank, upto(4 if rank == 1 else 3))
    arguments = {
        "filters": draw(upto(3)),
        "kernel_size": kernel_size,
        "strides": strides,
        "dilation_rate": dilations,
        "padding": padding,
        "output_padding": output_padding,
        "use_bias": draw(biased),
    }
    return Case(TRANSPOSED[rank], (*spatial, draw(upto(3))), arguments)


@st.composite
def pooling_cases(draw, family):
    rank = draw(st.sampled_from([2, 1, 3]))
    dtype = "float32" if rank == 3 else "float64"  # TensorFlow has no 3-D pooling in float64
    largest = {1: 7, 2: 5, 3: 4}[rank]
    if family.startswith("global"):
        layer_class = (GLOBAL_AVERAGE if family == "global_average" else GLOBAL_MAX)[rank]
        spatial, arguments = per_axis(draw, rank, upto(largest)), {"keepdims": draw(st.booleans())}
    else:
        layer_class = (AVERAGE if family == "average" else MAX)[rank]
        pool_size = per_axis(draw, rank, upto(3))
        padding = draw(st.sampled_from(["same", "valid"]))
        strides = draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 3)] * rank)))
        spatial = tuple(draw(upto(largest, size if padding == "valid" else 1)) for size in pool_size)
        arguments = {"pool_size": pool_size, "strides": strides, "padding": padding}
    return Case(layer_class, (*spatial, draw(upto(2))), arguments, dtype)


def cases(family):
    if family == "dense":
        return dense_cases()
    if family == "transposed":
        return transposed_cases()
    return pooling_cases(family) if family in POOLINGS else conv_cases(family)


seeds = st.integers(0, 2**32 - 1)
coefficients = st.sampled_from([0.0, 1.0, -0.5, 0.25, 2.0])
thetas = st.tuples(coefficients, coefficients).filter(any)
gammas = st.tuples(*[coefficients] * 5).filter(any)
stabilizers = st.sampled_from([0.0, 0.0, 0.25, 1e-6])
alphas = st.sampled_from([1.0, 1.5, 2.0, 3.0])


@dataclass
class Rule:
    """The same rule twice: the library's object and the reference's function."""

    name: str
    arguments: dict

    @property
    def library(self):
        return getattr(library_rules, self.name)(**self.arguments)

    @property
    def reference(self):
        return reference.rule(self.name, **self.arguments)


@st.composite
def rules(draw, name=None):
    name = name or draw(st.sampled_from(list(reference.RULES)))
    if name == "Epsilon":
        arguments = {"epsilon": draw(st.sampled_from([0.25, 1.0, 0.01, 1e-6])), "bias": draw(st.booleans())}
    elif name == "ZBox":
        arguments = {"low": draw(st.sampled_from([-2.0, -3.5, 0.0])), "high": draw(st.sampled_from([2.0, 2.5]))}
    elif name == "Unified":
        alpha = draw(alphas)
        arguments = {"alpha": alpha, "beta": alpha - 1, "epsilon": draw(st.sampled_from([0.0, 0.25]))}
        arguments |= zip(("theta0", "theta1"), draw(thetas), strict=True)
        arguments |= zip(("gamma0", "gamma1", "gamma1p", "gamma1n", "gamma2"), draw(gammas), strict=True)
        arguments["m"] = draw(st.one_of(gammas, st.none()))
        arguments["bias"] = draw(st.booleans())
    else:
        arguments = {"bias": draw(st.booleans()), "stabilizer": draw(stabilizers)}
        if name == "AlphaBeta":
            alpha = draw(alphas)
            arguments |= {"alpha": alpha, "beta": alpha - 1}
        elif name == "Gamma":
            arguments["gamma"] = draw(st.sampled_from([0.25, 0.0, 1.0, 10.0]))
        elif name == "Sign":
            arguments["mu"] = draw(st.sampled_from([0.0, 0.25, -1.5]))
    return Rule(name, arguments)


@st.composite
def scale_free_rules(draw):
    """Rules without the stabilizers that see whether the weights of a merge or a mean are 1 or 1/n."""
    rule = draw(rules())
    if rule.name in ("WSquare", "Flat"):
        rule.arguments["stabilizer"] = 0.0
    elif rule.name == "Unified":
        rule.arguments["epsilon"] = 0.0
    return rule


def chain(input_shape, *chained, dtype="float64"):
    """A functional model of layers one after the other."""
    inputs = keras.Input(input_shape, dtype=dtype)
    tensor = inputs
    for layer in chained:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def analyze(model, rule, x, start):
    """Relevance; in a graph where TensorFlow has no kernel without one: for gradients of grouped convolutions on a CPU."""
    grouped = any(getattr(layer, "groups", 1) > 1 for layer in model.layers)
    with eagerly(tf.config.functions_run_eagerly() and not grouped):
        return tf_lrp.Analyzer(model, preset=rule).analyze(x, neuron_selection=start)


def start_relevance(rng, model, batch):
    return nice(rng, (batch, *model.output_shape[1:]))


# --- The reference itself ---------------------------------------------------------------------------------------------


@pytest.mark.compiled  # Keras's grouped convolutions are
@pytest.mark.parametrize("family", [*FAMILIES, "average", "global_average"])
@examples(40)
@given(data=st.data(), seed=seeds)
def test_matrix_gives_the_outputs_of_the_keras_layer(family, data, seed):
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    layer = case.layer(rng)
    x = nice_inputs(rng, case.input_shape, 2)
    expected = x
    for linear in reference.linears_of(layer, case.input_shape):
        expected = linear.forward(expected)
        np.testing.assert_array_equal(linear.weights[~linear.connected], 0.0)
    # TensorFlow's dilated transposed convolutions run on a CPU in float64 only when compiled.
    compiled = family == "transposed" and max(layer.dilation_rate) > 1
    found = np.asarray((tf.function(layer, jit_compile=True) if compiled else layer)(x.astype(case.dtype)))
    if case.arguments.get("keepdims"):
        expected = expected.reshape(found.shape)
    assert_close(found, expected, 1e-14 if case.dtype == "float64" else 1e-6)


@examples(20)
@given(shape=st.sampled_from([(4,), (3, 2), (3, 2, 3)]), seed=seeds, scale=st.booleans(), center=st.booleans())
def test_diagonal_gives_the_outputs_of_batch_normalization(shape, seed, scale, center):
    rng = np.random.default_rng(seed)
    layer = Case(layers.BatchNormalization, shape, {"epsilon": 0.25, "scale": scale, "center": center}).layer(rng)
    x = nice_inputs(rng, shape, 2)
    (linear,) = reference.linears_of(layer, shape)
    assert_close(np.asarray(layer(x, training=False)), linear.forward(x), 1e-14)


@pytest.mark.parametrize("family", ["max", "global_max"])
@examples(25)
@given(data=st.data(), seed=seeds)
def test_reference_max_pooling_gives_the_outputs_of_keras(family, data, seed):
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    layer = case.layer(rng)
    x = nice_inputs(rng, case.input_shape, 3)
    found = np.asarray(layer(x.astype(case.dtype)))
    assert_close(found, reference.max_pooling(x, *pooling_arguments(layer, case))[0].reshape(found.shape), 0.0)


def pooling_arguments(layer, case):
    if "Global" in type(layer).__name__:
        return case.input_shape[:-1], case.input_shape[:-1], "valid"
    return layer.pool_size, layer.strides, layer.padding


def test_reference_rules_on_a_neuron_worked_out_by_hand():
    """z_ij = (2, -2, 0), bias 1: z = 1, z+ = 3, z- = -2."""
    a, w, connected = np.array([1.0, -2.0, 0.0]), np.array([2.0, 1.0, -3.0]), np.array([True, True, True])

    def share(name, b=1.0, **arguments):
        z = a @ w + (b or 0.0)
        return reference.rule(name, **arguments)(a, w, b, connected, z).tolist()

    assert share("ZRule") == [2.0, -2.0, 0.0]
    assert share("ZRule", bias=False) == [0.0, 0.0, 0.0]
    assert share("Epsilon", epsilon=1.0) == [1.0, -1.0, 0.0]
    assert share("Epsilon", epsilon=0.5, bias=False) == [4.0, -4.0, 0.0]  # sign(0) = +1
    assert share("Epsilon", b=-1.0, epsilon=1.0) == [-1.0, 1.0, 0.0]
    assert share("ZPlus") == [2 / 3, 0.0, 0.0]
    assert share("ZPlus", bias=False) == [1.0, 0.0, 0.0]
    assert share("AlphaBeta", alpha=2.0, beta=1.0) == [4 / 3, -1.0, 0.0]
    assert share("AlphaBeta", b=-2.0, alpha=2.0, beta=1.0) == [2.0, -0.5, 0.0]
    assert share("Gamma", gamma=1.0) == [1.0, -0.5, 0.0]  # contributions 4 and -2, bias 1 + 1
    assert share("Gamma", b=-1.0, gamma=1.0) == [-0.5, 1.0, 0.0]  # 2 and -4, bias -1 - 1
    assert share("Gamma", b=0.0, gamma=1.0) == [0.0, 0.0, 0.0]
    assert share("WSquare") == [4 / 14, 1 / 14, 9 / 14]
    assert share("WSquare", bias=True) == [4 / 15, 1 / 15, 9 / 15]
    assert share("Flat") == [1 / 3, 1 / 3, 1 / 3]
    assert share("Flat", bias=True) == [0.25, 0.25, 0.25]
    assert share("ZBox", low=-2.0, high=3.0) == [6 / 15, 0.0, 9 / 15]
    assert share("Unified", gamma1p=1.0, theta0=1.0) == [4 / 4, -1 / 4, 0.0]  # (1 + a) w+ = 4, -1, 0; bias 1


@examples(40)
@given(seed=seeds, bias=st.booleans(), case=conv_cases("conv"))
def test_reference_unified_is_the_named_rule_it_can_express(seed, bias, case):
    rng = np.random.default_rng(seed)
    (linear,) = reference.linears_of(case.layer(rng), case.input_shape)
    x = np.abs(nice_inputs(rng, case.input_shape, 2))
    start = nice(rng, (2, *linear.output_shape))
    for name, arguments, unified in [
        ("Epsilon", {"epsilon": 0.25, "bias": bias}, {"epsilon": 0.25, "gamma1": 1.0}),
        ("ZPlus", {"bias": bias}, {"gamma1p": 1.0}),
        (
            "AlphaBeta",
            {"alpha": 2.0, "beta": 1.0, "bias": bias},
            {"alpha": 2.0, "beta": 1.0, "gamma1p": 1.0, "m": (0.0, 0.0, 0.0, 1.0, 0.0)},
        ),
        ("WSquare", {}, {"theta0": 1.0, "theta1": 0.0, "gamma2": 1.0}),
        ("Flat", {}, {"theta0": 1.0, "theta1": 0.0, "gamma0": 1.0}),
        ("ZBox", {"low": 0.0, "high": 2.0}, None),
    ]:
        if unified is None:  # alpha-1 beta-0 of x - low and x - high, the case low = 0: a w - high w-
            expected = linear.relevance(reference.rule(name, **arguments), x, start)
            by_hand = np.zeros_like(x)
            for n in range(len(x)):
                terms = x[n].reshape(-1, 1) * linear.weights - 2.0 * np.minimum(linear.weights, 0.0)
                sums = terms.sum(axis=0)
                alive = sums != 0
                by_hand[n] = (terms[:, alive] @ (start[n].reshape(-1)[alive] / sums[alive])).reshape(x[n].shape)
            assert_close(by_hand, expected, 1e-12)
            continue
        expected = linear.relevance(reference.rule(name, **arguments), x, start)
        assert_close(linear.relevance(reference.rule("Unified", bias=bias, **unified), x, start), expected, 1e-12)


# --- Linear layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", reference.RULES)
@examples(8)
@given(data=st.data(), seed=seeds, batch=st.sampled_from([5, 1]), before=st.booleans(), after=st.booleans())
def test_linear_layer(name, family, data, seed, batch, before, after):
    """A layer of any geometry under any rule; after a ReLU (inputs known non-negative) and with one fused into it."""
    case, rule, rng = data.draw(cases(family)), data.draw(rules(name)), np.random.default_rng(seed)
    layer = case.layer(rng, activation="relu" if after else None)
    model = chain(case.input_shape, *([layers.ReLU(dtype="float64")] if before else []), layer)
    x = nice_inputs(rng, case.input_shape, batch)
    start = start_relevance(rng, model, batch)
    expected = reference.relevances(reference.steps_of(model, rule.reference), x, start)[0]
    assert_close(analyze(model, rule.library, x, start), expected)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ZRule", {}),
        ("WSquare", {}),
        ("Flat", {}),
        ("ZBox", {"low": -2.0, "high": 2.0}),
        ("Unified", {"gamma1": 1.0}),
    ],
)
def test_a_rule_stabilizes_only_when_asked_to(name, arguments):
    rng = np.random.default_rng(8)
    layer = Case(layers.Dense, (6,), {"units": 5}).layer(rng)
    x, start, rule = nice_inputs(rng, (6,), 5), nice(rng, (5, 5)), Rule(name, arguments)
    (linear,) = reference.linears_of(layer, (6,))
    assert_close(analyze(chain((6,), layer), rule.library, x, start), linear.relevance(rule.reference, x, start))


@pytest.mark.parametrize(
    ("name", "arguments"), [("ZPlus", {}), ("AlphaBeta", {"alpha": 2.0, "beta": 1.0}), ("Gamma", {"gamma": 0.25})]
)
def test_rules_that_split_signs_are_stabilized_unless_told_otherwise(name, arguments):
    rng = np.random.default_rng(8)
    layer = Case(layers.Dense, (6,), {"units": 5}).layer(rng)
    x, start = nice_inputs(rng, (6,), 5), nice(rng, (5, 5))
    (linear,) = reference.linears_of(layer, (6,))
    found = analyze(chain((6,), layer), Rule(name, arguments).library, x, start)
    assert_close(found, linear.relevance(Rule(name, {**arguments, "stabilizer": 1e-6}).reference, x, start))


@examples(12)
@given(data=st.data(), seed=seeds, family=st.sampled_from(["conv", "dense"]), per_channel=st.booleans())
def test_box_rule_with_a_box_of_the_shape_of_the_input(data, seed, family, per_channel):
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    layer = case.layer(rng)
    model = chain(case.input_shape, layer)
    box_shape = case.input_shape[-1:] if per_channel else case.input_shape
    low, high = -2.0 - np.abs(nice(rng, box_shape)), 2.0 + np.abs(nice(rng, box_shape))
    x = nice_inputs(rng, case.input_shape, 3)
    start = start_relevance(rng, model, 3)
    (linear,) = reference.linears_of(layer, case.input_shape)
    everywhere = {"low": np.broadcast_to(low, case.input_shape), "high": np.broadcast_to(high, case.input_shape)}
    expected = linear.relevance(reference.rule("ZBox", **everywhere), x, start)
    assert_close(analyze(model, library_rules.ZBox(low, high), x, start), expected)


@examples(30)
@given(data=st.data(), seed=seeds, rule=rules(), family=st.sampled_from(["conv", "dense", "depthwise", "transposed"]))
def test_batch_normalization_after_a_linear_layer_is_merged_into_it(data, seed, rule, family):
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    layer = case.layer(rng)
    (linear,) = reference.linears_of(layer, case.input_shape)
    normalization = Case(layers.BatchNormalization, linear.output_shape, {"epsilon": 0.25}).layer(rng)
    model = chain(case.input_shape, layer, normalization)
    x = nice_inputs(rng, case.input_shape, 4)
    start = start_relevance(rng, model, 4)
    (diagonal,) = reference.linears_of(normalization, linear.output_shape)
    expected = reference.merged_after(linear, diagonal).relevance(rule.reference, x, start)
    assert_close(analyze(model, rule.library, x, start), expected)


@examples(30)
@given(data=st.data(), seed=seeds, rule=rules(), family=st.sampled_from(["conv", "dense", "depthwise", "transposed"]))
def test_batch_normalization_before_a_linear_layer_is_merged_into_it(data, seed, rule, family):
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    normalization = Case(layers.BatchNormalization, case.input_shape, {"epsilon": 0.25}).layer(rng)
    layer = case.layer(rng)
    model = chain(case.input_shape, normalization, layer)
    x = nice_inputs(rng, case.input_shape, 4)
    start = start_relevance(rng, model, 4)
    (diagonal,), (linear,) = (reference.linears_of(part, case.input_shape) for part in (normalization, layer))
    expected = reference.merged_before(diagonal, linear).relevance(rule.reference, x, start)
    assert_close(analyze(model, rule.library, x, start), expected)


def test_batch_normalization_leaves_the_other_uses_of_its_linear_layer_alone():
    """Its output goes elsewhere too, and the layer is used again before another BatchNormalization."""
    rng, shape = np.random.default_rng(9), (4, 3, 2)
    layer = Case(layers.Conv2D, shape, {"filters": 2, "kernel_size": 3, "padding": "same"}).layer(rng)
    layer.set_weights([layer.get_weights()[0], np.full(2, 1 / 32)])  # so that no pre-activation is zero
    normalizations = [Case(layers.BatchNormalization, shape, {"epsilon": 0.25}).layer(rng) for _ in range(2)]
    one, two = keras.Input(shape, dtype="float64"), keras.Input(shape, dtype="float64")
    hidden = layer(one)
    parts = [normalizations[0](hidden), hidden, normalizations[1](layer(two))]
    model = keras.Model([one, two], layers.Concatenate(dtype="float64")(parts))
    x, start = [nice_inputs(rng, shape, 4), nice_inputs(rng, shape, 4)], nice(rng, (4, 4, 3, 6))
    rule = Rule("ZRule", {})
    (linear,), (first,), (second,) = (reference.linears_of(part, shape) for part in (layer, *normalizations))
    below_first = first.relevance(rule.reference, linear.forward(x[0]), start[..., :2])
    below_second = second.relevance(rule.reference, linear.forward(x[1]), start[..., 4:])
    found = analyze(model, rule.library, x, start)
    assert_close(found[0], linear.relevance(rule.reference, x[0], below_first + start[..., 2:4]))
    assert_close(found[1], linear.relevance(rule.reference, x[1], below_second))
    assert_close(tf_lrp.Analyzer(model, preset=rule.library).twin(x), model(x))


@pytest.mark.parametrize("name", ["ZRule", "Flat"])
def test_batch_normalization_alone_is_a_diagonal_linear_layer_with_the_z_rule(name):
    rng = np.random.default_rng(0)
    normalization = Case(layers.BatchNormalization, (3, 4), {"epsilon": 0.25}).layer(rng)
    model = chain((3, 4), normalization)
    x = nice_inputs(rng, (3, 4), 4)
    start = start_relevance(rng, model, 4)
    (diagonal,) = reference.linears_of(normalization, (3, 4))
    assert_close(analyze(model, Rule(name, {}).library, x, start), diagonal.relevance(reference.z_rule, x, start))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "gelu", "silu"])
@pytest.mark.parametrize("fused", [True, False])
def test_activations_pass_relevance_unchanged(activation, fused):
    rng = np.random.default_rng(1)
    first = Case(layers.Dense, (5,), {"units": 6}).layer(rng, activation=activation if fused else None)
    second = Case(layers.Dense, (6,), {"units": 3}).layer(rng)
    between = [] if fused else [layers.Activation(activation, dtype="float64")]
    model = chain((5,), first, *between, second)
    x, start = nice_inputs(rng, (5,), 4), nice(rng, (4, 3))
    rule = Rule("Epsilon", {"epsilon": 0.25})
    (lower,), (upper,) = (reference.linears_of(first, (5,)), reference.linears_of(second, (6,)))
    hidden = np.asarray(getattr(keras.activations, activation)(lower.forward(x)), dtype=np.float64)
    expected = lower.relevance(rule.reference, x, upper.relevance(rule.reference, hidden, start))
    assert_close(analyze(model, rule.library, x, start), expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_relevance_of_a_stripped_head_starts_at_its_logits(activation):
    rng = np.random.default_rng(2)
    layer = Case(layers.Dense, (5,), {"units": 4}).layer(rng, activation=activation)
    x, start = nice_inputs(rng, (5,), 4), nice(rng, (4, 4))
    rule = Rule("ZPlus", {"stabilizer": 0.0})
    (linear,) = reference.linears_of(layer, (5,))
    assert_close(analyze(chain((5,), layer), rule.library, x, start), linear.relevance(rule.reference, x, start))


# --- Pooling, merging, structure --------------------------------------------------------------------------------------


def z_at_pools_and_sums(rule):
    """A rule for the layers with weights, and LRP-z at pools and sums (which an all-epsilon preset stabilizes)."""
    if rule.name != "Epsilon":
        return rule.library
    shared = select.kind("average_pooling", "add", "subtract", "average")
    return tf_lrp.Preset([(shared, library_rules.ZRule()), (select.all(), rule.library)])


def test_an_all_epsilon_preset_stabilizes_pools_and_sums_a_little():
    rng = np.random.default_rng(5)
    layer = layers.GlobalAveragePooling1D(dtype="float64")
    x, start = nice_inputs(rng, (3, 2), 4), nice(rng, (4, 2))
    (linear,) = reference.linears_of(layer, (3, 2))
    for epsilon, used in ((0.25, 1e-6), (1e-9, 1e-9)):
        expected = linear.relevance(reference.rule("Epsilon", epsilon=used), x, start)
        assert_close(analyze(chain((3, 2), layer), library_rules.Epsilon(epsilon), x, start), expected)


@pytest.mark.parametrize("family", POOLINGS)
@examples(25)
@given(data=st.data(), seed=seeds, rule=rules(), batch=st.sampled_from([5, 1]))
def test_pooling(family, data, seed, rule, batch):
    """Max: the first of equals takes all. Average: by contribution. Whatever the rule of the layers with weights."""
    case, rng = data.draw(cases(family)), np.random.default_rng(seed)
    layer = case.layer(rng)
    model = chain(case.input_shape, layer, dtype=case.dtype)
    x = nice_inputs(rng, case.input_shape, batch)
    start = start_relevance(rng, model, batch)
    if family in ("average", "global_average"):
        (linear,) = reference.linears_of(layer, case.input_shape)
        expected = reference.average_pooling_relevance(linear, x, start)
    else:
        arguments = pooling_arguments(layer, case)
        shape = reference.max_pooling(x, *arguments)[0].shape
        expected = reference.max_pooling_relevance(x, start.reshape(shape), *arguments)
    found = analyze(model, z_at_pools_and_sums(rule), x.astype(case.dtype), start.astype(case.dtype))
    assert_close(found, expected, TOLERANCE if case.dtype == "float64" else 1e-5)


def add(*tensors):
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


MERGES = {
    "Add": (lambda: layers.Add(dtype="float64"), reference.add_relevance, (2, 3)),
    "Average": (lambda: layers.Average(dtype="float64"), reference.average_relevance, (2, 3)),
    "Maximum": (lambda: layers.Maximum(dtype="float64"), reference.maximum_relevance, (2, 3)),
    "Subtract": (
        lambda: layers.Subtract(dtype="float64"),
        lambda inputs, start: reference.subtract_relevance(*inputs, start),
        (2,),
    ),
    "plus": (lambda: lambda tensors: tensors[0] + tensors[1], reference.add_relevance, (2,)),
    "minus": (
        lambda: lambda tensors: tensors[0] - tensors[1],
        lambda inputs, start: reference.subtract_relevance(*inputs, start),
        (2,),
    ),
    "maximum": (lambda: lambda tensors: keras.ops.maximum(*tensors), reference.maximum_relevance, (2,)),
}


@pytest.mark.parametrize("merge", MERGES)
@examples(10)
@given(
    seed=seeds,
    rule=rules(),
    number=st.integers(2, 3),
    batch=st.sampled_from([5, 1]),
    shape=st.sampled_from([(4,), (3, 2)]),
)
def test_merging(merge, seed, rule, number, batch, shape):
    build, relevance, numbers = MERGES[merge]
    number, rng = min(number, max(numbers)), np.random.default_rng(seed)
    inputs = [keras.Input(shape, dtype="float64") for _ in range(number)]
    model = keras.Model(inputs, build()(inputs))
    x = [nice_inputs(rng, shape, batch) for _ in range(number)]
    x[1] = np.where(rng.random(x[1].shape) < 0.3, x[0], x[1])  # ties
    x[1] = np.where(rng.random(x[1].shape) < 0.2, -x[0], x[1])  # sums of zero
    start = start_relevance(rng, model, batch)
    found = analyze(model, z_at_pools_and_sums(rule), x, start)
    assert len(found) == number
    for one, expected in zip(found, relevance(x, start), strict=True):
        assert_close(one, expected)


@examples(10)
@given(
    seed=seeds,
    rule=rules(),
    axis=st.sampled_from([-1, 1, 2]),
    sizes=st.lists(st.integers(1, 3), min_size=2, max_size=3),
)
def test_concatenate(seed, rule, axis, sizes):
    rng = np.random.default_rng(seed)
    shapes = [(size, 2) if axis == 1 else (3, size) for size in sizes]
    inputs = [keras.Input(shape, dtype="float64") for shape in shapes]
    model = keras.Model(inputs, layers.Concatenate(axis=axis, dtype="float64")(inputs))
    x = [nice_inputs(rng, shape, 2) for shape in shapes]
    start = start_relevance(rng, model, 2)
    for one, expected in zip(
        analyze(model, rule.library, x, start), reference.concatenate_relevance(x, start, axis), strict=True
    ):
        assert_close(one, expected)


def test_add_with_an_input_that_is_broadcast():
    """The broadcast input gets the sum over the places it was used at."""
    rng = np.random.default_rng(3)
    inputs = [keras.Input((3, 4), dtype="float64"), keras.Input((1, 4), dtype="float64")]
    x, start = [nice_inputs(rng, (3, 4), 2), nice_inputs(rng, (1, 4), 2)], nice(rng, (2, 3, 4))
    first, second = reference.add_relevance([x[0], np.repeat(x[1], 3, axis=1)], start)
    for merge in (layers.Add(dtype="float64"), lambda tensors: tensors[0] + tensors[1]):
        found = analyze(keras.Model(inputs, merge(inputs)), library_rules.ZRule(), x, start)
        assert_close(found[0], first)
        assert_close(found[1], second.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("merge", ["Add", "Average", "Subtract", "plus", "minus"])
@examples(6)
@given(seed=seeds, rule=scale_free_rules())
def test_a_preset_may_name_another_rule_for_merging(merge, seed, rule):
    """A merge is then the linear layer that it is: the identity on each input, negated or divided."""
    rng, size = np.random.default_rng(seed), 5
    inputs = [keras.Input((size,), dtype="float64") for _ in range(2)]
    model = keras.Model(inputs, MERGES[merge][0]()(inputs))
    factors = {"Add": (1, 1), "plus": (1, 1), "Subtract": (1, -1), "minus": (1, -1), "Average": (0.5, 0.5)}[merge]
    weights = np.concatenate([factor * np.eye(size) for factor in factors])
    linear = reference.Linear(weights, None, weights != 0, (2 * size,), (size,))
    x, start = [nice_inputs(rng, (size,), 5), nice_inputs(rng, (size,), 5)[::-1]], nice(rng, (5, size))
    preset = tf_lrp.Preset([(select.kind("merge"), rule.library), (select.all(), library_rules.ZRule())])
    expected = linear.relevance(rule.reference, np.concatenate(x, axis=1), start)
    for one, part in zip(analyze(model, preset, x, start), np.split(expected, 2, axis=1), strict=True):
        assert_close(one, part)


@examples(20)
@given(data=st.data(), seed=seeds, rule=scale_free_rules(), family=st.sampled_from(["average", "global_average"]))
def test_a_preset_may_name_another_rule_for_average_pooling(data, seed, rule, family):
    case, rng = data.draw(cases(family).filter(lambda case: case.dtype == "float64")), np.random.default_rng(seed)
    layer = case.layer(rng)
    model = chain(case.input_shape, layer)
    x = nice_inputs(rng, case.input_shape, 4)
    # windows of 3 have inexact means: keep every sum away from zero
    x += np.where(x.sum(axis=tuple(range(1, x.ndim)), keepdims=True) < 0, -2.125, 2.125)
    start = start_relevance(rng, model, 4)
    (linear,) = reference.linears_of(layer, case.input_shape)
    preset = tf_lrp.Preset([(select.kind("pooling"), rule.library), (select.all(), library_rules.ZRule())])
    expected = linear.relevance(rule.reference, x, start)
    assert_close(analyze(model, preset, x, start), expected)


STRUCTURE = {
    "flatten": (lambda: layers.Flatten(), lambda r: r.reshape(-1, 4, 3, 2)),
    "reshape": (lambda: layers.Reshape((6, 4)), lambda r: r.reshape(-1, 4, 3, 2)),
    "permute": (lambda: layers.Permute((3, 1, 2)), lambda r: r.transpose(0, 2, 3, 1)),
    "zero padding": (lambda: layers.ZeroPadding2D(((1, 2), (0, 1))), lambda r: r[:, 1:5, 0:3]),
    "cropping": (lambda: layers.Cropping2D(((1, 0), (0, 2))), lambda r: np.pad(r, ((0, 0), (1, 0), (0, 2), (0, 0)))),
    "dropout": (lambda: layers.Dropout(0.5), lambda r: r),
    "up-sampling": (lambda: layers.UpSampling2D(2), lambda r: r.reshape(-1, 4, 2, 3, 2, 2).sum(axis=(2, 4))),
}


@pytest.mark.parametrize("structure", STRUCTURE)
def test_layers_that_only_move_values_move_relevance_back(structure):
    build, back = STRUCTURE[structure]
    layer, rng = build(), np.random.default_rng(4)
    model = chain((4, 3, 2), layer)
    x = rng.integers(1, 9, (2, 4, 3, 2)).astype("float32")
    start = start_relevance(rng, model, 2).astype("float32")
    assert_close(analyze(model, library_rules.Flat(), x, start), back(start), 1e-6)


# --- Networks ---------------------------------------------------------------------------------------------------------


def dense_network(rng, use_bias):
    return (8,), [
        Case(layers.Dense, (8,), {"units": 12, "use_bias": use_bias}).layer(rng, activation="relu"),
        Case(layers.Dense, (12,), {"units": 10, "use_bias": use_bias}).layer(rng),
        layers.ReLU(dtype="float64"),
        Case(layers.Dense, (10,), {"units": 3, "use_bias": use_bias}).layer(rng),
    ]


def conv_network(rng, use_bias, pooling):
    first = {"filters": 3, "kernel_size": 3, "padding": "same", "use_bias": use_bias}
    second = {"filters": 4, "kernel_size": 2, "use_bias": use_bias}
    last = {"units": 3, "use_bias": use_bias}
    return (4, 4, 2), [
        Case(layers.Conv2D, (4, 4, 2), first).layer(rng),
        layers.ReLU(dtype="float64"),
        pooling(2, strides=1, padding="same", dtype="float64"),
        Case(layers.Conv2D, (4, 4, 3), second).layer(rng, activation="relu"),
        layers.Flatten(dtype="float64"),
        Case(layers.Dense, (36,), last).layer(rng),
    ]


NETWORKS = {
    "dense": dense_network,
    "conv, max pooling": lambda rng, use_bias: conv_network(rng, use_bias, layers.MaxPooling2D),
    "conv, average pooling": lambda rng, use_bias: conv_network(rng, use_bias, layers.AveragePooling2D),
}


def sequential(input_shape, chained):
    return keras.Sequential([keras.Input(input_shape, dtype="float64"), *chained])


def assert_network_agrees(network, rule, seed, batch):
    rng = np.random.default_rng(seed)
    model = sequential(*NETWORKS[network](rng, use_bias=True))
    x = nice_inputs(rng, model.input_shape[1:], batch)
    start = start_relevance(rng, model, batch)
    expected = reference.relevances(reference.steps_of(model, rule.reference), x, start)[0]
    assert_close(analyze(model, z_at_pools_and_sums(rule), x, start), expected)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", reference.RULES)
@examples(4)
@given(data=st.data(), seed=seeds, batch=st.sampled_from([3, 1]))
def test_network(name, network, data, seed, batch):
    assert_network_agrees(network, data.draw(rules(name)), seed, batch)


@pytest.mark.compiled
@pytest.mark.parametrize("network", ["conv, max pooling", "conv, average pooling"])
@pytest.mark.parametrize("name", reference.RULES)
@examples(1)
@given(data=st.data())
def test_network_in_a_graph(name, network, data):
    assert_network_agrees(network, data.draw(rules(name)), seed=22, batch=3)


def alive(steps, x, start, name):
    """Whether no neuron that holds relevance has a denominator of zero, where a rule must lose relevance."""
    activations, found = reference.forward(steps, x), reference.relevances(steps, x, start)
    for step, a, output_relevance in zip(steps, activations[:-1], found[1:], strict=True):
        if isinstance(step, reference.AveragePoolingStep):
            weights, denominators = step.linear.weights, "z"
        elif isinstance(step, reference.LinearStep):
            weights, denominators = step.linear.weights, name
        else:
            continue
        for n in range(len(a)):
            contributions = a[n].reshape(-1, 1) * weights
            holds = output_relevance[n].reshape(-1) != 0
            excited, inhibited = (contributions > 0).any(axis=0), (contributions < 0).any(axis=0)
            fine = {
                "z": contributions.sum(axis=0) != 0,
                "ZRule": contributions.sum(axis=0) != 0,
                "Epsilon": contributions.sum(axis=0) != 0,
                "ZPlus": excited,
                "AlphaBeta": excited & inhibited,
                "WSquare": (weights != 0).any(axis=0),
                "Flat": np.ones(len(holds), bool),
            }[denominators]
            if not fine[holds].all():
                return False
    return True


CONSERVING = {
    "ZRule": [{}],
    "Epsilon": [{"epsilon": 1e-12}],
    "ZPlus": [{"stabilizer": 0.0}],
    "AlphaBeta": [{"alpha": 2.0, "beta": 1.0, "stabilizer": 0.0}, {"alpha": 1.0, "beta": 0.0, "stabilizer": 0.0}],
    "WSquare": [{}],
    "Flat": [{}],
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", CONSERVING)
def test_relevance_is_conserved_where_no_bias_and_no_dead_neuron_takes_it(network, name):
    for number, arguments in enumerate(CONSERVING[name]):
        rule = Rule(name, arguments)
        for seed in range(2000):
            rng = np.random.default_rng((number, seed))
            model_shape, chained = NETWORKS[network](rng, use_bias=False)
            x = np.where(rng.random((2, *model_shape)) < 0.5, 1.0, -1.0) * rng.integers(1, 9, (2, *model_shape)) / 4
            if name in ("WSquare", "Flat") and "average" in network:
                # silent neurons get relevance too, and a window of them loses it: have none
                x = np.abs(x)
                for layer in chained:
                    layer.set_weights([np.abs(w) for w in layer.get_weights()])
            model = sequential(model_shape, chained)
            start = nice(rng, (2, 3), zeros=0.0)
            steps = reference.steps_of(model, rule.reference)
            if np.all(start.sum(axis=-1) != 0) and alive(steps, x, start, name):
                break
        else:
            pytest.fail("no network without dead neurons found")
        axes = tuple(range(1, x.ndim))
        found = analyze(model, rule.library, x, start)
        assert_close(found, reference.relevances(steps, x, start)[0])
        np.testing.assert_allclose(found.sum(axis=axes), start.sum(axis=-1), rtol=0, atol=1e-9 * np.abs(found).sum())


@examples(10)
@given(seed=seeds, rule=rules(), chained=st.booleans())
def test_a_layer_used_twice_keeps_both_relevances(seed, rule, chained):
    """Twice in a row, and on two inputs that are then concatenated with a third use of the first."""
    rng = np.random.default_rng(seed)
    layer = Case(layers.Dense, (4,), {"units": 4}).layer(rng)
    (linear,) = reference.linears_of(layer, (4,))
    one, two = keras.Input((4,), dtype="float64"), keras.Input((4,), dtype="float64")
    if chained:
        model, x = keras.Model(one, layer(layer(one))), nice_inputs(rng, (4,), 4)
        start = nice(rng, (4, 4))
        upper = linear.relevance(rule.reference, linear.forward(x), start)
        assert_close(analyze(model, rule.library, x, start), linear.relevance(rule.reference, x, upper))
        return
    model = keras.Model([one, two], layers.Concatenate(dtype="float64")([layer(one), layer(two), one]))
    x, start = [nice_inputs(rng, (4,), 4), nice_inputs(rng, (4,), 4)], nice(rng, (4, 12))
    found = analyze(model, rule.library, x, start)
    assert_close(found[0], linear.relevance(rule.reference, x[0], start[:, :4]) + start[:, 8:])
    assert_close(found[1], linear.relevance(rule.reference, x[1], start[:, 4:8]))


@examples(10)
@given(seed=seeds, rule=rules())
def test_a_residual_block(seed, rule):
    rng = np.random.default_rng(seed)
    case = Case(layers.Conv2D, (4, 3, 2), {"filters": 2, "kernel_size": 3, "padding": "same"})
    layer = case.layer(rng)
    inputs = keras.Input((4, 3, 2), dtype="float64")
    model = keras.Model(inputs, inputs + layer(inputs))
    x, start = nice_inputs(rng, (4, 3, 2), 4), nice(rng, (4, 4, 3, 2))
    (linear,) = reference.linears_of(layer, (4, 3, 2))
    kept, through = reference.add_relevance([x, linear.forward(x)], start)
    assert_close(analyze(model, rule.library, x, start), kept + linear.relevance(rule.reference, x, through))


@pytest.mark.parametrize("network", NETWORKS)
@examples(5)
@given(seed=seeds, rule=rules())
def test_relevance_is_linear_in_the_start_and_samples_do_not_see_each_other(network, seed, rule):
    rng = np.random.default_rng(seed)
    model = sequential(*NETWORKS[network](rng, use_bias=True))
    x = nice_inputs(rng, model.input_shape[1:], 5)
    start, other = nice(rng, (5, 3)), nice(rng, (5, 3))
    analyzer = tf_lrp.Analyzer(model, preset=rule.library)
    found = analyzer.analyze(x, neuron_selection=start)
    assert_close(analyzer.analyze(x, neuron_selection=2 * start), 2 * found)
    assert_close(analyzer.analyze(x, neuron_selection=0 * start), 0 * found)
    both = analyzer.analyze(x, neuron_selection=start + other)
    scale = max(np.abs(found).max(), 1.0)
    np.testing.assert_allclose(
        both - analyzer.analyze(x, neuron_selection=other),
        found,
        rtol=0,
        atol=TOLERANCE * max(scale, np.abs(both).max()),
    )
    for n in range(5):
        assert_close(analyzer.analyze(x[n : n + 1], neuron_selection=start[n : n + 1]), found[n : n + 1])
    shuffled = [3, 0, 4, 1, 2]
    assert_close(analyzer.analyze(x[shuffled], neuron_selection=start[shuffled]), found[shuffled])


def test_a_preset_gives_each_layer_its_own_rule():
    rng = np.random.default_rng(5)
    model = sequential(*conv_network(rng, True, layers.MaxPooling2D))
    preset = tf_lrp.Preset(
        [
            (select.first(), library_rules.Flat()),
            (select.kind("conv"), library_rules.AlphaBeta(2.0, 1.0, stabilizer=0.25)),
            (select.all(), library_rules.Epsilon(0.25)),
        ]
    )
    steps = reference.steps_of(model, None)
    chosen = [
        reference.rule("Flat"),
        reference.rule("AlphaBeta", alpha=2.0, beta=1.0, stabilizer=0.25),
        reference.rule("Epsilon", epsilon=0.25),
    ]
    for step, rule in zip([s for s in steps if isinstance(s, reference.LinearStep)], chosen, strict=True):
        step.rule = rule
    x, start = nice_inputs(rng, (4, 4, 2), 4), nice(rng, (4, 3))
    assert_close(analyze(model, preset, x, start), reference.relevances(steps, x, start)[0])


# --- Numbers at the edge ----------------------------------------------------------------------------------------------

EXTREME_RULES = {
    "ZRule": library_rules.ZRule,
    "Epsilon": lambda: library_rules.Epsilon(1e-6),
    "ZPlus": lambda: library_rules.ZPlus(stabilizer=0.0),
    "AlphaBeta": lambda: library_rules.AlphaBeta(2.0, 1.0, stabilizer=0.0),
    "Gamma": lambda: library_rules.Gamma(0.25, stabilizer=0.0),
    "WSquare": library_rules.WSquare,
    "Flat": library_rules.Flat,
    "ZBox": lambda: library_rules.ZBox(-1e18, 1e18),
    "Unified": lambda: library_rules.Unified(alpha=2.0, beta=1.0, gamma1p=1.0, m=(0.0, 0.0, 0.0, 1.0, 0.0)),
}


@pytest.mark.compiled  # graphs flush denormal numbers
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", EXTREME_RULES)
def test_relevance_of_finite_inputs_is_finite(name, use_bias):
    """float32, where 1e-40 is denormal and the square of 1e20 overflows."""
    rng = np.random.default_rng(6)
    shape = (6, 6, 2)
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, padding="same", activation="relu", use_bias=use_bias),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(2, padding="same", use_bias=use_bias),
            layers.ReLU(),
            layers.AveragePooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dense(3, use_bias=use_bias),
        ]
    )
    for layer in model.layers:
        set_nice_weights(layer, rng)
    analyzer = tf_lrp.Analyzer(model, preset=EXTREME_RULES[name]())
    start = np.array([[1.0, -1.0, 0.5]] * 4, dtype="float32")
    for scale in (0.0, 1e-45, 1e-40, 1e-38, 1e-30, 1e-20, 1.0, 1e10, 1e18):
        x = (nice_inputs(rng, shape, 4) * scale).astype("float32")
        found = analyzer.analyze(x, neuron_selection=start)
        assert np.isfinite(found).all(), scale
    for small, large in ((1e-30, 1.0), (1e-10, 1e8), (1e-30, 1e18)):  # side by side
        x = np.where(rng.random((4, *shape)) < 0.5, small, large).astype("float32")
        found = analyzer.analyze(x, neuron_selection=start)
        # Z and Gamma divide by sums that can cancel down to the small ones: 1e18 / 1e-30 is no float32
        assert np.isfinite(found).all() or name in ("ZRule", "Gamma"), (small, large)


@pytest.mark.parametrize("name", EXTREME_RULES)
def test_a_network_of_zeros_has_no_relevance_to_give_but_no_nan_either(name):
    model = sequential(*conv_network(np.random.default_rng(7), True, layers.AveragePooling2D))
    for layer in model.layers:
        layer.set_weights([np.zeros(w.shape) for w in layer.weights])
    found = analyze(model, EXTREME_RULES[name](), np.zeros((1, 4, 4, 2)), np.ones((1, 3)))
    # Flat counts connections, not weights: its relevance ends at the average pooling of zeros
    np.testing.assert_array_equal(found, np.zeros_like(found))
