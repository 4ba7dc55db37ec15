"""The toolbox's training loop, on Keras's optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_lrp.messages import checks

_DECAYS = {"none": lambda accuracy: 1.0, "linear": lambda accuracy: 1 - accuracy, "sublinear": lambda accuracy: 1 - accuracy**2}
_BATCH = 256


class Status(NamedTuple):
    """An evaluation during training.

    Attributes:
        iteration: number of batches before it.
        accuracy: share of the samples whose class was found.
        error: sum over the classes of |output - label|, the mean over the samples.
        lrate: the learning rate from here on.
    """

    iteration: int
    accuracy: float
    error: float
    lrate: float


@dataclass
class Training:
    """Trains a Keras model, see `tf_lrp.toolbox.modules.Sequential.train` for the arguments.

    Args:
        model: keras.Model.
        of_probabilities: whether its outputs are those of a softmax.
        optimizer, lrate, lrate_decay, lfactor_initial: as of `train`.
    """

    model: Any
    of_probabilities: bool
    optimizer: Any
    lrate: float
    lrate_decay: str | None
    lfactor_initial: float

    def __post_init__(self):
        self.lrate_decay = "none" if self.lrate_decay is None else self.lrate_decay
        if self.lrate_decay not in _DECAYS:
            raise ValueError(f"lrate_decay is None, {', '.join(map(repr, _DECAYS))}; got {self.lrate_decay!r}.")
        for name in ("lrate", "lfactor_initial"):
            value = getattr(self, name)
            if not (checks.is_finite_number(value) and value > 0):
                raise ValueError(f"{name} needs a number > 0; got {value!r}.")
        if not self.model.trainable_variables:
            raise ValueError("There is nothing to train: the network has no weights.")
        self.optimizer = keras.optimizers.get(self.optimizer)
        self.optimizer.learning_rate = self.lrate * self.lfactor_initial
        self.optimizer.build(self.model.trainable_variables)
        self._step = tf.function(self._take_step, autograph=False, reduce_retracing=True)

    def run(self, data, validation, batchsize, iters, status, convergence, transform, random):
        """The evaluations of a training, after which the model has the best weights that were evaluated."""
        for name, (x, y) in (("X and Y", data), ("Xval and Yval", validation)):
            if y.ndim != 2 or len(x) != len(y) or y.shape[1:] != tuple(self.model.output_shape[1:]):
                expected = (len(x), *self.model.output_shape[1:])
                raise ValueError(f"{name} need as many rows, and labels of the shape {expected}; got {x.shape} and {y.shape}.")
        batchsize, iters, status = (
            checks.integer(name, value) for name, value in (("batchsize", batchsize), ("iters", iters), ("status", status))
        )
        if batchsize > len(data[0]):
            raise ValueError(f"batchsize is at most the number of samples, {len(data[0])}; got {batchsize}.")
        found, best, weights = [], None, self._weights()
        try:
            for iteration in range(1, iters + 1):
                chosen = random.choice(len(data[0]), batchsize, replace=False)
                batch = data[0][chosen] if transform is None else _transformed(transform, data[0][chosen])
                self._step(*(tf.constant(part, self.model.inputs[0].dtype) for part in (batch, data[1][chosen])))
                if iteration % status and iteration != iters:
                    continue
                accuracy, error = self._evaluate(*validation)
                improved = best is None or (accuracy, -error) > (best.accuracy, -best.error)
                if improved:
                    self.optimizer.learning_rate = self.lrate * self.lfactor_initial * _DECAYS[self.lrate_decay](accuracy)
                    weights = self._weights()
                found.append(Status(iteration, accuracy, error, float(self.optimizer.learning_rate)))
                best = found[-1] if improved else best
                print(f"iteration {iteration}: accuracy {accuracy:.2%}, error {error:.4g}, learning rate {found[-1].lrate:.3g}")
                if not improved and 0 <= convergence <= iteration - best.iteration:
                    break
        finally:  # also where somebody interrupts it
            for variable, value in zip(self.model.weights, weights, strict=True):
                variable.assign(value)
        return found

    def _weights(self):
        return [keras.ops.convert_to_numpy(weight).copy() for weight in self.model.weights]

    def _take_step(self, x, y):
        with tf.GradientTape() as tape:
            predicted = self.model(x, training=True)
            if self.of_probabilities:
                loss = -tf.reduce_sum(y * tf.math.log(predicted + np.finfo(predicted.dtype.as_numpy_dtype).tiny))
            else:
                loss = tf.reduce_sum((predicted - y) ** 2) / 2
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    def _evaluate(self, x, y):
        """(accuracy, error) of all samples."""
        parts = [self.model(x[start : start + _BATCH], training=False) for start in range(0, len(x), _BATCH)]
        predicted = np.concatenate(parts)
        accuracy = np.mean(predicted.argmax(1) == y.argmax(1))
        return float(accuracy), float(np.abs(predicted - y).sum(1).mean())


def _transformed(transform, batch):
    changed = np.asarray(transform(batch), np.float64)
    if changed.shape != batch.shape:
        raise ValueError(f"transform returns a batch of the shape that it gets, {batch.shape}; got {changed.shape}.")
    return changed
