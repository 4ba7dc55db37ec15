"""Classifiers of pictures as the command line takes them: by name or file, with class names; and explained."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from tf_lrp import model_zoo
from tf_lrp.analyzer import Analyzer
from tf_lrp.explain import neurons
from tf_lrp.files import model_files
from tf_lrp.vision.images import file_name_part, prepare

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
        model: name in the model zoo, or a .keras or .h5 file.
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
    read = _from_file if is_file_name(model) else _from_zoo
    network, sides, prepared, names = read(model, weights, preparation, size)
    outputs = [tuple(tensor.shape) for tensor in network.outputs]
    if structured and len(outputs) == 1:
        return Classifier(network, sides, prepared, None)
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] is None:
        raise ValueError(
            f"Expected a classifier, with one output (N, classes); {model} has {', '.join(map(str, outputs))}. --neuron "
            "explains an entry of another output, --region a class over a mask; use tf_lrp.Analyzer in Python for all else."
        )
    count = outputs[0][1]
    if class_file is not None:
        names = read_class_names(class_file)
    elif names is None and weights == "imagenet":
        names = _imagenet_names()
    if names is not None and len(names) != count:
        raise ValueError(f"{class_file or model} has {len(names)} class names, but {model} has {count} classes.")
    return Classifier(network, sides, prepared, Classes(names or [f"class_{k}" for k in range(count)]))


def _known(name, weights):
    known = model_zoo.entry(name)
    if weights is None and known.name != "shapes":
        raise ValueError(
            f"{known.name} comes without weights: give --weights FILE, for a model of keras.applications --weights "
            "imagenet (downloaded by Keras), or --weights random to try things out."
        )
    return known


def _sides(size):
    """(height, width) of a number or a pair."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _from_zoo(name, weights, preparation, size):
    known = _known(name, weights)
    if preparation is not None:
        raise ValueError(f"--preprocess is for models from files: {known.name} of the zoo has its own preprocessing.")
    head = "sigmoid" if known.name == "shapes" else "softmax"  # the scores below it are explained, both are shown
    sides = known.size if size is None else _sides(size)
    shape = {} if sides == known.size else {"input_shape": (*sides, 3)}
    try:
        network = model_zoo.load(known.name, weights=weights, output=head, **shape)
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
        return _network_of(model, weights), None
    known = _known(model, weights)
    return model_zoo.load(known.name, weights=weights), known.class_names


def is_file_name(model):
    """Whether a model is given as a file rather than by its name in the zoo."""
    return Path(model).suffix.lower() in (".keras", ".h5", ".hdf5")


def _check_kind(model):
    """Raises ValueError for files and folders that are there, but hold no Keras model."""
    if model.lower() in map(str.lower, model_zoo.names()):
        return
    path, wanted = Path(model), "--model takes what model.save wrote, FILE.keras or FILE.h5, or a network of the zoo."
    if path.is_dir() and ((path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file()):
        raise ValueError(
            f"{model!r} is a SavedModel, which holds TensorFlow's operations, and no layers that rules could be given to. Save "
            f"the Keras model itself, model.save('model.keras'). {wanted}"
        )
    if path.is_dir():
        raise ValueError(f"{model!r} is a folder, and no Keras model. {wanted}")
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


def _from_file(path, weights, preparation, size):
    network = _network_of(path, weights)
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] not in (1, 3):
        raise ValueError(
            f"Expected a network that takes one picture, (N, H, W, 3) or (N, H, W, 1); {path} takes "
            f"{', '.join(map(str, shapes))}. Use tf_lrp.Analyzer in Python for other models."
        )
    _, *sides, channels = shapes[0]
    wanted = _sides(ANY_SIZE if size is None else size)
    if size is not None and any(side not in (None, w) for side, w in zip(sides, wanted, strict=True)):
        given = size if isinstance(size, int) else f"{wanted[0]} x {wanted[1]}"
        raise ValueError(f"--size {given} does not fit: {path} takes pictures of {sides[0]} x {sides[1]}.")
    sides = tuple(side or w for side, w in zip(sides, wanted, strict=True))
    preparation = "none" if preparation is None else preparation

    def prepared(pictures):
        return prepare(pictures, preparation, channels)

    prepared(np.zeros((1, *sides, 3), np.uint8))  # complains about a preparation that does not fit
    return network, sides, prepared, None


# ---- classes --------------------------------------------------------------------------------------------------------


