"""Weights in npz files: one array for each weight, with the key "<layer>/<weight>" (conv1/kernel, conv1_bn/gamma ...).

Such a file is plain data: it is read without pickle, can be opened anywhere with numpy, and says by itself which layer
an array belongs to. Weights inside a composite layer get the path below it ("block/dense/kernel").
"""

import math
import os

import keras
import numpy as np

from tf_lrp.files import npz

# numpy has no bfloat16: such weights are written as float32, which holds all their values
_STORABLE = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def save_weights(model: keras.Model, path: str | os.PathLike[str], dtype: str | None = None) -> str:
    """Writes a model's weights to an npz file that `load_weights` and `load(name, weights=path)` read.

    Args:
        model: built keras.Model.
        path: file to write; ".npz" is appended where it is missing.
        dtype: None keeps each weight's own type; "float16" halves the file (floating weights only are cast).

    Returns:
        str: the path written.

    Raises:
        ValueError: two weights would get the same key, or a value does not fit into `dtype`.
    """
    arrays = {}
    for key, variable in _keyed(model):
        array = variable.value.numpy()
        array = array if variable.dtype in _STORABLE else array.astype(np.float32)
        if dtype is not None and np.issubdtype(array.dtype, np.floating):
            with np.errstate(over="ignore"):
                cast = array.astype(dtype)
            if not np.array_equal(np.isfinite(cast), np.isfinite(array)):
                raise ValueError(
                    f"{key} holds values up to {np.abs(array).max():.3g}, too large for {dtype}; save it as float32."
                )
            array = cast
        arrays[key] = array
    path = os.fspath(path)
    path = path if path.endswith(".npz") else path + ".npz"
    np.savez_compressed(path, **arrays)
    return path


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Sets all weights of a model from an npz file; a file that does not fit leaves the model as it was.

    Floating arrays are cast to the type of the model's weights, so a float16 file fills a float32 model.

    Args:
        model: built keras.Model.
        path: npz file with the keys "<layer>/<weight>". Depthwise kernels may also be called "depthwise_kernel", as
            older Keras does.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an npz file of plain arrays, or keys or shapes that differ from the model's; the message lists
            what is missing, what is left over and what has another shape.
    """
    check(model, headers(path), path)
    assign(model, npz.load(path, max_bytes=_size_of(model)))


def headers(path):
    """Key -> `npz.Header` of the arrays of a weights file; refuses pickled content."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No weights file at {path!r}: pass the path of an existing npz file as weights=.")
    try:
        return npz.headers(path)
    except ValueError as error:
        raise ValueError(f"{error} Write one with tf_lrp.model_zoo.save_weights or numpy.savez.") from error


def check(model, arrays, source):
    """Raises ValueError if arrays do not fit a model, with all that is wrong.

    Args:
        model: built keras.Model.
        arrays: key -> array, or `npz.Header` of one that was not read yet.
        source: the file, for the error.
    """
    wanted = dict(_keyed(model))
    arrays = {_modern(key, wanted): array for key, array in arrays.items()}
    missing = [key for key in wanted if key not in arrays]
    extra = [key for key in arrays if key not in wanted]
    wrong = [
        f"{key}: {arrays[key].shape} in the file, {tuple(wanted[key].shape)} in the model"
        for key in wanted
        if key in arrays and arrays[key].shape != tuple(wanted[key].shape)
    ]
    odd = [f"{key}: {arrays[key].dtype}" for key in wanted if key in arrays and arrays[key].dtype.kind not in "fiub"]
    problems = [
        f"  {what} ({len(items)}): {', '.join(items[:10])}{', ...' if len(items) > 10 else ''}"
        for what, items in (
            ("missing in the file", missing),
            ("unknown to the model", extra),
            ("of another shape", wrong),
            ("not numeric", odd),
        )
        if items
    ]
    if problems:
        raise ValueError(
            f"The weights in {os.fspath(source)!r} do not fit the model {model.name!r} (keys are <layer>/<weight>):\n"
            + "\n".join(problems)
            + "\nCheck that the file belongs to this architecture and to these options (input_shape, classes, width)."
        )


def assign(model, arrays):
    """Sets the weights from a dictionary of arrays that passed `check`."""
    wanted = dict(_keyed(model))
    arrays = {_modern(key, wanted): array for key, array in arrays.items()}
    for key, variable in wanted.items():
        variable.assign(arrays[key])


def _size_of(model):
    """Bytes of a model's weights in the widest type."""
    return 8 * sum(math.prod(variable.shape) for _, variable in _keyed(model))


def _modern(key, wanted):
    """Older Keras calls a depthwise layer's kernel "depthwise_kernel"; the model decides which name is meant."""
    renamed = key.replace("/depthwise_kernel", "/kernel")
    return renamed if key not in wanted and renamed in wanted else key


def _keyed(model):
    """(key, variable) of every weight, in the model's order."""
    if not model.built:
        raise ValueError(f"The model {model.name!r} has no weights yet: call it on data, or build it with its shape.")
    pairs = list(_walk(model, ""))
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"Several weights of the model {model.name!r} would be called {twice}; rename a layer.")
    return pairs


def _walk(model, prefix):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
            continue
        for variable in layer.weights:
            # a path begins with the names of all that the layer was built in, which is no business of the file
            steps = variable.path.split("/")
            below = steps[steps.index(layer.name) + 1 :] if layer.name in steps else [variable.name]
            yield f"{prefix}{layer.name}/{'/'.join(below)}", variable
