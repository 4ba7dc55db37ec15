"""Caffe networks: forward values, relevance of the formula types, damaged files, the program on the command line."""

import random

import keras
import numpy as np
import pytest
from locations import TESTS
from PIL import Image
from typer.testing import CliRunner

import tf_lrp
from tf_lrp.caffe.reading import read_blob, read_prototxt, read_weights
from tf_lrp.caffe.schema import message
from tf_lrp.caffe.structure import network_of
from tf_lrp.cli import app
from tf_lrp.errors import CaffeError, UnsupportedLayerError

GOLDEN = TESTS / "golden" / "caffe"
NETS = ("mini_caffenet", "mini_group")
TYPES = (0, 2, 11, 26, 54, 56, 58, 60, 99, 100, 102, 104, 114, 166)


@pytest.fixture(scope="module", autouse=True)
def float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def in_keras(array):
    return np.moveaxis(array.astype("float64"), 1, -1) if array.ndim == 4 else array


def load(net, generation=""):
    return tf_lrp.caffe.load(GOLDEN / f"{net}.prototxt", GOLDEN / f"{net}{generation}.caffemodel")


@pytest.fixture(scope="module")
def models(float64):
    return {net: load(net) for net in NETS}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "caffe_mini.npz") as archive:
        return dict(archive)


def error(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


@pytest.mark.parametrize("net", NETS)
def test_forward_values_of_all_layers(net, models):
    forward = np.load(GOLDEN / "caffe_forward_mini.npz")
    tensors = {layer.name: layer.tensors[0] for layer in tf_lrp.caffe.network(models[net]).layers if layer.tensors}
    names = [key.split("/")[1] for key in forward.files if key.startswith(f"{net}/") and not key.endswith("/x")]
    outputs = keras.Model(models[net].inputs[0], [tensors[n] for n in names])(in_keras(forward[f"{net}/x"]))
    for name, output in zip(names, outputs, strict=True):
        assert error(output, in_keras(forward[f"{net}/{name}"])) < 1e-9, name


def test_layers_beyond_the_toolbox():
    forward, model = np.load(GOLDEN / "mini_map.npz"), load("mini_map")
    assert error(model(in_keras(forward["x"])), forward["ip"]) < 1e-6  # the golden values are float32


@pytest.mark.parametrize("generation", ["_v1", "_v1_unpacked"])
@pytest.mark.parametrize("net", NETS)
def test_both_generations_have_the_same_weights(net, generation):
    old, new = (read_weights(GOLDEN / f"{net}{part}.caffemodel") for part in (generation, ""))
    assert old.keys() == new.keys()
    for name in new:
        assert [w.ravel().tolist() for w in old[name]] == [w.ravel().tolist() for w in new[name]]


@pytest.mark.parametrize("net", NETS)
def test_positions_are_the_toolboxs(net, models, golden):
    assert [str(layer) for layer in tf_lrp.caffe.network(models[net]).layers] == list(golden[f"{net}/layers"])


@pytest.mark.parametrize("formula", TYPES)
@pytest.mark.parametrize("net", NETS)
def test_relevance(net, formula, models, golden):
    x, top, found = in_keras(golden[f"{net}/x"]), golden[f"{net}/scores"].argmax(1), 0
    for settings in "ac":
        for where, faithful in (("input", True), ("input_sane", False)):
            key = f"{net}/{settings}/type{formula}/top/{where}"
            if key in golden:
                epsilon, beta, max_layer = golden[f"{net}/{settings}/settings"]
                options = {"epsilon": epsilon, "beta": beta, "max_layer": int(max_layer), "faithful": faithful}
                relevance = tf_lrp.caffe.analyzer(models[net], formula, trace="never", **options).analyze(x, top)
                assert error(relevance, in_keras(golden[key])) < 1e-9, key
                found += 1
    assert found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"type": 3}, "no formula type 3"),
        ({"epsilon": -1}, "epsilon needs"),
        ({"beta": float("nan")}, "beta needs"),
        ({"type": 54, "max_layer": -1}, "max_layer needs"),
        ({"last_layer": 99}, "no position 99"),
    ],
)
def test_wrong_arguments(arguments, words, models):
    with pytest.raises(ValueError, match=words):
        tf_lrp.caffe.analyzer(models["mini_group"], **arguments)


