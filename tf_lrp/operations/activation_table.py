"""The table of activations: element-wise functions and softmax, and what is known of each.

To add an activation, add a line to `_TABLE`. Its twin, its kinds, the signs of its outputs, its role as a gate and whether it
is removed at the outputs all follow from that line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import keras
from keras import layers

from tf_lrp.keras_compat.keras_classes import layer_classes, nearest_class, operation_classes


class Gate(IntEnum):
    """How much the result of a function looks like a gate. In a product of branches, the lowest rank is the signal."""

    NONE = 0
    ACTIVATION = 1
    BOUNDED = 2
    GATE = 3
    NORMALIZER = 4


@dataclass(frozen=True)
class Activation:
    """Properties of a function f of single entries (or of the entries along an axis), which hold in floating point too.

    Attributes:
        name: in the spelling of keras.activations; "" for a function of which nothing is known.
        nonnegative: f(x) >= 0 for all x.
        keeps_nonnegative: f(x) >= 0 for all x >= 0.
        zero_at_zero: f(0) = 0.
        zero_below_zero: f(x) = 0 for all x <= 0.
        is_relu: f(x) = max(x, 0), without a threshold or an upper limit.
        gate: how much f(x) looks like a gate.
        scales: f(x) is x times a constant, so that f(x) looks as much like a gate as x does.
        probability: f turns scores into probabilities or their logarithms, and is increasing in the score.
        along_axis: the entries of f(x) depend on each other.
    """

    name: str = ""
    nonnegative: bool = False
    keeps_nonnegative: bool = False
    zero_at_zero: bool = False
    zero_below_zero: bool = False
    is_relu: bool = False
    gate: Gate = Gate.NONE
    scales: bool = False
    probability: bool = False
    along_axis: bool = False


#: A function of which nothing is known.
UNKNOWN = Activation()

_RECTIFIER = {"nonnegative": True, "keeps_nonnegative": True, "zero_at_zero": True, "zero_below_zero": True}
_POSITIVE = {"nonnegative": True, "keeps_nonnegative": True}
_THROUGH_ZERO = {"keeps_nonnegative": True, "zero_at_zero": True}
_GATE = {"gate": Gate.GATE}
_BOUNDED = {"gate": Gate.BOUNDED}
_NORMALIZER = {"gate": Gate.NORMALIZER}
_HEAD = {"probability": True}
_SOFTMAX = {"probability": True, "along_axis": True}

#: (name in keras.activations, or a name of its own; classes of keras.ops and keras.layers that compute it; properties, which
#: hold for all values of the function's parameters). x - tanh(x) and (x + sqrt(x^2 + b)) / 2 can be rounded to less than 0.
_TABLE = (
    ("linear", (), _THROUGH_ZERO | {"gate": Gate.NONE, "scales": True}),
    ("relu", ("Relu",), _RECTIFIER | {"is_relu": True}),
    ("relu6", ("Relu6",), _RECTIFIER | _BOUNDED),
    ("leaky_relu", ("LeakyRelu", "LeakyReLU"), _THROUGH_ZERO),
    ("prelu", ("PReLU",), _THROUGH_ZERO),
    ("elu", ("Elu", "ELU"), _THROUGH_ZERO),
    ("selu", ("Selu",), _THROUGH_ZERO),
    ("celu", ("Celu",), _THROUGH_ZERO),
    ("gelu", ("Gelu",), _THROUGH_ZERO),
    ("silu", ("Silu",), _THROUGH_ZERO),
    ("hard_silu", ("HardSilu",), _THROUGH_ZERO),
    ("mish", (), _THROUGH_ZERO),
    ("tanh", ("Tanh",), _THROUGH_ZERO | _BOUNDED),
    ("hard_tanh", ("HardTanh",), _THROUGH_ZERO | _BOUNDED),
    ("tanh_shrink", ("TanhShrink",), {"zero_at_zero": True}),
    ("softsign", ("Softsign",), _THROUGH_ZERO | _BOUNDED),
    ("soft_shrink", ("SoftShrink",), _THROUGH_ZERO),
    ("hard_shrink", ("HardShrink",), _THROUGH_ZERO),
    ("sigmoid", ("Sigmoid",), _POSITIVE | _GATE | _HEAD),
    ("hard_sigmoid", ("HardSigmoid",), _POSITIVE | _GATE | _HEAD),
    ("sparse_sigmoid", ("SparseSigmoid",), _POSITIVE | _GATE | _HEAD),
    ("log_sigmoid", ("LogSigmoid",), _HEAD),
    ("softmax", ("Softmax",), _POSITIVE | _GATE | _SOFTMAX),
    ("log_softmax", ("LogSoftmax",), _SOFTMAX),
    ("sparsemax", ("Sparsemax",), _GATE | _SOFTMAX),
    ("softplus", ("Softplus",), _POSITIVE),
    ("sparse_plus", ("SparsePlus",), _POSITIVE),
    ("exponential", ("Exp",), _POSITIVE),
    ("squareplus", ("Squareplus",), {}),
    ("threshold", ("Threshold",), {}),
    ("erf", ("Erf",), _BOUNDED),
    ("sin", ("Sin",), _BOUNDED),
    ("cos", ("Cos",), _BOUNDED),
    ("arctan", ("Arctan",), _BOUNDED),
    ("clip", ("Clip",), _BOUNDED),
    ("rsqrt", ("Rsqrt",), _NORMALIZER),
    ("reciprocal", ("Reciprocal",), _NORMALIZER),
    ("negative", ("Negative",), {"gate": Gate.NONE, "scales": True}),
    *(
        (name.lower(), (name,), {})
        for name in (
            "Exp2", "Expm1", "Erfc", "Erfinv", "Tan", "Arcsin", "Arccos", "Sinh", "Cosh", "Arcsinh", "Arccosh", "Arctanh",
            "Sinc", "Absolute", "Abs", "Fabs", "Square", "Sqrt", "Cbrt", "Log", "Log10", "Log1p", "Log2", "Sign", "Floor",
            "Ceil", "Round", "Trunc", "NanToNum", "Power", "Mod", "Fmod", "FloorDivide", "I0", "Heaviside", "Deg2rad",
            "Rad2deg", "Logaddexp", "Logaddexp2", "Ldexp", "Nextafter",
        )
    ),
)  # fmt: skip


_BY_NAME = {name: Activation(name, **{"gate": Gate.ACTIVATION, **properties}) for name, _, properties in _TABLE}


def _relu_layer(layer):
    """keras.layers.ReLU by its threshold, upper limit and slope, none of which Keras lets be negative."""
    limit = layer.max_value
    if not layer.negative_slope:
        function = replace(_BY_NAME["relu"], is_relu=limit is None and not layer.threshold)
    else:
        function = UNKNOWN if layer.threshold else _BY_NAME["leaky_relu"]
    return function if limit is None else replace(function, gate=Gate.BOUNDED)


def _soft_shrink(operation):
    """With a negative threshold it is x + abs(threshold)."""
    function = _BY_NAME["soft_shrink"]
    return function if operation.threshold >= 0 else replace(function, zero_at_zero=False)


#: Class of a layer or operation -> its `Activation`, or a function operation -> `Activation` where that depends on parameters.
_OF_CLASS = {
    kind: _BY_NAME[name]
    for name, classes, _ in _TABLE
    for kind in (*operation_classes(*classes), *layer_classes(*classes))
} | {layers.ReLU: _relu_layer} | dict.fromkeys(operation_classes("SoftShrink"), _soft_shrink)  # fmt: skip

#: id of a function of keras.activations, or of one that was described -> (it, its `Activation`).
_OF_FUNCTION = {
    id(function): (function, _BY_NAME.get(name, Activation(name, gate=Gate.ACTIVATION)))
    for name, function in vars(keras.activations).items()
    if callable(function) and getattr(function, "__name__", "") == name
}


def describe_activation(subject, activation):
    """Adds a layer class or an activation function of one's own to the table, with its `Activation`."""
    if isinstance(subject, type):
        _OF_CLASS[subject] = activation
    else:
        _OF_FUNCTION[id(subject)] = subject, activation


