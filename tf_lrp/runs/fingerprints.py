"""Fingerprints: short digests that tell whether data, weights and layers are those of an earlier run.

They are stored in users' folders and compared when a run is resumed: the same content has to give the same digest in every
version of this library.
"""

from __future__ import annotations

import hashlib

import numpy as np


def digest(parts):
    """The first sixteen hexadecimal digits of the SHA-256 of all parts, one after the other.

    Args:
        parts: iterable of bytes and of arrays, of which the values count, not shape and type.
    """
    total = hashlib.sha256()
    for part in parts:
        # As bytes without a copy; NumPy itself exports no buffer of types such as bfloat16.
        total.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).reshape(-1).view(np.uint8))
    return total.hexdigest()[:16]


def parts(array, name=""):
    """An array as parts for `digest`, so that its name, type and shape count as well as its values."""
    return f"{name}{array.dtype.str}{array.shape}".encode(), array


def file_digest(path):
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
