"""Which well-known function an element-wise operation computes, and what is proven of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
from keras import layers

from tf_lrp.keras_compat import internals

_OF_LAYER = {layers.LeakyReLU: "leaky_relu", layers.PReLU: "prelu", layers.ELU: "elu", layers.Softmax: "softmax"}
_OF_OPERATION = {
    "LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh",
    "TanhShrink": "tanh_shrink", "SoftShrink": "soft_shrink", "HardShrink": "hard_shrink", "LogSoftmax": "log_softmax",
    "LogSigmoid": "log_sigmoid", "Exp": "exponential", "SparseSigmoid": "sparse_sigmoid", "SparsePlus": "sparse_plus",
}  # fmt: skip


@dataclass(frozen=True)
class Proven:
    """What holds of an element-wise function f, in floating-point arithmetic as on paper.

    Attributes:
        nonnegative: f(x) >= 0 for all x.
        keeps_nonnegative: f(x) >= 0 for all x >= 0.
        zero_at_zero: f(0) = 0.
        zero_below_zero: f(x) = 0 for all x <= 0.
    """

    nonnegative: bool = False
    keeps_nonnegative: bool = False
    zero_at_zero: bool = False
    zero_below_zero: bool = False


_NOTHING = Proven()
_RECTIFIER = Proven(nonnegative=True, keeps_nonnegative=True, zero_at_zero=True, zero_below_zero=True)
_POSITIVE = Proven(nonnegative=True, keeps_nonnegative=True)
_THROUGH_ZERO = Proven(keeps_nonnegative=True, zero_at_zero=True)

#: By `activation_name`, for all values of the function's parameters. A function that is not here may do anything:
#: x - tanh(x) and (x + sqrt(x^2 + b)) / 2, for two, can be rounded to less than 0.
_PROVEN = {
    **dict.fromkeys(("relu", "relu6"), _RECTIFIER),
    **dict.fromkeys(
        ("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "softplus", "sparse_plus", "exponential"), _POSITIVE
    ),
    **dict.fromkeys(
        ("linear", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "mish", "tanh", "hard_tanh",
         "softsign", "soft_shrink", "hard_shrink"),
        _THROUGH_ZERO,
    ),
    "tanh_shrink": Proven(zero_at_zero=True),
}  # fmt: skip


def proven(operation):
    """`Proven` of an operation; nothing for one that computes no well-known function."""
    name = activation_name(operation)
    found = _PROVEN.get(name, _NOTHING)
    if name == "soft_shrink" and getattr(_function_of(operation), "threshold", 0.5) < 0:
        return replace(found, zero_at_zero=False)  # it is x + abs(threshold) then
    return found


def _function_of(operation):
    """The operation that an Activation layer applies, if it holds one; else the operation itself."""
    while isinstance(operation, layers.Activation) and isinstance(operation.activation, keras.Operation):
        operation = operation.activation
    return operation


def activation_name(operation):
    """The function's name in the spelling of keras.activations; "" for a user's own, whatever it is called."""
    kind = type(operation)
    if isinstance(operation, layers.Activation) and kind.call is layers.Activation.call:
        function = operation.activation
        if isinstance(function, keras.Operation):
            return activation_name(function)
        name = getattr(function, "__name__", "")
        return name if function is getattr(keras.activations, name, None) else ""
    if isinstance(operation, layers.ReLU) and kind.call is layers.ReLU.call:
        limit = operation.max_value
        if operation.threshold < 0 or (limit is not None and limit < 0):
            return ""  # negative values pass
        if not operation.negative_slope:
            return "relu"
        return "" if operation.threshold else "leaky_relu"
    for layer_class, name in _OF_LAYER.items():
        if isinstance(operation, layer_class) and kind.call is layer_class.call:
            return name
    if kind in (*internals.ELEMENTWISE_FUNCTIONS, *internals.SOFTMAX):
        return _OF_OPERATION.get(kind.__name__, kind.__name__.lower())
    return ""


def is_relu(operation):
    """Whether it is max(x, 0), without a threshold or an upper limit."""
    function = _function_of(operation)
    limited = getattr(function, "max_value", None) is not None or getattr(function, "threshold", 0)
    return activation_name(operation) == "relu" and not limited
