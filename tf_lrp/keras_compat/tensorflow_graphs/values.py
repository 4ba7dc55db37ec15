"""Values in a graph that is replayed: constants, weights, lengths, symbolic tensors, complex numbers, lists of tensors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.lengths import SizeOf
from tf_lrp.keras_compat.parameters import LEARNED, Parameter
from tf_lrp.keras_compat.tensorflow_internals import op_definition


@dataclass(frozen=True, eq=False)
class Complex:
    """A complex tensor, as its real and its imaginary part."""

    real: Any
    imaginary: Any

    @property
    def shape(self):
        return self.real.shape


#: Lengths that are known when the graph runs.
_UNKNOWN = (keras.KerasTensor, tf.Tensor)


class TensorList(list):
    """The elements of a TensorArray."""


def is_tensor(value):
    """Whether a value depends on what the graph is given."""
    return isinstance(value, keras.KerasTensor | Complex) or (isinstance(value, TensorList) and any(map(is_tensor, value)))


def is_lengths(value):
    """Whether a value is an array of integers some of which are known only when the graph runs."""
    return isinstance(value, np.ndarray) and value.dtype == object


def is_learned(value):
    return isinstance(value, LEARNED)


def shape_of(x):
    """The lengths of the axes of a tensor, as an array."""

    def unknown(axis):
        return SizeOf(axis)(x) if isinstance(x, keras.KerasTensor) else tf.shape(x)[axis]

    return lengths([unknown(axis) if length is None else length for axis, length in enumerate(x.shape)])


def lengths(entries):
    """An array of the integers and symbolic lengths in a list; of a single one, an array without axes."""
    flat = entries if isinstance(entries, list) else [entries]
    if not any(isinstance(entry, _UNKNOWN) for entry in flat):
        return np.asarray(entries, "int32")
    array = np.empty(len(flat), object)
    for n, entry in enumerate(flat):
        array[n] = entry
    return array if isinstance(entries, list) else array.reshape(())


def as_list(value):
    """Lengths or axes as a list of ints and symbolic lengths, a single one as a list of one."""
    entries = [value] if isinstance(value, _UNKNOWN) else np.ravel(value)
    return [entry if isinstance(entry, _UNKNOWN) else int(entry) for entry in entries]


def as_tensor(value, dtype="int32"):
    """Lengths as a symbolic tensor; other values as they are."""
    if not is_lengths(value):
        return value
    if value.ndim == 0:
        return value.item()
    return ops.stack(
        [as_tensor(part) if isinstance(part, np.ndarray) else ops.convert_to_tensor(part, dtype) for part in value]
    )


def number(value):
    """A constant without axes as a Python number, which takes the type of what it is combined with; others as they are."""
    plain = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiu"
    return value.item() if plain else as_tensor(value)


def run(op, values):
    """The results of an operation for constants: a list of tensors."""
    definition = op_definition(op.type)
    values, arguments, inferred = iter(values), {}, set()
    for arg in definition.input_arg:
        inferred |= {arg.type_attr, arg.number_attr, arg.type_list_attr}
        if arg.number_attr:
            arguments[arg.name] = [next(values) for _ in range(op.attr(arg.number_attr))]
        elif arg.type_list_attr:
            arguments[arg.name] = [next(values) for _ in op.attr(arg.type_list_attr)]
        else:
            arguments[arg.name] = next(values)
    for attr in definition.attr:
        if attr.name not in inferred and attr.name in op.attributes:
            arguments[attr.name] = op.attr(attr.name)
    function = getattr(tf.raw_ops, op.type)
    # Python has other names for some arguments, in the same order.
    own = [name for name in inspect.signature(function).parameters if name != "name" and name not in arguments]
    renamed = dict(zip([name for name in arguments if name not in inspect.signature(function).parameters], own, strict=False))
    results = function(**{renamed.get(name, name): value for name, value in arguments.items()})
    return list(results) if isinstance(results, list | tuple) else [results]


def folded(op, values):
    """The results of an operation for constants, as arrays."""
    with tf.init_scope():
        return [result.numpy() for result in run(op, values)]


def parameters(op, values):
    """The results of an operation for weights and constants, computed anew at each use.

    Transposing a weight or changing its type is done once for all of the graph that reads it.
    """
    with tf.init_scope():
        count = len(run(op, [tf.convert_to_tensor(value) for value in values]))

    def result(n):
        return lambda: run(op, [tf.convert_to_tensor(value) for value in values])[n]

    return [Parameter(result(n)) for n in range(count)]


def computed(function, value):
    """A function of a constant or a weight, which follows later changes of the weight."""
    if is_learned(value):
        return Parameter(lambda: function(tf.convert_to_tensor(value)))
    with tf.init_scope():
        return function(tf.convert_to_tensor(value)).numpy()
