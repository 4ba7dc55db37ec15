"""Measurements of many pictures by many methods: batches streamed, every result kept on disk, interrupted runs continued.

A run asks each method about each batch and appends what it measured, one line of JSON, to a log. A batch that stands in the
log is not measured again. Which pictures make up a batch depends on the data alone, so a continued run measures what an
uninterrupted one would have.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation.datasets import prepared
from tf_lrp.runs.locks import exclusive_lock


@dataclass(frozen=True)
class Batch:
    """Pictures that have the same number K of classes.

    Attributes:
        number: its place in the run.
        names: N of them.
        images: uint8 (N, height, width, 3).
        labels: int32 (N, K), the classes present.
        masks: bool (N, K, height, width), where they are.
    """

    number: int
    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def batches(dataset, size, batch_size, limit=None):
    """`Batch` after batch of an annotated data set, read ahead in a thread of tf.data's.

    Pictures wait until there are enough with as many classes; what is left comes at the end.

    Args:
        dataset: `datasets.Dataset`.
        size: (height, width) that the network takes.
        batch_size: pictures in a batch.
        limit: number of usable pictures after which to stop; None for all.
    """

    def usable():
        found = (prepared(dataset, picture, size) for picture in dataset)
        return itertools.islice((p for p in found if p is not None), limit)

    def grouped():
        waiting = {}
        for picture in usable():
            group = waiting.setdefault(len(picture.labels), [])
            group.append(picture)
            if len(group) == batch_size:
                yield _stacked(group)
                group.clear()
        for _, group in sorted(waiting.items()):
            if group:
                yield _stacked(group)

    height, width = size
    signature = (
        tf.TensorSpec((None,), tf.string),
        tf.TensorSpec((None, height, width, 3), tf.uint8),
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None, None, height, width), tf.bool),
    )
    stream = tf.data.Dataset.from_generator(grouped, output_signature=signature).prefetch(2)
    for number, (names, images, labels, masks) in enumerate(stream.as_numpy_iterator()):
        yield Batch(number, tuple(name.decode() for name in names), images, labels, masks)


def _stacked(group):
    return (
        [p.name for p in group],
        np.stack([p.image for p in group]),
        np.stack([p.labels for p in group]).astype(np.int32),
        np.stack([p.masks for p in group]),
    )


class Log:
    """What was measured so far, in a file: the configuration, each method's definition, and each method's results on a batch.

    One line of JSON each.

    Args:
        path: the file; continued if it is there.
        configuration: dict for JSON; what makes two runs the same.

    Raises:
        BlockingIOError: another process is writing the file.
        ValueError: the file belongs to a run that was configured otherwise, or is no log.
    """

    def __init__(self, path, configuration):
        self.path, self._entries, self._definitions = Path(path), {}, {}
        self._configuration = json.loads(json.dumps(configuration))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.locked():
            pass

    @contextlib.contextmanager
    def locked(self):
        """While this process alone may write the file, with all that others wrote before.

        Raises:
            BlockingIOError, ValueError: as the constructor.
        """
        message = f"Another process is measuring into {self.path}: wait for it, or choose another folder."
        with exclusive_lock(f"{self.path}.lock", message):
            if not (self.path.exists() and self._read()):
                self.path.write_text(json.dumps({"configuration": self._configuration}) + "\n", encoding="utf-8")
            yield

    def _read(self):
        """Whether the file holds a run to continue; an incomplete last line, of a run that was killed, is cut off."""
        configuration = self._configuration
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return False
        try:
            first, *lines = [json.loads(line) for line in whole.splitlines()]
            earlier = dict(first["configuration"])
            definitions = {line["method"]: line["definition"] for line in lines if "definition" in line}
            entries = {(line["batch"], line["method"]): _checked(line) for line in lines if "definition" not in line}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            why = f"a line lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"Expected the log of an evaluation, {self.path} is none or was edited ({why}): choose another folder."
            ) from error
        different = [key for key in {**earlier, **configuration} if earlier.get(key) != configuration.get(key)]
        if different:
            told = "; ".join(f"{key}: {earlier.get(key)!r} there, {configuration.get(key)!r} now" for key in sorted(different))
            raise ValueError(
                f"{self.path} belongs to a run of another kind ({told}). Continue it with its own settings, or choose another "
                "folder."
            )
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        self._entries, self._definitions = entries, definitions
        return True

    @property
    def empty(self):
        """Whether nothing was measured yet."""
        return not self._entries

    def define(self, method, definition):
        """Keeps what a method's name stands for.

        Args:
            method: its name.
            definition: dict for JSON, such as an explainer's configuration.

        Raises:
            ValueError: what stands in the log under that name was measured by something else.
        """
        definition, earlier = json.loads(json.dumps(definition)), self._definitions.get(method)
        if earlier is None:
            self._write({"method": method, "definition": definition})
            self._definitions[method] = definition
        elif earlier != definition:
            raise ValueError(
                f"{method} was another preset when {self.path} was begun. Give the changed one another name, or choose another "
                "folder."
            )

    def holds(self, batch, method):
        """Whether a method was measured on a batch.

        Raises:
            ValueError: it was, but on other pictures.
        """
        line = self._entries.get((batch.number, method))
        if line and (line["names"], line["labels"]) != ([*batch.names], batch.labels.tolist()):
            raise ValueError(
                f"The data set is not the one that {self.path} was begun with: batch {batch.number} held {line['names'][0]} "
                f"and others, and holds {batch.names[0]} and others now. Choose another folder."
            )
        return line is not None

    def append(self, batch, method, values):
        """Keeps what a method measured on a batch.

        Args:
            batch: `Batch`.
            method: its name.
            values: dict of arrays, one row for each picture.
        """
        line = {"batch": batch.number, "method": method, "names": [*batch.names], "labels": batch.labels.tolist()}
        line["values"] = {name: np.asarray(array).tolist() for name, array in values.items()}
        self._write(line)
        self._entries[batch.number, method] = line

    def _write(self, line):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def of(self, method):
        """The `Measured` of a method, batch by batch in their order."""
        return [
            Measured(line["names"], np.asarray(line["labels"]), {k: np.asarray(v, float) for k, v in line["values"].items()})
            for (_, name), line in sorted(self._entries.items())
            if name == method
        ]


def _checked(line):
    """A line of results, if it is one: one row in each array for each picture."""
    count = len(line["names"])
    shapes = [np.shape(np.asarray(rows, float)) for rows in line["values"].values()]
    numbered = isinstance(line["batch"], int) and isinstance(line["method"], str)
    if not numbered or not count or len(line["labels"]) != count or any(shape[:1] != (count,) for shape in shapes):
        raise ValueError(f"batch {line['batch']} of {line['method']} does not hold one row for each picture")
    return line


@dataclass(frozen=True)
class Measured:
    """What a method measured on a batch.

    Attributes:
        names: of N pictures.
        labels: ints (N, K).
        values: measure -> float64 (N, ...); (N, K, ...) where it is one of a picture and a class.
    """

    names: list[str]
    labels: np.ndarray
    values: dict[str, np.ndarray]


def run(
    stream: Iterable[Batch],
    methods: dict[str, Callable[[Batch], dict]],
    log: Log,
    progress=lambda done, skipped: None,
    definitions=None,
):
    """Measures what is not in the log yet.

    Args:
        stream: of `batches`.
        methods: name -> what it measures on a batch: a dict of arrays with one row for each picture.
        log: `Log`.
        progress: called with the number of pictures done and, of these, found in the log.
        definitions: name -> what that method is, dict for JSON; what is not defined is its name alone.

    Raises:
        BlockingIOError: another process is writing the log.
        ValueError: a method or the data set is not what it was when the log was begun.
    """
    done = skipped = 0
    with log.locked():
        for name, definition in (definitions or {}).items():
            log.define(name, definition)
        for batch in stream:
            missing = [name for name in methods if not log.holds(batch, name)]
            for name in missing:
                log.append(batch, name, methods[name](batch))
            done += len(batch.names)
            skipped += 0 if missing else len(batch.names)
            progress(done, skipped)
