"""What the zoo holds: names, pictures in, models out."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_lrp.files import npz
from tf_lrp.messages.names import did_you_mean
from tf_lrp.vision.luma import luma

from . import networks, shapes, weight_files

SHAPES_WEIGHTS = Path(__file__).parent / "weights" / "shapes.npz"
CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Entry:
    """One network of the zoo: how it is built, how pictures become its input, and what is known about it.

    Attributes:
        name: what `load` takes.
        size: (height, width) of the pictures that `preprocess` takes.
        preprocess: uint8 (N, H, W, 3), RGB -> float32 network input.
        class_names: one name per output, or None where they do not come with the zoo (ImageNet).
        description: one line.
        build: function that returns the keras.Model with random weights; `load` calls it.
    """

    name: str
    size: tuple[int, int]
    preprocess: Callable[[np.ndarray], np.ndarray]
    class_names: tuple[str, ...] | None
    description: str
    build: Callable[..., keras.Model] = field(repr=False)

    @property
    def card(self) -> str:
        """The network's card, in Markdown: what it is, its data, accuracy, weights, training and licence."""
        own = CARDS / f"{self.name}.md"
        return (own if own.is_file() else CARDS / "keras_applications.md").read_text(encoding="utf-8")


def load(name: str, weights: str | os.PathLike[str] | None = None, **kwargs: Any) -> keras.Model:
    """Builds a network of the zoo and reads its weights.

    Args:
        name: "shapes", "lenet5", "vgg16_like", "squeezenet", "mobilenet_v1_025", "mobilenet_v2_100", or a model of
            keras.applications by the name of its constructor ("VGG16", "ResNet50"); upper and lower case are the same.
        weights: one of
            - None: the committed weights for "shapes", random ones for all others;
            - "random": random ones, for "shapes" too;
            - path to an npz file with keys "<layer>/<weight>" (`load_weights`); for "lenet5" also an npz with the
              LRP Toolbox's conv1_W, conv1_b ...; for all also Keras's own .weights.h5, .h5 and .keras files;
            - "imagenet": what Keras publishes for the models of keras.applications, downloaded and kept by Keras.
        **kwargs: of the builder: `output="softmax"` or "logits" ("logits" or "sigmoid" for "shapes") for all; also
            `input_shape`; `classes`, `width`, `seed` for "vgg16_like"; for keras.applications everything that the
            constructor takes.

    Returns:
        keras.Model with the zoo's layer names; `entry(name).preprocess` prepares its input.

    Raises:
        ValueError: unknown name; weights that do not fit (missing, left over, or of another shape, all listed).
        FileNotFoundError: no weights file at that path.
        ConnectionError: "imagenet" weights that could not be downloaded.

    Example:
        >>> model = load("shapes")
        >>> pictures = shapes.sample(4, seed=0)
        >>> model.predict(entry("shapes").preprocess(pictures.images)).shape
        (4, 6)
    """
    known = entry(name)
    if known.name in _applications():
        return _load_application(known, weights, kwargs)
    if weights == "imagenet":
        raise ValueError(
            f'There is no download for {known.name!r}: weights="imagenet" is for the models of '
            "keras.applications. Pass weights=path of an npz file."
        )
    model = known.build(**kwargs)
    if weights is None and known.name == "shapes":
        weights = SHAPES_WEIGHTS
    return _with_weights(model, weights)


def entry(name: str) -> Entry:
    """The `Entry` of a name of the zoo: picture size, preprocessing, class names.

    Raises:
        ValueError: unknown name; the message holds the nearest ones.
    """
    if not isinstance(name, str):
        raise ValueError(f"The zoo expects the name of a network, a str; got {type(name).__name__}.")
    by_lower_case = {known.lower(): known for known in names()}
    if name.lower() not in by_lower_case:
        raise ValueError(
            f"The zoo has no network {name!r}.{did_you_mean(name, names())} It has {', '.join(_OWN)} and the models of "
            "keras.applications; tf_lrp.model_zoo.names() lists them all."
        )
    name = by_lower_case[name.lower()]
    return _OWN[name] if name in _OWN else _application_entry(name)


def names() -> tuple[str, ...]:
    """All names that `load` and `entry` take: the zoo's own, then those of keras.applications. A tuple of str."""
    return (*_OWN, *_applications())


# ---- weights --------------------------------------------------------------------------------------------------------


def _with_weights(model, weights):
    if weights is None or (isinstance(weights, str) and weights == "random"):
        return model
    path = os.fspath(weights)
    if path.endswith((".h5", ".keras")):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"No weights file at {path!r}: pass the path of an existing file as weights=.")
        model.load_weights(path)
        return model
    headers = weight_files.headers(path)
    if model.name == "lenet5" and "conv1_W" in headers:
        arrays = _from_toolbox(npz.load(path, [name for name in headers if name in _TOOLBOX]))
        weight_files.check(model, arrays, path)
        weight_files.assign(model, arrays)
    else:
        weight_files.load_weights(model, path)
    return model


_TOOLBOX = [f"conv{i}_{kind}" for i in range(1, 5) for kind in "Wb"]


