"""Data matrices from files and to files: text, NumPy's .npy and .npz, and MATLAB's .mat.

    X = data_io.read("test_images.npy")
    data_io.write(R, "relevance.mat")

Files of others are safe to read: no format runs code, and what a file would need in memory is compared with what it holds
before its arrays are made.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from tf_lrp.files import npz
from tf_lrp.runs import atomic_files
from tf_lrp.toolbox import mat_format
from tf_lrp.toolbox.formats import format_of, read_by

__all__ = ["read", "write"]


def read(path: str | os.PathLike[str], fmt: str | None = None) -> np.ndarray:
    """The matrix in a file.

    Args:
        path: of the file.
        fmt: "txt", "npy", "npz" or "mat"; by default what the name ends in. A name without an ending is read as "npy".
            A text file holds a row of numbers on each line. A .npz file holds one array, or among several one called "data".
            A .mat file holds the matrix "data".

    Returns:
        Array of numbers, of text files float64 (N, D).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a format that there is not, and for a file that is damaged or holds something else.
    """
    data = read_by(path, fmt, _READERS, "data")
    if data.dtype.kind not in "biuf":
        raise ValueError(f"{str(path)!r} cannot be read as data: it holds {data.dtype}, and no numbers.")
    return data


def write(data: Any, path: str | os.PathLike[str], fmt: str | None = None) -> None:
    """Writes a matrix, in a way that `read` and the toolbox read.

    Args:
        data: (N, D) numbers. "npy", "npz" and "mat" take other shapes, too; MATLAB gives a vector (D,) the shape (1, D).
        path: of the file, which is replaced if there is one. Its folder is made if there is none.
        fmt: as for `read`.

    Raises:
        ValueError: for a format that there is not, for data that are no numbers, and for text of more than two axes.
    """
    path, data = Path(path), np.asarray(data)
    content = format_of(path, fmt, _CONTENTS)
    if data.dtype.kind not in "biuf":
        raise ValueError(f"data_io writes numbers; got {data.dtype}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, content(data))


def _read_txt(path):
    rows = []
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig").split("\n"), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ValueError(f"line {number}: {str(error)[:100]}") from None
        if row:
            rows.append(row)
        if row and len(row) != len(rows[0]):
            raise ValueError(f"line {number} holds {len(row)} numbers, and the first {len(rows[0])}")
    if not rows:
        raise ValueError("it holds no numbers")
    return np.array(rows)


def _read_npy(path):
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":  # what numpy.load reads under either name
            return _read_npz(path)
        file.seek(0)
        npz.npy_header(file, path.stat().st_size, "its array")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path):
    arrays = npz.headers(path)
    name = next(iter(arrays)) if len(arrays) == 1 else "data"
    if name not in arrays:
        raise ValueError(f"it holds {len(arrays)} arrays, {', '.join(arrays)[:200]}, and none is called 'data'")
    return npz.load(path, [name])[name]


def _txt(data):
    if data.ndim not in (1, 2):
        raise ValueError(f"A text file holds a matrix (N, D); got the shape {data.shape}: reshape it, or write npy.")
    return "".join(" ".join(map(repr, row.tolist())) + "\n" for row in np.atleast_2d(data)).encode("ascii")


def _npy(data):
    buffer = io.BytesIO()
    np.save(buffer, data, allow_pickle=False)
    return buffer.getvalue()


def _npz(data):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, data=data)
    return buffer.getvalue()


_READERS = {
    "txt": _read_txt,
    "npy": _read_npy,
    "npz": _read_npz,
    "": _read_npy,
    "mat": lambda path: mat_format.read(path.read_bytes()),
}
_CONTENTS = {"txt": _txt, "npy": _npy, "npz": _npz, "": _npy, "mat": mat_format.content}
