"""Models that Keras 2 saved: recurrent layers with time_major."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from tf_lrp.files import model_files
from tf_lrp.vision import classifier


def edited(path, change):
    """Changes the configuration of the recurrent layers in a saved model."""

    def visit(entry):
        if isinstance(entry, list):
            return [visit(part) for part in entry]
        if not isinstance(entry, dict):
            return entry
        entry = {key: visit(part) for key, part in entry.items()}
        if entry.get("class_name") in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D"):
            entry["config"] = change(entry["config"])
        return entry

    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(visit(json.loads(file.attrs["model_config"])))
        return
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["config.json"] = json.dumps(visit(json.loads(content["config.json"])))
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((5, 6, 2))
    hidden = layers.Flatten()(layers.ConvLSTM1D(2, 3)(inputs))
    steps = layers.SimpleRNN(3, return_sequences=True)(layers.GRU(3, return_sequences=True)(layers.RepeatVector(4)(hidden)))
    return keras.Model(inputs, layers.Dense(2)(layers.Bidirectional(layers.LSTM(4))(steps)))


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_time_major_that_says_nothing_is_left_out(model, ending, tmp_path):
    path = tmp_path / f"model{ending}"
    model.save(path)
    edited(path, lambda config: {**config, "time_major": False})
    before = path.read_bytes()
    with pytest.raises(Exception, match="time_major"):
        keras.models.load_model(path)
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 2)).astype("float32")
    for loaded in (model_files.load_model(path), classifier.load_model(str(path))[0]):
        np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_time_major_that_swaps_axes_is_refused(model, ending, tmp_path):
    path = tmp_path / f"model{ending}"
    model.save(path)
    edited(path, lambda config: {**config, "time_major": config["name"].startswith("gru")})
    with pytest.raises(ValueError, match=r"'gru.*' \(GRU\) has time_major=True"):
        model_files.load_model(path)


def test_other_files_are_left_to_keras(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    assert len(model_files.load_model(path).layers) == len(model.layers)
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.keras"):
        classifier.load_model(str(tmp_path / "broken.keras"))


def test_models_in_hdf5_are_no_pictures(model, tmp_path):
    Image.init()  # Pillow has a name for HDF5, once all its formats are there
    path = tmp_path / "model.h5"
    model.save(path)
    assert len(classifier.load_model(str(path))[0].layers) == len(model.layers)
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    with pytest.raises(ValueError, match="is a picture"):
        classifier.load_model(str(tmp_path / "picture.png"))
