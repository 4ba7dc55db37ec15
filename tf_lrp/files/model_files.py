"""Models from files, including those written by Keras 2."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

#: Layers whose Keras 2 configuration has the argument time_major.
_RECURRENT = {"RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
_ENTRY = "config.json"


def load_model(path) -> Any:
    """Loads a Keras model from a .keras or .h5 file, without its optimizer.

    Keras 2 saved the argument ``time_major`` of recurrent layers, which Keras 3 does not accept. Where it is false (the
    default), it is removed.

    Args:
        path: of the file.

    Returns:
        keras.Model.

    Raises:
        ValueError: if a recurrent layer has ``time_major=True``. Keras raises other exceptions for files that it cannot load.
    """
    path = Path(path)
    text = _configuration(path)
    if "time_major" not in text:
        return keras.models.load_model(path, compile=False)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        _write_configuration(copy, json.dumps(_without_time_major(json.loads(text))))
        return keras.models.load_model(copy, compile=False)


def is_archive(path):
    """Whether a file has a format in which Keras saves models: HDF5 or zip."""
    return h5py.is_hdf5(path) or zipfile.is_zipfile(path)


def _configuration(path):
    """The model's configuration as JSON; "" if there is none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return archive.read(_ENTRY).decode() if _ENTRY in archive.namelist() else ""
    if not h5py.is_hdf5(path):
        return ""
    with h5py.File(path) as file:
        config = file.attrs.get("model_config", "")
    return config.decode() if isinstance(config, bytes) else config


def _write_configuration(path, text):
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = {info: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for info, content in entries.items():
                archive.writestr(info, text if info.filename == _ENTRY else content)
        return
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = text


def _without_time_major(entry):
    """A configuration, or a part of it, without the argument time_major."""
    if isinstance(entry, list):
        return [_without_time_major(part) for part in entry]
    if not isinstance(entry, dict):
        return entry
    entry = {key: _without_time_major(part) for key, part in entry.items()}
    config = entry.get("config")
    if entry.get("class_name") in _RECURRENT and isinstance(config, dict) and config.pop("time_major", False):
        raise ValueError(
            f"The layer {config.get('name')!r} ({entry['class_name']}) has time_major=True: it takes (time, samples, ...), and "
            "Keras 3 has no such layers. Rebuild the model with keras.layers.Permute around it, and load the weights into that."
        )
    return entry
