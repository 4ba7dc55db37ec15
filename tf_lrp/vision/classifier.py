"""Classifiers of pictures as the command line takes them: by name or file, with class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, UnidentifiedImageError

from tf_lrp import model_zoo
from tf_lrp.files import model_files, saved_models
from tf_lrp.vision.class_names import Classes, imagenet_names, read_class_names
from tf_lrp.vision.images import prepare

#: Type checkers take its functions for those of this package: in the repository it lies beside it.
_zoo: Any = model_zoo

#: Side of the pictures for a model from a file that takes pictures of any size, unless another is wanted.
ANY_SIZE = 224


@dataclass(frozen=True)
class Classifier:
    """A network that takes one picture and gives scores or probabilities of classes.

    Attributes:
        model: keras.Model with one output, (N, C) unless a target in a structured one is explained.
        size: (height, width) of the pictures that `prepare` takes.
        prepare: uint8 (N, height, width, 3), RGB -> the model's input.
        classes: `Classes`, C of them; None for a structured output.
    """

    model: keras.Model
    size: tuple[int, int]
    prepare: Callable[[np.ndarray], np.ndarray]
    classes: Classes | None


def load(model, weights=None, class_file=None, preparation=None, size=None, structured=False):
    """A `Classifier` from the zoo or from a file.

    Args:
        model: name in the model zoo, a .keras or .h5 file, or the folder of a SavedModel.
        weights: what `model_zoo.load` takes; for a file, another file with weights or None. Only "shapes" of the zoo may
            go without.
        class_file: path of a file with the names of the classes, see `read_class_names`.
        preparation: for a file, one of `pictures.PREPARATIONS`; by default "none".
        size: side of the pictures, or (height, width), for a network that takes any; by default its own, or `ANY_SIZE`.
        structured: whether its one output may have any shape, since a target in it is explained.

    Raises:
        ValueError: no such network or file, no classifier of pictures, or options that do not fit it.
        OSError: files that cannot be read, weights that cannot be downloaded.
    """
    _check_kind(model)
    if is_file_name(model):
        return from_model(_network_of(model, weights), model, class_file, preparation, size, structured)
    network, sides, prepared, names = _from_zoo(model, weights, preparation, size)
    if names is None and weights == "imagenet":
        names = imagenet_names()
    return _classifier(model, network, sides, prepared, names, class_file, structured)


def from_model(network, name, class_file=None, preparation=None, size=None, structured=False):
    """A `Classifier` of a model that has been loaded.

    Args:
        network: keras.Model.
        name: what messages call it, such as its file.
        class_file, preparation, size, structured: as for `load`.

    Raises:
        ValueError: as for `load`.
    """
    sides, prepared = _sized(network, name, preparation, size)
    return _classifier(name, network, sides, prepared, getattr(network, "class_names", None), class_file, structured)


def _classifier(model, network, sides, prepared, names, class_file, structured):
    if structured and len(network.outputs) == 1:
        return Classifier(network, sides, prepared, None)
    return Classifier(network, sides, prepared, classes_of(network, model, names, class_file))


def classes_of(network, model, names=None, class_file=None):
    """The `Classes` of a network.

    Args:
        network: keras.Model.
        model: what messages call it.
        names: of its classes, if they are known.
        class_file: as for `load`.

    Raises:
        ValueError: it is no classifier, or there is another number of names.
        OSError: the file cannot be read.
    """
    outputs = [tuple(tensor.shape) for tensor in network.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] is None:
        raise ValueError(
            f"Expected a classifier, with one output (N, classes); {model} has {', '.join(map(str, outputs))}. --neuron "
            "explains an entry of another output, --region a class over a mask; use tf_lrp.Analyzer in Python for all else."
        )
    count = outputs[0][1]
    if class_file is not None:
        names = read_class_names(class_file)
    if names is not None and len(names) != count:
        raise ValueError(f"{class_file or model} has {len(names)} class names, but {model} has {count} classes.")
    return Classes(names or [f"class_{k}" for k in range(count)])


def _known(name, weights):
    known = model_zoo.entry(name)
    if weights is None and known.name != "shapes":
        raise ValueError(
            f"{known.name} comes without weights: give --weights FILE, for a model of keras.applications --weights "
            "imagenet (downloaded by Keras), or --weights random to try things out."
        )
    return known


def _sides(size) -> tuple[int, int]:
    """(height, width) of a number or a pair."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _from_zoo(name, weights, preparation, size):
    known = _known(name, weights)
    if preparation is not None:
        raise ValueError(f"--preprocess is for models from files: {known.name} of the zoo has its own preprocessing.")
    head = "sigmoid" if known.name == "shapes" else "softmax"  # the scores below it are explained, both are shown
    sides = known.size if size is None else _sides(size)
    shape = {} if sides == known.size else {"input_shape": (*sides, 3)}
    try:
        network = _zoo.load(known.name, weights=weights, output=head, **shape)
    except (TypeError, ValueError) as error:
        if not shape:
            raise
        raise ValueError(
            f"--size {sides[0]} x {sides[1]} does not fit: {known.name} takes no such pictures ({error})."
        ) from error
    return network, sides, known.preprocess, known.class_names


