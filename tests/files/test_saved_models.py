"""SavedModels of every origin become Keras models with the same values; untrusted ones are read and never run."""

import numpy as np
import pytest
import tensorflow as tf
from keras import Input, Model, layers

import tf_lrp

pytestmark = pytest.mark.eager

v1 = tf.compat.v1


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.fixture(scope="module")
def network():
    inputs = Input((8, 8, 3), name="picture")
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.LSTM(5, name="memory")(layers.Reshape((4, 16), name="rows")(layers.MaxPooling2D(2, name="pool")(x)))
    model = Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="net")
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([rng.uniform(0.2, 1, w.shape) for w in layer.weights])
    return model


@pytest.fixture(scope="module")
def keras_export(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "net"
    network.export(path, verbose=False)
    return path


def close(got, want, tolerance=1e-5):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def test_a_keras_export_is_the_model_that_it_was(network, keras_export):
    loaded, x = tf_lrp.load(keras_export), numbers(2, 8, 8, 3)
    assert loaded.input_shape == (None, 8, 8, 3)
    assert loaded.output_shape == (None, 3)
    close(loaded(x), network(x))
    close(loaded.predict(x, verbose=0), network(x))
    analyzer = tf_lrp.Analyzer(loaded, "cmp_a2_flat", verbose=False)
    scores = analyzer.twin(x)
    close(tf.nn.softmax(scores), network(x))
    rows = analyzer.rules()
    assert [row[0] for row in rows][:3] == ["conv1", "relu1", "pool"]
    assert rows[0][1:3] == ("GraphConv", "Flat()") and rows[-1][:3] == ("scores", "GraphDense", "Epsilon()")
    before = analyzer.analyze(x)
    maps = analyzer.analyze(x, layers=["relu1"])
    assert maps["relu1"].shape == (2, 8, 8, 4)
    close(maps["input"], before)
    (kernel,) = [w for w in loaded.weights if w.name == "scores.kernel_1"]
    kernel.assign(kernel * -1)
    assert np.abs(analyzer.analyze(x) - before).max() > 1e-3


def test_explanations_of_a_loaded_model_can_be_exported(module, tmp_path):
    x = numbers(2, 6)
    analyzer = tf_lrp.Analyzer(tf_lrp.load(module[1]), "epsilon", verbose=False)
    analyzer.export(tmp_path / "explained")
    exported = tf.saved_model.load(tmp_path / "explained").signatures["serving_default"]
    (result,) = [value for key, value in exported(tf.constant(x)).items() if key == "relevance"]
    close(result, analyzer.analyze(x))


class Module(tf.Module):
    """Two signatures, one of them with two inputs and two outputs; and what is done to pictures before."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(numbers(6, 3, seed=1), name="w")
        self.b = tf.Variable(numbers(3, seed=2), name="b", trainable=False)
        self.asset = None

    @tf.function(input_signature=[tf.TensorSpec((None, 6), name="x")])
    def dense(self, x):
        with tf.name_scope("block"):
            return {"scores": tf.nn.bias_add(tf.matmul(x, self.w, name="product"), self.b)}

    @tf.function(input_signature=[tf.TensorSpec((None, 6), name="second"), tf.TensorSpec((None, 6), name="first")])
    def sums(self, second, first):
        return {"b_sum": tf.matmul(second + first, self.w), "a_difference": first - 2 * second}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="files")])
    def from_files(self, files):
        values = tf.map_fn(lambda f: tf.io.decode_raw(tf.io.read_file(f), tf.float32), files, tf.float32)
        x = tf.identity(tf.reshape(values, [-1, 6]), name="decoded")
        return {"scores": self.dense(x)["scores"]}


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    saved, path = Module(), tmp_path_factory.mktemp("models") / "module"
    signatures = {"serving_default": saved.dense, "sums": saved.sums, "files": saved.from_files}
    tf.saved_model.save(saved, str(path), signatures=signatures)
    return saved, path


def test_modules_of_tensorflow_and_their_signatures(module):
    saved, path = module
    x, y = numbers(2, 6), numbers(2, 6, seed=3)
    model = tf_lrp.load(path)
    close(model(x), saved.dense(x)["scores"])
    assert [row[:2] for row in tf_lrp.Analyzer(model, "z", verbose=False).rules()] == [("product", "GraphDense")]
    assert [w.trainable for w in sorted(model.weights, key=lambda w: w.name)] == [False, True]
    sums = tf_lrp.load(path, signature="sums")
    assert [t.name for t in sums.inputs] == ["first", "second"]
    results = sums([x, y])
    close(results["b_sum"], saved.sums(y, x)["b_sum"])
    close(results["a_difference"], x - 2 * y)
    turned = tf_lrp.load(path, signature="sums", input=["second", "first"])
    close(turned([y, x])["a_difference"], x - 2 * y)
    with pytest.raises(ValueError, match=r"no signature 'sum', but 'files', 'serving_default', 'sums'\. Did you mean"):
        tf_lrp.load(path, signature="sum")
    with pytest.raises(ValueError, match=r"no input or tensor 'thrid'.*'first', 'second'"):
        tf_lrp.load(path, signature="sums", input=["first", "thrid"])


def test_files_are_not_read_but_a_model_may_begin_behind_them(tmp_path):
    graph = v1.Graph()
    with graph.as_default(), v1.Session() as session:
        file = v1.placeholder(tf.string, (), "file")
        pixels = tf.reshape(tf.io.decode_raw(tf.io.read_file(file), tf.float32), [-1, 6], name="pixels")
        w = v1.get_variable("dense/w", initializer=numbers(6, 3))
        scores = tf.matmul(pixels, w, name="dense/product")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"file": file}, {"scores": scores})
    with pytest.raises(tf_lrp.UnsupportedLayerError, match=r"is refused.*ReadFile \(ReadFile\).*input="):
        tf_lrp.load(tmp_path / "m")
    model, x = tf_lrp.load(tmp_path / "m", input="pixels:0"), numbers(2, 6, seed=4)
    close(model(x), x @ numbers(6, 3))
    assert tf_lrp.Analyzer(model, "z", verbose=False).rules()[0][0] == "product"


def saved_by_tensorflow_1(path, frozen):
    """A convolution, a batch normalization and a dense layer; the values of an input."""
    graph = v1.Graph()
    with graph.as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6, 6, 3), "pixels")
        y = (x - np.array([0.1, 0.2, 0.3], "float32")) / np.float32(0.5)
        variables = {
            "kernel": numbers(3, 3, 3, 4, seed=1), "gamma": numbers(4, seed=2), "beta": numbers(4, seed=3),
            "mean": numbers(4, seed=4), "variance": numbers(4, seed=5) ** 2, "dense": numbers(4, 2, seed=6),
        }  # fmt: skip
        kernel, gamma, beta, mean, variance, dense = (v1.get_variable(n, initializer=v) for n, v in variables.items())
        with tf.name_scope("conv"):
            y = tf.nn.conv2d(y, kernel, 1, "SAME")
        with tf.name_scope("bn"):
            y = tf.nn.relu(v1.nn.fused_batch_norm(y, gamma, beta, mean, variance, is_training=False)[0])
        scores = tf.matmul(tf.reduce_mean(y, [1, 2]), dense, name="scores")
        session.run(v1.global_variables_initializer())
        value = numbers(2, 6, 6, 3, seed=7)
        expected = session.run(scores, {x: value})
        if not frozen:
            v1.saved_model.simple_save(session, str(path), {"pixels": x}, {"scores": scores})
            return value, expected
        constant = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["scores"])
    graph = v1.Graph()
    with graph.as_default(), v1.Session() as session:
        tf.import_graph_def(constant, name="")
        tensors = [graph.get_tensor_by_name(name) for name in ("pixels:0", "scores:0")]
        v1.saved_model.simple_save(session, str(path), {"pixels": tensors[0]}, {"scores": tensors[1]})
    return value, expected


@pytest.mark.parametrize("frozen", [False, True])
def test_models_of_tensorflow_1(frozen, tmp_path):
    x, expected = saved_by_tensorflow_1(tmp_path / "m", frozen)
    model = tf_lrp.load(tmp_path / "m")
    close(model(x), expected)
    assert len(model.weights) == 6
    analyzer = tf_lrp.Analyzer(model, "cmp_a2_flat", verbose=False)
    close(analyzer.twin(x), expected)
    rows = analyzer.rules()
    assert [row[2] for row in rows if row[1].startswith("Graph")] == ["Flat()", "Epsilon()"], "the normalization is folded"
    assert [row[2] for row in rows[:2]] == ["Pass()", "Pass()"], "the units of the pixels change, and no more"


def save_function(path, function, *specs):
    module = tf.Module()
    module.f = tf.function(function, input_signature=list(specs))
    tf.saved_model.save(module, str(path), signatures=module.f)


def test_hostile_models_are_refused_and_nothing_of_them_runs(tmp_path):
    target = tmp_path / "written"

    def python(x):
        y = tf.numpy_function(lambda a: target.write_text("python") and a, [x], tf.float32)
        return {"y": tf.ensure_shape(y, x.shape)}

    def writes(x):
        tf.io.write_file(str(target), "graph")  # runs by a control dependency alone
        return {"y": tf.nn.relu(x)}

    def hidden(x):
        return {
            "y": tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: x * tf.strings.to_number(tf.io.read_file("/etc/hostname")))
        }

    for name, function, operation in (
        ("python", python, "PyFunc"),
        ("writes", writes, "WriteFile"),
        ("hidden", hidden, "ReadFile"),
    ):
        save_function(tmp_path / name, function, tf.TensorSpec((None, 3)))
        with pytest.raises(tf_lrp.UnsupportedLayerError, match=f"is refused.*{operation}"):
            tf_lrp.load(tmp_path / name)
    assert not target.exists()


def test_what_is_unknown_is_listed_with_its_places(tmp_path):
    def unknown(x):
        with tf.name_scope("tail"):
            return {"y": tf.math.igamma(tf.math.lgamma(x), x)}

    save_function(tmp_path / "m", unknown, tf.TensorSpec((None, 3)))
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="no rule: Igamma at tail/Igamma; Lgamma at tail/Lgamma"):
        tf_lrp.load(tmp_path / "m")


def test_graphs_that_grow_without_end_are_refused(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    @tf.function
    def leaf(x):
        return x + 1

    def doubled(x):
        return {"y": leaf(x)}

    save_function(tmp_path / "m", doubled, tf.TensorSpec((None, 3)))
    file = tmp_path / "m" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    (inner,) = [f for f in functions if any(node.op == "AddV2" for node in f.node_def)]
    call = inner.node_def.add(name="again", op="StatefulPartitionedCall", input=["x"])
    call.attr["f"].func.name = inner.signature.name  # it calls itself
    inner.ret[inner.signature.output_arg[0].name] = "again:output:0"
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(tf_lrp.UnsupportedLayerError, match="more than 50 deep"):
        tf_lrp.load(tmp_path / "m")


def test_labels_among_the_assets(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n", encoding="utf-8")
    module = Module()
    module.asset = tf.saved_model.Asset(str(tmp_path / "labels.txt"))
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.dense)
    assert tf_lrp.load(tmp_path / "m").class_names == ["cat", "dog", "owl"]


def test_other_files(network, keras_export, tmp_path):
    network.save(tmp_path / "net.keras")
    x = numbers(1, 8, 8, 3)
    close(tf_lrp.load(tmp_path / "net.keras")(x), network(x))
    with pytest.raises(ValueError, match="are for SavedModels"):
        tf_lrp.load(tmp_path / "net.keras", signature="serve")
    with pytest.raises(FileNotFoundError, match="no model at"):
        tf_lrp.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"no file saved_model\.pb"):
        tf_lrp.load(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff\xfe no graph")
    with pytest.raises(ValueError, match="cannot be read"):
        tf_lrp.load(broken)
    with pytest.raises(NotImplementedError, match="load it again"):
        tf_lrp.load(keras_export).save(tmp_path / "again.keras")


def test_a_model_without_its_variables_is_no_model(keras_export, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes((keras_export / "saved_model.pb").read_bytes())
    with pytest.raises(ValueError, match="was the whole folder copied"):
        tf_lrp.load(tmp_path / "m")


def recurrent(layer):
    inputs = Input((5, 4), name="sequence")
    return Model(inputs, layers.Dense(3, name="scores")(layer(inputs)))


def convolutional(layer):
    inputs = Input((6, 6, 4), name="picture")
    x = layers.ReLU()(layer(layers.Conv2D(4, 3, padding="same", name="conv")(inputs)))
    return Model(inputs, layers.Dense(3, name="scores")(layers.GlobalAveragePooling2D()(x)))


LAYERS = {
    "LSTM": lambda: recurrent(layers.LSTM(4)),
    "Bidirectional": lambda: recurrent(layers.Bidirectional(layers.LSTM(3))),
    "GroupNormalization": lambda: convolutional(layers.GroupNormalization(2)),
    "LayerNormalization": lambda: convolutional(layers.LayerNormalization()),
    "SeparableConv2D": lambda: convolutional(layers.SeparableConv2D(4, 3, depth_multiplier=2)),
    "Conv2DTranspose": lambda: convolutional(layers.Conv2DTranspose(3, 3, strides=2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_an_export_are_explained_as_those_of_the_model(name, tmp_path):
    model = LAYERS[name]()
    rng = np.random.default_rng(4)
    for w in model.weights:
        w.assign(rng.uniform(0.1, 0.4, w.shape))  # of one sign: else denominators near 0 enlarge what rounding differs in
    tf.config.run_functions_eagerly(False)  # to export is to trace
    model.export(tmp_path / "m", verbose=False)
    tf.config.run_functions_eagerly(True)
    loaded, x = tf_lrp.load(tmp_path / "m"), np.abs(numbers(2, *model.input_shape[1:]))
    for preset in ("z", "alpha1_beta0", "gamma"):
        own, found = (tf_lrp.Analyzer(m, preset, verbose=False).analyze(x, neuron_selection="all") for m in (model, loaded))
        close(found, own)


def test_a_model_of_keras_2(tmp_path):
    tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 (tf_keras) is not installed")
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(4, 3, padding="same", input_shape=(6, 6, 3), name="conv"),
            tf_keras.layers.BatchNormalization(name="bn"),
            tf_keras.layers.ReLU(name="relu"),
            tf_keras.layers.GlobalAveragePooling2D(name="mean"),
            tf_keras.layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(0.3, 1.2, w.shape) for w in model.weights])
    tf.config.run_functions_eagerly(False)
    model.save(str(tmp_path / "m"), save_format="tf")
    tf.config.run_functions_eagerly(True)
    loaded, x = tf_lrp.load(tmp_path / "m"), numbers(2, 6, 6, 3)
    close(loaded(x), model(x))
    analyzer = tf_lrp.Analyzer(loaded, "cmp_a1_flat", verbose=False)
    assert [row[2] for row in analyzer.rules() if row[1].startswith("Graph")] == ["Flat()", "Epsilon()"]
    close(tf.nn.softmax(analyzer.twin(x)), model(x))
    own = tf_lrp.Analyzer(same_in_keras_3(model), "cmp_a1_flat", verbose=False)
    close(analyzer.analyze(x), own.analyze(x))


def same_in_keras_3(model):
    """The model of Keras 2 with the layers of Keras 3."""
    inputs = Input((6, 6, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(inputs)))
    same = Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    same.set_weights(model.get_weights())
    return same
