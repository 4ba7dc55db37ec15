"""Names of a package that are imported when they are first used (PEP 562): TensorFlow takes seconds, and not all need it."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: dict[str, str]) -> tuple[Callable, Callable]:
    """(``__getattr__``, ``__dir__``) of a package.

    Args:
        package: its dotted name.
        modules: name -> the module of the package that defines it, or that it is.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{modules[name]}")
        value = module if modules[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: sorted({*vars(sys.modules[package]), *modules})
