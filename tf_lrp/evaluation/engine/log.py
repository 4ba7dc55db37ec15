"""The log of an evaluation: every result is kept on disk, and an interrupted evaluation is resumed.

Each method is asked about each batch, and what it measured is appended to the log, one line of JSON. A batch that is in the log
is not measured again. Which pictures make up a batch depends only on the data, so a resumed evaluation measures what an
uninterrupted one would have measured.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_lrp.evaluation.engine.batch import Batch
from tf_lrp.runs.locks import exclusive_lock
from tf_lrp.runs.resume import as_json, changed_settings


@dataclass(frozen=True)
class Measured:
    """What a method measured on a batch.

    Attributes:
        names: of N pictures.
        labels: ints (N, K).
        values: measure -> float64 (N, ...); (N, K, ...) for a measure of a picture and a class.
    """

    names: list[str]
    labels: np.ndarray
    values: dict[str, np.ndarray]


class MeasurementLog:
    """What was measured so far, in a file of JSON lines: the configuration, the definition of each method, and the results of
    each method on each batch.

    Args:
        path: the file; continued if it exists.
        configuration: dict for JSON; two runs are the same if it is equal.

    Raises:
        BlockingIOError: another process is writing the file.
        ValueError: the file belongs to a run with another configuration, or is not a log.
    """

    def __init__(self, path, configuration):
        self.path, self._entries, self._definitions = Path(path), {}, {}
        self._configuration = as_json(configuration)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.locked():
            pass

    @contextlib.contextmanager
    def locked(self):
        """Gives this process the exclusive right to write the file, after reading what other processes wrote.

        Raises:
            BlockingIOError, ValueError: as the constructor.
        """
        message = f"Another process is measuring into {self.path}: wait for it, or choose another folder."
        with exclusive_lock(f"{self.path}.lock", message):
            if not (self.path.exists() and self._read()):
                self.path.write_text(json.dumps({"configuration": self._configuration}) + "\n", encoding="utf-8")
            yield

    def _read(self):
        """Whether the file holds a run to resume; an incomplete last line, left by a killed process, is cut off."""
        data = self.path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        if not complete:
            return False
        try:
            first, *lines = [json.loads(line) for line in complete.splitlines()]
            earlier = dict(first["configuration"])
            definitions = {line["method"]: line["definition"] for line in lines if "definition" in line}
            entries = {(line["batch"], line["method"]): _checked(line) for line in lines if "definition" not in line}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            why = f"a line lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"Expected the log of an evaluation, but {self.path} is not one or was edited ({why}): choose another folder."
            ) from error
        changed = changed_settings(earlier, self._configuration)
        if changed:
            raise ValueError(
                f"{self.path} belongs to a run with other settings: {changed}. Resume it with its own settings, or choose "
                "another folder."
            )
        if len(complete) < len(data):
            os.truncate(self.path, len(complete))
        self._entries, self._definitions = entries, definitions
        return True

    @property
    def empty(self):
        """Whether nothing was measured yet."""
        return not self._entries

    def define(self, method, definition):
        """Records what a method's name stands for.

        Args:
            method: its name.
            definition: dict for JSON, such as an explainer's configuration.

        Raises:
            ValueError: the log holds another definition for this name.
        """
        definition, earlier = as_json(definition), self._definitions.get(method)
        if earlier is None:
            self._write({"method": method, "definition": definition})
            self._definitions[method] = definition
        elif earlier != definition:
            raise ValueError(
                f"{method} was another preset when {self.path} was started. Give the changed preset another name, or choose "
                "another folder."
            )

    def holds(self, batch, method):
        """Whether a method was measured on a batch.

        Raises:
            ValueError: it was, but on other pictures.
        """
        line = self._entries.get((batch.number, method))
        if line and (line["names"], line["labels"]) != ([*batch.names], batch.labels.tolist()):
            raise ValueError(
                f"The data set is not the one that {self.path} was started with: batch {batch.number} held {line['names'][0]} "
                f"and others, and now holds {batch.names[0]} and others. Choose another folder."
            )
        return line is not None

    def append(self, batch, method, values):
        """Records what a method measured on a batch.

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
        """The `Measured` of a method, in the order of the batches."""
        return [
            Measured(line["names"], np.asarray(line["labels"]), {k: np.asarray(v, float) for k, v in line["values"].items()})
            for (_, name), line in sorted(self._entries.items())
            if name == method
        ]

    def per_pair(self, method):
        """What a method measured, with one entry for each pair of picture and class.

        Returns:
            (names of the pictures (n,), measure -> float64 (n, ...)).
        """
        measured = self.of(method)
        names = [name for m in measured for name in m.names for _ in range(m.labels.shape[1])]
        keys = measured[0].values if measured else ()
        return names, {
            key: np.concatenate([m.values[key].reshape(m.labels.size, *m.values[key].shape[2:]) for m in measured])
            for key in keys
        }

    def per_picture(self, method):
        """What a method measured, with one entry for each picture: measure -> float64 (n, ...)."""
        measured = self.of(method)
        return {key: np.concatenate([m.values[key] for m in measured]) for key in (measured[0].values if measured else ())}


def _checked(line):
    """A line with results; raises ValueError unless each array has one row for each picture."""
    count = len(line["names"])
    shapes = [np.shape(np.asarray(rows, float)) for rows in line["values"].values()]
    numbered = isinstance(line["batch"], int) and isinstance(line["method"], str)
    if not numbered or not count or len(line["labels"]) != count or any(shape[:1] != (count,) for shape in shapes):
        raise ValueError(f"batch {line['batch']} of {line['method']} does not hold one row for each picture")
    return line


def measure_missing(
    stream: Iterable[Batch],
    methods: dict[str, Callable[[Batch], dict]],
    log: MeasurementLog,
    progress=lambda done, skipped: None,
    definitions=None,
):
    """Measures what is not in the log yet.

    Args:
        stream: of `batches`.
        methods: name -> function that measures a batch: returns a dict of arrays with one row for each picture.
        log: `MeasurementLog`.
        progress: called with the number of pictures that are done, and the number of those that were in the log already.
        definitions: name -> dict for JSON that defines the method; a method without a definition is known by its name only.

    Raises:
        BlockingIOError: another process is writing the log.
        ValueError: a method or the data set changed since the log was started.
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
