"""From a model to its twin: opening, canonizing, facts, and that the user's model stays as it was."""

import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp.graph import canonize, rewrite, unroll
from tf_lrp.graph.canonize import describe_affine, fold_batchnorm, split_activation, split_separable, strip_softmax
from tf_lrp.graph.facts import infer_facts
from tf_lrp.keras_compat import keras_classes, models, tracing
from tf_lrp.presets import as_preset
from tf_lrp.rules import Epsilon

pytestmark = pytest.mark.eager


def names(graph):
    return [node.name for node in graph.nodes]


def run(graph, x):
    """The function that a graph stands for, through the twin it gives."""
    return rewrite(graph, as_preset(Epsilon()), "graph").model(x, training=False)


def residual(dtype="float64"):
    inputs = keras.Input((8, 8, 3), dtype=dtype)
    h = keras.layers.BatchNormalization(name="bn0", dtype=dtype)(inputs)
    h = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1", dtype=dtype)(h)
    g = keras.layers.SeparableConv2D(4, 3, padding="same", activation="tanh", name="sep", dtype=dtype)(h)
    g = keras.layers.BatchNormalization(name="bn1", dtype=dtype)(g)
    h = keras.layers.BatchNormalization(name="bn2", dtype=dtype)(keras.layers.Conv2D(4, 1, name="conv2", dtype=dtype)(h + g))
    h = keras.layers.BatchNormalization(name="bn3", dtype=dtype)(
        keras.layers.Dense(5, name="dense", dtype=dtype)(keras.layers.Flatten(dtype=dtype)(h))
    )
    return randomize(keras.Model(inputs, keras.layers.Activation("softmax", name="probabilities", dtype=dtype)(h)))


# -- the user's model ---------------------------------------------------------------------------------------------------


def test_the_model_given_is_left_bit_identical():
    model, x = convnet(activation="softmax"), pictures()
    before = (
        [w.copy() for w in model.get_weights()],
        json.dumps(model.get_config(), default=str),
        model(x).numpy(),
        [(len(layer._inbound_nodes), len(layer._outbound_nodes), layer.trainable) for layer in model.layers],
        [v.path for v in model.variables],
    )
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat")
    analyzer.analyze(x, layers=["conv1"])
    analyzer.conservation(x)
    for a, b in zip(before[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert json.dumps(model.get_config(), default=str) == before[1]
    np.testing.assert_array_equal(model(x).numpy(), before[2])
    assert [(len(i._inbound_nodes), len(i._outbound_nodes), i.trainable) for i in model.layers] == before[3]
    assert [v.path for v in model.variables] == before[4]


def test_the_twin_shares_the_variables():
    model, x = convnet(), pictures()
    analyzer = tf_lrp.Analyzer(model, "z")
    assert {id(v) for v in analyzer.twin.variables} == {id(v) for v in model.variables}
    before = analyzer.analyze(x)
    model.get_layer("conv1").kernel.assign(2 * model.get_layer("conv1").kernel)
    model.get_layer("bn2").moving_variance.assign(0.3 * model.get_layer("bn2").moving_variance)
    after = analyzer.analyze(x)
    np.testing.assert_allclose(after, tf_lrp.Analyzer(model, "z").analyze(x), rtol=1e-6, atol=1e-7)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()


def test_the_twin_is_a_readable_model_with_the_original_names():
    lines = []
    tf_lrp.Analyzer(convnet(), "z").twin.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for name in ("picture", "conv1", "pool1", "conv2", "relu2", "pool2", "scores"):
        assert name in text
    twin = tf_lrp.Analyzer(convnet(), "z").twin
    assert isinstance(twin, keras.Model)
    assert twin.name == "convnet"
    assert twin.get_layer("conv1").operation.name == "conv1"


@pytest.mark.parametrize("fold", [True, False])
def test_the_twin_computes_what_the_model_does(fold):
    model, x = residual(), pictures(dtype="float64")
    scores = keras.Model(model.input, model.get_layer("probabilities").input)(x, training=False).numpy()
    twin = tf_lrp.Analyzer(model, "epsilon", fold_batchnorm=fold).twin
    np.testing.assert_allclose(twin(x).numpy(), scores, rtol=1e-12, atol=1e-12 * np.abs(scores).max())
    whole = tf_lrp.Analyzer(model, "epsilon", fold_batchnorm=fold, strip_softmax=False).twin
    np.testing.assert_allclose(whole(x).numpy(), model(x, training=False).numpy(), rtol=1e-9)


def test_private_parts_of_keras_are_where_they_are_expected():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    functional = models.functional_of(model)
    assert functional is not None, "Sequential._functional is gone"
    called = []

    def stand_in(infer, operation, args, kwargs):
        called.append(operation.name)
        return infer(operation, *args, **kwargs)

    with tracing.tracing(model, stand_in):
        outputs = functional.call(keras.KerasTensor((None, 3)))
    assert called[-1] == model.layers[0].name, "layers no longer meet symbolic tensors in symbolic_call"
    assert keras.tree.flatten(outputs)[0].shape == (None, 2)
    assert models.takes(keras.layers.Dropout(0.5), "training"), "Layer._call_signature is gone"
    subclassed = Residual()
    subclassed(np.ones((2, 4)))
    assert models.built_shapes(subclassed) == (2, 4), "Layer._build_shapes_dict is gone"
    x = keras.Input((2,))
    for value, operation in (
        (x + x, keras_classes.Add),
        (x - x, keras_classes.Subtract),
        (x * 2, keras_classes.Multiply),
    ):
        assert isinstance(value._keras_history.operation, operation), "operators on KerasTensors changed their class"


class Residual(keras.Model):
    """x + f(x), as a subclass."""

    def __init__(self, units=4):
        super().__init__()
        self.inner, self.head = keras.layers.Dense(units, activation="relu"), keras.layers.Dense(3)

    def call(self, x):
        return self.head(x + self.inner(x))


# -- unroll -------------------------------------------------------------------------------------------------------------


def nested():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="d", activation="relu"), keras.layers.Dense(4, name="e")], name="inner"
    )
    inputs = keras.Input((4,))
    h = keras.layers.Dense(4, name="d")(inner(inputs))
    return randomize(keras.Model(inputs, inner(h)))


def test_nested_and_shared_layers_are_listed_once_for_each_use():
    graph = unroll(nested())
    assert names(graph) == ["inner.d", "e", "d", "inner.d.2", "e.2"]
    assert len(graph.layer_outputs["inner.d"]) == 2
    assert graph.nodes[0].operation is graph.nodes[3].operation


def test_a_layer_used_twice_gets_both_its_relevances():
    shared = keras.layers.Dense(3, name="shared", use_bias=False)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = randomize(
        keras.Model([a, b], keras.layers.Dense(2, use_bias=False)(keras.layers.Add(name="sum")([shared(a), shared(b)])))
    )
    xs = [pictures(2).reshape(2, -1)[:, :4], pictures(2, seed=5).reshape(2, -1)[:, :4]]
    analyzer = tf_lrp.Analyzer(model, "z")
    maps = analyzer.analyze(xs, layers=["shared", "sum"])
    logits = model(xs).numpy().max(axis=1)
    np.testing.assert_allclose(sum(r.sum(axis=1) for r in maps["input"]), logits, rtol=1e-4)
    first, second = maps["shared"]
    np.testing.assert_allclose(first + second, maps["sum"], rtol=1e-4, atol=1e-5)
    # the same input twice: the layer's single input gets the sum of both uses
    x = keras.Input((4,))
    twice = keras.Model(x, shared(x) + shared(x))
    r = tf_lrp.Analyzer(twice, "z").analyze(xs[0], neuron_selection=1)
    np.testing.assert_allclose(r.sum(axis=1), twice(xs[0]).numpy()[:, 1], rtol=1e-4)


def test_x_plus_x_counts_each_input_once():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Add()([x, x]))
    value = np.array([[1.0, -2.0, 3.0]], "float32")
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").analyze(value, neuron_selection="all"), 2 * value, rtol=1e-6)


def test_models_that_cannot_be_opened_say_why():
    class Raw(keras.Model):
        def call(self, x):
            return tf.math.lgamma(x)

    with pytest.raises(ValueError, match="has no shapes yet: call it once"):
        tf_lrp.Analyzer(Raw(), "z")
    with pytest.raises(tf_lrp.UnsupportedLayerError, match=r"operations for which there is no rule: Lgamma"):
        tf_lrp.Analyzer(Raw(), "z", inputs=keras.Input((3,)))
    with pytest.raises(ValueError, match="has no shapes yet"):
        tf_lrp.Analyzer(keras.Sequential([keras.layers.Dense(2)]), "z")
    with pytest.raises(TypeError, match=r"Expected a keras\.Model, got builtins\.int"):
        tf_lrp.Analyzer(3, "z")


