"""Which well-known function an element-wise operation computes."""

from __future__ import annotations

import keras
from keras import layers as L

from tf_lrp import keras_internals as K

_OF_LAYER = {L.LeakyReLU: "leaky_relu", L.PReLU: "prelu", L.ELU: "elu", L.Softmax: "softmax"}
_OF_OPERATION = {
    "LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "HardTanh": "hard_tanh",
    "TanhShrink": "tanh_shrink", "SoftShrink": "soft_shrink", "HardShrink": "hard_shrink", "LogSoftmax": "log_softmax",
    "LogSigmoid": "log_sigmoid", "Exp": "exponential", "SparseSigmoid": "sparse_sigmoid", "SparsePlus": "sparse_plus",
}  # fmt: skip


def activation_name(operation):
    """The function's name in the spelling of keras.activations; "" for a user's own, whatever it is called."""
    kind = type(operation)
    if isinstance(operation, L.Activation) and kind.call is L.Activation.call:
        function = operation.activation
        if isinstance(function, keras.Operation):
            return activation_name(function)
        name = getattr(function, "__name__", "")
        return name if function is getattr(keras.activations, name, None) else ""
    if isinstance(operation, L.ReLU) and kind.call is L.ReLU.call:
        if not operation.negative_slope:
            return "relu"
        return "" if operation.threshold else "leaky_relu"
    for layer_class, name in _OF_LAYER.items():
        if isinstance(operation, layer_class) and kind.call is layer_class.call:
            return name
    if kind in (*K.ELEMENTWISE_FUNCTIONS, *K.SOFTMAX):
        return _OF_OPERATION.get(kind.__name__, kind.__name__.lower())
    return ""


def is_relu(operation):
    """Whether it is max(x, 0), without a threshold or an upper limit."""
    limited = getattr(operation, "max_value", None) is not None or getattr(operation, "threshold", 0)
    return activation_name(operation) == "relu" and not limited
