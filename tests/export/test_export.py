"""Exported explanations give the numbers of the analyzer, in the runtime they were exported for."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import select
from tf_lrp.export import forward_only
from tf_lrp.export.explicit import lower
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, WinnerTakesAll, WSquare, ZBox, ZPlus


def pooled():
    """Strides, both paddings, overlapping windows, a residual sum, a softmax head."""
    x = inputs = keras.Input((17, 15, 3), name="picture")
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    x = keras.layers.ReLU(name="inner")(
        keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, padding="same", use_bias=False)(x))
        + keras.layers.Conv2D(6, 1)(x)
    )
    x = keras.layers.MaxPooling2D(2)(keras.layers.AveragePooling2D(2, 1, padding="same")(x))
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x)))


def depthwise():
    """Depthwise, dilated and grouped convolutions, up-sampling, slices."""
    x = inputs = keras.Input((17, 15, 2), name="picture")
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, activation="relu6")(x)
    x = keras.layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu")(
        keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    )
    x = keras.layers.Conv2D(8, 2, groups=4, activation="relu")(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(keras.layers.UpSampling2D(2)(x))
    x = keras.layers.SeparableConv2D(3, 3, padding="same", activation="relu")(keras.layers.Cropping2D(1)(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x[:, 1:-1:2, ::3])))


def dense_output():
    x = inputs = keras.Input((8, 6, 3), name="picture")
    x = keras.layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(
        keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    )
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(x))


def two_inputs():
    a, b = keras.Input((6,), name="a"), keras.Input((4,), name="b")
    x = keras.layers.Concatenate()([keras.layers.Dense(4, activation="tanh")(a), b])
    return keras.Model([a, b], keras.layers.Dense(3)(keras.layers.Dense(5, activation="relu")(x)))


def signal():
    x = inputs = keras.Input((21, 2), name="signal")
    x = keras.layers.MaxPooling1D(2)(keras.layers.Conv1D(6, 4, strides=2, activation="relu")(x))
    x = keras.layers.Conv1D(4, 3, padding="causal", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalMaxPooling1D()(x)))


def recurrent():
    inputs = keras.Input((5, 3), name="sequence")
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Bidirectional(keras.layers.LSTM(4))(inputs)))


def attention():
    s = keras.Input((6, 8), name="tokens")
    x = s + keras.layers.MultiHeadAttention(2, 4)(keras.layers.LayerNormalization()(s), keras.layers.LayerNormalization()(s))
    x = x + keras.layers.Dense(8, activation="gelu")(x)
    return keras.Model(s, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))


MODELS = {f.__name__: f for f in (pooled, depthwise, dense_output, two_inputs, signal, recurrent, attention)}


def analyzer_of(name, preset=None, **options):
    model = MODELS[name]()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path:
            values = 0.5 * rng.normal(size=weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return tf_lrp.Analyzer(model, preset or ("attnlrp" if name == "attention" else "cmp_a2_flat"), **options)


def inputs_of(analyzer, samples):
    rng = np.random.default_rng(1)
    return {t.name: rng.normal(size=(samples, *t.shape[1:])).astype("float32") for t in analyzer.twin.inputs}


def expected_of(analyzer, x, selection=None):
    found = analyzer.analyze(list(x.values()) if len(x) > 1 else next(iter(x.values())), selection)
    return dict(zip([f"relevance_{n}" for n in x], found, strict=True)) if len(x) > 1 else {"relevance": found}


def selection_of(analyzer, samples):
    """The second neuron, or R_init of the output's shape where no index names one."""
    shape = analyzer.twin.outputs[0].shape
    if len(shape) == 2:
        return np.ones(samples, "int32")
    return np.random.default_rng(2).normal(size=(samples, *shape[1:])).astype("float32")


def assert_same(found, expected, tolerance):
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=tolerance * np.abs(value).max(), err_msg=key)


def run_onnx(path, feeds, keys):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip(keys, session.run(list(keys), feeds), strict=True))


def run_litert(path, feeds, keys):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_path=str(path))
    return interpreter.get_signature_runner()(**feeds)


RUNTIMES = {"onnx": run_onnx, "litert": run_litert}


@pytest.mark.parametrize("name", MODELS)
def test_saved_model(name, tmp_path):
    analyzer = analyzer_of(name)
    loaded = tf.saved_model.load(analyzer.export(tmp_path / "model"))
    for samples in (1, 3):
        x, selection = inputs_of(analyzer, samples), selection_of(analyzer, samples)
        found = loaded.signatures["serving_default"](**{k: tf.constant(v) for k, v in x.items()})
        assert_same(found, expected_of(analyzer, x), 1e-5)
        np.testing.assert_allclose(found["output"], analyzer.twin(x if len(x) > 1 else next(iter(x.values()))), atol=1e-5)
        found = loaded.signatures["select"](**x, neuron_selection=tf.constant(selection))
        assert_same(found, expected_of(analyzer, x, selection), 1e-5)


