"""Blobs and layers in Keras's order of axes: what the conversions of all layers need."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tf_lrp.caffe.structure import CaffeLayer
from tf_lrp.errors import CaffeError

#: Caffe's own limit of a blob.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Blob:
    """A tensor of the Keras model, and what Caffe calls its shape.

    Attributes:
        tensor: (N, H, W, C) for a blob N x C x H x W; the axes of other blobs are in Caffe's order.
        shape: as in Caffe, without the batch axis.
    """

    tensor: Any
    shape: tuple[int, ...]

    @property
    def is_picture(self):
        return len(self.shape) == 3

    def axis(self, caffe_axis):
        """Where an axis of Caffe's shape (0 is the batch, negative ones count from the end) lies in the tensor."""
        axis = self.caffe_axis(caffe_axis)
        return {0: 0, 1: 3, 2: 1, 3: 2}[axis] if self.is_picture else axis

    def caffe_axis(self, axis):
        """An axis of Caffe's shape, counted from the front.

        Raises:
            CaffeError: if there is no such axis, or it is the batch.
        """
        rank = len(self.shape) + 1
        if not -rank <= axis < rank or axis % rank == 0:
            raise CaffeError(f"axis {axis} is none of a sample's, whose blobs have the axes 1 to {rank - 1}")
        return axis % rank


class Step:
    """One layer while it becomes layers of Keras.

    Args:
        layer: `CaffeLayer`.
        bottoms: its `Blob`s.
        weights: its blobs in the caffemodel.
        names: names of Keras layers that are taken; a set that grows.

    Attributes:
        weighted: names of the Keras layers made with weights.
    """

    def __init__(self, layer: CaffeLayer, bottoms: list[Blob], weights: list[np.ndarray], names: set[str]):
        self.layer, self.bottoms, self.weights, self._names = layer, bottoms, weights, names
        self.weighted: list[str] = []

    def parameter(self, name) -> Any:
        """A parameter message of the layer, with Caffe's defaults where it is missing."""
        return getattr(self.layer.message, name)

    def only(self) -> Blob:
        """The one bottom.

        Raises:
            CaffeError: if there are more or none.
        """
        if len(self.bottoms) != 1:
            raise CaffeError(f"it takes one bottom, and has {len(self.bottoms)}")
        return self.bottoms[0]

    def picture(self) -> Blob:
        """The one bottom, C x H x W.

        Raises:
            CaffeError: if it has other axes.
        """
        blob = self.only()
        if not blob.is_picture:
            raise CaffeError(f"it takes blobs C x H x W, and gets one of shape {shown(blob.shape)}")
        return blob

    def expect(self, *shapes):
        """The weights, of these shapes; lengths of 1 at the front, which old files have, do not matter.

        Raises:
            CaffeError: if the caffemodel has none, or others.
        """
        if not self.weights:
            raise CaffeError(f"the caffemodel has no weights for it; it needs {' and '.join(map(shown, shapes))}")
        got = [tuple(w.shape) for w in self.weights]
        if [_stripped(s) for s in got] != [_stripped(s) for s in shapes]:
            needed, found = (" and ".join(map(shown, s)) for s in (shapes, got))
            raise CaffeError(f"it needs weights of shape {needed}, and the caffemodel has {found}")
        return [w.reshape(shape) for w, shape in zip(self.weights, shapes, strict=True)]

    def add(self, layer_class, x, *arguments, part="", weights=None, **options):
        """Calls a new Keras layer, called as the Caffe layer or that and a ``part``, on a tensor or several."""
        layer = layer_class(*arguments, name=self._unique(f"{self.layer.name}{part and '_'}{part}"), **options)
        y = layer(x)
        if weights is not None:
            layer.set_weights(weights)
            self.weighted.append(layer.name)
        return y

    def _unique(self, name):
        name = keras_name(name)
        unique = next(n for n in (name, *(f"{name}_{k}" for k in range(2, len(self._names) + 3))) if n not in self._names)
        self._names.add(unique)
        return unique

    def in_caffes_order(self, blob, part="order"):
        """A tensor whose axes are in Caffe's order."""
        if not blob.is_picture or blob.shape[1:] == (1, 1):
            return self.add(keras.layers.Reshape, blob.tensor, blob.shape, part=part) if blob.is_picture else blob.tensor
        return self.add(keras.layers.Permute, blob.tensor, (3, 1, 2), part=part)

    def from_caffes_order(self, x, shape, part=""):
        """A `Blob` of a tensor whose axes are in Caffe's order."""
        return Blob(self.add(keras.layers.Permute, x, (2, 3, 1), part=part) if len(shape) == 3 else x, shape)

    def reshaped(self, blob, shape):
        """The blob in another shape; entries keep their order in Caffe's memory."""
        x = self.in_caffes_order(blob)
        if len(shape) == 3:
            return self.from_caffes_order(self.add(keras.layers.Reshape, x, shape, part="reshape"), shape)
        return Blob(self.add(keras.layers.Reshape, x, shape), shape)


@dataclass
class Converters:
    """The table of conversions: type of a Caffe layer -> function (`Step`) -> list of `Blob`s."""

    table: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *types):
        """Decorator: the function converts layers of these types. It may return one blob."""

        def register(function):
            self.table.update(dict.fromkeys(types, function))
            return function

        return register


converts = Converters()


def pair(message, plain, rows, columns, default=None):
    """(rows, columns) of a kernel, a stride, a padding or a dilation.

    Args:
        message: the parameters.
        plain: name of the field with one number for both, or one number each.
        rows, columns: names of the fields with one number each, "" where there are none.
        default: where no field is set; None if one has to be.

    Raises:
        CaffeError: if the fields contradict each other, or are missing.
    """
    values = getattr(message, plain)
    values = list(values) if not isinstance(values, int) else [values] if message.HasField(plain) else []
    single = bool(rows) and (message.HasField(rows) or message.HasField(columns))
    if single and values:
        raise CaffeError(f"it has {plain} as well as {rows} or {columns}: one of them is allowed")
    if single:
        both = getattr(message, rows), getattr(message, columns)
    elif len(values) > 2:
        raise CaffeError(f"it has {len(values)} values of {plain}, and pictures have two axes")
    elif values:
        both = values[0], values[-1]
    elif default is None:
        raise CaffeError(f"it has no {plain}")
    else:
        both = default, default
    return both


def checked(blob):
    """The same blob, if it has a size that Caffe allows.

    Raises:
        CaffeError: if a length is not positive, or the blob too large.
    """
    if any(length < 1 for length in blob.shape):
        raise CaffeError(f"its output would have the shape {shown(blob.shape)}")
    if math.prod(blob.shape) > _LARGEST:
        raise CaffeError(f"its output of shape {shown(blob.shape)} would have more numbers than Caffe allows ({_LARGEST})")
    return blob


def shown(shape):
    """3 x 227 x 227"""
    return " x ".join(map(str, shape)) or "()"


def keras_name(name):
    """A name of Caffe's as Keras and TensorFlow allow it: "inception_3a/1x1" is "inception_3a.1x1"."""
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", name.replace("/", "."))
    return name if re.match(r"[A-Za-z0-9.]", name) else f"layer{name}"


def _stripped(shape):
    """A shape without lengths of 1 at the front."""
    first = next((n for n, length in enumerate(shape) if length != 1), len(shape))
    return tuple(shape)[first:]
