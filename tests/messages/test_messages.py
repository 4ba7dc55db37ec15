"""What is said where something is wrong: what came, what was expected, and what to do."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import tf_lrp
from tf_lrp import cli
from tf_lrp.messages import names
from tf_lrp.vision import images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small model, small.keras, and a picture, a.png."""
    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 3, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="scores"),
        ]
    )
    model.save(folder / "small.keras")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(folder / "a.png")
    return folder


def fails(code, *arguments):
    """The error of a command, which is one line."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


# -- names --------------------------------------------------------------------------------------------------------------


def test_near_names():
    assert names.did_you_mean("Cmp_A2", ["cmp_a2", "zplus"]) == " Did you mean 'cmp_a2'?"
    assert names.did_you_mean("conv", ["conv1", "conv2", "conv3", "conv4"], n=2) == " Did you mean 'conv4' or 'conv3'?"
    assert names.did_you_mean("zebra", ["cmp_a2"]) == "" and names.did_you_mean(5, []) == ""


def test_of_many_layers_the_nearest_are_named():
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=f"block{n}_dense") for n in range(80))])
    with pytest.raises(ValueError, match=r"Did you mean 'block7[0-9]?_dense' or ") as told:
        tf_lrp.Analyzer(model, "epsilon").analyze(np.ones((1, 4)), layers=["block7_densee"])
    assert len(str(told.value)) < 300
    with pytest.raises(ValueError, match=r"layers go from 'block0_dense' to 'block79_dense'; model\.summary") as told:
        tf_lrp.Analyzer(model, "epsilon").analyze(np.ones((1, 4)), layers=["xyz"])
    assert len(str(told.value)) < 300


# -- shapes -------------------------------------------------------------------------------------------------------------


def test_a_batch_of_another_size_says_how_any_size_is_explained():
    inputs = keras.Input(batch_shape=(4, 6))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    x = np.ones((3, 6), np.float32)
    message = re.escape("Analyzer(model, inputs=keras.Input((6,)))")
    with pytest.raises(ValueError, match=f"batches of 4, got 3 samples.*{message}"):
        tf_lrp.Analyzer(model, "epsilon").analyze(x)
    assert tf_lrp.Analyzer(model, "epsilon", inputs=keras.Input((6,))).analyze(x).shape == x.shape  # it is true
    with pytest.raises(ValueError, match=rf"needs shape \(4, 6\), got \(3, 6\).*{message}"):
        tf_lrp.Analyzer(model, "epsilon")(tf.constant(x))


def test_another_length_says_how_it_is_explained():
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(2, 2)(inputs)))
    x = np.ones((2, 7, 3), np.float32)
    with pytest.raises(ValueError, match=r"needs shape \(N, 5, 3\), got \(2, 7, 3\).*inputs=keras\.Input\(\(None, 3\)\)"):
        tf_lrp.Analyzer(model, "epsilon").analyze(x)
    assert tf_lrp.Analyzer(model, "epsilon", inputs=keras.Input((None, 3))).analyze(x).shape == x.shape
    with pytest.raises(ValueError, match=r"needs shape \(N, 5, 3\), got \(2, 5, 4\)\.$"):
        tf_lrp.Analyzer(model, "epsilon").analyze(np.ones((2, 5, 4), np.float32))


# -- models of the command line -----------------------------------------------------------------------------------------


def test_what_is_no_keras_model(folder, tmp_path):
    picture = folder / "a.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    for model, words in (
        (tmp_path / "empty", "empty' is a folder, and no SavedModel"),
        (picture, r"a\.png' is a picture \(PNG\), and no Keras model: pictures are named without an option"),
        (tmp_path / "notes.txt", r"notes\.txt' is no Keras model by its name.*FILE\.keras"),
        (tmp_path / "absent.keras", "There is no model file"),
    ):
        assert re.search(words, fails(2, "explain", picture, "--model", model, "--out", tmp_path / "out"))
        assert re.search(words, fails(2, "export", model, tmp_path / "out"))


def test_a_folder_that_is_called_as_a_network_of_the_zoo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "squeezenet").mkdir()
    assert "--weights" in fails(2, "explain", "a.png", "--model", "squeezenet")


def test_models_that_were_never_built(folder, tmp_path):
    keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]).save(tmp_path / "unbuilt.keras")
    for command in (
        ("explain", folder / "a.png", "--model", tmp_path / "unbuilt.keras"),
        ("export", tmp_path / "unbuilt.keras", "x"),
    ):
        assert re.search(r"unbuilt\.keras' has no shapes yet.*keras\.Input.*before model\.save", fails(2, *command))


def test_out_on_a_file(folder, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for command in (
        ("explain", folder / "a.png", "--model", folder / "small.keras"),
        ("evaluate", "sanity", "--model", folder / "small.keras", "--data", "shapes:2"),
        ("tune", "--model", folder / "small.keras", "--data", "shapes:2"),
    ):
        for out in (taken, taken / "below"):
            assert f"--out names a folder, and {str(taken)!r} is a file: name another" in fails(2, *command, "--out", out)
    assert taken.read_text() == "mine"


# -- huge pictures ------------------------------------------------------------------------------------------------------


def test_pictures_of_more_pixels_than_are_read(folder, tmp_path, monkeypatch):
    picture = folder / "a.png"  # of 600 pixels
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(images.TooManyPixelsError, match="it has 600 pixels, more than the 599 that are read") as told:
        images.read(picture, max_pixels=599)
    assert told.value.pixels == 600
    assert images.read(picture, max_pixels=600).size == (30, 20)
    assert before == Image.MAX_IMAGE_PIXELS

    command = ("explain", picture, "--model", folder / "small.keras", "--out", tmp_path / "out")
    assert "--max-pixels 600 reads it" in fails(1, *command, "--max-pixels", "500")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    assert "600 pixels, more than the 400 that are read" in fails(1, *command)
    assert CliRunner().invoke(cli.app, [*map(str, command), "--max-pixels", "600"]).exit_code == 0
