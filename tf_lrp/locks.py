"""One process at a time: locks that the system lifts when the process ends, however it ends."""

from __future__ import annotations

import contextlib


@contextlib.contextmanager
def alone(path, message):
    """Holds the lock of a file while the ``with`` lasts.

    Args:
        path: of the lock's file, which is made if it is not there and stays.
        message: of the error, if another process holds it.

    Raises:
        BlockingIOError: another process holds the lock. Systems without such locks never raise it.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(message) from None
        yield
