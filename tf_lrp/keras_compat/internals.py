"""Every use of Keras that its public API does not cover, in one place; tests name what broke when Keras changes.

Used here: how layers meet symbolic tensors (`symbolic_call`, `Node`, `_call_signature`), where keras.random and preprocessing
layers find their backend, the shapes a subclassed model was built for (`_build_shapes_dict`), the nested structures of a
Functional model (`_inputs_struct`, `_outputs_struct`, `_functional`), the input layer that Keras gives to a Sequential model
at its first call (`_layers`, `_auto_config`) and the operation classes behind ``x + y`` and ``keras.ops``.
"""

from __future__ import annotations

import contextlib
import re
import threading

import keras
import numpy as np
import tensorflow as tf
from keras import tree
from keras.src import ops as source_ops
from keras.src.backend import AutocastScope, compute_output_spec
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.backend.common.variables import Variable as KerasVariable
from keras.src.layers import layer as layer_module
from keras.src.layers.preprocessing.data_layer import DataLayer
from keras.src.layers.preprocessing.feature_space import TFDConcat
from keras.src.layers.preprocessing.index_lookup import IndexLookup
from keras.src.layers.rnn.conv_lstm import ConvLSTM, ConvLSTMCell
from keras.src.models.functional import Functional
from keras.src.ops import core as core_operations
from keras.src.ops import numpy as numpy_operations
from keras.src.ops import operation as operation_module
from keras.src.ops.node import Node
from keras.src.random import random as random_module

from tf_lrp.keras_compat.lookup import layer_classes, operation_classes  # noqa: F401

#: Context in which float variables are read in a given type.
reading_variables_as = AutocastScope

CONVOLUTIONAL_LSTM = ConvLSTM
CONVOLUTIONAL_LSTM_CELLS = (ConvLSTMCell,)

#: Where keras.random finds its backend.
RANDOM_FUNCTIONS = random_module

#: Layers that reach the functions of a backend through an attribute of their own.
DATA_LAYERS = DataLayer

#: How a `keras.utils.FeatureSpace` joins its features.
FEATURE_CONCATENATION = (TFDConcat,)

Add = numpy_operations.Add
Subtract = numpy_operations.Subtract
Multiply = numpy_operations.Multiply
Divide = numpy_operations.Divide
TrueDivide = numpy_operations.TrueDivide
Maximum = numpy_operations.Maximum
Minimum = numpy_operations.Minimum
Power = numpy_operations.Power