# -- canonize -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rewrites",
    [
        (split_activation,),
        (split_separable, split_activation),
        (split_separable, split_activation, fold_batchnorm),
    ],
    ids=lambda fs: "+".join(f.__name__ for f in fs),
)
def test_rewrites_leave_the_function_unchanged(rewrites):
    model, x = residual(), pictures(dtype="float64")
    if split_separable not in rewrites:
        model = convnet(activation="sigmoid", dtype="float64")
    graph = describe_affine(unroll(model))
    for apply in rewrites:
        graph = apply(graph)
    np.testing.assert_allclose(run(graph, x).numpy(), model(x, training=False).numpy(), rtol=1e-11)


def test_batch_normalizations_fold_before_and_after_and_only_where_exact():
    graph = canonize(unroll(residual()))
    # bn0 into conv1 (padded: a bias map), bn2 into conv2, bn3 into dense; bn1 follows a tanh and feeds a sum
    assert [n for n in names(graph) if n.startswith("bn")] == ["bn1"]
    inputs = keras.Input((4, 4, 3))
    conv = keras.layers.Conv2D(3, 1, name="conv")(inputs)
    model = randomize(keras.Model(inputs, [keras.layers.BatchNormalization(name="bn")(conv), conv]))
    assert "bn" in names(canonize(unroll(model))), "a layer whose own output is returned cannot be merged"
    other_axis = keras.Model(inputs, keras.layers.BatchNormalization(axis=1, name="bn")(keras.layers.Conv2D(3, 1)(inputs)))
    assert "bn" in names(canonize(unroll(randomize(other_axis))))


def test_softmax_and_sigmoid_heads_are_stripped_and_said_so_at_debug(caplog):
    x = pictures()
    for head in ("softmax", "sigmoid"):
        model = convnet(activation=head)
        with caplog.at_level(logging.DEBUG, logger="tf_lrp"):
            twin = tf_lrp.Analyzer(model, "z").twin
        assert sum("Explaining the logits" in r.message for r in caplog.records) == 1
        caplog.clear()
        function = {"softmax": keras.ops.softmax, "sigmoid": keras.ops.sigmoid}[head]
        np.testing.assert_allclose(function(twin(x)).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-6)
    with caplog.at_level(logging.INFO, logger="tf_lrp"):
        tf_lrp.Analyzer(convnet(activation="softmax"), "z")
    assert not caplog.records
    kept = tf_lrp.Analyzer(convnet(activation="softmax"), "z", strip_softmax=False).twin
    np.testing.assert_allclose(kept(x).numpy(), convnet(activation="softmax")(x).numpy(), rtol=1e-5, atol=1e-6)


def test_a_softmax_inside_stays():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Softmax(name="inside")(keras.layers.Dense(3)(inputs))))
    assert "inside" in names(strip_softmax(describe_affine(unroll(model))))


# -- facts --------------------------------------------------------------------------------------------------------------


def test_facts_know_signs_kinds_and_places():
    inputs = keras.Input((8, 8, 2))
    h = keras.layers.Conv2D(2, 3, activation="relu", name="first")(inputs)
    h = keras.layers.ZeroPadding2D(name="pad")(keras.layers.MaxPooling2D(name="pool")(h))
    a = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(h)
    b = keras.layers.Activation("sigmoid", name="gate")(keras.layers.Conv2D(2, 1, name="one")(h))
    h = keras.layers.Concatenate(name="cat")([a, b])
    h = keras.layers.Dense(3, name="top")(keras.layers.GlobalAveragePooling2D(name="gap")(h))
    facts = {f.name: f for f in infer_facts(canonize(unroll(keras.Model(inputs, h))))}
    assert [n for n, f in facts.items() if f.nonnegative] == ["pool", "pad", "one", "depthwise"]
    assert {n: f.index for n, f in facts.items() if f.index is not None} == {"first": 0, "one": 1, "depthwise": 2, "top": 3}
    assert facts["depthwise"].kinds == {"conv", "depthwise", "weights"}
    assert facts["top"].upstream["weights"] == 2
    assert facts["top"].upstream["conv"] == 2
    assert facts["first"].downstream["weights"] == 2
    assert facts["gap"].kinds == {"pooling", "average_pooling", "global_pooling"}


