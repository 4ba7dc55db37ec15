"""One explanation, whatever way it is asked for: eagerly, in graphs, compiled, in datasets, in Keras models, elsewhere."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from small_models import convnet, pictures, randomize
from test_export import MODELS, analyzer_of, inputs_of

import tf_lrp
from tf_lrp import model_zoo, presets, select, twins
from tf_lrp.explain.passes import PassKind, pass_function
from tf_lrp.keras_compat.own_layers import ClippedMaxPooling2D, LocalResponseNormalization
from tf_lrp.rules import Epsilon, WinnerTakesAll
from tf_lrp.twins import categories

NETWORKS = {"shapes": None, "squeezenet": "squeezenet_v1_1", "mobilenet_v1_025": "mobilenet_v1_025_224"}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """(analyzer, three pictures, two targets for each, their relevance)."""
    name = request.param
    if name == "shapes":
        model, x = model_zoo.load(name), model_zoo.entry(name).preprocess(model_zoo.shapes.sample(3, seed=1).images)
    else:
        data = request.getfixturevalue("shared_data")
        model = model_zoo.load(name, weights=data / "imagenet" / f"{NETWORKS[name]}.weights.npz", output="logits")
        x = np.random.default_rng(0).uniform(-1, 1, (3, 224, 224, 3)).astype("float32")
    targets = np.array([[0, 1], [2, 3], [4, 5]])
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", jit_compile=False)
    return analyzer, model, x, targets, analyzer.analyze(x, targets[:, 0])


def assert_same(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_graphs_and_datasets(case):
    analyzer, _, x, targets, expected = case
    labels = tf.constant(targets[:, 0])
    assert_same(tf.function(lambda t, n: analyzer(t, n))(tf.constant(x), labels), expected)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(2).map(analyzer, num_parallel_calls=tf.data.AUTOTUNE)
    assert_same(np.concatenate([*dataset]), expected)


def test_without_any_graph(case):
    analyzer, _, x, targets, expected = case
    explain, _ = pass_function(analyzer, PassKind("index", None, None, 0))
    _, (relevance,) = explain([tf.constant(x)], tf.constant(targets[:, 0], tf.int32))
    assert_same(relevance, expected)


def test_every_preset_for_a_batch_of_known_size():
    """What TensorFlow's optimizer makes of a graph depends on what it knows of shapes: with all known it reorders sums."""
    padded = [layers.ZeroPadding2D(1), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), *padded, layers.Conv2D(40, 3), layers.BatchNormalization(), layers.ReLU()]
    )
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(3))
    randomize(model, 0)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for name in presets.names():
        analyzer = tf_lrp.Analyzer(model, name, jit_compile=False)
        assert_same(tf.function(analyzer.__call__)(tf.constant(x)), analyzer.analyze(x))


def test_many_targets(case):
    analyzer, _, x, targets, expected = case
    assert_same(analyzer.analyze(x, targets)[:, 0], expected)


def test_keras_models(case):
    analyzer, model, x, targets, expected = case
    picture, neuron = keras.Input(x.shape[1:]), keras.Input((), dtype="int32")
    whole = keras.Model([picture, neuron], {"scores": model(picture), "relevance": analyzer(picture, neuron)})
    found = whole.predict([x, targets[:, 0]], verbose=0)
    assert_same(found["relevance"], expected)
    assert_same(analyzer.twin.predict(x, verbose=0), analyzer.twin(x).numpy())


@pytest.mark.slow
def test_compiled(case):
    analyzer, model, x, targets, expected = case
    compiled = tf_lrp.Analyzer(model, "cmp_a2_flat", jit_compile=True)
    # XLA rounds otherwise: where denominators nearly vanish the last digits of the input matter as much.
    moved = analyzer.analyze(x * (1 + 1e-7 * np.sign(np.random.default_rng(0).normal(size=x.shape))), targets[:, 0])
    noise = np.abs(moved - expected).max() / np.abs(expected).max()
    assert_same(compiled.analyze(x, targets[:, 0]), expected, max(1e-5, min(5 * noise, 1e-4)))  # 7e-5 measured, on MobileNet


