"""Arrays from .npz files that anyone may have written: what a file would fill memory with is known before it is read.

A megabyte of a compressed file can hold a gigabyte of zeros. The directory of the file and the first bytes of each array say
its name, shape and type; they are checked first. Pickled objects, which can run code, are never read.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

#: Without `max_bytes`, the arrays of a file may take this many bytes ...
_ALWAYS = 1 << 30
#: ... or so many times the size of the file, if that is more: weights compress to a half, maps of relevance to a tenth.
_TIMES = 20

#: What damaged or foreign files make zipfile and NumPy raise.
_ERRORS = (
    ValueError, TypeError, KeyError, EOFError, OSError, SyntaxError, RuntimeError, NotImplementedError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Header(NamedTuple):
    """What a file says about one of its arrays.

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
    """Name -> `Header` of all arrays of a file, of which no array is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no .npz file of plain arrays.
    """
    return _opened(path, lambda archive: {name: header for name, (_, header) in _members(archive).items()})


def load(path, names=None, *, max_bytes=None):
    """Name -> array of a file.

    Args:
        path: the file.
        names: those to read; all by default.
        max_bytes: most that the arrays read may take in memory. By default 1 GiB, or 20 times the size of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no .npz file of plain arrays, lacks a name, or its arrays would take more than ``max_bytes``.
    """

    def read(archive):
        members = _members(archive)
        wanted = list(members) if names is None else list(names)
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ValueError(f"it holds no array {missing[0]!r}")
        size = sum(members[name][1].nbytes for name in wanted)
        limit = max(_ALWAYS, _TIMES * os.path.getsize(path)) if max_bytes is None else max_bytes
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


def _opened(path, read):
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except _ERRORS as error:
        raise ValueError(
            f"{path!r} is not an npz file of plain arrays that can be read: {error or type(error).__name__}."
        ) from error


def _members(archive):
    """Name -> (entry of the directory, `Header`)."""
    found = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in found:
            raise ValueError(f"its entry {info.filename!r} is no array of a name of its own")
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version not in _READERS:
                raise ValueError(f"the format of its array {name!r} is of the unknown version {version}")
            shape, _, dtype = _READERS[version](member)
            start = member.tell()
        if dtype.hasobject:
            raise ValueError(f"its array {name!r} holds pickled objects, which are refused, as they can run code")
        header = Header(shape, dtype)
        if start + header.nbytes != info.file_size:
            raise ValueError(f"its array {name!r} is not as long as its shape {shape} says")
        found[name] = info, header
    return found


_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
