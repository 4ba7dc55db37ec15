"""Side effects of a ``call`` (random numbers, losses, state), and how they are suppressed while it is traced."""

from __future__ import annotations

import contextlib
import copy
import threading

import keras
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.keras_backend import RANDOM_FUNCTIONS, KerasVariable
from tf_lrp.keras_compat.lengths import Sized, SizeOf, in_this_thread, is_symbolic


class Unexplainable(Exception):
    """The reason why this call of a function cannot be opened; the message is a clause."""


class Noise(Sized):
    """Random numbers, of a shape that may be known only when the graph runs. They are the same each time; no seed advances."""

    def __init__(self, function):
        super().__init__(function)

    def call(self, samples, *args, seed=None, **kwargs):
        # ``samples`` is not used: with it, the call is a node of the graph even if it takes no other tensor.
        # Without a seed Keras would draw one from its global generator; any number will do here.
        seed = _StandingSeed(seed) if isinstance(seed, keras.random.SeedGenerator) else seed or 0
        return self.function(*args, seed=seed, **kwargs)


class _StandingSeed(keras.random.SeedGenerator):
    """Returns the next seed of a generator, without advancing the generator."""

    def __init__(self, generator):
        self.generator = generator

    def next(self, ordered=True):
        return tf.convert_to_tensor(self.generator.state) * 1


@contextlib.contextmanager
def left_out(inputs):
    """Context in which a ``call`` is run on symbolic tensors, within `tracing.tracing`, without side effects.

    Losses that it adds and values that it assigns to variables are ignored. Random numbers are drawn when the graph runs.

    Args:
        inputs: nested structure of the KerasTensors that it is called on.
    """
    with _unchanged_state(), _symbolic_noise(keras.tree.flatten(inputs)[0]):
        yield


@contextlib.contextmanager
def _unchanged_state():
    """Context in which a ``call`` adds no losses, and assigns no variables except those that it creates."""
    new = set()
    initialize, assign, add_loss = KerasVariable.__init__, KerasVariable.assign, keras.layers.Layer.add_loss

    def noting(variable, *args, **kwargs):
        new.add(id(variable))
        initialize(variable, *args, **kwargs)

    def assigning(variable, value):
        return assign(variable, value) if id(variable) in new else value

    KerasVariable.__init__ = in_this_thread(noting, initialize)
    KerasVariable.assign = in_this_thread(assigning, assign)
    keras.layers.Layer.add_loss = in_this_thread(lambda layer, loss: None, add_loss)
    try:
        yield
    finally:
        KerasVariable.__init__, KerasVariable.assign, keras.layers.Layer.add_loss = (
            initialize,
            assign,
            add_loss,
        )


class _Namespace:
    """A module with some of its attributes replaced in this thread."""

    def __init__(self, module, **replaced):
        self._module, self._replaced, self._thread = module, replaced, threading.get_ident()

    def __getattr__(self, name):
        here = threading.get_ident() == self._thread
        return self._replaced[name] if here and name in self._replaced else getattr(self._module, name)


@contextlib.contextmanager
def _symbolic_noise(tensor):
    """Context in which keras.random draws numbers when the graph runs instead of now.

    Args:
        tensor: KerasTensor of the graph.
    """
    backend = RANDOM_FUNCTIONS.backend

    def drawn(function, *args, **kwargs):
        if not tf.executing_eagerly():  # in a graph of TensorFlow, which has operations for it
            return function(*args, **kwargs)
        return Noise(function).symbolic_call(SizeOf(0)(tensor) if tensor.shape else tensor, *args, **kwargs)

    def shifted(name, low, high):
        """Where the range depends on the inputs: low + (high - low) u, or mean + deviation u, of standard numbers u."""
        function = getattr(backend.random, name)

        def draw(shape, *args, **kwargs):
            given = dict(zip((low, high), args, strict=False)) | kwargs
            if not is_symbolic([given.get(low), given.get(high)]):
                return drawn(function, shape, *args, **kwargs)
            first, second = given.pop(low, 0.0), given.pop(high, 1.0)
            scale = second if high == "stddev" else ops.subtract(second, first)
            return ops.add(first, ops.multiply(scale, drawn(function, shape, **given)))

        return draw

    def by_shape(name):
        function = getattr(backend.random, name)

        def draw(shape, *args, **kwargs):
            if is_symbolic((shape if name == "categorical" else (), args, kwargs)):
                raise Unexplainable(
                    f"keras.random.{name} draws numbers whose distribution depends on the inputs, and has no relevance rule"
                )
            return drawn(function, shape, *args, **kwargs)

        return draw

    def dropout(inputs, *args, **kwargs):
        if not is_symbolic(inputs):
            return drawn(backend.random.dropout, inputs, *args, **kwargs)
        return ops.multiply(inputs, drawn(backend.random.dropout, ops.ones_like(inputs), *args, **kwargs))

    def shuffle(x, axis=0, seed=None):
        if not is_symbolic(x):
            return drawn(backend.random.shuffle, x, axis=axis, seed=seed)
        places = drawn(backend.random.shuffle, ops.arange(ops.shape(x)[axis]), seed=seed)
        return ops.take(x, places, axis=axis)

    def as_it_is(x, *args, **kwargs):
        return x if is_symbolic(x) else backend.convert_to_tensor(x, *args, **kwargs)

    functions = {
        **{name: by_shape(name) for name in ("randint", "gamma", "binomial", "beta", "categorical")},
        **{name: shifted(name, "mean", "stddev") for name in ("normal", "truncated_normal")},
        "uniform": shifted("uniform", "minval", "maxval"),
        "dropout": dropout,
        "shuffle": shuffle,
    }
    RANDOM_FUNCTIONS.backend = _Namespace(backend, random=_Namespace(backend.random, **functions), convert_to_tensor=as_it_is)
    try:
        yield
    finally:
        RANDOM_FUNCTIONS.backend = backend


def on_symbolic_tensors(data_layer):
    """A copy of a preprocessing layer that calls keras.ops instead of its backend, and shares the variables."""
    layer = copy.copy(data_layer)
    own = {"random": keras.random, "name": "tensorflow", "_backend": "tensorflow"}
    own |= dict.fromkeys(("numpy", "nn", "core", "math", "linalg"), keras.ops)
    object.__setattr__(layer, "backend", _Namespace(keras.ops, **own))
    return layer
