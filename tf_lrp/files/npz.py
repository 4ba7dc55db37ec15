"""Arrays from untrusted .npz files: the memory that a file would need is known before its arrays are read.

A megabyte of a compressed file can hold a gigabyte of zeros. The file's directory and the header of each array contain its
name, shape and type, which are checked first. Pickled objects, which can run code, are never read.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

#: Without `max_bytes`, the arrays of a file may take this many bytes ...
_ALWAYS = 1 << 30
#: ... or this many times the size of the file, if that is more: weights compress to a half, relevance maps to a tenth.
_TIMES = 20

#: Maximal length of the reason in an error message.
_LONGEST = 400

#: Exceptions that zipfile and NumPy raise for damaged files and for other formats.
ERRORS = (
    ValueError, TypeError, KeyError, EOFError, OSError, SyntaxError, RuntimeError, NotImplementedError, OverflowError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


class Header(NamedTuple):
    """Shape and type of an array in a file.

    Attributes:
        shape: tuple of int.
        dtype: numpy.dtype.
    """

    shape: tuple
    dtype: np.dtype

    @property
    def nbytes(self):
        return math.prod(self.shape) * self.dtype.itemsize


def headers(path):
    """Name -> `Header` of all arrays in a file, without reading the arrays.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no .npz file of plain arrays.
    """
    return _opened(path, lambda archive: {name: header for name, (_, header) in _members(archive).items()})


def load(path, names=None, *, max_bytes=None):
    """Reads arrays of a file: a dict name -> array.

    Args:
        path: the file.
        names: names of the arrays to read; all by default.
        max_bytes: maximal size of these arrays in memory. By default 1 GiB, or 20 times the size of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no .npz file of plain arrays, lacks a name, or its arrays would take more than ``max_bytes``.
    """

    def read(archive):
        members = _members(archive)
        wanted = list(members) if names is None else list(names)
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ValueError(f"it holds no array {missing[0]!r}")
        size = sum(members[name][1].nbytes for name in wanted)
        limit = memory_limit(os.path.getsize(path)) if max_bytes is None else max_bytes
        if size > limit:
            raise ValueError(
                f"its arrays would take {size:,} bytes of memory, which is more than the {limit:,} that are allowed for a file "
                f"of {os.path.getsize(path):,} bytes (tf_lrp.files.npz.load(..., max_bytes=) allows more)"
            )
        arrays = {}
        for name in wanted:
            with archive.open(members[name][0]) as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                member.read(1)  # the end of a member is where its checksum is compared
        return arrays

    return _opened(path, read)


def memory_limit(size):
    """Bytes of memory that the arrays of a file of ``size`` bytes may take unless the caller allows more."""
    return max(_ALWAYS, _TIMES * size)


def _opened(path, read):
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except ERRORS as error:
        raise ValueError(f"{path!r} is not an npz file of plain arrays that can be read: {_one_line(error)}.") from error


def _one_line(error):
    """The message of an error that may quote the file's own bytes, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _members(archive):
    """Name -> (entry of the directory, `Header`)."""
    members = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in members:
            raise ValueError(f"its entry {info.filename!r} is not an array with a unique name")
        with archive.open(info) as member:
            members[name] = info, npy_header(member, info.file_size, f"its array {name!r}")
    return members


def npy_header(file, size, what):
    """The `Header` of an array in the .npy format, which is compared with the size of the file.

    Args:
        file: opened for reading bytes, at its start; it is left where the array begins.
        size: of the file, in bytes.
        what: the array, for messages.

    Raises:
        ValueError: for another format, for pickled objects, and for a size that does not match. NumPy raises more of `ERRORS`.
    """
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"{what} has the unknown format version {version}")
    shape, _, dtype = _READERS[version](file)
    if dtype.hasobject:
        raise ValueError(f"{what} holds pickled objects, which are refused, as they can run code")
    header = Header(shape, dtype)
    if file.tell() + header.nbytes != size:
        raise ValueError(f"the size of {what} does not match its shape {shape}")
    return header


_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
