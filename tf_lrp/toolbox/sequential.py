"""Networks of several modules, and their training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from tf_lrp.integrations.innvestigate import model_wo_softmax
from tf_lrp.toolbox.module_classes import KerasLayer, Module, SoftMax
from tf_lrp.toolbox.network import Network
from tf_lrp.toolbox.training import Status, Training


class Sequential(Network):
    """A neural network: modules one after the other, or any Keras model.

    Args:
        modules: the modules in order; or a built keras.Model, which may have branches, with one input and one output.

    Attributes:
        modules: list of the modules. Of a Keras model they are `tf_lrp.toolbox.modules.KerasLayer`, one for each of its layers.

    Example:
        >>> nn = modules.Sequential([modules.Linear(2, 3), modules.Tanh(), modules.Linear(3, 2), modules.SoftMax()])
        >>> nn.train(X, Y)
        >>> R = nn.lrp(nn.forward(X), "epsilon", 0.01)
    """

    def __init__(self, modules: Iterable[Module] | keras.Model):
        super().__init__()
        self._given = modules if isinstance(modules, keras.Model) else None
        if self._given is not None:
            if not self._given.built or len(self._given.inputs) != 1 or len(self._given.outputs) != 1:
                raise ValueError(
                    "Sequential takes a built Keras model with one input and one output; tf_lrp.Analyzer takes others."
                )
            layers = [layer for layer in self._given.layers if not isinstance(layer, keras.layers.InputLayer)]
            self.modules = [KerasLayer(layer) for layer in layers]
            return
        self.modules = list(modules)
        for module in self.modules:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, or one Keras model; got {module!r} among them.")

    def set_lrp_parameters(self, lrp_var: str | None = None, param: float | None = None) -> None:
        """Sets the decomposition of all modules, see `tf_lrp.toolbox.modules.Module.set_lrp_parameters`."""
        for module in self.modules:
            module.set_lrp_parameters(lrp_var, param)

    def drop_softmax_output_layer(self) -> None:
        """Removes a softmax from the end, so that scores are explained and not probabilities. Without one nothing happens."""
        if self._given is not None:
            if ends_in_softmax(self._given):
                set_before = {m.layers[0].name: (m.lrp_var, m.lrp_param) for m in self.modules}
                Sequential.__init__(self, model_wo_softmax(self._given))
                for module in self.modules:
                    module.set_lrp_parameters(*set_before.get(module.layers[0].name, (None, None)))
        elif self.modules and isinstance(self.modules[-1], SoftMax):
            del self.modules[-1]
            self.clean()

    def keras_model(self, shape=None):
        if self._given is not None:
            return self._given
        return super().keras_model(shape)

    def train(
        self,
        X: Any,
        Y: Any,
        Xval: Any = (),
        Yval: Any = (),
        batchsize: int = 25,
        iters: int = 10000,
        lrate: float = 0.005,
        lrate_decay: str | None = "none",
        lfactor_initial: float = 1.0,
        status: int = 250,
        convergence: int = -1,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        optimizer: Any = "sgd",
        seed: int | None = None,
    ) -> list[Status]:
        """Trains the network on batches that are drawn at random, and keeps the best weights that it has evaluated.

        The loss is the sum over the samples of a batch of the cross-entropy where the network ends in a softmax, and else of
        half the squared error: in both, the gradient at the scores is the output minus ``Y``.

        Args:
            X, Y: (N, ...) samples and (N, C) labels, one row with a single 1 for each sample.
            Xval, Yval: the same, for the evaluations; without them all of ``X`` is evaluated.
            batchsize: samples of a batch.
            iters: number of batches.
            lrate: learning rate.
            lrate_decay: how it changes at each evaluation that is the best so far, given the share a of samples whose class was
                found: "none" or None not at all; "linear" to lrate * lfactor_initial * (1 - a); "sublinear" to
                lrate * lfactor_initial * (1 - a^2).
            lfactor_initial: factor of the learning rate, for a sequence of calls that train ever more slowly.
            status: iterations between two evaluations. Each prints a line. The last iteration is evaluated, too.
            convergence: iterations without an evaluation that is the best so far, after which training stops; less than 0 for
                no such limit. An evaluation is better if it finds more classes, or as many with a smaller error.
            transform: function of a batch (batchsize, ...) that is applied before the network, such as to add noise.
            optimizer: a Keras optimizer or its name; its learning rate is set to ``lrate`` and what it becomes.
            seed: of the random batches.

        Returns:
            List of `Status`, one for each evaluation.

        Raises:
            ValueError: for shapes that do not fit, and numbers that are out of range.
        """
        X, Y = self._checked(X), np.asarray(Y, np.float64)
        model = self.keras_model(X.shape[1:])
        validation = (X, Y) if len(Xval) == 0 else (self._checked(Xval), np.asarray(Yval, np.float64))
        self.clean()
        self._shape = X.shape[1:]
        training = Training(model, ends_in_softmax(model), optimizer, lrate, lrate_decay, lfactor_initial)
        return training.run((X, Y), validation, batchsize, iters, status, convergence, transform, np.random.default_rng(seed))


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether the last layer of a model is a softmax, or has one as its activation."""
    last = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax
