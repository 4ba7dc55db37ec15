"""Functions of single entries, comparisons, and softmax."""

from __future__ import annotations

import numpy as np
from keras import ops

from tf_lrp.keras_compat.tensorflow_graphs.table import add, elementwise, replays
from tf_lrp.keras_compat.tensorflow_graphs.values import Complex, as_tensor, is_tensor, number

for name, function in {
    # Activations.
    "Relu": ops.relu,
    "Relu6": ops.relu6,
    "Elu": ops.elu,
    "Selu": ops.selu,
    "Softplus": ops.softplus,
    "Softsign": ops.softsign,
    "Sigmoid": ops.sigmoid,
    "Tanh": ops.tanh,
    "Erf": ops.erf,
    "Erfc": getattr(ops, "erfc", lambda x: ops.subtract(1, ops.erf(x))),
    "Softmax": ops.softmax,
    "LogSoftmax": ops.log_softmax,
    # Functions of numbers.
    "Exp": ops.exp,
    "Expm1": ops.expm1,
    "Log": ops.log,
    "Log1p": ops.log1p,
    "Sqrt": ops.sqrt,
    "Rsqrt": ops.rsqrt,
    "Square": ops.square,
    "Reciprocal": ops.reciprocal,
    "Inv": ops.reciprocal,
    "Sign": ops.sign,
    "Floor": ops.floor,
    "Ceil": ops.ceil,
    "Rint": ops.round,
    "Round": ops.round,
    "Sin": ops.sin,
    "Cos": ops.cos,
    "Tan": ops.tan,
    "Asin": ops.arcsin,
    "Acos": ops.arccos,
    "Atan": ops.arctan,
    "Sinh": ops.sinh,
    "Cosh": ops.cosh,
    "Asinh": ops.arcsinh,
    "Acosh": ops.arccosh,
    "Atanh": ops.arctanh,
    "Erfinv": ops.erfinv,
    "IsNan": ops.isnan,
    "IsInf": ops.isinf,
    "IsFinite": ops.isfinite,
    "StopGradient": ops.stop_gradient,
    "ZerosLike": ops.zeros_like,
    "OnesLike": ops.ones_like,
    # Of two arguments. (Sums and products are in `normalization`.)
    "Maximum": ops.maximum,
    "Minimum": ops.minimum,
    "Pow": ops.power,
    "Atan2": ops.arctan2,
    "FloorDiv": ops.floor_divide,
    "FloorMod": ops.mod,
    "DivNoNan": ops.divide_no_nan,
    "Equal": ops.equal,
    "NotEqual": ops.not_equal,
    "Greater": ops.greater,
    "GreaterEqual": ops.greater_equal,
    "Less": ops.less,
    "LessEqual": ops.less_equal,
    "LogicalAnd": ops.logical_and,
    "LogicalOr": ops.logical_or,
    "LogicalNot": ops.logical_not,
}.items():
    add((name,), elementwise(function))


@replays("Neg")
def _neg(node, x):
    return Complex(ops.negative(x.real), ops.negative(x.imaginary)) if isinstance(x, Complex) else ops.negative(x)


@replays("Abs")
def _abs(node, x):
    return ops.absolute(x)


@replays("LeakyRelu")
def _leaky_relu(node, x):
    return ops.leaky_relu(x, node.attr("alpha", 0.2))


@replays("SquaredDifference")
def _squared_difference(node, x, y):
    return ops.square(ops.subtract(number(x), number(y)))


@replays("L2Loss")
def _half_of_squares(node, x):
    return ops.divide(ops.sum(ops.square(x)), 2)


@replays("ClipByValue")
def _clip(node, x, low, high):
    if not any(map(is_tensor, (low, high))) and np.ndim(low) == np.ndim(high) == 0:
        return ops.clip(x, number(low), number(high))
    return ops.minimum(ops.maximum(x, number(low)), number(high))


@replays("Cast")
def _cast(node, x):
    dtype = node.attr("DstT").name
    if dtype.startswith("complex"):
        return x if isinstance(x, Complex) else Complex(x, ops.zeros_like(x))
    return ops.cast(x.real if isinstance(x, Complex) else x, dtype)


@replays("Select", "SelectV2")
def _select(node, condition, x, y):
    condition = as_tensor(condition)
    if node.op.type == "Select" and len(condition.shape) == 1 < max(len(getattr(v, "shape", ())) for v in (x, y)):
        condition = ops.reshape(condition, (-1, *[1] * (len(x.shape) - 1)))  # one for each sample
    return ops.where(condition, number(x), number(y))
