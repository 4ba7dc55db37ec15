"""Relevance equals what AttnLRP's own code (lxt) computed for three transformer blocks, under both of its rules.

Two things stand between the golden values and the last digits, both measured with the naive reference:

* At every activation lxt divides by x + 1e-10 where relevance should pass unchanged. That moves its maps by up to 6.8e-10
  of their maximum with biases, and 3.5e-9 without.
* On TensorFlow Keras takes two constants through float32 in float64 models, too: 1/sqrt(2) of GELU and 1/sqrt(8) of
  `keras.ops.dot_product_attention`. That moves logits by up to 7.8e-9 and maps by up to 4.1e-8.

Therefore two comparisons: with the golden values to what these leave; and far closer with the reference, which gives the
golden values to rounding where it does both like lxt, and what ours must be where it does both like Keras.
"""

import functools
import math

import golden_models
import keras
import numpy as np
import pytest
import reference
import sequence_reference
from golden_models import DTYPES
from keras import ops

import tf_lrp

KINDS = ("pre", "post", "llama")
BUILDS = ("subclassed", "functional", "by hand")
CASES = [*(pytest.param(build, "float64", marks=pytest.mark.eager) for build in BUILDS), ("subclassed", "float32")]
PRESETS = ("attnlrp", "cp_lrp")
STARTS = ("max", "c2")
STEPS, FEATURES, HEADS, HIDDEN, CLASSES = 6, 16, 2, 32, 5
NORM_EPSILON = 1e-5
LXT_EPSILON = 1e-10  # what it adds to x before it divides by it

#: Largest errors, relative to the map's maximum.
BOUND = {"float64": 1e-7, "float32": 1e-5}
EXACT_BOUND = 1e-9  # where no constant was rounded
REFERENCE_BOUND = 1e-12

#: Keys that no preset reaches, and why.
NOT_EXPRESSED = {f"R/gradient_x_input/{start}": "a gradient method: no rule shares relevance" for start in STARTS}


@pytest.fixture(scope="module")
def archive(shared_golden):
    """The arrays of a block by its kind."""
    return lambda kind: golden_models.load(shared_golden / f"attnlrp_{kind}.npz")


def key(preset, start, biases=True):
    return f"R/{preset}{'' if biases else '__zero_bias_model'}/{start}"


def initial_relevance(logits, start):
    """R_init: the logit of the strongest class, or 1 at class 2."""
    one_hot = np.eye(CLASSES)
    return one_hot[logits.argmax(axis=1)] * logits if start == "max" else np.tile(one_hot[2], (len(logits), 1))


# --- The blocks as users write them -----------------------------------------------------------------------------------


def norm_layer(kind, name, dtype):
    norm = keras.layers.RMSNormalization if kind == "llama" else keras.layers.LayerNormalization
    return norm(epsilon=NORM_EPSILON, name=name, dtype=dtype)


def mlp_layers(kind, dtype, gelu="gelu"):
    dense = functools.partial(keras.layers.Dense, dtype=dtype)
    if kind == "llama":
        sizes = {"gate": HIDDEN, "up": HIDDEN, "down": FEATURES}
        return {name: dense(size, use_bias=False, name=name) for name, size in sizes.items()}
    return {"mlp1": dense(HIDDEN, activation=gelu, name="mlp1"), "mlp2": dense(FEATURES, name="mlp2")}


class HandMadeNorm(keras.layers.Layer):
    """Both normalizations from `keras.ops`."""

    def __init__(self, kind, name, dtype):
        super().__init__(name=name, dtype=dtype)
        self.kind = kind

    def build(self, shape):
        self.gamma = self.add_weight(shape=shape[-1:], initializer="ones", name="gamma")
        if self.kind != "llama":
            self.beta = self.add_weight(shape=shape[-1:], initializer="zeros", name="beta")

    def call(self, x):
        if self.kind == "llama":
            return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + NORM_EPSILON) * self.gamma
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred / ops.sqrt(variance + NORM_EPSILON) * self.gamma + self.beta


