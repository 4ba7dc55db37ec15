"""One process at a time: locks that the operating system releases when the process ends, however it ends."""

from __future__ import annotations

import contextlib

from filelock import FileLock, Timeout


@contextlib.contextmanager
def exclusive_lock(path, message):
    """Holds a file lock for the duration of the ``with`` block, on every system that the package filelock supports.

    Args:
        path: of the lock file, which is created if it does not exist.
        message: of the error that is raised if another process, or another ``with`` block of this process, holds the lock.

    Raises:
        BlockingIOError: the lock is held.
    """
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(message) from None
    try:
        yield
    finally:
        lock.release()