def _from_toolbox(arrays):
    """LeNet-5 as the LRP Toolbox keeps it -> our keys.

    The toolbox's pooling is twice the mean; the kernel behind a pooling layer takes that factor. Arrays that are not
    of the four convolutions (the last one repeated as a dense layer, a description) carry nothing new.
    """
    ours = {}
    for i in range(1, 5):
        for theirs, name, factor in (("W", "kernel", 1 if i == 1 else 2), ("b", "bias", 1)):
            if f"conv{i}_{theirs}" in arrays:
                ours[f"conv{i}/{name}"] = arrays[f"conv{i}_{theirs}"] * factor
    return ours


# ---- preprocessing --------------------------------------------------------------------------------------------------


def _checked(pictures):
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise ValueError(
            f"preprocess expects RGB pictures, uint8 (N, H, W, 3); got {pictures.dtype} {pictures.shape}. "
            "A single picture goes in as picture[None]."
        )
    return pictures


def _preprocess_digits(pictures):
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        raise ValueError(
            f"preprocess expects digits, white on black, uint8 (N, 28, 28, 1) or (N, 28, 28, 3); got {pictures.dtype} "
            f"{pictures.shape}. A single grey picture goes in as picture[None, :, :, None]."
        )
    grey = pictures if pictures.shape[-1] == 1 else luma(pictures)
    x = (grey / 127.5 - 1).astype(np.float32)
    return np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-1)


def _preprocess_unit(pictures):
    return _checked(pictures).astype(np.float32) / np.float32(127.5) - 1


def _preprocess_bgr(pictures):
    mean = np.array([104, 117, 123], np.float32)
    return _checked(pictures)[..., ::-1].astype(np.float32) - mean


def _preprocess_centred(pictures):
    return (_checked(pictures).astype(np.float32) - 128) / np.float32(127)


# ---- the zoo's own --------------------------------------------------------------------------------------------------

_OWN = {
    e.name: e
    for e in (
        Entry(
            "shapes",
            (shapes.SIZE, shapes.SIZE),
            _preprocess_unit,
            shapes.CLASSES,
            "drawn shapes in cluttered pictures, several labels at once; trained weights come with it",
            networks.shapes_net,
        ),
        Entry(
            "lenet5",
            (28, 28),
            _preprocess_digits,
            tuple("0123456789"),
            "LeNet-5 of the LRP Toolbox: handwritten digits, white on black",
            networks.lenet5,
        ),
        Entry(
            "vgg16_like",
            (64, 64),
            _preprocess_unit,
            None,
            "VGG16 with an eighth of its channels and seeded random weights, for trying things out",
            networks.vgg16_like,
        ),
        Entry(
            "squeezenet",
            (224, 224),
            _preprocess_bgr,
            None,
            "SqueezeNet v1.1, ImageNet",
            networks.squeezenet,
        ),
        Entry(
            "mobilenet_v1_025",
            (224, 224),
            _preprocess_unit,
            None,
            "MobileNet v1 of width 0.25 with batch normalization, ImageNet",
            networks.mobilenet_v1_025,
        ),
        Entry(
            "mobilenet_v2_100",
            (224, 224),
            _preprocess_centred,
            None,
            "MobileNet v2 of width 1.0, batch normalization folded, ImageNet",
            networks.mobilenet_v2_100,
        ),
    )
}

# ---- keras.applications ---------------------------------------------------------------------------------------------

# Keras keeps these in function bodies; a model would have to be built to learn its size. All others take 224.
_APPLICATION_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}


def _applications():
    """Name -> constructor of every model in keras.applications."""
    return {name: thing for name, thing in vars(keras.applications).items() if inspect.isfunction(thing)}


def _application_entry(name):
    build = _applications()[name]
    preprocess_input = sys.modules[build.__module__].preprocess_input  # each family has its own
    side = _APPLICATION_SIZES.get(name, 224)

    def preprocess(pictures):
        # a copy: Keras's function writes into what it is given
        x = _checked(pictures).astype(np.float32)
        return np.asarray(preprocess_input(x, data_format="channels_last"), np.float32)

    return Entry(name, (side, side), preprocess, None, f"keras.applications.{name}, ImageNet", build)


def _load_application(known, weights, kwargs):
    kwargs = dict(kwargs)
    if "output" in kwargs:
        output = kwargs.pop("output")
        if output not in ("softmax", "logits"):
            raise ValueError(f'output must be "softmax" or "logits"; got {output!r}.')
        kwargs["classifier_activation"] = "softmax" if output == "softmax" else None
    if not (isinstance(weights, str) and weights == "imagenet"):
        return _with_weights(known.build(weights=None, **kwargs), weights)
    try:
        return known.build(weights="imagenet", **kwargs)
    except Exception as error:
        # Keras reports a failed download as a bare Exception; what it says about wrong arguments is left as it is
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        raise ConnectionError(
            f"The ImageNet weights of {known.name} could not be downloaded: {error}. Try again online, or get "
            f"the file elsewhere and pass it as load({known.name!r}, weights=path): npz, .weights.h5, .h5 or .keras."
        ) from error
