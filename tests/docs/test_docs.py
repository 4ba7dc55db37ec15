"""The code of the documentation runs, top to bottom, and does what the text says."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from locations import ROOT

import tf_lrp
from tf_lrp import twins
from tf_lrp.export import registry
from tf_lrp.keras_compat.tensorflow_graphs import TABLE

DOCS = ROOT / "docs"


def run(page, count):
    """Runs the code of a page; what it has defined."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)
    assert len(blocks) == count
    names = {}
    for block in blocks:
        exec(compile(block, f"docs/{page}", "exec"), names)
    return names


@pytest.fixture(scope="module")
def extending(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("extending"))
        found = run("extending.md", 10)
        yield found | {"exported": found["exported"].resolve()}
        registry.FORMATS.pop("graph_def")
        TABLE.pop("Xlog1py")


def test_the_custom_layer_has_its_twin(extending):
    model, x = extending["model"], extending["x"]
    without_biases = tf_lrp.Analyzer(model, "z")
    step = next(row for row in without_biases.rules() if row[0] == "pool")
    assert step[1] == "AttentionPooling"
    assert twins.twin_class_of(model.get_layer("pool")) is extending["AttentionPoolingTwin"]
    np.testing.assert_allclose(without_biases.twin(x), model(x), rtol=1e-5)
    # The layers start without biases, so nothing is kept.
    np.testing.assert_allclose(without_biases.analyze(x).sum((1, 2)), np.max(model(x), axis=1), rtol=1e-4)


def test_the_activation_of_ones_own(extending):
    model = extending["squares"]
    table = tf_lrp.Analyzer(model, "alpha2_beta1").rules()
    known = dict(zip([row[0] for row in table], table.nonnegative, strict=True))
    assert known["above"] and not known["below"]
    assert {row[0]: row[2] for row in table}["squared"] == "Pass()"
    hidden = model.get_layer("below")(model.inputs[0])
    opened = keras.Model(model.inputs, model.get_layer("above")(keras.ops.square(keras.ops.relu(hidden))))
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    for preset in ("alpha2_beta1", "epsilon"):
        found, expected = (tf_lrp.Analyzer(m, preset).analyze(x) for m in (model, opened))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_layer_that_only_moves_values(extending):
    model = extending["reversed_classes"]
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    analyzer = tf_lrp.Analyzer(model, "z")
    scores = x @ model.get_layer("probabilities").kernel.numpy()
    np.testing.assert_allclose(analyzer.twin(x), scores[:, ::-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(analyzer.analyze(x, 0).sum(1), scores[:, 2], rtol=1e-4, atol=1e-5)
    # A gate is one behind the layer, too.
    signal, gate = (keras.layers.Dense(4, name=name)(model.inputs[0]) for name in ("signal", "gate"))
    gated = keras.Model(model.inputs, signal * extending["Reversed"]()(keras.ops.sigmoid(gate)))
    chosen = {row[0]: row[2] for row in tf_lrp.Analyzer(gated, "epsilon").rules()}
    assert (chosen["signal"], chosen["gate"]) == ("Epsilon()", "Stop()")


def test_layers_with_weights(extending):
    model, x = extending["weighted"], extending["tables"]
    table = tf_lrp.Analyzer(model, "epsilon").rules()
    assert [row[2] for row in table if row[0] in ("masked", "gated")] == ["Epsilon()", "Epsilon()"]
    twin = tf_lrp.Analyzer(model, "z").twin
    np.testing.assert_allclose(twin(x), model(x), rtol=1e-5)
    sums = extending["of_tables"].sum(axis=1)
    np.testing.assert_allclose(sums, np.max(model(x), axis=1), rtol=1e-3)  # the layers start without biases


def test_the_operation_of_tensorflow(extending):
    model, x = extending["logarithms"], np.random.default_rng(0).normal(size=(2, 8)).astype("float32")
    analyzer = tf_lrp.Analyzer(model, "z")
    assert {row[1] for row in analyzer.rules()} == {"Multiply", "Log1p"}
    np.testing.assert_allclose(analyzer.twin(x), model(x), rtol=1e-5)


def test_the_rule_of_one_layer(extending):
    chosen = {row[0]: row[2] for row in extending["analyzer"].rules()}
    assert chosen["features"] == "Gamma(gamma=0.5)"
    assert chosen["scores"] == "Epsilon()"


def test_the_rule_of_ones_own(extending):
    model, x, relevance = extending["model"], extending["x"], extending["relevance"]
    scores = np.max(model(x), axis=1)
    np.testing.assert_allclose(relevance.sum((1, 2)), scores, rtol=1e-4)
    assert (relevance * np.sign(scores)[:, None, None] >= 0).all()
    assert tf_lrp.Preset.from_json(extending["text"]) == extending["mine"]


def test_the_export_target(extending):
    analyzer, tables = tf_lrp.Analyzer(extending["weighted"], "z"), extending["tables"]
    graph_def = tf.compat.v1.GraphDef.FromString(extending["exported"].read_bytes())
    assert not {node.op for node in graph_def.node} & {"VarHandleOp", "ReadVariableOp"}
    written = json.loads(extending["exported"].with_suffix(".json").read_text())
    assert written["description"]["output"]["shape"] == [None, 3]
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        found = session.run(written["results"]["relevance"], dict(zip(written["inputs"], [tables], strict=True)))
    np.testing.assert_allclose(found, analyzer.analyze(tables), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="'graph_def'"):
        analyzer.export("anywhere", "none of these")


def test_a_metric_of_ones_own(extending):
    model, x, targets = extending["model"], extending["x"], extending["targets"]
    relevance = np.abs(tf_lrp.Analyzer(model, "epsilon").analyze(x, targets).sum(axis=-1))  # channels are summed
    ordered, n = np.sort(relevance, axis=1), relevance.shape[1]
    expected = ((2 * np.arange(1, n + 1) - n - 1) * ordered).sum(axis=1) / (n * ordered.sum(axis=1))
    np.testing.assert_allclose(extending["measured"]["concentration"].samples, expected, rtol=1e-4)
    assert extending["measured"]["completeness"].value <= 0


def test_coming_from_innvestigate():
    found = run("from-innvestigate.md", 1)
    assert found["relevance"].shape == found["x"].shape


def test_production(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("production.md", 6)
    expected = tf_lrp.Analyzer(found["model"], "cmp_a2_flat").analyze(found["x"][:1])
    np.testing.assert_allclose(found["other"], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    assert found["first"].shape == expected.shape
    assert found["maps"][0].shape == found["x"].shape
    assert (tmp_path / "out" / "explained.tflite").is_file()


def test_coming_from_the_lrp_toolbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("from-lrp-toolbox.md", 2)
    assert found["R"].shape == (1, 784)
    assert (tmp_path / "heatmap.png").stat().st_size > 500
    expected = found["modules"].Sequential(found["model"])
    expected.forward(found["x"])
    expected = expected.lrp(found["scores"], "alphabeta", 2.0)
    np.testing.assert_allclose(found["relevance"], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