class HandMadeAttention(keras.layers.Layer):
    """Multi-head attention from dense layers, reshapes and matrix products."""

    def __init__(self, dtype):
        super().__init__(name="attention", dtype=dtype)
        self.projections = [keras.layers.Dense(FEATURES, name=name, dtype=dtype) for name in ("query", "key", "value", "out")]

    def call(self, query, value):
        to_query, to_key, to_value, out = self.projections

        def heads(x):
            return ops.transpose(ops.reshape(x, (-1, STEPS, HEADS, FEATURES // HEADS)), (0, 2, 1, 3))

        q, k, v = heads(to_query(query)), heads(to_key(value)), heads(to_value(value))
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / math.sqrt(FEATURES // HEADS)
        found = ops.matmul(ops.softmax(scores), v)
        return out(ops.reshape(ops.transpose(found, (0, 2, 1, 3)), (-1, STEPS, FEATURES)))


def parts(kind, dtype, by_hand):
    """The layers of a block by name."""
    if by_hand:
        attention, norm = HandMadeAttention(dtype), HandMadeNorm
    else:
        attention = keras.layers.MultiHeadAttention(HEADS, FEATURES // HEADS, name="attention", dtype=dtype)
        norm = norm_layer
    norms = {name: norm(kind, name, dtype) for name in ("norm1", "norm2")}
    return {"attention": attention, **norms, **mlp_layers(kind, dtype, gelu_by_hand if by_hand else "gelu")}


def block(kind, layers, x, silu=ops.silu):
    """The outputs of a block of these layers for x, symbolic or not."""

    def mlp(h):
        if kind == "llama":
            return layers["down"](silu(layers["gate"](h)) * layers["up"](h))
        return layers["mlp2"](layers["mlp1"](h))

    if kind == "post":
        x = layers["norm1"](x + layers["attention"](x, x))
        return layers["norm2"](x + mlp(x))
    h = layers["norm1"](x)
    x = x + layers["attention"](h, h)
    return x + mlp(layers["norm2"](x))


def gelu_by_hand(x):
    """Keras takes sqrt(2) through float32."""
    return x * (1 + ops.erf(x / math.sqrt(2))) / 2


def silu_by_hand(x):
    return x * ops.sigmoid(x)


class Block(keras.layers.Layer):
    def __init__(self, kind, dtype, by_hand):
        super().__init__(dtype=dtype)
        self.kind, self.parts = kind, parts(kind, dtype, by_hand)
        self.silu = silu_by_hand if by_hand else ops.silu

    def call(self, x):
        return block(self.kind, self.parts, x, self.silu)


class Classifier(keras.Model):
    def __init__(self, kind, dtype, by_hand):
        super().__init__(dtype=dtype)
        self.block = Block(kind, dtype, by_hand)
        self.head = keras.layers.Dense(CLASSES, name="head", dtype=dtype)

    def call(self, x):
        return self.head(ops.mean(self.block(x), axis=1))


def classifier(kind, build, dtype):
    """A model, and its layers by name."""
    if build == "functional":
        layers = parts(kind, dtype, by_hand=False) | {"head": keras.layers.Dense(CLASSES, name="head", dtype=dtype)}
        inputs = keras.Input((STEPS, FEATURES), dtype=dtype)
        pooled = keras.layers.GlobalAveragePooling1D(dtype=dtype)(block(kind, layers, inputs))
        return keras.Model(inputs, layers["head"](pooled)), layers
    model = Classifier(kind, dtype, by_hand=build == "by hand")
    model(np.zeros((1, STEPS, FEATURES), dtype))
    return model, model.block.parts | {"head": model.head}


def load(layers, golden, biases):
    """The archive's weights, with or without biases and LayerNorm's beta."""

    def weights(name):
        kept = {"kernel_io": 1.0, "gamma": 1.0, "bias": float(biases), "beta": float(biases)}
        return [factor * golden[f"W/{name}/{w}"] for w, factor in kept.items() if f"W/{name}/{w}" in golden]

    for name, layer in layers.items():
        if name != "attention":
            layer.set_weights(weights(name))
            continue
        arrays = [array for projection in ("query", "key", "value", "out") for array in weights(projection)]
        layer.set_weights([array.reshape(w.shape) for array, w in zip(arrays, layer.get_weights(), strict=True)])


@functools.cache
def model_of(path, kind, build, dtype, biases):
    golden = golden_models.load(path)
    model, layers = classifier(kind, build, dtype)
    load(layers, golden, biases)
    return model


@functools.cache
def analyzer_of(preset, *model):
    return tf_lrp.Analyzer(model_of(*model), preset=preset)


def relevances(preset, starts, path, kind, build, dtype, biases=True):
    golden = golden_models.load(path)
    analyzer, x = analyzer_of(preset, path, kind, build, dtype, biases), golden["x"].astype(dtype)
    selections = {"max": None, "c2": np.tile(np.eye(CLASSES)[2], (len(x), 1)).astype(dtype)}
    return {key(preset, start, biases): analyzer.analyze(x, selections[start]) for start in starts}


# --- The blocks by the naive reference --------------------------------------------------------------------------------


class ByHand:
    """A block as a chain of the reference's steps, each with the z-rule where it is linear.

    Args:
        like: "lxt", or the build of a Keras model. Decides what is added to an activation's input before relevance is
            divided by it, and which constants are rounded.
    """

    def __init__(self, golden, kind, preset, biases=True, like="lxt"):
        self.golden, self.kind, self.keep = golden, kind, float(biases)
        self.epsilon = LXT_EPSILON if like == "lxt" else 0.0
        self.root_of_half = math.sqrt(0.5) if like in ("lxt", "by hand") else float(np.float32(math.sqrt(0.5)))
        scale = 1 / math.sqrt(FEATURES // HEADS)
        self.uniform = preset == "attnlrp"
        rule = sequence_reference.UNIFORM if self.uniform else sequence_reference.GATE
        self.attention = sequence_reference.Attention(rule, scale if like in ("lxt", "by hand") else float(np.float32(scale)))

    def dense(self, name, *shape):
        bias = self.golden.get(f"W/{name}/bias")
        kernel = self.golden[f"W/{name}/kernel_io"]
        return reference.dense(kernel, None if bias is None else self.keep * bias, (*shape, len(kernel)))

    def norm(self, name):
        gamma = self.golden[f"W/{name}/gamma"]
        if self.kind == "llama":
            return sequence_reference.RmsNormalization((1,), gamma, NORM_EPSILON)
        beta = self.keep * self.golden[f"W/{name}/beta"]
        return sequence_reference.layer_normalization((STEPS, FEATURES), (1,), gamma, beta, NORM_EPSILON)

    def through(self, linear, a, relevance):
        return linear.relevance(reference.z_rule, a, relevance)

    def passed(self, z, relevance):
        return relevance * z / (z + self.epsilon)

    def attend(self, x):
        """The attention layer's outputs, and what turns their relevance into that of its inputs."""
        linears = [self.dense(name, STEPS) for name in ("query", "key", "value")]
        q, k, v = (linear.forward(x).reshape(len(x), STEPS, HEADS, -1) for linear in linears)
        out, found = self.dense("out", STEPS), self.attention.forward(q, k, v).reshape(x.shape)

        def back(relevance):
            relevance = self.through(out, found, relevance).reshape(v.shape)
            shares = self.attention.relevance(q, k, v, relevance)
            return sum(self.through(one, x, r.reshape(x.shape)) for one, r in zip(linears, shares, strict=True))

        return out.forward(found), back

    def mlp(self, x):
        if self.kind == "llama":
            gate, up, down = (self.dense(name, STEPS) for name in ("gate", "up", "down"))
            z, signal = gate.forward(x), up.forward(x)
            factors = z * sequence_reference.sigmoid(z), signal
            product = sequence_reference.Product(gate=None if self.uniform else 0)

            def back(relevance):
                of_gate, of_signal = product.relevance(*factors, self.through(down, product.forward(*factors), relevance))
                return self.through(gate, x, self.passed(z, of_gate)) + self.through(up, x, of_signal)

            return down.forward(product.forward(*factors)), back
        first, second = self.dense("mlp1", STEPS), self.dense("mlp2", STEPS)
        z = first.forward(x)
        hidden = z * (1 + np.vectorize(math.erf)(z * self.root_of_half)) / 2
        return second.forward(hidden), lambda relevance: self.through(
            first, x, self.passed(z, self.through(second, hidden, relevance))
        )

    def residual(self, x, branch):
        """x + branch(x)."""
        found, back = branch(x)

        def share(relevance):
            kept, taken = reference.add_relevance([x, found], relevance)
            return kept + back(taken)

        return x + found, share

    def normalized(self, x, name):
        norm = self.norm(name)
        return norm.forward(x), lambda relevance: norm.relevance(x, relevance)

    def after(self, name, branch):
        """branch(norm(x))."""

        def both(x):
            normalized, norm_back = self.normalized(x, name)
            found, back = branch(normalized)
            return found, lambda relevance: norm_back(back(relevance))

        return both

    def steps(self):
        if self.kind == "post":
            yield lambda x: self.residual(x, self.attend)
            yield lambda x: self.normalized(x, "norm1")
            yield lambda x: self.residual(x, self.mlp)
            yield lambda x: self.normalized(x, "norm2")
        else:
            yield lambda x: self.residual(x, self.after("norm1", self.attend))
            yield lambda x: self.residual(x, self.after("norm2", self.mlp))

    def explain(self, start):
        """Logits and relevance."""
        x, backs = self.golden["x"], []
        for step in self.steps():
            x, back = step(x)
            backs.append(back)
        pool, head = reference.global_average_pooling((STEPS, FEATURES)), self.dense("head")
        pooled = pool.forward(x)
        logits = head.forward(pooled)
        relevance = self.through(head, pooled, initial_relevance(logits, start))
        relevance = reference.average_pooling_relevance(pool, x, relevance)
        for back in reversed(backs):
            relevance = back(relevance)
        return logits, relevance


def bound(kind, build, dtype):
    return EXACT_BOUND if (build, dtype) == ("by hand", "float64") else BOUND[dtype]


# --- Tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_reference(kind, preset, biases, archive):
    golden = archive(kind)
    for start in STARTS:
        logits, relevance = ByHand(golden, kind, preset, biases).explain(start)
        assert golden_models.error(logits, golden["logits" if biases else "logits__zero_bias_model"]) <= 1e-14
        assert golden_models.error(relevance, golden[key(preset, start, biases)]) <= 1e-13


@pytest.mark.parametrize(("build", "dtype"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_logits(kind, build, dtype, archive, shared_golden):
    golden, path = archive(kind), shared_golden / f"attnlrp_{kind}.npz"
    model = model_of(path, kind, build, dtype, True)
    twin, x = analyzer_of("attnlrp", path, kind, build, dtype, True).twin, golden["x"].astype(dtype)
    for m in (model, twin):
        assert golden_models.error(np.asarray(m(x)), golden["logits"]) <= bound(kind, build, dtype)
    assert golden_models.error(np.asarray(twin(x)), np.asarray(model(x))) <= (1e-14 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize(("build", "dtype"), CASES)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_relevance(kind, preset, build, dtype, archive, shared_golden):
    golden = archive(kind)
    found = relevances(preset, STARTS, shared_golden / f"attnlrp_{kind}.npz", kind, build, dtype)
    golden_models.assert_agree(found, golden, dtype, bound(kind, build, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_relevance_without_biases(kind, preset, dtype, archive, shared_golden):
    """CP-LRP then conserves relevance. AttnLRP does not: Taylor's rule leaves a part of the softmax as its bias."""
    golden, path = archive(kind), shared_golden / f"attnlrp_{kind}.npz"
    found = relevances(preset, STARTS, path, kind, "subclassed", dtype, biases=False)
    logits = np.asarray(model_of(path, kind, "subclassed", dtype, False)(golden["x"].astype(dtype)), np.float64)
    golden_models.assert_agree(found, golden, dtype, BOUND[dtype])
    for start in STARTS:
        begin = initial_relevance(logits, start).sum(axis=1)
        total = found[key(preset, start, False)].sum(axis=(1, 2), dtype=np.float64)
        scale = np.abs(found[key(preset, start, False)]).sum(axis=(1, 2))
        if preset == "cp_lrp":
            np.testing.assert_array_less(np.abs(total - begin), (1e-12 if dtype == "float64" else 1e-5) * scale)
        else:
            conserved = golden[f"conservation/{preset}__zero_bias_model/{start}"] * begin
            np.testing.assert_array_less(np.abs(total - conserved), BOUND[dtype] * scale)


@pytest.mark.eager
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_relevance_equals_the_reference(kind, preset, biases, archive, shared_golden):
    """Where relevance passes through activations exactly, as ours does, and Keras's constants are used."""
    path = shared_golden / f"attnlrp_{kind}.npz"
    for build in BUILDS if biases else ("subclassed",):
        for start, found in zip(STARTS, relevances(preset, STARTS, path, kind, build, "float64", biases).values(), strict=True):
            _, expected = ByHand(archive(kind), kind, preset, biases, like=build).explain(start)
            assert golden_models.error(found, expected) <= REFERENCE_BOUND, (build, start)


@pytest.mark.eager
@pytest.mark.parametrize("kind", KINDS)
def test_lxt_that_propagates_relevance_itself_is_near(kind, archive, shared_golden):
    """Its explicit variant differs by the epsilons in its denominators."""
    golden = archive(kind)
    found = relevances("attnlrp", STARTS, shared_golden / f"attnlrp_{kind}.npz", kind, "subclassed", "float64")
    for start in STARTS:
        assert golden_models.error(found[key("attnlrp", start)], golden[f"R/attnlrp_explicit/{start}"]) <= 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_is_accounted_for(kind, archive):
    tested = [key(preset, start, biases) for preset in PRESETS for start in STARTS for biases in (True, False)]
    tested += [f"R/attnlrp_explicit/{start}" for start in STARTS]
    golden_models.assert_accounted(golden_models.under(archive(kind), "R/"), tested, NOT_EXPRESSED)