SCRIPT = """
import sys
sys.modules["tf_lrp"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
folder = sys.argv[1]
model, values = tf.saved_model.load(folder + "/model"), np.load(folder + "/x.npz")
name = next(k for k in model.signatures["select"].structured_input_signature[1] if k != "neuron_selection")
found = model.signatures["select"](**{name: tf.constant(values["x"]), "neuron_selection": tf.constant(values["n"], tf.int32)})
np.save(folder + "/found.npy", found["relevance"])
"""


def test_a_clean_process(case, tmp_path):
    analyzer, _, x, targets, expected = case
    analyzer.export(tmp_path / "model")
    np.savez(tmp_path / "x.npz", x=x, n=targets[:, 0])
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1500:]
    assert_same(np.load(tmp_path / "found.npy"), expected)


DEVICES = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_lrp
from tf_lrp import model_zoo
name, weights, folder = sys.argv[1:]
values, options = np.load(folder + "/x.npz"), {} if name == "shapes" else {"weights": weights, "output": "logits"}
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    analyzer = tf_lrp.Analyzer(model_zoo.load(name, **options), "cmp_a2_flat")
# As many pictures as devices: TensorFlow's convolutions fail on a replica without any.
dataset = tf.data.Dataset.from_tensor_slices((np.arange(2), values["x"][:2], values["n"][:2].astype("int32"))).batch(2)
found = {}
@tf.function
def explain(n, x, labels):
    return strategy.run(lambda n, x, labels: (n, analyzer(x, labels)), (n, x, labels))
for batch in strategy.experimental_distribute_dataset(dataset):
    numbers, maps = (strategy.experimental_local_results(t) for t in explain(*batch))
    for part, of_part in zip(numbers, maps):
        found.update(zip(part.numpy().tolist(), of_part.numpy()))