def load_model(model, weights=None):
    """Any model, from the zoo or from a file, as a keras.Model, with class names if the zoo knows them.

    Args:
        model, weights: as for `load`.

    Returns:
        (keras.Model, list of names or None).
    """
    _check_kind(model)
    if is_file_name(model):
        network = _network_of(model, weights)
        return network, getattr(network, "class_names", None)
    known = _known(model, weights)
    return _zoo.load(known.name, weights=weights), known.class_names


def is_file_name(model):
    """Whether a model is given as a file or a SavedModel's folder rather than by its name in the zoo."""
    in_zoo = model.lower() in map(str.lower, model_zoo.names())
    return Path(model).suffix.lower() in (".keras", ".h5", ".hdf5") or (not in_zoo and saved_models.is_saved_model(model))


def _check_kind(model):
    """Raises ValueError for files and folders that are there, but hold no Keras model."""
    if model.lower() in map(str.lower, model_zoo.names()):
        return
    path = Path(model)
    wanted = "--model takes what model.save wrote, FILE.keras or FILE.h5, the folder of a SavedModel, or a network of the zoo."
    if path.is_dir() and not saved_models.is_saved_model(path):
        raise ValueError(f"{model!r} is a folder, and no SavedModel: it has no file saved_model.pb. {wanted}")
    if path.is_file() and not model_files.is_archive(path):  # Pillow takes every HDF5 file for a picture
        try:
            with Image.open(path) as picture:
                raise ValueError(
                    f"{model!r} is a picture ({picture.format}), and no Keras model: pictures are named without an option. "
                    f"{wanted}"
                )
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError):
            pass
    if path.is_file() and not is_file_name(model):
        raise ValueError(f"{model!r} is no Keras model by its name. {wanted}")


def _network_of(path, weights):
    if Path(path).is_dir():
        if weights is not None:
            raise ValueError(f"--weights is for models from files: the SavedModel {path!r} brings its own.")
        return saved_models.load(path)
    if not Path(path).is_file():
        raise ValueError(f"There is no model file {path!r}: give a file that model.save wrote, or a network of the zoo.")
    try:
        network = model_files.load_model(path)
    except Exception as error:  # Keras raises all kinds
        raise ValueError(f"{path!r} could not be loaded as a Keras model: {error}") from error
    if not network.built or not getattr(network, "inputs", None):
        raise ValueError(
            f"The model in {path!r} has no shapes yet, and so no weights: add a keras.Input as its first layer, or call "
            "model.build(input_shape) or the model itself on a batch, before model.save."
        )
    if weights is not None:
        if not Path(weights).is_file():
            raise ValueError(f"There is no weights file {weights!r}: give a .npz or .weights.h5 file.")
        if weights.endswith(".npz"):
            model_zoo.load_weights(network, weights)
        else:
            network.load_weights(weights)
    return network


def is_of_pictures(network):
    """Whether a keras.Model takes one picture, in colour or grey."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][-1] in (1, 3)


def _sized(network, path, preparation, size):
    """(height, width) of the pictures, and the function that prepares them."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if not is_of_pictures(network):
        raise ValueError(
            f"Expected a network that takes one picture, (N, H, W, 3) or (N, H, W, 1); {path} takes "
            f"{', '.join(map(str, shapes))}. Use tf_lrp.Analyzer in Python for other models."
        )
    _, *sides, channels = shapes[0]
    wanted = _sides(ANY_SIZE if size is None else size)
    if size is not None and any(side not in (None, w) for side, w in zip(sides, wanted, strict=True)):
        given = size if isinstance(size, int) else f"{wanted[0]} x {wanted[1]}"
        raise ValueError(f"--size {given} does not fit: {path} takes pictures of {sides[0]} x {sides[1]}.")
    sides = (sides[0] or wanted[0], sides[1] or wanted[1])
    preparation = "none" if preparation is None else preparation

    def prepared(pictures):
        return prepare(pictures, preparation, channels)

    prepared(np.zeros((1, *sides, 3), np.uint8))  # complains about a preparation that does not fit
    return sides, prepared
