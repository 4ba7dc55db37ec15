"""Networks from files and to files: the toolbox's text and pickles, and Keras's own format.

    nn = model_io.read("LeNet-5.txt")
    model_io.write(nn, "LeNet-5.keras")

Files of others are safe to read: nothing in them is executed.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np

from tf_lrp.files.model_files import load_model
from tf_lrp.runs import atomic_files
from tf_lrp.toolbox import keras_records, module_classes, pickle_format, text_format
from tf_lrp.toolbox.formats import format_of, read_by
from tf_lrp.toolbox.sequential import Sequential

__all__ = ["read", "write"]


def read(path: str | os.PathLike[str], fmt: str | None = None) -> Sequential:
    """The network in a file.

    Args:
        path: of the file.
        fmt: "txt", the text format of the toolbox in either of its layouts ("legacy" is the same); "nn", "pickle" or "pickled",
            a pickle of the toolbox; "keras" or "h5", a model saved by Keras. By default what the name ends in; a name without
            an ending is read as a pickle.

    Returns:
        `tf_lrp.toolbox.modules.Sequential`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a format that there is not, and for a file that is damaged or holds something else.
    """
    return read_by(path, fmt, _READERS, "a network")


def write(model: Sequential | keras.Model, path: str | os.PathLike[str], fmt: str | None = None) -> None:
    """Writes a network. What `Sequential.clean` removes is in no file, and the network itself stays as it is.

    Text and pickles hold the modules of the toolbox only. The layers of a Keras model are written as modules where they can be:
    Dense, Conv2D without padding, ReLU, tanh, softmax, Flatten, max- and average pooling, one after the other. As SumPool is
    not the average, the weights of the layer after an average pooling are divided by the square root of the window's size.

    Args:
        model: the network, or a Keras model.
        path: of the file, which is replaced if there is one. Its folder is made if there is none.
        fmt: as for `read`. "legacy" is the text layout of version 1.1, with a line for each row of weights.

    Raises:
        ValueError: for a format that there is not, and for a network that it cannot hold.
    """
    path = Path(path)
    writer = format_of(path, fmt, _WRITERS)
    network = Sequential(model) if isinstance(model, keras.Model) else model
    if not isinstance(network, Sequential):
        raise TypeError(f"model_io writes a Sequential or a Keras model; got {type(model).__name__}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer(network, path)


def _read_records(parse):
    return lambda path: Sequential([module_classes.of_record(record) for record in parse(path.read_bytes())])


def _read_keras(path):
    try:
        model = load_model(path)
    except Exception as error:  # Keras, zipfile and h5py raise nearly any for damaged files
        raise ValueError(f"it is no model that Keras loads ({type(error).__name__}: {_first_line(error)})") from None
    if not isinstance(model, keras.Model):
        raise ValueError(f"it holds a {type(model).__name__} of Keras and no model")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling) and layer.dtype == "float64" and isinstance(layer.scale, float):
            layer.scale = np.float64(layer.scale)  # of a number of Python's, Keras makes a float32
    return Sequential(model)


def _read_matlab(path):
    raise ValueError(
        "MATLAB saves networks of the toolbox as objects of its own classes, which only MATLAB reads: there, write the network "
        "as text, model_io.write(nn, 'network.txt'), and read that file."
    )


def _first_line(error):
    return next(iter(str(error).splitlines()), "")[:200]


def _write_pickled(network, path):
    atomic_files.write(path, pickle_format.write(keras_records.records(network)))


def _write_txt(network, path):
    atomic_files.write(path, text_format.write(keras_records.records(network)))


def _write_legacy(network, path):
    atomic_files.write(path, text_format.write(keras_records.records(network), legacy=True))


def _write_by_keras(ending):
    def write_model(network, path):
        temporary = atomic_files.partial(path).with_suffix(ending)  # by which Keras knows the format
        try:
            network.keras_model().save(temporary)
            atomic_files.commit(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    return write_model


def _write_matlab(network, path):
    raise ValueError("Only MATLAB writes networks as .mat files: write a .txt file, which the toolbox reads in MATLAB, too.")


_READERS = {
    **dict.fromkeys(("txt", "legacy"), _read_records(text_format.read)),
    **dict.fromkeys(("nn", "pickle", "pickled", ""), _read_records(pickle_format.read)),
    **dict.fromkeys(("keras", "h5"), _read_keras),
    "mat": _read_matlab,
}
_WRITERS = {
    "txt": _write_txt,
    "legacy": _write_legacy,
    **dict.fromkeys(("nn", "pickle", "pickled", ""), _write_pickled),
    "keras": _write_by_keras(".keras"),
    "h5": _write_by_keras(".h5"),
    "mat": _write_matlab,
}