def activation_of(operation):
    """The `Activation` that a layer or operation computes; `UNKNOWN` for a user's own, whatever it is called."""
    while nearest_class(_ACTIVATION_LAYER, operation) is not None:
        if not isinstance(operation.activation, keras.Operation):
            return _OF_FUNCTION.get(id(operation.activation), (None, UNKNOWN))[1]
        operation = operation.activation
    entry = nearest_class(_OF_CLASS, operation)
    if entry is None:
        return UNKNOWN
    return entry if isinstance(entry, Activation) else entry(operation)


_ACTIVATION_LAYER = {layers.Activation: True}


def activation_name(operation):
    """The function's name in the spelling of keras.activations; "" for a user's own, whatever it is called."""
    return activation_of(operation).name


def is_relu(operation):
    """Whether it is max(x, 0), without a threshold or an upper limit."""
    return activation_of(operation).is_relu


#: The classes that compute functions of single entries (keras.layers.Activation computes any), and of those along an axis.
ELEMENTWISE_CLASSES = (layers.Activation, *(
    kind for kind, entry in _OF_CLASS.items() if not isinstance(entry, Activation) or not entry.along_axis
))  # fmt: skip
ALONG_AXIS_CLASSES = tuple(kind for kind in _OF_CLASS if kind not in ELEMENTWISE_CLASSES)
