"""Atomic files: a reader finds the earlier file or the new one, never a part of it."""

from __future__ import annotations

import os


def partial(final):
    """The path under which a file is written before it gets its final name.

    It contains the process id, so that two processes which write the same file by mistake do not mix their bytes.
    """
    return final.with_name(f"{final.name}.{os.getpid()}.partial")


def commit(temporary, final):
    """Renames a finished file to its final name; after a loss of power the file is complete or absent."""
    sync(temporary)
    os.replace(temporary, final)
    sync(final.parent)


def write(final, content):
    """Writes a file completely or not at all; an earlier file of this name is replaced.

    Args:
        final: pathlib.Path.
        content: bytes, or str, which is encoded as UTF-8.

    Raises:
        OSError: the file could not be written; the earlier file is unchanged.
    """
    temporary = partial(final)
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        commit(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path):
    """Waits until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
