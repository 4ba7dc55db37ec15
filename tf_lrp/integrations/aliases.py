"""Modules under an earlier name."""

from __future__ import annotations

import importlib
import pkgutil
import sys


def alias(old, new):
    """Lets the module ``new``, and the modules in it if it is a package, be imported as ``old`` too: the same objects.

    Args:
        old, new: dotted names; ``old`` is the module that calls this while it is imported.
    """
    module = sys.modules[old] = importlib.import_module(new)
    for _, name, _ in pkgutil.walk_packages(getattr(module, "__path__", []), f"{new}."):
        sys.modules[old + name.removeprefix(new)] = importlib.import_module(name)