class Classes:
    """Names of a network's outputs; commas in a name part synonyms, as in those of ImageNet.

    Attributes:
        names: list of str.
        short: the first synonym of each name.
        labels: the short names as parts of file names; no two are the same.
    """

    def __init__(self, names):
        self.names = list(names)
        self.short = [_synonyms(name)[0] for name in self.names]
        labels = [file_name_part(name) for name in self.short]
        folded = [label.casefold() for label in labels]
        self.labels = [
            f"{label}_{k}" if folded.count(same) > 1 else label
            for k, (label, same) in enumerate(zip(labels, folded, strict=True))
        ]

    def index(self, text):
        """Position of the class with this index, name or synonym; case and underscores do not matter.

        Raises:
            ValueError: no such class (suggesting near ones), or several.
        """
        count = len(self.names)
        if re.fullmatch(r"[+-]?\d+", text):
            if 0 <= int(text) < count:
                return int(text)
            raise ValueError(f"There is no class {text}: the network has the classes 0 to {count - 1}.")
        wanted = _plain(text)
        found = [k for k, name in enumerate(self.names) if _plain(name) == wanted]
        found = found or [k for k, name in enumerate(self.names) if wanted in map(_plain, _synonyms(name))]
        if len(found) == 1:
            return found[0]
        if found:
            indices = " or ".join(map(str, found))
            raise ValueError(f"{len(found)} classes are called {text!r}: give the index instead, {indices}.")
        known = list(dict.fromkeys(synonym for name in self.names for synonym in _synonyms(name)))
        by_plain = {_plain(synonym): synonym for synonym in known}
        near = [by_plain[p] for p in difflib.get_close_matches(wanted, by_plain, n=3, cutoff=0.6)]
        near += [synonym for p, synonym in by_plain.items() if wanted in p and synonym not in near]
        near = " or ".join(map(repr, near[:5]))
        raise ValueError(
            f"There is no class {text!r}. {f'Did you mean {near}? ' if near else ''}A target is max, top5, the name of a "
            f"class or an index from 0 to {count - 1}."
        )


def _synonyms(name):
    return [part.strip() for part in name.split(",") if part.strip()] or [name]


def _plain(name):
    return " ".join(name.casefold().replace("_", " ").split())


def target(text, classes):
    """What is explained, as a function: scores (N, C) -> K classes of each picture, ints (N, K).

    Args:
        text: "max", "top5" (top2, top3 ...), or the index or name of a class.
        classes: `Classes`.

    Raises:
        ValueError: no such class.
    """
    top = re.fullmatch(r"top([1-9]\d*)", text)
    if text == "max" or top:
        count = int(top[1]) if top else 1
        return lambda scores: np.argsort(-scores, axis=1, kind="stable")[:, :count]
    index = classes.index(text)
    return lambda scores: np.full((len(scores), 1), index)


def read_class_names(path):
    """Class names from a text file with one a line, a JSON list, or a JSON object {"0": name or [id, name], ...}.

    Raises:
        ValueError: none of these.
        OSError: the file cannot be read.
    """
    path = Path(path)
    wanted = (
        "Expected class names: one a line, a JSON list of them, or a JSON object as Keras's imagenet_class_index.json, "
        '{"0": ["n01440764", "tench"], ...}'
    )
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        if path.suffix.lower() == ".json" or text[:1] in ("[", "{"):
            data = json.loads(text)
            names = [data[str(k)] for k in range(len(data))] if isinstance(data, dict) else list(data)
            names = [name[1] if isinstance(name, list) else name for name in names]
        else:
            names = [line.strip() for line in text.splitlines()]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{wanted}; {path} could not be read so: {type(error).__name__}, {error}.") from error
    for k, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise ValueError(f"{wanted}; in {path}, class {k} is {name!r}.")
    if not names:
        raise ValueError(f"{wanted}; {path} is empty.")
    return names


