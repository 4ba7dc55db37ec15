"""The toolbox's modules: layers of Keras under the toolbox's names, in float64 as the toolbox computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_lrp.rules.decompositions import decomposition
from tf_lrp.toolbox.network import Network
from tf_lrp.toolbox.records import Record, weight_shape

_FLOAT64 = {"dtype": "float64"}


class Module(Network):
    """A layer of a network; also, a network of this layer alone.

    Attributes:
        layers: the Keras layers that compute it, one after the other.
        lrp_var, lrp_param: the decomposition that `set_lrp_parameters` has set, or None.
    """

    def __init__(self, *layers: keras.layers.Layer):
        super().__init__()
        self.layers = layers
        self.lrp_var: str | None = None
        self.lrp_param: float | None = None

    @property
    def modules(self) -> list[Module]:
        return [self]

    def set_lrp_parameters(self, lrp_var: str | None = None, param: float | None = None) -> None:
        """Sets the decomposition that `lrp` takes for this module when it is called without one.

        Args:
            lrp_var, param: as for `tf_lrp.rules.decompositions.decomposition`; None is the simple one.

        Raises:
            TypeError, ValueError: for a decomposition that there is not.
        """
        decomposition(lrp_var, param)
        self.lrp_var, self.lrp_param = lrp_var, param

    def record(self) -> Record:
        """What files say of it.

        Raises:
            ValueError: for a layer that the toolbox does not have.
        """
        return Record(type(self).__name__, self._sizes(), lrp_var=self.lrp_var, lrp_param=self.lrp_param)

    def takes(self) -> tuple[int | None, ...] | None:
        """The shape of one sample, None for a free length; or None for any shape."""
        return None

    def _sizes(self):
        return ()


class _Weighted(Module):
    """A module with weights W and biases B, which are those of its Keras layer."""

    def __init__(self, layer, sizes, fan_in):
        self._shape = weight_shape(type(self).__name__, sizes)
        layer.kernel_initializer = keras.initializers.RandomNormal(0, fan_in**-0.5)
        layer.build((None,) * (len(self._shape) - 1) + self._shape[-2:-1])
        super().__init__(layer)

    @property
    def W(self) -> np.ndarray:
        """The weights, a copy; assigning to it sets those of the layer."""
        return self._copy(self.layers[0].kernel)

    @W.setter
    def W(self, value):
        self._assign(self.layers[0].kernel, value, "W")

    @property
    def B(self) -> np.ndarray:
        """The biases, a copy; assigning to it sets those of the layer."""
        return self._copy(self.layers[0].bias)

    @B.setter
    def B(self, value):
        self._assign(self.layers[0].bias, value, "B")

    def record(self):
        return Record(type(self).__name__, self._sizes(), self.W, self.B, self.lrp_var, self.lrp_param)

    @staticmethod
    def _copy(variable):
        return keras.ops.convert_to_numpy(variable).copy()

    def _assign(self, variable, value, label):
        value = np.asarray(value, np.float64)
        if value.shape != tuple(variable.shape):
            raise ValueError(f"{label} of {type(self).__name__} has the shape {tuple(variable.shape)}; got {value.shape}.")
        variable.assign(value)


class Linear(_Weighted):
    """Y = X W + B: (N, m) -> (N, n).

    Args:
        m, n: numbers of inputs and outputs. The weights start at random, with the variance 1 / m, and the biases at 0.
    """

    def __init__(self, m: int, n: int):
        self.m, self.n = m, n
        super().__init__(keras.layers.Dense(n, **_FLOAT64), (m, n), m)

    def takes(self):
        return (self.m,)

    def _sizes(self):
        return (self.m, self.n)


class Convolution(_Weighted):
    """A convolution without padding: (N, H, W, depth) -> (N, (H - height) // stride + 1, ..., n).

    Args:
        filtersize: (height, width, depth, n).
        stride: (vertical, horizontal).
    """

    def __init__(self, filtersize: Sequence[int] = (5, 5, 3, 32), stride: Sequence[int] = (2, 2)):
        self.fh, self.fw, self.fd, self.n = filtersize
        self.stride = tuple(stride)
        layer = keras.layers.Conv2D(self.n, (self.fh, self.fw), self.stride, data_format="channels_last", **_FLOAT64)
        super().__init__(layer, (*filtersize, *stride), self.fh * self.fw * self.fd)

    def takes(self):
        return (None, None, self.fd)

    def _sizes(self):
        return (self.fh, self.fw, self.fd, self.n, *self.stride)


class _Pooling(Module):
    def __init__(self, *layers, pool, stride):
        weight_shape(type(self).__name__, (*pool, *stride))
        super().__init__(*layers)
        self.pool, self.stride = tuple(pool), tuple(stride)

    def takes(self):
        return (None, None, None)

    def _sizes(self):
        return (*self.pool, *self.stride)


class SumPool(_Pooling):
    """The sum of each window over the square root of the number of its entries.

    In Keras, this is an average pooling and a `Rescaling` layer, so that saved models need nothing of this library.

    Args:
        pool: (height, width) of the windows.
        stride: (vertical, horizontal).
    """

    def __init__(self, pool: Sequence[int] = (2, 2), stride: Sequence[int] = (2, 2)):
        # Of a number of Python's, Keras makes a float32.
        scale = keras.layers.Rescaling(np.float64(math.prod(pool) ** 0.5), **_FLOAT64)
        average = keras.layers.AveragePooling2D(tuple(pool), tuple(stride), data_format="channels_last", **_FLOAT64)
        super().__init__(average, scale, pool=pool, stride=stride)


class MaxPool(_Pooling):
    """The largest entry of each window. Equal entries share their relevance.

    Args:
        pool: (height, width) of the windows.
        stride: (vertical, horizontal).
    """

    def __init__(self, pool: Sequence[int] = (2, 2), stride: Sequence[int] = (2, 2)):
        layer = keras.layers.MaxPooling2D(tuple(pool), tuple(stride), data_format="channels_last", **_FLOAT64)
        super().__init__(layer, pool=pool, stride=stride)


class Rect(Module):
    """max(0, X)"""

    def __init__(self):
        super().__init__(keras.layers.ReLU(**_FLOAT64))


class Tanh(Module):
    """tanh(X)"""

    def __init__(self):
        super().__init__(keras.layers.Activation("tanh", **_FLOAT64))


class SoftMax(Module):
    """exp(X_i) / sum_j exp(X_j). Relevance passes through it: see `Sequential.drop_softmax_output_layer`."""

    def __init__(self):
        super().__init__(keras.layers.Softmax(**_FLOAT64))


class Flatten(Module):
    """(N, ...) -> (N, D)"""

    def __init__(self):
        super().__init__(keras.layers.Flatten(data_format="channels_last", **_FLOAT64))


class KerasLayer(Module):
    """A layer of a Keras model that a `Sequential` was made of.

    Args:
        layer: the layer; decompositions that are set for a nested model apply to all layers in it.
    """

    def __init__(self, layer: Any):
        super().__init__(layer)

    def record(self):
        raise ValueError(f"The layer {self.layers[0].name!r} is one of a Keras model, not a module: model_io writes the model.")


def of_record(record: Record) -> Module:
    """The module that a file describes."""
    sizes = record.sizes
    if record.name == "Convolution":
        module = Convolution(sizes[:4], sizes[4:])
    elif record.name in ("SumPool", "MaxPool"):
        module = {"SumPool": SumPool, "MaxPool": MaxPool}[record.name](sizes[:2], sizes[2:])
    else:
        module = {"Linear": Linear, "Rect": Rect, "Tanh": Tanh, "SoftMax": SoftMax, "Flatten": Flatten}[record.name](*sizes)
    if record.weights is not None:
        module.W, module.B = record.weights, record.biases
    module.set_lrp_parameters(record.lrp_var, record.lrp_param)
    return module