np.save(folder + "/found.npy", [found[n] for n in range(2)])
"""


@pytest.mark.slow
def test_several_devices(case, request, tmp_path):
    _, _, x, targets, expected = case
    name = request.node.callspec.params["case"]
    weights = "" if name == "shapes" else request.getfixturevalue("shared_data") / "imagenet" / f"{NETWORKS[name]}.weights.npz"
    np.savez(tmp_path / "x.npz", x=x, n=targets[:, 0])
    run = subprocess.run([sys.executable, "-c", DEVICES, name, str(weights), str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1500:]
    assert_same(np.load(tmp_path / "found.npy"), expected[:2])


# -- neurons that are not there -------------------------------------------------------------------------------------------


def test_labels_that_name_no_neuron():
    analyzer, x = tf_lrp.Analyzer(convnet(), "epsilon"), tf.constant(pictures(2))
    with pytest.raises(ValueError, match="There is no neuron 7"):
        analyzer(x, tf.constant([0, 7]))
    dataset = tf.data.Dataset.from_tensors((x, [0, -1])).map(analyzer)
    with pytest.raises(tf.errors.InvalidArgumentError, match="0 to 4"):
        next(iter(dataset))


def test_a_model_with_an_explanation_says_how_it_is_kept(tmp_path):
    picture = keras.Input((8, 8, 3))
    model = keras.Model(picture, tf_lrp.Analyzer(convnet(), "epsilon")(picture))
    with pytest.raises(NotImplementedError, match="use the analyzer's export"):
        model.save(tmp_path / "model.keras")


# -- every twin compiled --------------------------------------------------------------------------------------------------


def branches():
    """Products, quotients, extremes, sharing pools, sums over matrices, rows put in places, a softmax on the way."""
    x = keras.Input((6, 6, 3))
    h = layers.MaxPooling2D(2, name="shares")(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    h = layers.AdaptiveMaxPooling2D(2)(h)
    a, b = layers.Dense(4)(h), layers.Dense(4, activation="sigmoid")(h)
    h = layers.Maximum()([a * b, layers.Minimum()([a, b])]) / (1 + ops.sum(b, axis=-1, keepdims=True))
    h = ops.max(h, axis=1) + ops.min(h, axis=2) + ops.logaddexp(ops.max(a, axis=1), ops.max(b, axis=1))
    rows = ops.transpose(h, (1, 0, 2))
    h = ops.transpose(ops.scatter_update(rows, [[0]], ops.expand_dims(2 * rows[1], 0)), (1, 0, 2))
    h = ops.matmul(ops.transpose(h, (0, 2, 1)), h)
    return keras.Model(x, layers.Dense(3)(layers.Softmax()(layers.Flatten()(h)) + layers.Flatten()(h)))


def tokens():
    """Rows of tables, by a layer and by ops.take; learned positions."""
    x = keras.Input((5,))
    table = keras.Variable(np.random.default_rng(5).normal(size=(7, 4)).astype("float32"))
    h = layers.Embedding(7, 4)(x) + ops.take(table, ops.cast(x, "int32"), axis=0)
    h = h + layers.MultiHeadAttention(2, 4)(h, h)
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(h)))


def units():
    """A normalization by the root mean square, a gated unit, a cross product, the largest of several values."""
    x = keras.Input((4, 6))
    h = layers.Dense(6)(ops.glu(layers.RMSNormalization()(layers.Dense(12)(x))))
    largest, _ = ops.top_k(h, 3)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(ops.cross(h[..., :3], h[..., 3:]) + largest)))


#: XLA has no strings and no tables: these twins are tested uncompiled, with the categories.
NOT_COMPILED = {categories.EntriesTwin, categories.CategoryTwin, categories.CategoryEncodingTwin}


def renormalized():
    """Layers that other frameworks have: a local response normalization, windows that are clipped."""
    x = keras.Input((7, 7, 3))
    h = LocalResponseNormalization(1, 0.5, 0.75, 2.0)(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    h = ClippedMaxPooling2D((3, 3), (2, 2), (1, 1))(h)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(h)))


MORE = {"branches": branches, "tokens": tokens, "units": units, "renormalized": renormalized}
PRESET = [(select.name("shares"), WinnerTakesAll("share")), (select.all(), Epsilon(0.1))]


def compiled_case(name, **options):
    """(analyzer, inputs)."""
    if name in MODELS:
        analyzer = analyzer_of(name, **options)
        return analyzer, list(inputs_of(analyzer, 2).values())
    analyzer = tf_lrp.Analyzer(randomize(MORE[name]()), tf_lrp.Preset(PRESET), **options)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 7, (2, 5)) if name == "tokens" else rng.normal(size=(2, *analyzer.twin.inputs[0].shape[1:]))
    return analyzer, [x.astype("float32")]


@pytest.mark.parametrize("name", [*MODELS, *MORE])
def test_every_kind_of_twin_compiled(name):
    plain, x = compiled_case(name, jit_compile=False)
    compiled, _ = compiled_case(name, jit_compile=True)
    for f, e in zip(compiled.analyze(x), plain.analyze(x), strict=True):
        assert_same(f, e, 1e-4)


def test_no_twin_is_left_out():
    used = {type(step.twin) for name in (*MODELS, *MORE) for step in compiled_case(name)[0]._rewritten.steps}

    def all_of(kind):
        return {kind}.union(*map(all_of, kind.__subclasses__()))

    ours = {c for c in all_of(twins.Twin) if c.__module__.startswith("tf_lrp.twins") and not c.__name__.startswith("_")}
    missing = ours - used - {twins.Twin, twins.GradientTwin} - NOT_COMPILED
    assert not missing, sorted(c.__name__ for c in missing)
