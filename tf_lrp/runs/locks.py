"""One process at a time: locks that the system lifts when the process ends, however it ends."""

from __future__ import annotations

import contextlib

from filelock import FileLock, Timeout


@contextlib.contextmanager
def alone(path, message):
    """Holds the lock of a file while the ``with`` lasts, on every system that the package filelock knows.

    Args:
        path: of the lock's file, which is made if it is not there.
        message: of the error, if another process, or another ``with`` of this one, holds it.

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
