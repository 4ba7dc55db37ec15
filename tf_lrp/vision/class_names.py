"""The classes of a network by name: read, looked up, chosen as targets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tf_lrp.messages.names import similar, suggestion
from tf_lrp.vision.images import file_name_part


class Classes:
    """Names of a network's outputs; commas in a name part synonyms, as in those of ImageNet.

    Attributes:
        names: list of str.
        short: the first synonym of each name.
        labels: the short names as parts of file names; no two are the same.
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self.short = [_synonyms(name)[0] for name in self.names]
        labels = [file_name_part(name) for name in self.short]
        folded = [label.casefold() for label in labels]
        self.labels = [
            f"{label}_{k}" if folded.count(same) > 1 else label
            for k, (label, same) in enumerate(zip(labels, folded, strict=True))
        ]

    def index(self, text: str) -> int:
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
        matches = [k for k, name in enumerate(self.names) if _plain(name) == wanted]
        matches = matches or [k for k, name in enumerate(self.names) if wanted in map(_plain, _synonyms(name))]
        if len(matches) == 1:
            return matches[0]
        if matches:
            indices = " or ".join(map(str, matches))
            raise ValueError(f"{len(matches)} classes are called {text!r}: give the index instead, {indices}.")
        known = list(dict.fromkeys(synonym for name in self.names for synonym in _synonyms(name)))
        by_plain = {_plain(synonym): synonym for synonym in known}
        near = [by_plain[p] for p in similar(wanted, by_plain, cutoff=0.6)]
        near += [synonym for p, synonym in by_plain.items() if wanted in p and synonym not in near]
        raise ValueError(
            f"There is no class {text!r}.{suggestion(near[:5])} A target is max, top5, the name of a class or an index from 0 "
            f"to {count - 1}."
        )


def _synonyms(name):
    return [part.strip() for part in name.split(",") if part.strip()] or [name]


def _plain(name):
    return " ".join(name.casefold().replace("_", " ").split())


def target(text: str, classes: Classes) -> Callable:
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


def read_class_names(path) -> list[str]:
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


def class_index(classes: Classes, class_file=None) -> dict[str, int]:
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
    return {text: matches[0] for text, matches in places.items() if len(matches) == 1}


def _imagenet():
    """[(WordNet's number, name)] as Keras publishes them; None where they cannot be downloaded."""
    try:
        decoded = keras.applications.imagenet_utils.decode_predictions(np.eye(1000), top=1)
    except Exception:  # Keras reports a failed download as a bare Exception; names are a convenience
        return None
    return [(number, name) for ((number, name, _),) in decoded]


def imagenet_names() -> list[str] | None:
    """The names of ImageNet's 1000 classes, as Keras publishes them; None where they cannot be downloaded."""
    known = _imagenet()
    return None if known is None else [name for _, name in known]


def _imagenet_ids():
    known = _imagenet()
    return None if known is None else [number for number, _ in known]