def test_weights_that_do_not_fit():
    with pytest.raises(CaffeError, match=r"conv1.*needs weights of shape"):
        tf_lrp.caffe.load(GOLDEN / "mini_group.prototxt", GOLDEN / "mini_caffenet.caffemodel")


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("layer {" * 10**5, "nested more than", CaffeError),
        ("hello", "no prototxt", CaffeError),
        ("", "describes no network", CaffeError),
        ("layer { name: 'a' type: 'ReLU' bottom: 'x' top: 'y' }", "which no layer before it writes", CaffeError),
        (
            "input: 'x' input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 "
            "layer { name: 'a' type: 'Odd' bottom: 'x' top: 'y' } "
            "layer { name: 'b' type: 'ReLU' bottom: 'y' top: 'z' }",
            "has no counterpart",
            UnsupportedLayerError,
        ),
    ],
)
def test_wrong_networks(text, words, kind, tmp_path):
    (tmp_path / "net.prototxt").write_text(text)
    with pytest.raises(kind, match=words):
        tf_lrp.caffe.load(tmp_path / "net.prototxt", GOLDEN / "mini_group.caffemodel")


def test_damaged_files_give_one_sentence(tmp_path):
    chance, path = random.Random(0), tmp_path / "file"
    mean = message("BlobProto")(num=1, channels=3, height=2, width=2, data=[1.0] * 12).SerializeToString()
    readers = (
        ((GOLDEN / "mini_group.prototxt").read_bytes(), lambda p: network_of(read_prototxt(p))),
        ((GOLDEN / "mini_group.caffemodel").read_bytes(), read_weights),
        (mean, read_blob),
    )
    refused = 0
    for content, read in readers:
        for _ in range(70):
            damaged, at = bytearray(content), chance.randrange(len(content))
            if chance.random() < 0.5:
                damaged[at : at + chance.choice((1, 4, 1000))] = b""
            else:
                damaged[at:at] = chance.choice((b"{", b"}", b"\xff" * 9, b"-1", b"99999999999999999999"))
            path.write_bytes(bytes(damaged))
            try:
                read(path)
            except CaffeError as problem:
                refused += 1
                assert "\n" not in str(problem)
    assert refused > 20


def test_program(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 3), "uint8")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pixels).save(tmp_path / "pictures" / "one.png")
    values = {
        "param_file": GOLDEN / "mini_caffenet.prototxt", "model_file": GOLDEN / "mini_caffenet.caffemodel", "numclasses": 7,
        "standalone_outpath": tmp_path / "out", "standalone_rootpath": "pictures", "baseimgsize": 32,
    }  # fmt: skip
    (tmp_path / "config.txt").write_text(
        "a comment of words\n" + "".join(f"{key}\n{value}\n\n" for key, value in values.items())
    )
    (tmp_path / "list.txt").write_text("pictures/one.png -2\npictures/none.png -1\nnonsense\n")
    result = CliRunner().invoke(app, ["caffe", *(str(tmp_path / name) for name in ("config.txt", "list.txt", ""))])
    assert result.exit_code == 1  # two lines are wrong
    assert "line 2" in result.stderr
    assert "line 3" in result.stderr
    out = tmp_path / "out" / "pictures"
    endings = ("_as_inputted_into_the_dnn.png", "_heatmap.png", "_rawhm.txt", "_top10scores.txt", "_toptenscores.txt")
    assert sorted(p.name for p in out.iterdir()) == sorted(f"one.png{ending}" for ending in endings)
    lines = (out / "one.png_rawhm.txt").read_text().split("\n")
    assert lines[:2] == ["3", "23 23"]
    assert len(lines) == 2 + 3 * 23 + 1
    assert all(len(line.split()) == 23 and line.endswith(" ") for line in lines[2:-1])
    assert len((out / "one.png_top10scores.txt").read_text().splitlines()) == 7
