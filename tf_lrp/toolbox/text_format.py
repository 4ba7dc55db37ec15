"""Networks as text: a line for each module, followed by its weights and its biases.

    Linear m n                     Convolution height width depth n stride stride
    <m * n weights>                <height * width * depth * n weights>
    <n biases>                     <n biases>
    SumPool height width stride stride       MaxPool height width stride stride
    Rect        Tanh        SoftMax        Flatten

Weights are written row by row (in C order) on one line. The layout of version 1.1 and before, "legacy", has a line for each row
of W; it knows Linear, Rect, Tanh and SoftMax only. Both are read, whichever it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_lrp.toolbox.records import Record, number_of_weights, weight_shape

_LEGACY = ("Linear", "Rect", "Tanh", "SoftMax")


def read(data: bytes) -> list[Record]:
    """The modules of a text file.

    Raises:
        ValueError: with the number of the line that is wrong.
    """
    if b"\0" in data:
        raise ValueError("it is no text: it holds a byte of 0")
    lines = _Lines(data.decode("utf-8-sig").split("\n"))
    records = []
    while (line := lines.next_line()) is not None:
        with lines:
            records.append(_record(line, lines))
    if not records:
        raise ValueError("it names no module")
    return records


def write(records: Sequence[Record], legacy: bool = False) -> str:
    """The text of a file.

    Raises:
        ValueError: for a module that the legacy layout does not have.
    """
    lines = []
    for record in records:
        if legacy and record.name not in _LEGACY:
            raise ValueError(f"The legacy layout has the modules {', '.join(_LEGACY)} only; this network has a {record.name}.")
        lines.append(" ".join([record.name, *map(str, record.sizes)]))
        if record.weights is not None:
            rows = record.weights if legacy else [record.weights.ravel()]
            lines += [" ".join(map(repr, row.tolist())) for row in (*rows, record.biases)]
    return "\n".join([*lines, ""])


def _record(line, lines):
    name, *numbers = line.split()
    try:
        sizes = tuple(map(int, numbers))
    except ValueError:
        raise ValueError(f"{name[:80]} is followed by whole numbers; got {' '.join(numbers)[:80]!r}.") from None
    shape = weight_shape(name, sizes)
    if not shape:
        return Record(name, sizes)
    weights = lines.numbers(number_of_weights(name, sizes), shape[-1], f"the weights of {name} {' '.join(numbers)}")
    biases = lines.numbers(shape[-1], shape[-1], f"the biases of {name} {' '.join(numbers)}")
    return Record(name, sizes, weights.reshape(shape), biases)


class _Lines:
    """The lines of a file that are not blank; an error inside ``with`` gets the number of the last one.

    Args:
        lines: list of str.
    """

    def __init__(self, lines):
        self._lines, self._position = lines, 0

    def next_line(self):
        """The next line that is not blank, or None at the end."""
        while self._position < len(self._lines):
            line = self._lines[self._position].strip()
            self._position += 1
            if line:
                return line
        return None

    def numbers(self, count, in_row, what):
        """The next ``count`` numbers: on one line, or in lines of ``in_row`` numbers each. Nothing is allocated in advance."""
        found, rows = 0, []
        while found < count:
            line = self.next_line()
            if line is None:
                raise ValueError(f"the file ends within {what}: {count} numbers are needed, {found} were found.")
            row = self._floats(line, what)
            if len(row) != in_row and (found or len(row) != count):
                alternatives = f"{count} numbers" if count == in_row else f"{count} numbers on one line, or {in_row} on each"
                raise ValueError(f"{what} are {alternatives}; got {len(row)}.")
            rows.append(row)
            found += len(row)
        return np.concatenate(rows)

    @staticmethod
    def _floats(line, what):
        words = line.split()
        try:
            return np.array([float(word) for word in words])
        except ValueError:
            word = next(word for word in words if not _is_number(word))
            raise ValueError(f"{what} are numbers; got {word[:80]!r}.") from None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, ValueError):
            raise ValueError(f"line {self._position}: {error}") from None


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True
