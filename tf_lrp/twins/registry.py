"""The table of twins: class of a layer or operation -> class of its twin. Users add their own."""

from __future__ import annotations

from tf_lrp.keras_compat.keras_classes import nearest_class
from tf_lrp.operations.kinds import KINDS

_TWIN_OF_LAYER: dict[type, type] = {}


def register_twin(*layer_classes):
    """Class decorator: nodes of these layer (or operation) classes get the decorated `Twin`.

    Raises:
        TypeError: if the twin's ``kinds`` are not a set of strings.
        ValueError: if a kind is not one of `tf_lrp.select.KINDS`.

    Example:
        >>> @tf_lrp.register_twin(MySwish)
        ... class MySwishTwin(tf_lrp.twins.PassTwin):
        ...     pass
    """

    def register(twin_class):
        kinds = twin_class.kinds
        if not isinstance(kinds, frozenset | set):
            raise TypeError(f'{twin_class.__name__}.kinds is a set of words such as {{"dense", "weights"}}, got {kinds!r}.')
        unknown = sorted(map(str, set(kinds) - set(KINDS)))
        if unknown:
            raise ValueError(f"{twin_class.__name__}.kinds are among {', '.join(KINDS)}; got {', '.join(unknown)}.")
        for layer_class in layer_classes:
            _TWIN_OF_LAYER[layer_class] = twin_class
        return twin_class

    return register


def twin_class_of(operation, signals=None):
    """The twin class registered for an operation's class or the nearest base whose ``call`` it keeps; None without.

    Args:
        operation: a Keras layer or operation.
        signals: for one call of it which inputs depend on the model's inputs (tuple of bools), to get the variant of the
            twin that is meant for the call.
    """
    twin_class = nearest_class(_TWIN_OF_LAYER, operation)
    return twin_class if twin_class is None or signals is None else twin_class.variant(operation, signals)


def twin_class_of_base(operation):
    """The twin class of an operation's nearest base class that declares kinds, whatever ``call`` the operation has; or None.

    Base classes with weights do not count: whether a subclass with a ``call`` of its own uses them is unknown.
    """
    twins = (_TWIN_OF_LAYER[base] for base in type(operation).__mro__ if base in _TWIN_OF_LAYER)
    return next((twin for twin in twins if twin.kinds and "weights" not in twin.kinds), None)
