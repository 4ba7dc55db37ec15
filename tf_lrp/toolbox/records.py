"""What the toolbox's files say of a network: a list of records, one for each module. Needs neither TensorFlow nor Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_lrp.messages.names import did_you_mean

#: Module -> the names of the numbers that its line of a text file holds.
SIZES = {
    "Linear": ("m", "n"),
    "Convolution": ("height", "width", "depth", "n", "vertical stride", "horizontal stride"),
    "SumPool": ("height", "width", "vertical stride", "horizontal stride"),
    "MaxPool": ("height", "width", "vertical stride", "horizontal stride"),
    "Rect": (),
    "Tanh": (),
    "SoftMax": (),
    "Flatten": (),
}

#: Module -> number of the sizes that are the shape of its weights; the last of these is the number of biases.
_AXES = {"Linear": 2, "Convolution": 4}

#: The largest size: more numbers than any file holds, and few enough for every integer type.
_LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Record:
    """A module of a network.

    Attributes:
        name: "Linear", "Convolution", "SumPool", "MaxPool", "Rect", "Tanh", "SoftMax" or "Flatten".
        sizes: the numbers that `SIZES` names.
        weights: float64 array W, (m, n) or (height, width, depth, n), or None.
        biases: float64 array B (n,), or None.
        lrp_var, lrp_param: the decomposition that was set for this module, or None. Text files do not hold it.

    Raises:
        ValueError: for an unknown name, sizes that are not positive, and arrays of other shapes or without finite values.
    """

    name: str
    sizes: tuple[int, ...] = ()
    weights: np.ndarray | None = None
    biases: np.ndarray | None = None
    lrp_var: str | None = None
    lrp_param: float | None = None

    def __post_init__(self):
        shape = weight_shape(self.name, self.sizes)
        expected = {"W": shape, "B": shape[-1:]} if shape else {"W": None, "B": None}
        for label, array in (("W", self.weights), ("B", self.biases)):
            found = None if array is None else array.shape
            if found != expected[label]:
                raise ValueError(f"{self.name} {_joined(self.sizes)}: {label} has the shape {expected[label]}; got {found}.")
            if array is not None and not np.isfinite(array).all():
                raise ValueError(f"{self.name} {_joined(self.sizes)}: {label} holds NaN or infinite values.")


def weight_shape(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The shape of a module's weights, () for a module without weights.

    Raises:
        ValueError: for an unknown name, and for sizes that are too few, too many or not positive.
    """
    if name not in SIZES:
        raise ValueError(
            f"There is no module {name[:80]!r}.{did_you_mean(name[:80], SIZES)} The modules are: {', '.join(SIZES)}."
        )
    names = SIZES[name]
    if len(sizes) != len(names):
        wanted = f"{len(names)} numbers ({', '.join(names)})" if names else "no numbers"
        raise ValueError(f"{name} takes {wanted}; got {len(sizes)}.")
    for label, size in zip(names, sizes, strict=True):
        if not 1 <= size <= _LARGEST:
            raise ValueError(f"{name} needs {label} >= 1 and at most {_LARGEST}; got {_short(size)}.")
    return tuple(sizes[: _AXES.get(name, 0)])


def number_of_weights(name: str, sizes: Sequence[int]) -> int:
    """How many weights a module has, without the biases."""
    shape = weight_shape(name, sizes)
    return math.prod(shape) if shape else 0


def _joined(sizes):
    return " ".join(map(str, sizes))


def _short(size):
    """A number for a message: text files may hold one of thousands of digits."""
    return str(size) if abs(size) < 10**20 else "a number of more than twenty digits"