@pytest.mark.parametrize("selecting", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("format", RUNTIMES)
def test_other_runtimes(format, name, selecting, tmp_path):
    analyzer = analyzer_of(name)
    path = analyzer.export(tmp_path / f"model.{format}", format, selecting=selecting, batch_size=2)
    x = inputs_of(analyzer, 2)
    selection = selection_of(analyzer, 2) if selecting else None
    expected = expected_of(analyzer, x, selection)
    feeds = {**x, "neuron_selection": selection} if selecting else x
    assert_same(RUNTIMES[format](path, feeds, [*expected, "output"]), expected, 1e-4)


RULES = [Epsilon(0.1), ZPlus(), AlphaBeta(2, 1), Gamma(), WSquare(), Flat(), ZBox(-3, 3)]


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.sampled_from(["first", "share"]), st.booleans())
def test_any_preset_survives_export(tmp_path_factory, first, others, ties, fold):
    preset = tf_lrp.Preset([
        (select.first(1), first), (select.kind("max_pooling"), WinnerTakesAll(ties)), (select.all(), others)
    ])  # fmt: skip
    analyzer = tf_lrp.Analyzer(convnet(), preset, fold_batchnorm=fold)
    folder = tmp_path_factory.mktemp("export")
    found = tf.saved_model.load(analyzer.export(folder / "m")).signatures["serving_default"](picture=pictures())
    assert_same(found, {"relevance": analyzer.analyze(pictures())}, 1e-5)
    analyzer.export(folder / "m.tflite", "litert")  # which compares to 1e-4 itself


BARE_PROCESS = """
import sys
class No:
    def find_spec(self, name, path, target):
        if name.split(".")[0] in ("tf_lrp", "keras"):
            raise ImportError(name)
import numpy as np, tensorflow as tf
sys.meta_path.insert(0, No())
for name in [name for name in sys.modules if name.split(".")[0] == "keras"]:
    del sys.modules[name]
folder = sys.argv[1]
x = np.load(folder + "/x.npy")
model = tf.saved_model.load(folder + "/model")
first = model.signatures["serving_default"](picture=tf.constant(x))
second = model.signatures["select"](picture=tf.constant(x), neuron_selection=tf.constant([2] * len(x)))
assert "keras" not in sys.modules and "tf_lrp" not in sys.modules
np.savez(folder + "/found.npz", first=first["relevance"], inner=first["conv2"], second=second["relevance"])
"""


def test_a_process_without_keras_and_without_this_library(tmp_path):
    analyzer = tf_lrp.Analyzer(convnet(), "cmp_a2_flat")
    analyzer.export(tmp_path / "model", layers=["conv2"])
    np.save(tmp_path / "x.npy", pictures())
    subprocess.run([sys.executable, "-c", BARE_PROCESS, str(tmp_path)], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "found.npz")
    expected = analyzer.analyze(pictures(), layers=["conv2"])
    assert_same(found, {"first": expected["input"], "inner": expected["conv2"]}, 1e-5)
    assert_same(found, {"second": analyzer.analyze(pictures(), 2)}, 1e-5)


def test_a_keras_layer_around_it(tmp_path):
    analyzer = tf_lrp.Analyzer(convnet(), "epsilon")
    layer = keras.layers.TFSMLayer(str(analyzer.export(tmp_path / "model")), call_endpoint="serving_default")
    assert_same(layer(pictures()), {"relevance": analyzer.analyze(pictures())}, 1e-5)


def any_size():
    inputs = keras.Input((None, None, 3), name="picture")
    return randomize(
        keras.Model(
            inputs,
            keras.layers.Dense(3)(keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))),
        )
    )


def test_free_sizes_stay_free(tmp_path):
    analyzer = tf_lrp.Analyzer(any_size(), "epsilon")
    explain = tf.saved_model.load(analyzer.export(tmp_path / "model")).signatures["serving_default"]
    for shape in ((1, 8, 9, 3), (4, 12, 7, 3)):
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        assert_same(explain(picture=x), {"relevance": analyzer.analyze(x)}, 1e-5)
    with pytest.raises(ValueError, match="input_shape"):
        analyzer.export(tmp_path / "model.tflite", "litert")
    with pytest.raises(ValueError, match="got input_shape"):
        analyzer.export(tmp_path / "model.tflite", "litert", input_shape=(8, 8, 1))
    assert analyzer.export(tmp_path / "model.tflite", "litert", input_shape=(8, 9, 3)).is_file()


def test_what_travels_along(tmp_path):
    preset = tf_lrp.preset("cmp_a1", epsilon=0.5)
    analyzer = tf_lrp.Analyzer(convnet(activation="softmax"), preset)
    labels = list("abcde")
    options = {"labels": labels, "metadata": {"trained": "2026", "accuracy": 0.9}}
    folder = analyzer.export(tmp_path / "model", **options)
    description = json.loads((folder / "assets" / "tf_lrp.json").read_text())
    assert (folder / "assets" / "labels.txt").read_text().split() == labels
    assert description["labels"] == labels and description["metadata"]["accuracy"] == 0.9
    assert tf_lrp.Preset.from_json(json.dumps(description["preset"])) == preset
    assert description["inputs"] == {"picture": {"shape": [None, 8, 8, 3], "dtype": "float32"}}
    file = analyzer.export(tmp_path / "model.tflite", "litert", **options)
    assert json.loads(file.with_name("model.tflite.json").read_text()) == description
    onnx = pytest.importorskip("onnx")
    (entry,) = onnx.load(analyzer.export(tmp_path / "model.onnx", "onnx", **options)).metadata_props
    assert json.loads(entry.value) == description


def test_constants_are_folded_and_shared(tmp_path):
    """No normalization is left, no kernel is split by sign at run time, and both signatures hold one copy."""
    analyzer = tf_lrp.Analyzer(convnet(), "cmp_a2")
    loaded = tf.saved_model.load(analyzer.export(tmp_path / "model"))
    sizes = [tuple(constant.shape) for constant in loaded.constants]
    assert sizes == [tuple(c.shape) for c in {c.numpy().tobytes(): c for c in loaded.constants}.values()]
    for signature in loaded.signatures.values():
        graph = signature.graph.as_graph_def()
        (body,) = [f for f in graph.library.function if len(f.node_def) > 20]
        kernels = {n.name for n in body.node_def if n.op == "ReadVariableOp"}
        assert not {n.op for n in body.node_def} & {"Rsqrt", "FusedBatchNormV3", "PyFunc", "EagerPyFunc"}
        split = [n for n in body.node_def if n.op in ("Maximum", "Minimum") and n.input[0].split(":")[0] in kernels]
        assert not split


def test_weights_are_those_of_the_export(tmp_path):
    model = convnet()
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    before = analyzer.analyze(pictures())
    loaded = tf.saved_model.load(analyzer.export(tmp_path / "model"))
    randomize(model, seed=5)
    assert not np.allclose(analyzer.analyze(pictures()), before)
    assert_same(loaded.signatures["serving_default"](picture=pictures()), {"relevance": before}, 1e-5)


def test_nothing_is_overwritten_unasked(tmp_path):
    analyzer = tf_lrp.Analyzer(convnet(), "epsilon")
    place = analyzer.export(tmp_path / "deep" / "model")
    with pytest.raises(FileExistsError, match="exists"):
        analyzer.export(place)
    assert analyzer.export(place, overwrite=True) == place
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            analyzer.export(own, overwrite=overwrite)
    assert (own / "thesis.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "own"]


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    def wrong(*arguments):
        graph, inputs, results = lower(*arguments)
        with graph.as_default():
            return graph, inputs, results | {"relevance": tf.identity(1.01 * results["relevance"])}

    monkeypatch.setattr(forward_only, "lower", wrong)
    with pytest.raises(RuntimeError, match="LiteRT computes another 'relevance'"):
        tf_lrp.Analyzer(convnet(), "epsilon").export(tmp_path / "model.tflite", "litert")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "onnxx"}, ValueError, "'litert', 'onnx', 'saved_model'"),
        ({"labels": ["a"]}, ValueError, "5 neurons .* 1 labels"),
        ({"metadata": {"x": object()}}, TypeError, "JSON"),
        ({"layers": ["conv7"]}, ValueError, "no layer 'conv7'"),
        ({"output": "other"}, ValueError, "output=name"),
    ],
)
def test_wrong_arguments(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        tf_lrp.Analyzer(convnet(), "epsilon").export(tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["saved_model", *RUNTIMES])
@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v1_025"])
def test_real_networks(name, format, shared_data, tmp_path):
    file = {"squeezenet": "squeezenet_v1_1.weights.npz", "mobilenet_v1_025": "mobilenet_v1_025_224.weights.npz"}[name]
    analyzer = tf_lrp.Analyzer(tf_lrp.model_zoo.load(name, weights=shared_data / "imagenet" / file), "cmp_a2_flat")
    x = {analyzer.twin.inputs[0].name: np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")}
    path = analyzer.export(tmp_path / "model", format)
    if format == "saved_model":
        found = tf.saved_model.load(path).signatures["serving_default"](**{k: tf.constant(v) for k, v in x.items()})
    else:
        found = RUNTIMES[format](path, x, ["relevance"])
    assert_same(found, expected_of(analyzer, x), 1e-4)