def class_index(classes, class_file=None):
    """What the annotations of a data set can call the classes of a network: names and synonyms, WordNet's numbers.

    Args:
        classes: `Classes`.
        class_file: the file of class names; one like Keras's imagenet_class_index.json also says the numbers. Without it they
            are Keras's own for a network with 1000 classes, where they can be downloaded.

    Returns:
        dict from lower-case names, words parted by single spaces, to class indices; a name that two classes share is left out.
    """
    ids = _imagenet_ids() if class_file is None and len(classes.names) == 1000 else None
    if class_file is not None and Path(class_file).suffix.lower() == ".json":
        data = json.loads(Path(class_file).read_text(encoding="utf-8-sig"))
        if isinstance(data, dict):
            ids = [entry[0] if isinstance(entry, list) else None for entry in (data[str(k)] for k in range(len(data)))]
    places = {}
    for k, name in enumerate(classes.names):
        for text in {name, *_synonyms(name), *((ids[k],) if ids and ids[k] else ())}:
            places.setdefault(_plain(text), []).append(k)
    return {text: found[0] for text, found in places.items() if len(found) == 1}


def _imagenet():
    """[(WordNet's number, name)] as Keras publishes them; None where they cannot be downloaded."""
    try:
        decoded = keras.applications.imagenet_utils.decode_predictions(np.eye(1000), top=1)
    except Exception:  # Keras reports a failed download as a bare Exception; names are a convenience
        return None
    return [(number, name) for ((number, name, _),) in decoded]


def _imagenet_names():
    known = _imagenet()
    return known and [name for _, name in known]


def _imagenet_ids():
    known = _imagenet()
    return known and [number for number, _ in known]


# ---- explaining -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """A batch of pictures, explained.

    Attributes:
        x: the network's input.
        scores: float64 (N, C), before a softmax or sigmoid at the end.
        probabilities: float64 (N, C); None where the network ends in neither.
        chosen: ints (N, K), the explained classes.
        relevance: (N, K, H, W, channels), in units of the scores.
        inner: layer name -> relevance (N, K, ...), or a list of such where the layer is used several times.
    """

    x: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    chosen: np.ndarray
    relevance: np.ndarray
    inner: dict


class PictureExplainer:
    """Explains batches of pictures by one preset.

    Args:
        classifier: `Classifier`.
        preset: as `Analyzer` takes it.
        target: from `target`.
        layers: names of layers whose relevance is wanted too.
    """

    def __init__(self, classifier, preset, target, layers=()):
        self.classifier, self.target, self.layers = classifier, target, layers
        self.analyzer = Analyzer(classifier.model, preset, verbose=False)

    def __call__(self, pictures):
        """The `Explained` of uint8 pictures (height, width, 3) of the classifier's size.

        Raises:
            ValueError: a layer that is not there.
        """
        x = self.classifier.prepare(np.stack(pictures))
        scores = np.asarray(self.analyzer.twin(x, training=False), np.float64)
        outputs = np.asarray(self.classifier.model(x, training=False), np.float64)
        chosen = self.target(scores)
        maps = self.analyzer.analyze(x, chosen, layers=self.layers, batch_size=len(x))
        return Explained(x, scores, _probabilities(outputs, scores), chosen, maps.pop("input"), maps)

    def conservation(self, x, k):
        """Where the relevance of class k went, for network inputs ``x``: `tf_lrp.conservation.Conservation`."""
        return self.analyzer.conservation(x, int(k))


class TargetExplainer(PictureExplainer):
    """Explains one target in a structured output, in the place of classes.

    Args:
        classifier: `Classifier` of a structured output.
        preset: as `Analyzer` takes it.
        target: `tf_lrp.target.Target`.
        label: what it is called.
        layers: names of layers whose relevance is wanted too.
    """

    def __init__(self, classifier, preset, target, label, layers=()):
        super().__init__(replace(classifier, classes=Classes([label])), preset, target, layers)

    def __call__(self, pictures):
        x = self.classifier.prepare(np.stack(pictures))
        output, maps = self.analyzer.with_output(x, [self.target], layers=self.layers, batch_size=len(x))
        selection = neurons.check(self.target, len(x), output.shape, output.dtype)
        start = np.asarray(neurons.InitialRelevance(selection.mode, selection.values)(tf.constant(output)), np.float64)
        scores = start.reshape(len(x), -1).sum(axis=1, keepdims=True)
        return Explained(x, scores, None, np.zeros((len(x), 1), int), maps.pop("input"), maps)

    def conservation(self, x, k):
        return self.analyzer.conservation(x, self.target)


def _probabilities(outputs, scores):
    """The outputs where they are the softmax or sigmoid of the scores (which the analyzer strips), else None."""
    with np.errstate(over="ignore"):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads = (powers / powers.sum(axis=1, keepdims=True), 1 / (1 + np.exp(-scores)))
    return outputs if any(np.allclose(outputs, head, atol=1e-3) for head in heads) else None
