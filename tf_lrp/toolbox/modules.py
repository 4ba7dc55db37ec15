"""Networks as the LRP Toolbox has them, computed by Keras.

nn = modules.Sequential([modules.Linear(2, 3), modules.Tanh(), modules.Linear(3, 2), modules.SoftMax()])
nn = modules.Sequential(any_keras_model)
"""

from tf_lrp.toolbox.module_classes import (
    Convolution,
    Flatten,
    KerasLayer,
    Linear,
    MaxPool,
    Module,
    Rect,
    SoftMax,
    SumPool,
    Tanh,
)
from tf_lrp.toolbox.sequential import Sequential
from tf_lrp.toolbox.training import Status

__all__ = [
    "Convolution",
    "Flatten",
    "KerasLayer",
    "Linear",
    "MaxPool",
    "Module",
    "Rect",
    "Sequential",
    "SoftMax",
    "Status",
    "SumPool",
    "Tanh",
]