_ABSENT = object()
_BINARY = [
    f"__{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge")
]
_SIZE_OF = {"reshape": 1, "broadcast_to": 1, "tile": 1, "repeat": 1, "slice": 1, "pad": 1, "roll": 1}
#: Sums whose length is an argument: (position of what is added up, (name and position of the length)).
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
    """A function of keras.ops some of whose arguments are lengths that are known when the graph runs."""

    def __init__(self, function, routes):
        super().__init__(name=None)
        self.function, self.routes = function, routes

    def call(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        args, kwargs = tree.map_structure(_dense, (args, kwargs))
        return super().compute_output_spec(*args, **kwargs)


class SizedSum(Sized):
    """A function that adds up entries of its argument of position ``operand``; others of its arguments are such lengths."""

    def __init__(self, function, operand):
        super().__init__(function, routes=False)
        self.operand = operand


def _dense(leaf):
    """Keras takes the product of a length and a number for sparse."""
    sparse = isinstance(leaf, keras.KerasTensor) and leaf.sparse
    return keras.KerasTensor(leaf.shape, leaf.dtype) if sparse else leaf


def like(tensor):
    """A new symbolic tensor of the same shape, type and mask."""
    new = keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
    mask = get_keras_mask(tensor)
    if mask is not None:
        set_keras_mask(new, mask)
    return new


_tracing = threading.RLock()


@contextlib.contextmanager
def tracing(model, stand_in):
    """While a model's ``call`` is run on symbolic tensors.

    Each symbolic call of an operation goes to ``stand_in(infer, operation, args, kwargs) -> outputs``, where
    ``infer(operation, *args, **kwargs)`` is what Keras does; masks are among the arguments. The layers do not note these
    calls. And lengths that are unknown (None) become symbolic numbers, as they are in TensorFlow's graphs:
    ``keras.ops.shape`` returns them, and the functions that take shapes accept them.

    Yields:
        Set of the ids of the model's own layers and operations.
    """
    classes = (keras.Operation, keras.layers.Layer)
    inferring = [c.__dict__["symbolic_call"] for c in classes]

    def standing_in(infer):
        return in_this_thread(lambda operation, *args, **kwargs: stand_in(infer, operation, args, kwargs), infer)

    with _tracing, _symbolic_sizes():
        for operation_class, infer in zip(classes, inferring, strict=True):
            operation_class.symbolic_call = standing_in(infer)
        for module in (layer_module, operation_module):
            module.Node = in_this_thread(_no_node, Node)
        try:
            yield {id(o) for o in _operations_in(model)}
        finally:
            for operation_class, infer in zip(classes, inferring, strict=True):
                operation_class.symbolic_call = infer
            for module in (layer_module, operation_module):
                module.Node = Node


def in_this_thread(stand_in, original):
    """A function that is ``stand_in`` here and ``original`` to models that other threads build in the meantime."""
    here = threading.get_ident()
    return lambda *args, **kwargs: (stand_in if threading.get_ident() == here else original)(*args, **kwargs)


def _no_node(*args, **kwargs):
    """In place of the node that Keras would note in a layer."""


def layers_in(model):
    """A model and all layers in it, also those within layers and nested models."""
    return list(model._flatten_layers())


def _operations_in(model):
    found = {id(layer): layer for layer in layers_in(model)}
    for layer in list(found.values()):
        found.update((id(o), o) for o in getattr(functional_of(layer), "_operations", ()))
    return list(found.values())


def is_symbolic(structure):
    """Whether there are KerasTensors in a nested structure."""
    return any(isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten(structure))


@contextlib.contextmanager
def _symbolic_sizes():
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

    def sized(original, first, routes):
        def function(*args, **kwargs):
            if not is_symbolic((args[first:], kwargs)):
                return original(*args, **kwargs)
            return Sized(original, routes).symbolic_call(*args, **kwargs)

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
        by_size = sized(original, 1, True)

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

        return Sized(item, True).symbolic_call(x, *lengths)

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
                replace(name, lambda original, first=first: sized(original, first, True))
        for name in _FROM_SIZES:
            replace(name, lambda original: sized(original, 0, False))
        for name, (operand, length) in _SUMS_TO_SIZE.items():
            replace(name, lambda original, operand=operand, length=length: summing(original, operand, length))
        yield
    finally:
        for owner, name, original in reversed(replaced):
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def output_spec(operation, *args, **kwargs):
    """What an operation returns for KerasTensors: what Keras says, but where layers of categories return something else."""
    spec = operation.compute_output_spec(*args, **kwargs)
    if isinstance(operation, keras.layers.TextVectorization) and operation._split and operation._output_mode != "int":
        return keras.KerasTensor((spec.shape[0], spec.shape[-1]), dtype=spec.dtype)  # not (N, 1, V) for texts (N, 1)
    if isinstance(operation, keras.layers.Hashing) and operation.output_mode == "one_hot":
        shape = (args or tuple(kwargs.values()))[0].shape  # not one vector for all entries
        return keras.KerasTensor((*(shape[:-1] if shape[-1:] == (1,) else shape), operation.num_bins), dtype=spec.dtype)
    if isinstance(operation, keras.layers.StringLookup) and operation.invert:
        return keras.KerasTensor(spec.shape, dtype="string")
    return spec


def category_mode(layer):
    """What a layer of categories returns: "int", "one_hot", "multi_hot", "count" or "tf_idf"."""
    return layer._output_mode if isinstance(layer, keras.layers.TextVectorization) else layer.output_mode


def categories_of(layer, x):
    """The category of each entry of x (-1 or beyond the last one for none), where a layer counts them or says which occur."""
    if isinstance(layer, keras.layers.TextVectorization):
        return layer._lookup_layer._lookup_dense(layer._preprocess(x))
    if isinstance(layer, IndexLookup):
        return layer._lookup_dense(tf.cast(x, layer._key_dtype))
    if isinstance(layer, keras.layers.Hashing):
        return layer._hash_values_to_bins(x)
    if isinstance(layer, keras.layers.Discretization):
        return keras.ops.digitize(x, layer.bin_boundaries)
    return x


def number_of_categories(layer):
    """How many codes a layer of categories returns, 0 to this number less 1."""
    if isinstance(layer, (keras.layers.TextVectorization, IndexLookup)):
        with tf.init_scope():  # a number, also where a graph is being made
            return layer.vocabulary_size()
    if isinstance(layer, keras.layers.Discretization):
        return len(layer.bin_boundaries or ()) + 1
    return layer.num_tokens if isinstance(layer, keras.layers.CategoryEncoding) else layer.num_bins


def why_without_categories(layer, inputs):
    """Why no relevance can be told of a layer of categories on these KerasTensors, or "" if it can."""
    mode, rank = category_mode(layer), len(inputs[0].shape)
    is_text = isinstance(layer, keras.layers.TextVectorization)
    lookup = layer._lookup_layer if is_text else layer
    if (isinstance(lookup, IndexLookup) and not _has_vocabulary(lookup)) or getattr(layer, "bin_boundaries", ()) is None:
        return "it has no vocabulary yet: give it one, or call its adapt on data, before the model is explained"
    if is_text and layer._ragged:
        return "with ragged=True it returns rows of different lengths: use ragged=False, which pads them"
    if is_text and layer._split is None and layer._ngrams is not None and inputs[0].shape[1:] not in ((), (1,)):
        return "with split=None its n-grams join several entries of the input: join them in one text, or leave n-grams out"
    if mode in ("multi_hot", "count", "tf_idf") and not (is_text and layer._split is not None) and rank != 2:
        if rank < 2:
            return f'with output_mode="{mode}" Keras takes an input of shape (N,) for one sample: give it the shape (N, 1)'
        return f'with output_mode="{mode}" Keras itself joins another axis than its shapes say for inputs of more than two axes'
    return ""


def in_vocabulary(lookup, values):
    """Whether each of an array of values is in the vocabulary of a StringLookup or IntegerLookup, or its mask token."""
    values = tf.convert_to_tensor(values, lookup._key_dtype)
    known = lookup.lookup_table.lookup(values) != lookup._default_value
    masked = False if lookup.mask_token is None else values == lookup._mask_key
    return np.asarray(known | masked)


def _has_vocabulary(lookup):
    try:
        with tf.init_scope():
            return int(lookup.lookup_table.size()) > 0
    except tf.errors.FailedPreconditionError:  # the table is not initialized
        return False


def hash_tables_of(layers):
    """The tables in which layers look up strings and integers."""
    layers = [getattr(layer, "_lookup_layer", layer) for layer in layers]
    return list({id(layer): layer.lookup_table for layer in layers if isinstance(layer, IndexLookup)}.values())


def takes(layer, argument):
    """Whether a layer's ``call`` has a parameter of this name."""
    signature = getattr(layer, "_call_signature", None)
    return signature is not None and argument in signature.parameters


def functional_of(model):
    """The Functional graph of a Sequential or Functional model, or None for a subclassed or unbuilt one."""
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def input_structure(functional):
    """The nested structure (list, dict, single) of symbolic tensors in which the model takes its inputs."""
    return functional._inputs_struct


def output_structure(functional):
    """The nested structure in which the model returns its outputs."""
    return functional._outputs_struct


def built_shapes(model):
    """The nested shapes that a subclassed model was first called on, or None if it never was."""
    shapes = model._build_shapes_dict or {}
    return next(iter(shapes.values())) if len(shapes) == 1 else None


def shape_is_of_first_call(model):
    """Whether Keras took the shape of a model's input from the first batch that it met, because no Input says one.

    Only a Sequential model gets its input layer in that way: with a type, the whole shape, its number of samples among it, and
    a name from Keras. An Input of the user is given a shape without the batch, or a name, or no type; in a saved file, where
    every input layer has all three, only its free number of samples tells it from Keras's.
    """
    if not isinstance(model, keras.Sequential) or functional_of(model) is None:
        return False
    first, second = model._layers[:2]
    inner = functional_of(second)
    if inner is not None and inner.inputs and inner.inputs[0].shape == first.batch_shape:
        return shape_is_of_first_call(second)  # the shape was known from the model that it begins with
    given = first._auto_config.config if first._auto_config else {}
    without_batch = given.get("shape") is not None or given.get("batch_size") is not None
    named = not re.fullmatch(r"input_layer(_\d+)?", first.name)
    return not (without_batch or named or given.get("dtype") is None or first.batch_shape[0] is None)


def accepts(model, shape, dtype):
    """Whether a model can be run on an input of this shape, as TensorFlow infers the shapes in it."""
    try:
        compute_output_spec(lambda x: model.call(x, training=False), keras.KerasTensor(shape, dtype))
    except Exception:  # whatever layers raise where lengths do not fit
        return False
    return True


def initial_state(recurrent):
    """The state that a recurrent layer starts from for one sample, as a list (nested for stacked cells)."""
    return keras.layers.RNN.get_initial_state(recurrent, batch_size=1)
