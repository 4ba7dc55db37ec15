"""Pickles and deep copies of explainers: built again from the arguments they were constructed with."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree


class Reconstructible:
    """Is pickled as its class and the arguments of its construction, and so with the model's current weights.

    The twin and the compiled passes are built again. Attributes in `copied_settings` keep their current values, and what the
    object has estimated since it was constructed travels as `learned_arguments`.
    """

    #: Names of attributes that a user may have changed since.
    copied_settings: tuple[str, ...] = ()

    _constructed_with: tuple[tuple, dict[str, Any]]

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _recording_arguments(cls.__init__)

    def copy_as_constructed_with(self, **arguments: Any):
        """Sets what copies and pickles are constructed with, for an object that was made in another way."""
        self._constructed_with = (), arguments

    def learned_arguments(self) -> dict[str, Any]:
        """Arguments of the class that give a copy what this object has estimated since it was constructed."""
        return {}

    def __reduce__(self):
        args, arguments = self._constructed_with
        positional = dict(zip(inspect.signature(type(self)).parameters, args, strict=False))
        arguments = {**positional, **arguments, **self.learned_arguments()}
        settings = {name: getattr(self, name) for name in self.copied_settings}
        return _construct, (type(self), tree.map_structure(_picklable, arguments), settings)


def _recording_arguments(init):
    """A class's ``__init__`` that keeps what the outermost one was called with."""

    @functools.wraps(init)
    def recording(self, *args, **arguments):
        if "_constructed_with" not in vars(self):
            self._constructed_with = args, arguments
        init(self, *args, **arguments)

    return recording


@dataclass(frozen=True)
class _InputDescription:
    """A symbolic input, as it can be pickled."""

    shape: tuple
    dtype: str
    name: str


def _picklable(leaf):
    return _InputDescription(leaf.shape, leaf.dtype, leaf.name) if isinstance(leaf, keras.KerasTensor) else leaf


def _symbolic(leaf):
    if not isinstance(leaf, _InputDescription):
        return leaf
    return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype, name=leaf.name)


def _construct(explainer_class, arguments, settings):
    symbolic: Any = tree.map_structure(_symbolic, arguments)
    explainer = explainer_class(**symbolic)
    vars(explainer).update(settings)
    return explainer
