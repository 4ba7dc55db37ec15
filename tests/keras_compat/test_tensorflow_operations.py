"""Every operation of the table is replayed as the function of Keras that it is, with its values and its relevance."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow_layers import Computes, assert_equal, numbers, relevance_of

from tf_lrp.keras_compat.tensorflow_graphs import TABLE

pytestmark = pytest.mark.eager

POSITIVE, PICTURES, VECTORS, SEQUENCES = "positive", (6, 6, 4), (6,), (5, 4)
W = numbers(6, 3, seed=1)


def compared(raw, own):
    """What depends on a comparison: x, where it holds."""
    return (lambda x: x * tf.cast(raw(x, tf.zeros_like(x)), x.dtype)), (lambda x: x * ops.cast(own(x, 0.0), "float32")), VECTORS


#: Type of an operation -> (function of TensorFlow, the same in Keras, shape of a sample).
SAMPLES = {
    "Relu": (tf.nn.relu, ops.relu, VECTORS),
    "Relu6": (tf.nn.relu6, ops.relu6, VECTORS),
    "LeakyRelu": (lambda x: tf.nn.leaky_relu(x, 0.3), lambda x: ops.leaky_relu(x, 0.3), VECTORS),
    "Elu": (tf.nn.elu, ops.elu, VECTORS),
    "Selu": (tf.nn.selu, ops.selu, VECTORS),
    "Softplus": (tf.nn.softplus, ops.softplus, VECTORS),
    "Softsign": (tf.nn.softsign, ops.softsign, VECTORS),
    "Sigmoid": (lambda x: tf.square(tf.sigmoid(x)), lambda x: ops.square(ops.sigmoid(x)), VECTORS),
    "Tanh": (tf.tanh, ops.tanh, VECTORS),
    "Erf": (tf.math.erf, ops.erf, VECTORS),
    "Erfc": (tf.math.erfc, lambda x: 1 - ops.erf(x), VECTORS),
    "Softmax": (lambda x: tf.square(tf.nn.softmax(x)), lambda x: ops.square(ops.softmax(x)), VECTORS),
    "LogSoftmax": (lambda x: tf.square(tf.nn.log_softmax(x)), lambda x: ops.square(ops.log_softmax(x)), VECTORS),
    "Exp": (tf.exp, ops.exp, VECTORS),
    "Expm1": (tf.math.expm1, ops.expm1, VECTORS),
    "Log": (tf.math.log, ops.log, POSITIVE),
    "Log1p": (tf.math.log1p, ops.log1p, POSITIVE),
    "Sqrt": (tf.sqrt, ops.sqrt, POSITIVE),
    "Rsqrt": (tf.math.rsqrt, ops.rsqrt, POSITIVE),
    "Square": (tf.square, ops.square, VECTORS),
    "Reciprocal": (tf.math.reciprocal, ops.reciprocal, POSITIVE),
    "Inv": (lambda x: tf.raw_ops.Inv(x=x), ops.reciprocal, POSITIVE),
    "Neg": (tf.negative, ops.negative, VECTORS),
    "Abs": (tf.abs, ops.absolute, VECTORS),
    "Sign": (tf.sign, ops.sign, VECTORS),
    "Floor": (tf.floor, ops.floor, VECTORS),
    "Ceil": (tf.math.ceil, ops.ceil, VECTORS),
    "Rint": (tf.math.rint, ops.round, VECTORS),
    "Round": (tf.round, ops.round, VECTORS),
    "Sin": (tf.sin, ops.sin, VECTORS),
    "Cos": (tf.cos, ops.cos, VECTORS),
    "Tan": (tf.tan, ops.tan, VECTORS),
    "Asin": (lambda x: tf.asin(tf.tanh(x)), lambda x: ops.arcsin(ops.tanh(x)), VECTORS),
    "Acos": (lambda x: tf.acos(tf.tanh(x)), lambda x: ops.arccos(ops.tanh(x)), VECTORS),
    "Atan": (tf.atan, ops.arctan, VECTORS),
    "Sinh": (tf.sinh, ops.sinh, VECTORS),
    "Cosh": (tf.cosh, ops.cosh, VECTORS),
    "Asinh": (tf.asinh, ops.arcsinh, VECTORS),
    "Acosh": (lambda x: tf.acosh(x + 1.5), lambda x: ops.arccosh(x + 1.5), POSITIVE),
    "Atanh": (lambda x: tf.atanh(tf.tanh(x)), lambda x: ops.arctanh(ops.tanh(x)), VECTORS),
    "Erfinv": (lambda x: tf.math.erfinv(tf.tanh(x)), lambda x: ops.erfinv(ops.tanh(x)), VECTORS),
    "StopGradient": (lambda x: tf.stop_gradient(x), ops.stop_gradient, VECTORS),
    "IsNan": (
        lambda x: tf.where(tf.math.is_nan(tf.math.log(x)), 0.5, x),
        lambda x: ops.where(ops.isnan(ops.log(x)), 0.5, x), VECTORS,
    ),
    "IsInf": (lambda x: tf.where(tf.math.is_inf(x), 0.5, x), lambda x: ops.where(ops.isinf(x), 0.5, x), VECTORS),
    "IsFinite": (lambda x: tf.where(tf.math.is_finite(x), x, 0.5), lambda x: ops.where(ops.isfinite(x), x, 0.5), VECTORS),
    "ZerosLike": (lambda x: x + tf.zeros_like(tf.reshape(x, [-1, 6])), lambda x: x + ops.zeros_like(x), VECTORS),
    "OnesLike": (lambda x: x * tf.ones_like(tf.reshape(x, [-1, 6])), lambda x: x * ops.ones_like(x), VECTORS),
    "Maximum": (lambda x: tf.maximum(x, x[:, ::-1]), lambda x: ops.maximum(x, ops.flip(x, 1)), VECTORS),
    "Minimum": (lambda x: tf.minimum(x, 0.2), lambda x: ops.minimum(x, 0.2), VECTORS),
    "Pow": (lambda x: tf.pow(x, 3.0), lambda x: ops.power(x, 3.0), VECTORS),
    "FloorDiv": (lambda x: tf.math.floordiv(x, 0.5), lambda x: ops.floor_divide(x, 0.5), VECTORS),
    "FloorMod": (lambda x: tf.math.floormod(x, 0.5), lambda x: ops.mod(x, 0.5), VECTORS),
    "DivNoNan": (lambda x: tf.math.divide_no_nan(x, x[:, :1]), lambda x: ops.divide_no_nan(x, x[:, :1]), VECTORS),
    "SquaredDifference": (
        lambda x: tf.math.squared_difference(x, x[:, :1]), lambda x: ops.square(ops.subtract(x, x[:, :1])), VECTORS,
    ),
    "L2Loss": (lambda x: x * tf.nn.l2_loss(x), lambda x: x * (ops.sum(ops.square(x)) / 2), VECTORS),
    "ClipByValue": (
        lambda x: tf.raw_ops.ClipByValue(t=x, clip_value_min=-0.5, clip_value_max=0.5),
        lambda x: ops.clip(x, -0.5, 0.5), VECTORS,
    ),
    "Cast": (
        lambda x: tf.cast(tf.cast(x, tf.float64), tf.float32),
        lambda x: ops.cast(ops.cast(x, "float64"), "float32"), VECTORS,
    ),
    "Select": (
        lambda x: tf.raw_ops.Select(condition=x > 0, x=x, y=tf.square(x)),
        lambda x: ops.where(x > 0, x, ops.square(x)), VECTORS,
    ),
    "SelectV2": (lambda x: tf.where(x > 0, x, -2.0), lambda x: ops.where(x > 0, x, -2.0), VECTORS),
    "Equal": compared(tf.equal, ops.equal),
    "NotEqual": compared(tf.not_equal, ops.not_equal),
    "Greater": compared(tf.greater, ops.greater),
    "GreaterEqual": compared(tf.greater_equal, ops.greater_equal),
    "Less": compared(tf.less, ops.less),
    "LessEqual": compared(tf.less_equal, ops.less_equal),
    "LogicalAnd": (
        lambda x: tf.where((x > 0) & (x < 1), x, 0.0), lambda x: ops.where(ops.logical_and(x > 0, x < 1), x, 0.0), VECTORS,
    ),
    "LogicalOr": (
        lambda x: tf.where((x < 0) | (x > 1), x, 0.0),
        lambda x: ops.where(ops.logical_or(x < 0, x > 1), x, 0.0), VECTORS,
    ),
    "LogicalNot": (lambda x: tf.where(~(x > 0), x, 0.0), lambda x: ops.where(ops.logical_not(x > 0), x, 0.0), VECTORS),
    # Sums, products, normalizations.
    "AddV2": (lambda x: x + tf.reverse(x, [1]), lambda x: ops.add(x, ops.flip(x, 1)), VECTORS),
    "Add": (lambda x: tf.raw_ops.Add(x=x, y=tf.reverse(x, [1])), lambda x: ops.add(x, ops.flip(x, 1)), VECTORS),
    "AddN": (lambda x: tf.add_n([x, x[:, ::-1], x]), lambda x: layers.Add()([x, ops.flip(x, 1), x]), VECTORS),
    "Sub": (lambda x: x - tf.reverse(x, [1]), lambda x: ops.subtract(x, ops.flip(x, 1)), VECTORS),
    "Mul": (lambda x: x * tf.reverse(x, [1]), lambda x: ops.multiply(x, ops.flip(x, 1)), VECTORS),
    "RealDiv": (lambda x: x / (1 + tf.square(x)), lambda x: ops.divide(x, 1 + ops.square(x)), VECTORS),
    "Div": (lambda x: tf.raw_ops.Div(x=x, y=4.0), lambda x: ops.divide(x, 4.0), VECTORS),
    "BiasAdd": (lambda x: tf.nn.bias_add(x, W[0, :1].repeat(6)), lambda x: x + W[0, :1].repeat(6), VECTORS),
    "BiasAddV1": (
        lambda x: tf.raw_ops.BiasAddV1(value=x, bias=W[0, :1].repeat(6)), lambda x: x + W[0, :1].repeat(6), VECTORS,
    ),
    # Products with weights; more in the tests of whole layers.
    "MatMul": (lambda x: tf.matmul(x, W), lambda x: ops.matmul(x, W), VECTORS),
    "BatchMatMul": (
        lambda x: tf.raw_ops.BatchMatMul(x=x, y=x, adj_y=True), lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), SEQUENCES,
    ),
    "BatchMatMulV2": (
        lambda x: tf.matmul(x, x, transpose_b=True),
        lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), SEQUENCES,
    ),
    "BatchMatMulV3": (
        lambda x: tf.raw_ops.BatchMatMulV3(x=x, y=x, Tout=tf.float32, adj_y=True),
        lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), SEQUENCES,
    ),
    "Einsum": (lambda x: tf.einsum("ntd,nsd->nts", x, x), lambda x: ops.einsum("ntd,nsd->nts", x, x), SEQUENCES),
    # Pooling and reductions.
    "MaxPool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), layers.MaxPooling2D(2, 2, "same"), PICTURES),
    "MaxPoolV2": (
        lambda x: tf.raw_ops.MaxPoolV2(input=x, ksize=[1, 3, 2, 1], strides=[1, 1, 2, 1], padding="VALID"),
        layers.MaxPooling2D((3, 2), (1, 2)), PICTURES,
    ),
    "MaxPool3D": (lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID"), layers.MaxPooling3D(2, 2), (4, 4, 4, 2)),
    "AvgPool": (lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), layers.AveragePooling2D(3, 2, "same"), PICTURES),
    "AvgPool3D": (lambda x: tf.nn.avg_pool3d(x, 2, 2, "VALID"), layers.AveragePooling3D(2, 2), (4, 4, 4, 2)),
    "Sum": (lambda x: tf.reduce_sum(x, 1), lambda x: ops.sum(x, 1), SEQUENCES),
    "Mean": (lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), layers.GlobalAveragePooling2D(keepdims=True), PICTURES),
    "Max": (lambda x: tf.reduce_max(x, 1), lambda x: ops.max(x, 1), SEQUENCES),
    "Min": (lambda x: tf.reduce_min(x, 1), lambda x: ops.min(x, 1), SEQUENCES),
    "Prod": (lambda x: tf.reduce_prod(x, 2), lambda x: ops.prod(x, 2), SEQUENCES),
    "All": (
        lambda x: tf.where(tf.reduce_all(x > -2, 1, keepdims=True), x, 0.0),
        lambda x: ops.where(ops.all(x > -2, 1, keepdims=True), x, 0.0), VECTORS,
    ),
    "Any": (
        lambda x: tf.where(tf.reduce_any(x > 1, 1, keepdims=True), x, 0.0),
        lambda x: ops.where(ops.any(x > 1, 1, keepdims=True), x, 0.0), VECTORS,
    ),
    "Cumsum": (lambda x: tf.cumsum(x, 1), lambda x: ops.cumsum(x, 1), SEQUENCES),
    "LRN": (
        lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 0.5, 0.75),
        lambda x: x / ops.power(
            ops.add(0.5 * layers.Add()([ops.pad(x * x, [[0, 0]] * 3 + [[1, 1]])[..., n : n + 4] for n in range(3)]), 1.0), 0.75
        ), PICTURES,
    ),
    # Shapes, and parts of tensors.
    "Reshape": (lambda x: tf.reshape(x, [-1, 4, 5]), lambda x: ops.reshape(x, (-1, 4, 5)), SEQUENCES),
    "Transpose": (lambda x: tf.transpose(x, [0, 2, 1]), lambda x: ops.transpose(x, (0, 2, 1)), SEQUENCES),
    "Squeeze": (lambda x: tf.squeeze(x[:, :1], 1), lambda x: ops.squeeze(x[:, :1], 1), SEQUENCES),
    "ExpandDims": (lambda x: tf.expand_dims(x, 2), lambda x: ops.expand_dims(x, 2), SEQUENCES),
    "Tile": (lambda x: tf.tile(x, [1, 2, 3]), lambda x: ops.tile(x, (1, 2, 3)), SEQUENCES),
    "BroadcastTo": (
        lambda x: tf.broadcast_to(x[:, :1], tf.shape(x)), lambda x: ops.broadcast_to(x[:, :1], ops.shape(x)), SEQUENCES,
    ),
    "BroadcastArgs": (
        lambda x: tf.broadcast_to(x[:, :1], tf.raw_ops.BroadcastArgs(s0=tf.shape(x), s1=[5, 1])),
        lambda x: ops.broadcast_to(x[:, :1], ops.shape(x)), SEQUENCES,
    ),
    "Fill": (lambda x: x + tf.fill(tf.shape(x), 2.0), lambda x: x + ops.full(ops.shape(x), 2.0), SEQUENCES),
    "Range": (
        lambda x: x * tf.cast(tf.range(tf.shape(x)[0])[:, None], tf.float32),
        lambda x: x * ops.cast(ops.expand_dims(ops.arange(ops.shape(x)[0], dtype="int32"), 1), "float32"), VECTORS,
    ),
    "Shape": (lambda x: tf.reshape(x, [tf.shape(x)[0], 20]), lambda x: ops.reshape(x, (-1, 20)), SEQUENCES),
    "ShapeN": (lambda x: tf.reshape(x, [tf.shape_n([x, x])[1][0], 20]), lambda x: ops.reshape(x, (-1, 20)), SEQUENCES),
    "Rank": (lambda x: x * tf.cast(tf.raw_ops.Rank(input=x), tf.float32), lambda x: x * 3.0, SEQUENCES),
    "Size": (
        lambda x: x / tf.cast(tf.raw_ops.Size(input=x), tf.float32),
        lambda x: x / ops.cast(ops.shape(x)[0] * 20, "float32"), SEQUENCES,
    ),
    "ConcatV2": (lambda x: tf.concat([x, tf.square(x)], 2), lambda x: ops.concatenate([x, ops.square(x)], 2), SEQUENCES),
    "Concat": (
        lambda x: tf.raw_ops.Concat(concat_dim=1, values=[x, tf.square(x)]),
        lambda x: ops.concatenate([x, ops.square(x)], 1), SEQUENCES,
    ),
    "Pack": (lambda x: tf.stack([x, tf.square(x)], 1), lambda x: ops.stack([x, ops.square(x)], 1), SEQUENCES),
    "Unpack": (lambda x: tf.unstack(x, axis=1)[2], lambda x: ops.unstack(x, axis=1)[2], SEQUENCES),
    "Split": (lambda x: tf.split(x, 2, 2)[1], lambda x: ops.split(x, 2, 2)[1], SEQUENCES),
    "SplitV": (lambda x: tf.split(x, [1, -1], 1)[1], lambda x: ops.split(x, [1], 1)[1], SEQUENCES),
    "Slice": (lambda x: tf.slice(x, [0, 1, 0], [-1, 3, 2]), lambda x: x[:, 1:4, :2], SEQUENCES),
    "StridedSlice": (lambda x: x[:, 1:-1:2, ..., tf.newaxis, -1], lambda x: x[:, 1:-1:2, None, -1], SEQUENCES),
    "Pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]]), lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0]]), SEQUENCES),
    "PadV2": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=2.0),
        lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=2.0), SEQUENCES,
    ),
    "MirrorPad": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]], "REFLECT"),
        lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0]], mode="reflect"), SEQUENCES,
    ),
    "ReverseV2": (lambda x: tf.reverse(x, [1, 2]), lambda x: ops.flip(x, (1, 2)), SEQUENCES),
    "Roll": (lambda x: tf.roll(x, [1, -2], [1, 2]), lambda x: ops.roll(ops.roll(x, 1, 1), -2, 2), SEQUENCES),
    "SpaceToDepth": (
        lambda x: tf.nn.space_to_depth(x, 2),
        lambda x: ops.reshape(
            ops.transpose(ops.reshape(x, (-1, 3, 2, 3, 2, 4)), (0, 1, 3, 2, 4, 5)), (-1, 3, 3, 16)
        ), PICTURES,
    ),
    "DepthToSpace": (
        lambda x: tf.nn.depth_to_space(x, 2),
        lambda x: ops.reshape(
            ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 2, 1)), (0, 1, 3, 2, 4, 5)), (-1, 12, 12, 1)
        ), PICTURES,
    ),
    "SpaceToBatchND": (
        lambda x: tf.batch_to_space(tf.nn.relu(tf.space_to_batch(x, [2, 3], [[1, 1], [0, 0]])), [2, 3], [[0, 1], [1, 0]]),
        lambda x: ops.relu(ops.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]))[:, :-1, 1:], PICTURES,
    ),
    "BatchToSpaceND": (
        lambda x: tf.batch_to_space(tf.space_to_batch(x, [3], [[1, 2]]), [3], [[1, 2]]), lambda x: 1.0 * x, (9, 4),
    ),
    "InvertPermutation": (
        lambda x: tf.gather(x, tf.math.invert_permutation(tf.argsort(tf.cast(x[0], tf.float32))), axis=1),
        lambda x: ops.take(x, ops.argsort(ops.argsort(x[0])), axis=1), VECTORS,
    ),
    # Values by position.
    "GatherV2": (lambda x: tf.gather(x, [2, 0, 2], axis=1), lambda x: ops.take(x, [2, 0, 2], axis=1), SEQUENCES),
    "Gather": (
        lambda x: tf.raw_ops.Gather(params=tf.transpose(x), indices=[2, 0]),
        lambda x: ops.take(ops.transpose(x), [2, 0], axis=0), VECTORS,
    ),
    "GatherNd": (
        lambda x: tf.gather_nd(tf.transpose(x, [1, 2, 0]), [[0, 1], [4, 3]]),
        lambda x: ops.take(ops.reshape(ops.transpose(x, (1, 2, 0)), (20, -1)), [1, 19], axis=0), SEQUENCES,
    ),
    "OneHot": (
        lambda x: x * tf.one_hot(tf.argmax(x, 1), 6), lambda x: x * ops.one_hot(ops.argmax(x, 1), 6), VECTORS,
    ),
    "ArgMax": (
        lambda x: x * tf.one_hot(tf.argmax(x, 1, tf.int32), 6, 2.0, 1.0),
        lambda x: x * (ops.one_hot(ops.argmax(x, 1), 6) + 1.0), VECTORS,
    ),
    "ArgMin": (lambda x: x * tf.one_hot(tf.argmin(x, 1), 6), lambda x: x * ops.one_hot(ops.argmin(x, 1), 6), VECTORS),
    "TopKV2": (lambda x: tf.math.top_k(x, 3)[0], lambda x: ops.top_k(x, 3)[0], VECTORS),
    "SegmentSum": (
        lambda x: tf.math.segment_sum(tf.transpose(x), [0, 0, 1, 1, 1, 2]),
        lambda x: ops.segment_sum(ops.transpose(x), np.array([0, 0, 1, 1, 1, 2]), 3), VECTORS,
    ),
    "SegmentMax": (
        lambda x: tf.math.segment_max(tf.transpose(x), [0, 0, 1, 1, 1, 2]),
        lambda x: ops.segment_max(ops.transpose(x), np.array([0, 0, 1, 1, 1, 2]), 3), VECTORS,
    ),
    "UnsortedSegmentSum": (
        lambda x: tf.math.unsorted_segment_sum(tf.transpose(x), [2, 0, 1, 0, 1, 2], 4),
        lambda x: ops.segment_sum(ops.transpose(x), np.array([2, 0, 1, 0, 1, 2]), 4), VECTORS,
    ),
    "UnsortedSegmentMax": (
        lambda x: tf.math.unsorted_segment_max(tf.transpose(x), [2, 0, 1, 0, 1, 2], 3),
        lambda x: ops.segment_max(ops.transpose(x), np.array([2, 0, 1, 0, 1, 2]), 3), VECTORS,
    ),
    # Pictures, and Fourier transforms.
    "ResizeBilinear": (lambda x: tf.image.resize(x, (9, 4)), lambda x: ops.image.resize(x, (9, 4)), PICTURES),
    "ResizeNearestNeighbor": (
        lambda x: tf.image.resize(x, (12, 3), "nearest"), lambda x: ops.image.resize(x, (12, 3), "nearest"), PICTURES,
    ),
    "RFFT": (lambda x: tf.math.real(tf.signal.rfft(x)), lambda x: ops.rfft(x)[0], (8,)),
    "Imag": (lambda x: tf.math.imag(tf.signal.rfft(x)), lambda x: ops.rfft(x)[1], (8,)),
    "IRFFT": (
        lambda x: tf.signal.irfft(tf.signal.rfft(x) * 2),
        lambda x: ops.irfft(tuple(2 * p for p in ops.rfft(x)), 8), (8,),
    ),
    "FFT": (
        lambda x: tf.math.real(tf.signal.fft(tf.complex(x, tf.square(x)))), lambda x: ops.fft((x, ops.square(x)))[0], (8,),
    ),
    "IFFT": (
        lambda x: tf.math.real(tf.signal.ifft(tf.signal.fft(tf.cast(x, tf.complex64)))), lambda x: 1.0 * x, (8,),
    ),
    "FFT2D": (
        lambda x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))),
        lambda x: ops.fft2((x, ops.zeros_like(x)))[0], SEQUENCES,
    ),
    "IFFT2D": (
        lambda x: tf.math.real(tf.signal.ifft2d(tf.signal.fft2d(tf.cast(x, tf.complex64)))),
        lambda x: 1.0 * x, SEQUENCES,
    ),
    "ComplexAbs": (
        lambda x: tf.abs(tf.signal.rfft(x)), lambda x: ops.sqrt(ops.add(*[ops.square(p) for p in ops.rfft(x)])), (8,),
    ),
    "Conj": (lambda x: tf.math.imag(tf.math.conj(tf.complex(x, 2 * x))), lambda x: ops.negative(2 * x), (8,)),
}  # fmt: skip

#: Operations in other samples (as their types are asked for there), or in the tests of layers and loops.
ELSEWHERE = {
    "Complex", "Real", "Angle", "Atan2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput",
    "Conv3DBackpropInputV2", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "ResourceGather", "If", "StatelessIf",
    "Case", "StatelessCase", "While", "StatelessWhile", "TensorListReserve", "EmptyTensorList", "TensorListFromTensor",
    "TensorListGetItem", "TensorListSetItem", "TensorListPushBack", "TensorListLength", "TensorListStack", "Where",
}  # fmt: skip


def sample(shape):
    x = numbers(2, *(VECTORS if shape == POSITIVE else shape))
    return np.abs(x) + 0.5 if shape == POSITIVE else x


def types_in(function, x):

    return {
        op.type
        for op in tf.function(function, autograph=False)
        .get_concrete_function(tf.TensorSpec((None, *x.shape[1:])))
        .graph.get_operations()
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_each_operation_is_that_of_keras(name):
    raw, own, shape = SAMPLES[name]
    x = sample(shape)
    if name not in ("SpaceToBatchND", "BatchToSpaceND"):
        assert name in types_in(raw, x), "the sample is of another operation"
    inputs = keras.Input(x.shape[1:])
    flat = layers.Reshape((-1,)) if name not in MOVES_SAMPLES else lambda y: ops.transpose(ops.reshape(y, (-1, 2)))
    relevance, outputs = {}, {}
    for kind, function in (("raw", Computes(raw, name="raw")), ("own", Computes(own))):
        model = keras.Model(inputs, flat(function(inputs)))
        relevance[kind], outputs[kind] = relevance_of(model, "epsilon", x)
        assert_equal(outputs[kind], model(x))
    assert_equal(outputs["raw"], outputs["own"], 1e-5)
    assert_equal(relevance["raw"], relevance["own"], 1e-5)


#: Samples whose output has the samples along another axis.
MOVES_SAMPLES = ("Gather", "GatherNd", "SegmentMax", "SegmentSum", "UnsortedSegmentSum", "UnsortedSegmentMax")


def test_all_operations_of_the_table_have_a_sample():
    own = {name for name, function in TABLE.items() if function.__module__.startswith("tf_lrp.")}
    assert own == set(SAMPLES) | ELSEWHERE