def test_a_users_function_with_a_known_name_is_not_trusted():
    def relu(x):
        return x - 1

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Activation(relu, name="own")(inputs)))
    assert not infer_facts(canonize(unroll(model)))[-1].nonnegative


# -- layers without a rule ----------------------------------------------------------------------------------------------


def lambda_model():
    inputs = keras.Input((4,))
    h = keras.layers.Lambda(lambda t: tf.math.lgamma(t), name="lgamma", output_shape=(4,))(
        keras.layers.Dense(4, name="d1")(inputs)
    )
    return randomize(keras.Model(inputs, keras.layers.Dense(3, name="d2")(h)))


def test_a_lambda_layer_is_named_with_the_ways_out():
    with pytest.raises(tf_lrp.UnsupportedLayerError) as caught:
        tf_lrp.Analyzer(lambda_model(), "epsilon")
    message = str(caught.value)
    for part in (
        "'lgamma'",
        "Lambda",
        "(None, 4)",
        "register_twin",
        "with Keras layers and keras.ops",
        "Pass()",
        "select.name('lgamma')",
    ):
        assert part in message


def test_a_pass_rule_by_name_lets_relevance_through_an_unknown_layer():
    model, x = lambda_model(), pictures(2).reshape(2, -1)[:, :4]
    preset = tf_lrp.Preset([(tf_lrp.select.name("lgamma"), tf_lrp.rules.Pass()), (tf_lrp.select.all(), Epsilon(1e-9))])
    maps = tf_lrp.Analyzer(model, preset).analyze(x, layers=["lgamma", "d1"])
    np.testing.assert_array_equal(maps["lgamma"], maps["d1"])


def test_a_registered_twin_is_used():
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x + tf.math.lgamma(x)

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(Doubled(name="doubled")(inputs)))
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="Doubled"):
        tf_lrp.Analyzer(model, "z")

    @tf_lrp.register_twin(Doubled)
    class DoubledTwin(tf_lrp.twins.PassTwin):
        pass

    x = pictures(2).reshape(2, -1)[:, :4]
    relevance = tf_lrp.Analyzer(model, "z").analyze(x)
    np.testing.assert_allclose(relevance.sum(axis=1), model(x).numpy().max(axis=1), rtol=1e-4)


def test_all_unsupported_operations_are_listed_at_once():
    class Raw(keras.layers.Layer):
        def call(self, x):
            return tf.math.lgamma(x)

    inputs = keras.Input((4,))
    block = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), Raw(name="second")], name="block")
    model = keras.Model(inputs, keras.ops.arctan2(block(Raw(name="first")(inputs)), inputs))
    with pytest.raises(tf_lrp.UnsupportedLayerError) as caught:
        tf_lrp.Analyzer(model, "z")
    message = str(caught.value)
    assert message.startswith("3 operations of the model have no relevance rule")
    for part in ("(at first,", "(at block/second,", "Arctan2"):
        assert part in message


def test_a_subclass_with_its_own_call_opens_by_that():
    class Squared(keras.layers.Dense):
        def call(self, x):
            return super().call(x) ** 2

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Squared(2)(inputs))
    analyzer = tf_lrp.Analyzer(model, "z")
    assert [row[1] for row in analyzer.rules()] == ["Matmul", "Add", "Power"]
    x = pictures(2).reshape(2, -1)[:, :4]
    np.testing.assert_allclose(analyzer.twin(x).numpy(), model(x).numpy(), rtol=1e-5)


def test_rules_that_do_not_fit_their_layer_are_refused():
    select, rules = tf_lrp.select, tf_lrp.rules
    for selector, rule, message in (
        (select.kind("conv"), rules.Pass(), "cannot take the rule Pass"),
        (select.kind("conv"), rules.WinnerTakesAll(), "has no winner"),
        (select.kind("activation"), Epsilon(), "takes the rule Pass"),
        (select.kind("max_pooling"), rules.Pass(), "cannot take the rule Pass"),
    ):
        with pytest.raises(ValueError, match=message):
            tf_lrp.Analyzer(convnet(), tf_lrp.Preset([(selector, rule), (select.all(), Epsilon())]))


