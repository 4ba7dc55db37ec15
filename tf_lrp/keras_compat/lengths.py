"""Lengths of axes that are known only when the graph runs, as symbolic numbers while a ``call`` is traced."""

from __future__ import annotations

import contextlib
import threading

import keras
import tensorflow as tf
from keras import tree
from keras.src import ops as source_ops
from keras.src.backend.common.variables import Variable as KerasVariable
from keras.src.ops import core as core_operations
from keras.src.ops import numpy as numpy_operations

_ABSENT = object()
_BINARY = [
    f"__{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge")
]
_SIZE_OF = {"reshape": 1, "broadcast_to": 1, "tile": 1, "repeat": 1, "slice": 1, "pad": 1, "roll": 1}
#: Sums whose length is an argument: (position of the summands, (name and position of the length)).
_SUMS_TO_SIZE = {"segment_sum": (0, ("num_segments", 2)), "scatter": (1, ("shape", 2))}
_FROM_SIZES = ("arange", "zeros", "ones", "full", "eye", "tri", "identity", "linspace")


class SizeOf(keras.Operation):
    """The length of one axis, known when the graph runs."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def call(self, x):
        return tf.shape(x)[self.axis]

    def compute_output_spec(self, x):
        return keras.KerasTensor((), dtype="int32")


class Sized(keras.Operation):
    """A function of keras.ops with arguments that are lengths, which are known when the graph runs."""

    def __init__(self, function):
        super().__init__(name=None)
        self.function = function

    def call(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        args, kwargs = tree.map_structure(_dense, (args, kwargs))
        return super().compute_output_spec(*args, **kwargs)


class SizedSum(Sized):
    """A `Sized` function that sums entries of its argument at the position ``operand``."""

    def __init__(self, function, operand):
        super().__init__(function)
        self.operand = operand


def _dense(leaf):
    """Keras takes the product of a length and a number for sparse."""
    sparse = isinstance(leaf, keras.KerasTensor) and leaf.sparse
    return keras.KerasTensor(leaf.shape, leaf.dtype) if sparse else leaf


def in_this_thread(stand_in, original):
    """A function that calls ``stand_in`` in this thread, and ``original`` in threads that build models at the same time."""
    here = threading.get_ident()
    return lambda *args, **kwargs: (stand_in if threading.get_ident() == here else original)(*args, **kwargs)


def is_symbolic(structure):
    """Whether there are KerasTensors in a nested structure."""
    return any(isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten(structure))


@contextlib.contextmanager
def symbolic_lengths():
    """While a ``call`` is run, ``keras.ops.shape`` returns symbolic lengths, and functions that take shapes accept them."""
    replaced = []

    def replace(name, make):
        original = getattr(source_ops, name)
        stand_in = in_this_thread(make(original), original)
        for module in (keras.ops, source_ops, core_operations, numpy_operations):
            if getattr(module, name, None) is original:
                replaced.append((module, name, original))
                setattr(module, name, stand_in)

    def shape_of(original):
        def shape(x):
            if not isinstance(x, keras.KerasTensor):
                return original(x)
            return tuple(SizeOf(axis)(x) if size is None else size for axis, size in enumerate(x.shape))

        return shape

    def sized(original, first):
        def function(*args, **kwargs):
            if not is_symbolic((args[first:], kwargs)):
                return original(*args, **kwargs)
            return Sized(original).symbolic_call(*args, **kwargs)

        return function

    def summing(original, operand, length):
        """With the output's length, the argument of that name and position, known when the graph runs."""
        name, position = length

        def function(*args, **kwargs):
            size = args[position] if len(args) > position else kwargs.get(name)
            if not is_symbolic(size):
                return original(*args, **kwargs)
            return SizedSum(original, operand).symbolic_call(*args, **kwargs)

        return function

    def reshaping(original):
        by_size = sized(original, 1)

        def reshape(x, newshape):
            if isinstance(x, keras.KerasTensor) and isinstance(newshape, (list, tuple)):
                # (x.shape[0], -1): the length of an axis, written where only its name was known.
                newshape = tuple(SizeOf(n)(x) if size is None else size for n, size in enumerate(newshape))
            unknown = [isinstance(size, keras.KerasTensor) for size in newshape] if isinstance(newshape, (list, tuple)) else []
            if sum(unknown) == 1 and -1 not in [s for s in newshape if isinstance(s, int)]:
                newshape = tuple(-1 if is_unknown else s for is_unknown, s in zip(unknown, newshape, strict=True))
            return by_size(x, newshape)

        return reshape

    def rank_of(original):
        return lambda x: len(x.shape) if isinstance(x, keras.KerasTensor) else original(x)

    def item_of(x, key):
        """``x[key]``: with a lone None, slice or Ellipsis too, and with slices that end at symbolic lengths."""
        key = tuple(key) if isinstance(key, (list, tuple)) else (key,)
        bounds = [bound for part in key if isinstance(part, slice) for bound in (part.start, part.stop, part.step)]
        lengths = [bound for bound in bounds if isinstance(bound, keras.KerasTensor)]
        if not lengths:
            return numpy_operations.GetItem().symbolic_call(x, key)

        def item(x, *known):
            known = iter(known)
            filled = [next(known) if isinstance(bound, keras.KerasTensor) else bound for bound in bounds]
            slices = (slice(*filled[n : n + 3]) for n in range(0, len(filled), 3))
            return x[tuple(next(slices) if isinstance(part, slice) else part for part in key)]

        return Sized(item).symbolic_call(x, *lengths)

    def after_symbolic(original):
        def method(self, other):
            return NotImplemented if isinstance(other, keras.KerasTensor) else original(self, other)

        return method

    def replace_method(owner, name, value):
        replaced.append((owner, name, owner.__dict__.get(name, _ABSENT)))
        setattr(owner, name, value)

    try:
        # variable * tensor and array * tensor are left to the symbolic tensor, as a TensorFlow tensor would have it.
        for name in _BINARY:
            original = getattr(KerasVariable, name)
            replace_method(KerasVariable, name, in_this_thread(after_symbolic(original), original))
        replace_method(keras.KerasTensor, "__array_ufunc__", None)
        replace_method(keras.KerasTensor, "__getitem__", in_this_thread(item_of, keras.KerasTensor.__getitem__))
        replace("shape", shape_of)
        replace("ndim", rank_of)
        replace("is_tensor", lambda original: lambda x: isinstance(x, keras.KerasTensor) or original(x))
        replace("reshape", reshaping)
        for name, first in _SIZE_OF.items():
            if name != "reshape":
                replace(name, lambda original, first=first: sized(original, first))
        for name in _FROM_SIZES:
            replace(name, lambda original: sized(original, 0))
        for name, (operand, length) in _SUMS_TO_SIZE.items():
            replace(name, lambda original, operand=operand, length=length: summing(original, operand, length))
        yield
    finally:
        for owner, name, original in reversed(replaced):
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
