"""What single modules and networks of several have in common: the Keras model, the forward pass, LRP, and gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tf_lrp import select
from tf_lrp.analyzer import Analyzer
from tf_lrp.graph.nodes import model_of
from tf_lrp.presets import Preset, preset
from tf_lrp.rules import Epsilon

if TYPE_CHECKING:
    from tf_lrp.toolbox.module_classes import Module

#: Samples that one forward pass takes at once.
_BATCH = 128


class Network:
    """A network of modules.

    `forward` keeps its input, and `lrp` and `backward` are about that input.
    """

    modules: list[Module]

    def __init__(self):
        self._models = {}  # (modules, shape of a sample) -> keras.Model
        self._shape = None  # of the last sample
        self.clean()

    def forward(self, X: Any, lrp_aware: bool = False) -> np.ndarray:
        """The output of the network.

        Args:
            X: (N, ...), N samples.
            lrp_aware: whether `lrp` keeps what it computes on its way forward. Further calls for the same decomposition, such
                as for other classes, then only go backward. This takes memory, all samples being one batch.

        Returns:
            (N, ...), float64 unless the network is a Keras model of another type.

        Raises:
            ValueError: for another shape than the network takes, and for NaN or infinite values.
        """
        X = self._checked(X)
        model = self.keras_model(X.shape[1:])
        self.clean()
        self._shape, self._X, self._aware = X.shape[1:], X, lrp_aware
        inputs = X.astype(model.inputs[0].dtype)
        parts = [model(inputs[start : start + _BATCH], training=False) for start in range(0, len(X), _BATCH)]
        self._Y = np.concatenate(parts)
        return self._Y.copy()

    def lrp(self, R: Any, lrp_var: str | None = None, param: float | None = None) -> np.ndarray:
        """Relevance of the input of the last `forward`.

        Args:
            R: relevance of the output, of its shape, or one row (1, ...) for all samples: the output itself, or what is
                left of it after all classes but one are set to 0.
            lrp_var, param: the decomposition of all modules, see `tf_lrp.rules.decompositions.decomposition`. Without both,
                each module's own, which `set_lrp_parameters` sets, and the simple one where there is none.

        Returns:
            Relevance of the shape of the input.

        Raises:
            ValueError: before any `forward`, for another shape of ``R``, and for a decomposition that there is not.
        """
        X, Y = self._last("lrp")
        R = self._of_output(R, Y, "R")
        analyzer = self._analyzer_by(self.preset(lrp_var, param))
        if not self._aware:
            return analyzer.analyze(X, R)
        tape, x, y = self._tape_of(analyzer, X)
        return tape.gradient(y, x, tf.cast(R, y.dtype), unconnected_gradients=tf.UnconnectedGradients.ZERO).numpy()

    def preset(self, lrp_var: str | None = None, param: float | None = None) -> Preset:
        """The decompositions as a `tf_lrp.Preset` for `tf_lrp.Analyzer`; arguments as for `lrp`."""
        own = lrp_var is None and param is None
        entries = []
        for module in self.modules:
            variant = (module.lrp_var, module.lrp_param) if own else (lrp_var, param)
            entries += [entry for layer in module.layers for entry in _entries(layer, *variant)]
        return Preset((*entries, *preset("toolbox", lrp_var=lrp_var, param=param).rules), "toolbox")

    def backward(self, DY: Any) -> np.ndarray:
        """The gradient of sum(DY * output) with respect to the input; keeps that of the weights for `update`.

        Args:
            DY: of the shape of the output of the last `forward`.

        Returns:
            Of the shape of the input.
        """
        X, Y = self._last("backward")
        DY, model = self._of_output(DY, Y, "DY"), self.keras_model(X.shape[1:])
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            x = tf.constant(X, model.inputs[0].dtype)
            tape.watch(x)
            y = model(x, training=False)
        watched = [v.value for v in variables]
        of_weights, of_input = tape.gradient(y, (watched, x), tf.cast(DY, y.dtype), tf.UnconnectedGradients.ZERO)
        self._gradients = list(zip(of_weights, variables, strict=True))
        return of_input.numpy()

    def update(self, lrate: float) -> None:
        """W <- W - lrate dW for all weights, with the gradient of the last `backward`."""
        if self._gradients is None:
            raise ValueError("update needs a gradient: call backward first.")
        if self._gradients:
            keras.optimizers.SGD(lrate).apply_gradients(self._gradients)

    def clean(self) -> None:
        """Forgets the last input, and all that was computed of it."""
        self._X = self._Y = self._gradients = self._analyzer = None
        self._aware, self._tapes = False, {}

    def keras_model(self, shape: Sequence[int | None] | None = None) -> keras.Model:
        """The network as a Keras model, with the same weights.

        Args:
            shape: of one sample. By default that of the last `forward`; before any, what the first module takes.

        Raises:
            ValueError: if modules do not fit together, or the shape does not fit them.
        """
        modules = list(self.modules)
        if not modules:
            raise ValueError("A network needs at least one module.")
        shape = self._shape if shape is None and self._shape else shape
        shape = modules[0].takes() if shape is None else tuple(shape)
        if shape is None:
            raise ValueError(
                f"What shape does {type(modules[0]).__name__} take? Call keras_model(shape), or forward(X) before."
            )
        key = (tuple(modules), shape)
        if key not in self._models:
            self._models = {key: _joined(modules, shape)}  # one at a time
        return self._models[key]

    def _checked(self, X):
        X = np.asarray(X, np.float64)
        if not X.ndim or not len(X):
            raise ValueError(f"forward needs samples, (N, ...) with N >= 1; got the shape {X.shape}.")
        takes = self.modules[0].takes() if self.modules else None
        fits = takes is None or (
            len(takes) == X.ndim - 1 and all(t in (None, d) for t, d in zip(takes, X.shape[1:], strict=True))
        )
        if not fits:
            wanted = ", ".join("any" if t is None else str(t) for t in takes or ())
            first = type(self.modules[0]).__name__
            raise ValueError(f"The first module, {first}, takes X of the shape (N, {wanted}); got {X.shape}: reshape it.")
        if not np.isfinite(X).all():
            raise ValueError("X holds NaN or infinite values.")
        return X

    def _last(self, method):
        if self._X is None:
            raise ValueError(f"{method} is about the input of the last forward pass: call forward(X) first.")
        return self._X, self._Y

    @staticmethod
    def _of_output(values, Y, name):
        """Values as an array of the type and shape of the output."""
        values = np.asarray(values, Y.dtype)
        if values.shape not in (Y.shape, (1, *Y.shape[1:])):
            raise ValueError(f"{name} needs the shape of the output, {Y.shape}; got {values.shape}.")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinite values.")
        return np.broadcast_to(values, Y.shape)

    def _analyzer_by(self, preset):
        if self._analyzer is None:
            model = self.keras_model(self._X.shape[1:])
            self._analyzer = Analyzer(model, preset, strip_softmax=False, batch_size=_BATCH, verbose=False)
        elif self._analyzer.preset != preset:
            self._analyzer = self._analyzer.with_preset(preset)
        return self._analyzer

    def _tape_of(self, analyzer, X):
        """(persistent tape, input, output) of the analyzer's twin."""
        if analyzer.preset not in self._tapes:
            x = tf.constant(X, analyzer.twin.inputs[0].dtype)
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(x)
                y = analyzer.twin(x, training=False)
            self._tapes[analyzer.preset] = tape, x, y
        return self._tapes[analyzer.preset]


def _joined(modules, shape):
    """The Keras model of modules one after the other."""
    x = h = keras.Input(shape, dtype="float64")
    for position, module in enumerate(modules):
        try:
            for layer in module.layers:
                h = layer(h)
        except ValueError as error:
            arrives = tuple(h.shape[1:])
            raise ValueError(
                f"Module {position}, {type(module).__name__}, does not fit what arrives there, of the shape {arrives} for "
                f"samples of the shape {shape}: {_in_one_line(error)}"
            ) from None
    return model_of(x, h)


def _in_one_line(error):
    """The message of an error of Keras, which has several lines and bold type."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:300]


def _entries(layer, lrp_var, param):
    """The (selector, rule) pairs of a layer."""
    for selector, rule in preset("toolbox", lrp_var=lrp_var, param=param).rules:
        if isinstance(rule, Epsilon) and isinstance(layer, keras.layers.AveragePooling2D):
            rule = Epsilon(rule.epsilon / math.prod(layer.pool_size))  # the toolbox adds it to the sum, not to the mean
        # A layer's own name addresses it whatever it is; all() stands for those with weights.
        yield select.name(layer.name) & (select.kind("weights") if selector == select.all() else selector), rule