@pytest.mark.parametrize(
    "shift", [lambda x: x + 1.0, lambda x: 1.0 + x, lambda x: x / 2, lambda x: 3 * x, lambda x: 2.0 - x], ids=range(5)
)
def test_arithmetic_with_constants_passes_relevance(shift):
    inputs = keras.Input((4,))
    model = randomize(
        keras.Model(inputs, keras.layers.Dense(3, name="d2", use_bias=False)(shift(keras.layers.Dense(4, name="d1")(inputs))))
    )
    x = pictures(2).reshape(2, -1)[:, :4]
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin(x).numpy(), model(x).numpy(), rtol=1e-5)
    relevance = analyzer.analyze(x, layers=["d1"])["d1"]
    np.testing.assert_allclose(relevance.sum(axis=1), model(x).numpy().max(axis=1), rtol=1e-4)


# -- things that look like something else -------------------------------------------------------------------------------


def test_a_nested_model_called_with_a_dict_gets_its_inputs_by_name():
    z, a = keras.Input((6,), name="z"), keras.Input((6,), name="a")
    inner = keras.Model([z, a], keras.layers.Dense(3)(keras.layers.Subtract()([z, a])))
    x, y = keras.Input((6,)), keras.Input((6,))
    model = randomize(keras.Model([x, y], inner({"z": x, "a": y})))
    values = [pictures(2, seed=s).reshape(2, -1)[:, :6] for s in (0, 1)]
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(values).numpy(), model(values).numpy(), rtol=1e-5)


def test_a_users_function_with_a_heads_name_stays():
    def sigmoid(x):
        return 2 * x + 1

    class Softmax(keras.layers.Layer):
        def call(self, x):
            return 2 * x + 1

    x = pictures(2).reshape(2, -1)[:, :6]
    model = randomize(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation=sigmoid)]))
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(x).numpy(), model(x).numpy(), rtol=1e-5)
    model = randomize(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), Softmax()]))
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(x).numpy(), model(x).numpy(), rtol=1e-5)


def test_a_mask_is_not_dropped():
    inputs, mask = keras.Input((4, 2)), keras.Input((4,), dtype="bool")
    model = keras.Model([inputs, mask], keras.layers.GlobalAveragePooling1D()(inputs, mask=mask))
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    allowed = np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)
    analyzer = tf_lrp.Analyzer(model, "z")
    np.testing.assert_allclose(analyzer.twin([x, allowed.astype("float32")]).numpy(), model([x, allowed]).numpy(), rtol=1e-5)
    relevance, of_mask = analyzer.analyze([x, allowed])
    assert not relevance[~allowed].any() and relevance[allowed].any() and not of_mask.any()
    np.testing.assert_allclose(relevance.sum((1, 2)), model([x, allowed]).numpy().max(1), rtol=1e-5)


def nonnegative_last(h):
    return infer_facts(canonize(unroll(keras.Model(h[0], keras.layers.Dense(2, name="last")(h[1])))))[-1].nonnegative


def test_signs_are_only_claimed_where_they_are_certain():
    x = keras.Input((4,))
    h = keras.layers.ReLU()(x)
    minus_one = -np.ones((1, 4), "float32")
    claims = {
        "relu": h,
        "leaky relu of relu": keras.layers.LeakyReLU()(h),
        "leaky with a threshold": keras.layers.ReLU(negative_slope=0.5, threshold=1.0)(h),
        "minimum with a constant": keras.ops.minimum(h, -0.3),
        "maximum with a negative constant": keras.ops.maximum(x, -0.3),
        "maximum with zero": keras.ops.maximum(x, 0.0),
        "relu plus a constant": h + minus_one,
        "concatenated with a constant": keras.ops.concatenate([h, keras.ops.zeros_like(h) - 1.0]),
    }
    assert {name for name, t in claims.items() if nonnegative_last((x, t))} == {
        "relu",
        "leaky relu of relu",
        "maximum with zero",
    }


def test_maximum_with_a_constant_is_a_function_of_its_input():
    x = keras.Input((4,))
    model = randomize(keras.Model(x, keras.layers.Dense(3)(keras.ops.maximum(keras.layers.Dense(4, name="d1")(x), 0.0))))
    value = pictures(2).reshape(2, -1)[:, :4]
    analyzer = tf_lrp.Analyzer(model, "flat")
    np.testing.assert_allclose(analyzer.twin(value).numpy(), model(value).numpy(), rtol=1e-5)
    maps = analyzer.analyze(value, layers=["d1"])
    np.testing.assert_allclose(maps["d1"].sum(axis=1), model(value).numpy().max(axis=1), rtol=1e-5)


def test_a_quantized_layer_is_named_as_such():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    model.quantize("int8")
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="is quantized"):
        tf_lrp.Analyzer(model, "z")
