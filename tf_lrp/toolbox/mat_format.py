"""MATLAB's .mat files: one full matrix of real numbers, called "data".

SciPy writes them. It does not read them, because damaged files crash it, and the interpreter with it; here the size of a matrix
is compared with what the file holds before anything is made of it. The formats: "MAT-File Format", The MathWorks.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tf_lrp.files.npz import memory_limit

_KEY = "data"

#: Classes of matrices that are read -> the type of their numbers (version 5).
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHER_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"}
#: Types in which the numbers of a matrix may be stored, often smaller ones than the matrix has (version 5).
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_IS_COMPLEX = 0x0800
#: The types of version 4.
_VERSION_4 = ("f8", "f4", "i4", "i2", "u2", "u1")


def read(file: bytes) -> np.ndarray:
    """The matrix ``data`` of a file of MATLAB's versions 4 to 7.

    Raises:
        ValueError: for version 7.3, for a file without the matrix, for one of another kind, and for damaged files.
    """
    if file.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise ValueError("it has MATLAB's version 7.3, which is HDF5: save it with save(file, 'data', '-v7')")
    if len(file) < 128 or 0 in file[:4]:  # later versions begin with a text
        return _of_version_4(file)
    names = []
    try:
        for element, order in _elements(file):
            name, matrix = _matrix(element, order)
            if name == _KEY:
                return matrix()
            names.append(name)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"it is damaged: {error}") from None
    raise ValueError(_missing(names))


def content(data: np.ndarray) -> bytes:
    """A file of MATLAB's version 5 with the matrix ``data``.

    Raises:
        ImportError: without SciPy.
    """
    try:
        from scipy.io import savemat
    except ImportError:
        raise ImportError('To write .mat files needs SciPy: pip install "tf_lrp[toolbox]"') from None
    buffer = io.BytesIO()
    savemat(buffer, {_KEY: data}, do_compression=True)
    return buffer.getvalue()


def _missing(names):
    found = ", ".join(map(repr, names))[:200]
    return f"it holds no matrix {_KEY!r}, but {found or 'nothing'}"


# ---- version 5, which MATLAB's versions 5 to 7 write -----------------------------------------------------------------


def _elements(file) -> Iterator[tuple[memoryview, str]]:
    """(contents, order of bytes) of each matrix of a file."""
    order = {b"IM": "<", b"MI": ">"}.get(file[126:128])
    if order is None:
        raise ValueError("it is no .mat file")
    position, view = 128, memoryview(file)
    while position < len(file):
        kind, element, position = _element(view, position, order)
        if kind == _COMPRESSED:
            kind, element = _unpacked(element, order, memory_limit(len(file)))
        if kind == _MATRIX:
            yield element, order


def _unpacked(element, order, limit):
    """(type, contents) of what an element holds compressed."""
    stream = zlib.decompressobj()
    kind, size = struct.unpack(f"{order}2I", stream.decompress(element, 8))
    if size > limit:
        raise ValueError(f"one of its matrices would take {size:,} bytes, more than is allowed for a file of its size")
    unpacked = stream.decompress(stream.unconsumed_tail, max(size, 1))
    if len(unpacked) < size:
        raise ValueError("it ends within a matrix")
    return kind, memoryview(unpacked)[:size]


def _element(view, position, order):
    """(type, contents, position of the next element) of the element at a position."""
    kind, size = struct.unpack_from(f"{order}2I", view, position)
    if kind >> 16:  # up to four bytes, within the description
        kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        if size > 4:
            raise ValueError("it is damaged: a short element is longer than four bytes")
    else:
        start = position + 8
        end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
    if start + size > len(view):
        raise ValueError("it ends within a matrix")
    return kind, view[start : start + size], end


def _matrix(element, order):
    """(name, function that returns the array) of a matrix."""
    _, flags, position = _element(element, 0, order)
    (flags,) = struct.unpack_from(f"{order}I", flags)
    _, shape, position = _element(element, position, order)
    shape = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    _, name, position = _element(element, position, order)

    def array():
        kind = flags & 0xFF
        if kind not in _CLASSES or flags & _IS_COMPLEX:
            found = "complex numbers" if kind in _CLASSES else f"a {_OTHER_CLASSES.get(kind, 'damaged')} array"
            raise ValueError(f"its {_KEY!r} is no full matrix of real numbers, but {found}")
        stored, numbers, _ = _element(element, position, order)
        if stored not in _STORED:
            raise ValueError(f"the numbers of its {_KEY!r} have the unknown type {stored}")
        return _array(numbers, order + _STORED[stored], shape).astype(_CLASSES[kind])

    return bytes(name).decode("latin1"), array


def _array(numbers, dtype, shape):
    dtype = np.dtype(dtype)
    if not shape or min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ValueError(f"the size of its {_KEY!r} does not match its shape {shape}"[:200])
    return np.frombuffer(numbers, dtype).reshape(shape, order="F")


# ---- version 4 -------------------------------------------------------------------------------------------------------


def _of_version_4(file):
    position, names = 0, []
    while position < len(file):
        if len(file) - position < 20:
            raise ValueError("it is no .mat file, or it ends within the description of a matrix")
        order = "<" if struct.unpack_from("<i", file, position)[0] in range(5000) else ">"
        kind, rows, columns, is_complex, length = struct.unpack_from(f"{order}5i", file, position)
        kind_of_number = kind // 10 % 10
        if kind not in range(5000) or kind_of_number >= len(_VERSION_4) or min(rows, columns, is_complex, length) < 0:
            raise ValueError("it is no .mat file")
        dtype = order + _VERSION_4[kind_of_number]
        start = position + 20 + length
        size = rows * columns * np.dtype(dtype).itemsize
        name = file[position + 20 : start].rstrip(b"\0").decode("latin1")
        position = start + (2 if is_complex else 1) * size
        if position > len(file):
            raise ValueError("it ends within a matrix")
        if name == _KEY:
            if is_complex or kind % 10:
                raise ValueError(f"its {_KEY!r} is no full matrix of real numbers")
            return _array(memoryview(file)[start : start + size], dtype, (rows, columns)).astype(dtype[1:])
        names.append(name)
    raise ValueError(_missing(names))
