"""The table of openers: functions that open a layer or operation in place of its own ``call``."""

from __future__ import annotations

from tf_lrp.keras_compat.keras_classes import operation_classes
from tf_lrp.keras_compat.preprocessing import DATA_LAYERS
from tf_lrp.keras_compat.side_effects import on_symbolic_tensors

#: Class of a layer or operation -> (function (operation, *args, **kwargs) -> outputs, condition on the operation).
_OPENERS = {}


def opens(*classes, when=lambda operation: True):
    """Decorator: operations of these classes are opened by the decorated function."""

    def register(function):
        for opened in classes:
            _OPENERS[opened] = function, when
        return function

    return register


def opens_function(*names, when=lambda operation: True):
    """Decorator as `opens`, for the operations behind functions of keras.ops, by their class names."""
    return opens(*operation_classes(*names), when=when)


def opener_of(operation):
    """The function (layer, *args, **kwargs) -> outputs that opens an operation of this class, or None.

    Subclasses that define their own ``call`` open by that.
    """
    for base in type(operation).__mro__:
        if base in _OPENERS:
            opener, when = _OPENERS[base]
            return opener if type(operation).call is base.call and when(operation) else None
    return _data_layer if isinstance(operation, DATA_LAYERS) else None


def _data_layer(layer, *args, **kwargs):
    """A preprocessing layer, by its own ``call``, in which keras.ops replaces the backend."""
    return type(layer).call(on_symbolic_tensors(layer), *args, **kwargs)
