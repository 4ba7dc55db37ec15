"""Names for operations that are called while a graph of TensorFlow is replayed: those that they have in the graph."""

from __future__ import annotations

import contextlib
import contextvars

_NAMES = contextvars.ContextVar("names", default=None)


@contextlib.contextmanager
def named(names):
    """In this context, the operations that are called have the path ``names`` (a tuple); None: their own name."""
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


def names_here():
    """The path that was set by `named`, or None."""
    return _NAMES.get()
