"""Targets in structured outputs on the command line."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image
from small_models import randomize
from test_cli import fail, files, picture, seen, succeed

import tf_lrp
from tf_lrp.target import neuron, region

SIDES = (16, 24)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """Maps of three classes, half as large as the pictures."""
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"), layers.Conv2D(3, 1)]
    model = randomize(keras.Sequential([keras.Input((*SIDES, 3)), *stack]))
    path = tmp_path_factory.mktemp("model") / "segmenter.keras"
    model.save(path)
    return path, model


def test_a_neuron(tmp_path, segmenter):
    path, model = segmenter
    pictures = [picture(tmp_path / "in" / f"{n}.png", seed=n) for n in range(2)]
    result = succeed("explain", *pictures, "-m", path, "-p", "epsilon", "--neuron", "3,-1,2", "-o", tmp_path / "out")
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    for n, of_picture in enumerate(pictures):
        x = seen(of_picture)
        found = np.load(tmp_path / "out" / f"{n}.neuron_3_-1_2.epsilon.npy")
        np.testing.assert_allclose(found, analyzer.analyze(x, neuron(3, -1, 2))[0], rtol=1e-4, atol=1e-6)
        assert f"score {model(x).numpy()[0, 3, -1, 2]:.3f} = relevance" in result.stdout
    assert len(files(tmp_path / "out")) == 6


def test_a_region(tmp_path, segmenter):
    path, model = segmenter
    of_picture = picture(tmp_path / "p.png")
    x = seen(of_picture)
    mask = np.zeros(SIDES, np.uint8)
    mask[2:8, 3:11] = 255
    soft = mask.reshape(8, 2, 12, 2).mean((1, 3)) / 255  # half covered places count half
    for saved, mode in ((mask, "L"), (mask // 255, "L"), (mask, "P"), (mask, "RGB"), (mask.astype("uint16") * 9, "I;16")):
        image = Image.fromarray(saved) if mode == "I;16" else Image.fromarray(saved).convert(mode)
        image.save(tmp_path / "disc.png")
        options = ("--region", tmp_path / "disc.png", "--channel", 1, "-p", "epsilon", "-o", tmp_path / mode)
        succeed("explain", of_picture, "-m", path, *options)
        found = np.load(tmp_path / mode / "p.region_disc_channel_1.epsilon.npy")
        expected = tf_lrp.Analyzer(model, "epsilon").analyze(x, region(soft, 1))[0]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=mode)
    succeed("explain", of_picture, "-m", path, *options, "--reduce", "mean")
    assert (tmp_path / "I;16" / "p.region_disc_channel_1_mean.epsilon.npy").is_file()


def test_an_exported_target(tmp_path, segmenter):
    path, model = segmenter
    Image.fromarray(np.full(SIDES, 255, np.uint8)).save(tmp_path / "all.png")
    succeed("export", path, tmp_path / "e", "-p", "epsilon", "--region", tmp_path / "all.png", "--channel", 2)
    loaded = tf.saved_model.load(str(tmp_path / "e")).signatures["serving_default"]
    x = np.random.default_rng(0).uniform(0, 255, (2, *SIDES, 3)).astype("float32")
    found = loaded(**{next(iter(loaded.structured_input_signature[1])): tf.constant(x)})["relevance"]
    expected = tf_lrp.Analyzer(model, "epsilon").analyze(x, region(np.ones((8, 12)), 2))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    description = json.loads((tmp_path / "e" / "assets" / "tf_lrp.json").read_text())
    assert description["neuron_selection"].startswith("region(mask of 8x12")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--neuron explains an entry"),
        (("--neuron", "1,a,2"), "--neuron is integers"),
        (("--neuron", "1,2"), "give 3 indices"),
        (("--neuron", "8,0,0"), "8 is outside of -8 to 7"),
        (("--neuron", "0,0,0", "--target", "top5"), "for classifiers"),
        (("--channel", "1"), "belongs to --region"),
        (("--region", "none.png", "--channel", "1"), "cannot be read"),
        (("--region", "black.png", "--channel", "1"), "is empty"),
        (("--region", "white.png"), "Say which class"),
        (("--region", "white.png", "--channel", "3"), "no channel 3"),
        (("--region", "white.png", "--channel", "1", "--reduce", "max"), '"sum" or "mean"'),
        (("--region", "white.png", "--neuron", "0,0,0"), "got both"),
    ],
    ids=str,
)
def test_wrong_options(tmp_path, segmenter, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    for name, value in (("black", 0), ("white", 255)):
        Image.fromarray(np.full(SIDES, value, np.uint8)).save(f"{name}.png")
    assert words in fail(2, "explain", picture(tmp_path / "p.png"), "-m", segmenter[0], *options)
