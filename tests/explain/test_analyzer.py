"""The public contract of the Analyzer: what it takes, what it returns, what it says when something is wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from eagerly import eagerly
from small_models import convnet, pictures, randomize, without_biases

import tf_lrp
from tf_lrp import presets, select
from tf_lrp.rules import AlphaBeta, Epsilon, Flat


@pytest.fixture(scope="module")
def model():
    return convnet()


@pytest.fixture(scope="module")
def analyzer(model):
    return tf_lrp.Analyzer(model, "epsilon", batch_size=2)


@pytest.fixture(scope="module")
def x():
    return pictures(5)


def close(a, b, rtol=1e-4):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


# -- what is explained --------------------------------------------------------------------------------------------------


def test_default_explains_each_samples_strongest_logit(model, analyzer, x):
    relevance = analyzer.analyze(x)
    assert isinstance(relevance, np.ndarray)
    assert relevance.shape == x.shape
    assert relevance.dtype == np.float32
    strongest = model(x).numpy().argmax(axis=1)
    close(relevance, analyzer.analyze(x, neuron_selection=strongest))
    close(relevance, analyzer.analyze(x, neuron_selection="max_activation"))


def test_relevance_sums_to_the_explained_logit_without_biases(x):
    model = without_biases(convnet())
    logits = model(x).numpy()
    for preset in ("z", "alpha2_beta1", "cmp_a2_flat", "gamma", "w2", "flat", "epsilon_gamma_box", "lrp_overview"):
        relevance = tf_lrp.Analyzer(model, preset).analyze(x, neuron_selection=1)
        kept = tf_lrp.Analyzer(model, preset).conservation(x, neuron_selection=1)
        # what is missing is at windows of zeros, and is accounted for
        np.testing.assert_allclose(relevance.sum() + kept.kept, logits[:, 1].sum(), rtol=1e-3)


def test_one_neuron_for_all_samples_and_one_for_each(model, analyzer, x):
    same = analyzer.analyze(x, neuron_selection=3)
    close(same, analyzer.analyze(x, neuron_selection=[3] * 5))
    each = analyzer.analyze(x, neuron_selection=np.array([0, 1, 2, 3, 4]))
    close(each[3], same[3])
    assert np.abs(each[0] - same[0]).max() > 1e-3


def test_several_neurons_for_each_sample_from_one_forward_pass(analyzer, x):
    targets = np.array([[0, 3], [1, 1], [4, 2], [2, 0], [3, 4]])
    relevance = analyzer.analyze(x, neuron_selection=targets)
    assert relevance.shape == (5, 2, *x.shape[1:])
    for k in range(2):
        close(relevance[:, k], analyzer.analyze(x, neuron_selection=targets[:, k]))


def test_more_targets_than_fit_one_graph(analyzer, x):
    targets = np.tile(np.arange(5), (5, 4))[:, :19]
    relevance = analyzer.analyze(x, neuron_selection=targets, layers=["conv2"])
    assert relevance["input"].shape == (5, 19, *x.shape[1:])
    close(relevance["input"][:, 18], relevance["input"][:, 3])
    assert relevance["conv2"].shape[:2] == (5, 19)


def test_any_initial_relevance(model, analyzer, x):
    start = np.random.default_rng(0).normal(size=(5, 5))
    relevance = analyzer.analyze(x, neuron_selection=start)
    logits = model(x).numpy()
    parts = [analyzer.analyze(x, neuron_selection=k) * (start[:, k] / logits[:, k])[:, None, None, None] for k in range(5)]
    close(relevance, sum(parts), rtol=1e-3)
    close(analyzer.analyze(x, neuron_selection="all"), analyzer.analyze(x, neuron_selection=logits), rtol=1e-4)


def test_relevance_at_inner_layers(model, analyzer, x):
    maps = analyzer.analyze(x, layers=["conv1", "pool2", "scores"])
    assert list(maps) == ["input", "conv1", "pool2", "scores"]
    close(maps["input"], analyzer.analyze(x))
    logits = model(x).numpy()
    close(maps["scores"], logits * (logits == logits.max(axis=1, keepdims=True)))
    assert maps["conv1"].shape == (5, 8, 8, 4)
    close(analyzer.analyze(x, layers="conv1")["conv1"], maps["conv1"])


def test_sigmoid_heads_explain_the_logit(x):
    model = convnet(activation="sigmoid")
    relevance = tf_lrp.Analyzer(model, "z").analyze(x, neuron_selection=2)
    close(relevance, tf_lrp.Analyzer(convnet(), "z").analyze(x, neuron_selection=2))


# -- inputs -------------------------------------------------------------------------------------------------------------


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    h = keras.layers.Concatenate()([keras.layers.Dense(3, activation="relu")(a), keras.layers.Dense(3, activation="relu")(b)])
    return randomize(keras.Model([a, b], [keras.layers.Dense(2, name="first")(h), keras.layers.Dense(3, name="second")(h)]))


def test_several_inputs_as_list_tuple_and_dict():
    model = two_inputs()
    analyzer = tf_lrp.Analyzer(model, "z")
    a, b = np.random.default_rng(0).normal(size=(2, 3, 6)).astype("float32")
    a = a[:, :4]
    as_list = analyzer.analyze([a, b], output="second")
    as_dict = analyzer.analyze({"b": b, "a": tf.constant(a)}, output=1)
    assert isinstance(as_list, list)
    assert set(as_dict) == {"a", "b"}
    close(as_list[0], as_dict["a"])
    close(as_list[1], as_dict["b"])
    assert isinstance(analyzer.analyze((a, b), output=0), tuple)
    for wrong, message in (([a], "as a list or a dict"), ({"a": a}, "inputs are 'a', 'b'"), (a, "takes 2 inputs")):
        with pytest.raises(ValueError, match=message):
            analyzer.analyze(wrong, output=0)
    with pytest.raises(ValueError, match="same number of samples"):
        analyzer.analyze([a, b[:1]], output=0)


def test_models_with_dict_inputs_and_outputs():
    inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    h = keras.layers.Add()([inputs["left"], inputs["right"]])
    model = randomize(keras.Model(inputs, {"up": keras.layers.Dense(2)(h), "down": keras.layers.Dense(3)(h)}))
    x = {k: pictures(2, seed=s).reshape(2, -1)[:, :4] for s, k in enumerate(inputs)}
    relevance = tf_lrp.Analyzer(model, "z").analyze(x, output="down", neuron_selection=2)
    assert set(relevance) == {"left", "right"}
    twin = tf_lrp.Analyzer(model, "z").twin
    close(twin(x)["up"].numpy(), model(x)["up"].numpy())


def test_a_model_with_several_outputs_asks_which_one():
    analyzer = tf_lrp.Analyzer(two_inputs(), "z")
    x = [np.ones((1, 4)), np.ones((1, 6))]
    with pytest.raises(ValueError, match=r"2 output\(s\): 'first', 'second'.*output=name"):
        analyzer.analyze(x)
    with pytest.raises(ValueError, match="got 'third'"):
        analyzer.analyze(x, output="third")


def test_lists_tensors_and_integers_are_read_as_numbers(analyzer, x):
    close(analyzer.analyze(x.tolist()), analyzer.analyze(x))
    close(analyzer.analyze(tf.constant(x)), analyzer.analyze(x))
    whole = np.round(x * 3).astype("int8")
    close(analyzer.analyze(whole), analyzer.analyze(whole.astype("float32")))
    assert isinstance(analyzer.analyze([x]), list)


def test_integer_pictures_have_relevance_too():
    inputs = keras.Input((6, 6, 3), dtype="uint8")
    h = keras.layers.Conv2D(3, 3, name="conv")(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    model = randomize(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(h))))
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype="uint8")
    analyzer = tf_lrp.Analyzer(model, "cmp_a1_flat")
    relevance = analyzer.analyze(x)
    assert relevance.dtype == np.float32
    assert np.abs(relevance).sum() > 0
    assert ("conv", "Conv2D", "Flat()", "first(1, kind='conv')") in analyzer.rules()


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_types_of_models(dtype):
    policy = "mixed_float16" if dtype == "float16" else dtype
    inputs = keras.Input((8, 8, 3), dtype="float32" if dtype == "float16" else dtype)
    h = keras.layers.Conv2D(4, 3, activation="relu", dtype=policy)(inputs)
    h = keras.layers.GlobalAveragePooling2D(dtype=policy)(h)
    model = randomize(keras.Model(inputs, keras.layers.Dense(3, activation="softmax", dtype=policy)(h)))
    relevance = tf_lrp.Analyzer(model, "epsilon").analyze(pictures(dtype="float64"))
    assert relevance.dtype == ("float64" if dtype == "float64" else "float32")
    assert np.isfinite(relevance).all()


def test_unknown_sizes_stay_unknown():
    inputs = keras.Input((None, None, 3))
    h = keras.layers.MaxPooling2D()(keras.layers.Conv2D(4, 3, activation="relu", padding="same")(inputs))
    model = randomize(
        keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(h))))
    )
    for preset in ("cmp_a2_flat", "epsilon_gamma_box", "w2"):
        analyzer = tf_lrp.Analyzer(model, preset)
        for size in (8, 13):
            x = pictures(2, size=size)
            assert analyzer.analyze(x).shape == x.shape
            close(analyzer.twin(x).numpy(), model(x).numpy())


# -- batches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["cmp_a2_flat", "epsilon_gamma_box"])
def test_batches_do_not_change_anything(model, x, preset):
    analyzer = tf_lrp.Analyzer(model, preset)
    whole = analyzer.analyze(x, batch_size=5)
    for size in (1, 2, 64):
        close(analyzer.analyze(x, batch_size=size), whole, rtol=1e-5)
    close(np.concatenate([analyzer.analyze(x[i : i + 1]) for i in range(5)]), whole, rtol=1e-5)


def test_a_progress_bar_shows_when_asked_for(analyzer, x, capsys):
    analyzer.analyze(x, verbose=False)
    assert capsys.readouterr().out == ""
    analyzer.analyze(x)
    assert capsys.readouterr().out == ""  # a short run
    analyzer.analyze(x, verbose=True)
    assert "3/3" in capsys.readouterr().out


def test_a_progress_bar_shows_on_long_runs(analyzer, x, capsys, monkeypatch):
    monkeypatch.setattr("tf_lrp.explain.batches.LONG_RUN", 0.0)
    analyzer.analyze(x)
    assert "3/3" in capsys.readouterr().out


# -- pure TensorFlow ----------------------------------------------------------------------------------------------------


def test_call_takes_and_returns_tensors(analyzer, x):
    relevance = analyzer(tf.constant(x))
    assert tf.is_tensor(relevance)
    close(relevance.numpy(), analyzer.analyze(x))
    close(analyzer(x, 2).numpy(), analyzer.analyze(x, 2))
    close(analyzer(x, tf.constant([[0, 1]] * 5)).numpy(), analyzer.analyze(x, np.array([[0, 1]] * 5)))
    close(analyzer(x, np.eye(5)).numpy(), analyzer.analyze(x, np.eye(5)))


def test_call_works_in_functions_and_datasets(analyzer, x):
    want = analyzer.analyze(x)
    close(tf.function(analyzer)(tf.constant(x)).numpy(), want)
    data = tf.data.Dataset.from_tensor_slices(x).batch(2)
    close(np.concatenate(list(data.map(analyzer, num_parallel_calls=2).as_numpy_iterator())), want)
    labels = np.array([4, 3, 2, 1, 0])
    labelled = tf.data.Dataset.from_tensor_slices((x, labels)).batch(2).map(analyzer)
    close(np.concatenate(list(labelled.as_numpy_iterator())), analyzer.analyze(x, labels))


def test_the_gradient_of_the_twin_is_the_explanation(model, analyzer, x):
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = analyzer.twin(inputs)
    start = outputs * tf.one_hot(tf.argmax(outputs, axis=1), 5)
    close(tape.gradient(outputs, inputs, output_gradients=start).numpy(), analyzer.analyze(x))


# -- what goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(analyzer, x, value):
    bad = x.copy()
    bad[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=r"'picture' holds 1 NaN or infinite values.*nan_to_num"):
        analyzer.analyze(bad)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 3), r"needs a batch axis, x\[None\]"),
        ((2, 8, 8, 1), r"needs shape \(N, 8, 8, 3\), got \(2, 8, 8, 1\)"),
        ((2, 8, 7, 3), r"needs shape \(N, 8, 8, 3\), got \(2, 8, 7, 3\)"),
        ((2, 192), r"needs shape \(N, 8, 8, 3\), got \(2, 192\)"),
        ((0, 8, 8, 3), "holds no samples"),
    ],
)
def test_wrong_shapes_say_what_was_expected(analyzer, shape, message):
    with pytest.raises(ValueError, match=message):
        analyzer.analyze(np.zeros(shape))


@pytest.mark.parametrize(
    ("selection", "error", "message"),
    [
        (5, ValueError, "no neuron 5: the output has the neurons 0 to 4"),
        (-1, ValueError, "no neuron -1"),
        ([0, 1, 9, 0, 0], ValueError, "no neuron 9"),
        ([0, 1], ValueError, r"one per sample, shape \(5,\).*got shape \(2,\)"),
        (np.zeros((5, 4)), ValueError, r"needs the output's shape \(5, 5\), got \(5, 4\)"),
        (np.full((5, 5), np.nan), ValueError, "NaN"),
        ("best", ValueError, '"max_activation" or "all"'),
        ([True] * 5, TypeError, "bool"),
        (["cat"], TypeError, "neuron_selection is"),
    ],
)
def test_wrong_neurons_say_what_was_expected(analyzer, x, selection, error, message):
    with pytest.raises(error, match=message):
        analyzer.analyze(x, neuron_selection=selection)


def test_an_index_does_not_name_a_neuron_of_a_map(x):
    inputs = keras.Input((8, 8, 3))
    model = randomize(keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(inputs)))
    analyzer = tf_lrp.Analyzer(model, "z")
    with pytest.raises(ValueError, match="an index does not name a neuron"):
        analyzer.analyze(x, neuron_selection=1)
    out = model(x).numpy()
    strongest = out * (out == out.reshape(5, -1).max(axis=1)[:, None, None, None])
    close(analyzer.analyze(x), analyzer.analyze(x, neuron_selection=strongest))


def test_text_is_refused(analyzer):
    with pytest.raises(TypeError, match="needs numbers"):
        analyzer.analyze(np.full((1, 8, 8, 3), "a"))


def test_unknown_names_suggest_near_ones(model, analyzer, x):
    with pytest.raises(ValueError, match=r"no preset 'cmp_a2_flt'. Did you mean 'cmp_a2_flat'"):
        tf_lrp.Analyzer(model, "cmp_a2_flt")
    with pytest.raises(ValueError, match=r"no layer 'conv_1'.*Did you mean 'conv1'"):
        analyzer.analyze(x, layers=["conv_1"])
    with pytest.raises(TypeError, match="A preset is a name"):
        tf_lrp.Analyzer(model, 3)
    with pytest.raises(ValueError, match="batch_size needs"):
        tf_lrp.Analyzer(model, "z", batch_size=0)
    with pytest.raises(ValueError, match="verbose is"):
        tf_lrp.Analyzer(model, "z", verbose="loud")


@pytest.mark.parametrize("preset", presets.names())
def test_nothing_but_numbers_comes_out(preset):
    model = convnet()
    zeros = np.zeros((1, 8, 8, 3), "float32")
    mixed = np.concatenate([zeros, pictures(1) * 1e-30, pictures(1) * 1e12, zeros + 1, pictures(1)])
    relevance = tf_lrp.Analyzer(model, preset).analyze(mixed)
    assert np.isfinite(relevance).all()
    with eagerly():
        nothing = tf_lrp.Analyzer(without_biases(convnet()), preset).analyze(zeros)
    np.testing.assert_array_equal(nothing, zeros)


def test_importing_changes_nothing_global():
    import subprocess
    import sys

    code = (
        "import logging, numpy as np, keras, tensorflow as tf; "
        "state = lambda: (keras.config.floatx(), keras.config.dtype_policy().name, keras.config.backend(), "
        "tf.config.functions_run_eagerly(), tf.executing_eagerly(), logging.getLogger().handlers[:], "
        "logging.getLogger('tf_lrp').handlers[:], np.random.get_state()[1].tolist(), np.geterr()); "
        "before = state(); import tf_lrp; assert state() == before, (before, state())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# -- the table of rules -------------------------------------------------------------------------------------------------


def test_the_table_of_rules_is_readable(model):
    preset = tf_lrp.Preset([(select.first(1), Flat()), (select.kind("conv"), AlphaBeta(2, 1)), (select.all(), Epsilon(0.1))])
    table = tf_lrp.Analyzer(model, preset).rules()
    chosen = {name: (rule, why) for name, _, rule, why in table}
    assert chosen["conv1"] == ("Flat()", "first(1)")
    assert chosen["conv2"] == ("AlphaBeta()", "kind('conv')")
    assert chosen["scores"] == ("Epsilon(epsilon=0.1)", "all()")
    assert chosen["pool1"] == ("WinnerTakesAll()", "default for max_pooling")
    text = str(table)
    assert "conv2" in text
    assert "why" in text


# -- global state of the user -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_a_global_dtype_policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layers = [
            keras.layers.Rescaling(2.0),
            keras.layers.SeparableConv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.PReLU(),
        ]
        layers += [
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation=keras.layers.Softmax()),
        ]
        model = randomize(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
        analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", strip_softmax=False)
        relevance = analyzer.analyze(pictures(dtype="float64"))
        balance = analyzer.conservation(pictures())
    finally:
        keras.config.set_dtype_policy(before)
    assert relevance.dtype == ("float64" if policy == "float64" else "float32")
    assert np.isfinite(relevance).all()
    assert abs(balance.rounding) < 1e-4 * max(1, abs(balance.input))


def test_fixed_batches_are_kept_whole():
    model = randomize(keras.Sequential([keras.Input(batch_shape=(40, 6)), keras.layers.Dense(3)]))
    x = np.ones((40, 6), "float32")
    assert tf_lrp.Analyzer(model, "z", batch_size=7).analyze(x).shape == x.shape
    with pytest.raises(ValueError, match="built for batches of 40"):
        tf_lrp.Analyzer(model, "z").analyze(x[:3])


def test_a_model_that_returns_its_input():
    inputs = keras.Input((4,))
    analyzer = tf_lrp.Analyzer(keras.Model(inputs, inputs), "z")
    x = np.array([[1.0, -2.0, 3.0, 0.0]], "float32")
    np.testing.assert_array_equal(analyzer.analyze(x), [[0, 0, 3, 0]])
    assert analyzer.conservation(x).input == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size needs"),
        ({"batch_size": 2.5}, ValueError, "batch_size needs"),
        ({"batch_size": True}, ValueError, "batch_size needs"),
        ({"neuron_selection": [[0], [1, 2], [0], [0], [0]]}, ValueError, "no rectangular array"),
        ({"neuron_selection": [[]] * 5}, ValueError, "is empty"),
        ({"layers": 3}, TypeError, "layers is a list of layer names"),
    ],
)
def test_wrong_arguments_say_what_was_expected(analyzer, x, arguments, error, message):
    with pytest.raises(error, match=message):
        analyzer.analyze(x, **arguments)


def test_call_checks_what_it_can_see(analyzer, x):
    with pytest.raises(ValueError, match="no neuron 7"):
        analyzer(x, 7)
    with pytest.raises(ValueError, match=r"needs shape \(None, 8, 8, 3\), got \(5, 8, 8, 1\)"):
        analyzer(tf.ones((5, 8, 8, 1)))
    assert list(analyzer.analyze(x, layers=[])) == ["input"]


def test_the_layer_whose_softmax_is_left_out_has_its_scores():
    analyzer = tf_lrp.Analyzer(convnet(activation="softmax"), "epsilon")
    maps = analyzer.analyze(pictures(), 2, layers=["scores"])
    np.testing.assert_allclose(maps["scores"][:, 2], analyzer.twin(pictures())[:, 2], rtol=1e-6)
    assert not maps["scores"][:, [0, 1, 3, 4]].any()
