"""What is made of each public function of keras.ops and each layer of Keras: one small model for each, explained or refused.

`FUNCTIONS` and `LAYERS` hold an example of every name; a test fails when Keras adds one that has none.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import itertools
import re
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

SEED = 5
NAMESPACES = ("image", "linalg", "nn", "numpy")
#: The largest deviation of the twin, and part of the output not accounted for, of what counts as explained.
TWIN, UNACCOUNTED = 1e-4, 1e-3


def numbers(*shape, seed=SEED):
    """Seeded normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def public_functions():
    """The names in keras.ops, and those of its namespaces that are only there with their prefix ("image.resize")."""

    def names(module):
        return [n for n, f in vars(module).items() if callable(f) and not n.startswith("_")]

    found = names(ops)
    return sorted([*found, *(f"{s}.{n}" for s in NAMESPACES for n in names(getattr(ops, s)) if n not in found)])


def public_layers():
    """The names of the layers in keras.layers."""
    return sorted(n for n, c in vars(layers).items() if inspect.isclass(c) and issubclass(c, layers.Layer))


# -- functions: each example maps a tensor (N, 4, 6) of numbers of both signs -------------------------------------------

IDS = np.array([0, 0, 1, 2, 1, 1])
WEIGHTS = numbers(6, 6)
MATRIX = WEIGHTS + 3 * np.eye(6, dtype="float32")
MOTION = np.array([1, 0.1, -0.3, 0, 1.1, 0.2, 0, 0], "float32")
CORNERS = np.array([[[0, 0], [0, 3], [2, 0], [2, 3]]], "float32")


def _function(name):
    module, _, own = name.rpartition(".")
    return getattr(getattr(ops, module) if module else ops, own)


def _each(names, example):
    """{name: function of a tensor} where ``example`` says how a function is called on one."""
    return {name: functools.partial(example, _function(name)) for name in names.split()}


def _between(x):
    return 0.9 * ops.tanh(x)


def _positive(x):
    return ops.softplus(x) + 0.1


def _times(x, indicator):
    """x where what says where or whether is a factor."""
    return x * ops.cast(indicator, "float32")


def _integers(x):
    return ops.cast(ops.round(x * 4), "int32")


def _squares(x):
    """(N, 3, 3), symmetric and positive."""
    h = x[:, :3, :5]
    return ops.matmul(h, ops.transpose(h, (0, 2, 1))) + 0.5 * ops.eye(3)


def _image(x):
    return ops.reshape(x, (-1, 4, 2, 3))


def _all(results):
    return ops.concatenate([ops.reshape(r, (-1, int(np.prod(r.shape[1:])))) for r in results], axis=-1)


def _rolled(x):
    return ops.roll(x, 1, axis=1)


def _by_columns(f, x):
    """f of the six columns, first."""
    return ops.transpose(f(ops.transpose(x, (2, 0, 1))), (1, 2, 0))


FUNCTIONS = {
    **_each(
        "abs absolute arctan arcsinh cbrt ceil celu cos cosh deg2rad elu erf erfc exp exp2 expm1 fabs floor gelu "
        "hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh i0 leaky_relu log_sigmoid nan_to_num negative "
        "rad2deg relu relu6 round selu sigmoid sign silu sin sinc sinh soft_shrink softplus softsign sparse_plus "
        "sparse_sigmoid square squareplus swish tan tanh tanh_shrink trunc softmax log_softmax sparsemax normalize "
        "rms_normalization layer_normalization stop_gradient copy real conj conjugate glu convert_to_tensor fliplr "
        "flipud",
        lambda f, x: f(x),
    ),
    **_each("log log10 log1p log2 reciprocal rsqrt sqrt", lambda f, x: f(_positive(x))),
    **_each("arccos arcsin arctanh erfinv", lambda f, x: f(_between(x))),
    **_each("arccosh", lambda f, x: f(1 + _positive(x))),
    **_each(
        "amax amin average logsumexp max mean median min nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar norm "
        "prod ptp std sum var cumprod cumsum nancumprod nancumsum diff flip sort trapezoid",
        lambda f, x: f(x, axis=1),
    ),
    **_each("quantile nanquantile", lambda f, x: f(x, 0.3, axis=1)),
    **_each("percentile nanpercentile", lambda f, x: f(x, 30.0, axis=1)),
    **_each("isfinite isinf isnan isneginf isposinf isreal logical_not signbit", lambda f, x: _times(x, f(x))),
    **_each("imag angle", lambda f, x: _times(x, 1 + f(x))),
    **_each("ones_like zeros_like empty_like argsort", lambda f, x: _times(x, f(x))),
    **_each("argmax argmin nanargmax nanargmin count_nonzero all any", lambda f, x: _times(x, f(x, axis=1)[:, None])),
    **_each(
        "equal greater greater_equal less less_equal not_equal isclose logical_and logical_or logical_xor isin",
        lambda f, x: _times(x, f(x, _rolled(x))),
    ),
    **_each(
        "add divide divide_no_nan fmax fmin hypot logaddexp logaddexp2 maximum minimum multiply subtract true_divide arctan2",
        lambda f, x: f(x, _rolled(x)),
    ),
    **_each("floor_divide fmod heaviside mod nextafter power", lambda f, x: f(x, np.float32(2))),
    **_each("ldexp", lambda f, x: f(x, 2)),
    **_each(
        "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm",
        lambda f, x: _times(x, f(_integers(x), np.full((6,), 3, "int32"))),
    ),
    **_each("bitwise_not bitwise_invert", lambda f, x: _times(x, f(_integers(x)))),
    **_each("cholesky cholesky_inverse inv pinv", lambda f, x: f(_squares(x))),
    **_each("det logdet", lambda f, x: f(_squares(x))[:, None]),
    **_each("lu_factor slogdet eig eigh qr svd", lambda f, x: f(_squares(x))[0]),
    **_each("matrix_rank", lambda f, x: _times(x, f(_squares(x))[:, None, None])),
    **_each("solve solve_triangular", lambda f, x: ops.transpose(f(MATRIX, ops.transpose(x[:, 0])))),
    "lstsq": lambda x: ops.transpose(ops.lstsq(numbers(6, 3), ops.transpose(x[:, 0]))),
    **_each("bartlett blackman hamming hanning", lambda f, x: x + ops.cast(f(6), "float32")),
    "kaiser": lambda x: x + ops.cast(ops.kaiser(6, 2.0), "float32"),
    **_each("arange identity eye tri", lambda f, x: x + ops.sum(ops.cast(f(6), "float32") * np.ones((6, 6), "f"), 0)),
    **_each("ones zeros empty", lambda f, x: x * f((4, 6))),
    **_each("linspace geomspace logspace", lambda f, x: x + ops.cast(f(1.0, 2.0, 6), "float32")),
    "array": lambda x: x + ops.array(WEIGHTS[0]),
    "full": lambda x: x * ops.full((6,), 2.0),
    "full_like": lambda x: x * ops.full_like(x, 2.0),
    "adaptive_average_pool": lambda x: ops.adaptive_average_pool(ops.reshape(x, (-1, 4, 6, 1)), (2, 3), "channels_last"),
    "adaptive_max_pool": lambda x: ops.adaptive_max_pool(ops.reshape(x, (-1, 4, 6, 1)), (2, 3), "channels_last"),
    "average_pool": lambda x: ops.average_pool(x, 2),
    "max_pool": lambda x: ops.max_pool(x, 2),
    "allclose": lambda x: _times(x, ops.allclose(x, _rolled(x))),
    "append": lambda x: ops.append(x, _rolled(x), axis=1),
    "argpartition": lambda x: _times(x[:, :1, 0], ops.argpartition(x[:, :1, 0], 0)),
    **_each("array_split split", lambda f, x: _all(f(x, 2, axis=1)[::-1])),
    "unstack": lambda x: _all(ops.unstack(x, axis=1)[::-1]),
    **_each("hsplit dsplit", lambda f, x: _all(f(x, 2)[::-1])),
    "vsplit": lambda x: _by_columns(lambda c: ops.concatenate(ops.vsplit(c, 2)[::-1], axis=0), x),
    **_each("hstack vstack dstack", lambda f, x: f([x, _rolled(x)])),
    "associative_scan": lambda x: ops.associative_scan(ops.add, x, axis=1),
    "batch_normalization": lambda x: ops.batch_normalization(x, WEIGHTS[0], WEIGHTS[1] ** 2 + 0.5, -1, WEIGHTS[2], WEIGHTS[3]),
    **_each("binary_crossentropy", lambda f, x: f(ops.sigmoid(_rolled(x)), ops.sigmoid(x))),
    **_each("categorical_crossentropy", lambda f, x: f(ops.softmax(_rolled(x)), ops.softmax(x))),
    "sparse_categorical_crossentropy": lambda x: ops.sparse_categorical_crossentropy(ops.argmax(-x, axis=-1), ops.softmax(x)),
    "bincount": lambda x: x[:, 0] * ops.cast(ops.bincount(ops.abs(_integers(x[:, 0])), minlength=40)[:, :6], "float32"),
    "broadcast_to": lambda x: ops.broadcast_to(x[:, :1], (ops.shape(x)[0], 4, 6)),
    "cast": lambda x: ops.cast(x, "float32"),
    "saturate_cast": lambda x: ops.saturate_cast(x, "float32"),
    "cdist": lambda x: ops.cdist(x, 2 * _rolled(x) + 1),
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "concatenate": lambda x: ops.concatenate([x, _rolled(x)], axis=1),
    "cond": lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x - 1),
    "conv": lambda x: ops.conv(x, numbers(3, 6, 2)),
    "conv_transpose": lambda x: ops.conv_transpose(x, numbers(3, 2, 6), 2),
    "depthwise_conv": lambda x: ops.depthwise_conv(x, numbers(3, 6, 2)),
    "separable_conv": lambda x: ops.separable_conv(x, numbers(3, 6, 2), numbers(1, 12, 3)),
    "convert_to_numpy": lambda x: x * ops.convert_to_numpy(x),
    "corrcoef": lambda x: ops.matmul(ops.corrcoef(x[0]), x),
    "correlate": lambda x: ops.reshape(ops.correlate(ops.reshape(x[0], (-1,))[:8], numbers(3)), (1, 6)),
    "cross": lambda x: ops.cross(x[..., :3], numbers(3)),
    "ctc_decode": lambda x: ops.ctc_decode(x, np.array([4, 4]))[1],
    "ctc_loss": lambda x: ops.ctc_loss(np.array([[1, 2], [2, 3]]), x, np.array([2, 2]), np.array([4, 4]))[:, None],
    "custom_gradient": lambda x: ops.custom_gradient(lambda t: (t * 2, lambda *a, upstream: upstream))(x),
    **_each("depth_to_space space_to_depth", lambda f, x: f(ops.reshape(x, (-1, 2, 3, 4))[:, :, :2], 2)),
    **_each("diag diagflat", lambda f, x: ops.matmul(x, f(x[0, 0]))),
    "diagonal": lambda x: ops.diagonal(x, axis1=1, axis2=2),
    "digitize": lambda x: _times(x, ops.digitize(x, np.array([-1.0, 0.5]))),
    "searchsorted": lambda x: _times(x[0, 0], ops.searchsorted(np.array([-1.0, 0.5], "f"), x[0, 0]))[None],
    **_each("matmul dot inner tensordot", lambda f, x: f(x[:, 0], WEIGHTS, **({"axes": 1} if f is ops.tensordot else {}))),
    "einsum": lambda x: ops.einsum("abc,cd->abd", x, WEIGHTS),
    "outer": lambda x: ops.outer(x[:, 0, 0], WEIGHTS[0]),
    "kron": lambda x: ops.kron(x[0], WEIGHTS[:2])[None],
    "vdot": lambda x: x * ops.vdot(x[0, 0], WEIGHTS[0]),
    "dot_product_attention": lambda x: ops.dot_product_attention(*[ops.reshape(x, (-1, 4, 2, 3))] * 3),
    "dtype": lambda x: ops.cast(x, ops.dtype(x)),
    "ndim": lambda x: x * float(ops.ndim(x)),
    "shape": lambda x: ops.reshape(x, (ops.shape(x)[0], 24)),
    "size": lambda x: _times(x, ops.size(x)),
    "is_tensor": lambda x: x * (1.0 + ops.is_tensor(x)),
    "expand_dims": lambda x: ops.expand_dims(x, 1),
    "extract_sequences": lambda x: ops.extract_sequences(x, 3, 2),
    **_each("fft rfft", lambda f, x: _all(f((x, 0.5 * x) if f is ops.fft else x))),
    **_each("fft2 ifft2", lambda f, x: _all(f((x, 0.5 * x)))),
    "irfft": lambda x: ops.irfft((x, _rolled(x))),
    "stft": lambda x: _all(ops.stft(ops.reshape(x, (-1, 24)), 8, 4, 8)),
    "istft": lambda x: ops.istft((ops.transpose(x, (0, 2, 1))[..., :3], ops.transpose(x, (0, 2, 1))[..., 1:]), 4, 2, 4),
    "fold": lambda x: ops.fold(ops.reshape(x, (-1, 4, 6)), (4, 3), (2, 2)),
    "unfold": lambda x: ops.unfold(ops.reshape(x, (-1, 1, 4, 6)), 2),
    "fori_loop": lambda x: ops.fori_loop(0, 3, lambda n, s: ops.tanh(s) + x, x),
    "get_item": lambda x: ops.get_item(x, (slice(None), 1)),
    "histogram": lambda x: x * ops.cast(ops.histogram(ops.ravel(x), 6)[0], "float32"),
    "in_top_k": lambda x: _times(x[:, 0], ops.in_top_k(np.array([1, 2]), x[:, 0], 2)[:, None]),
    "jvp": lambda x: ops.jvp(ops.tanh, (x,), (x,))[1],
    "map": lambda x: ops.transpose(ops.map(lambda row: ops.tanh(row) * 2, ops.transpose(x, (1, 0, 2))), (1, 0, 2)),
    "vectorized_map": lambda x: ops.transpose(ops.vectorized_map(lambda row: row * 2, ops.transpose(x, (1, 0, 2))), (1, 0, 2)),
    "vectorize": lambda x: ops.vectorize(lambda t: t * 2)(x),
    "scan": lambda x: ops.scan(lambda s, row: (s + ops.tanh(row), s + ops.tanh(row)), x[:, 0], ops.transpose(x, (1, 0, 2)))[0],
    "while_loop": lambda x: ops.while_loop(lambda s: ops.sum(s) < 9, lambda s: ops.abs(s) + 1, (x,))[0],
    "switch": lambda x: ops.switch(ops.cast(ops.sum(x) > 0, "int32"), [lambda t: t * 2, lambda t: t - 1], x),
    "meshgrid": lambda x: x * ops.meshgrid(x[0, 0], x[0, :, 1])[0],
    "moments": lambda x: _all(ops.moments(x, [1])),
    "moveaxis": lambda x: ops.moveaxis(x, 1, 2),
    "swapaxes": lambda x: ops.swapaxes(x, 1, 2),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
    "multi_hot": lambda x: x[:, 0] * ops.multi_hot(ops.abs(_integers(x[:, :, 0])) % 6, 6),
    "one_hot": lambda x: x * ops.one_hot(ops.argmax(x, axis=-1), 6),
    "nonzero": lambda x: x * ops.cast(ops.sum(ops.nonzero(x)[0]), "float32"),
    "pad": lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]]),
    "polar": lambda x: ops.real(ops.polar(_positive(x), x)),
    "psnr": lambda x: x * ops.psnr(x, _rolled(x), 1.0),
    "ravel": lambda x: ops.reshape(ops.ravel(x), (-1, 24)),
    "rearrange": lambda x: ops.rearrange(x, "n (a b) c -> n a (b c)", a=2, b=2),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "reshape": lambda x: ops.reshape(x, (-1, 24)),
    "roll": lambda x: ops.roll(x, 1, axis=1),
    "rot90": lambda x: ops.rot90(x, axes=(1, 2)),
    "scatter": lambda x: _by_columns(lambda c: ops.scatter(IDS[:, None], c, (3, ops.shape(x)[0], 4)), x),
    "scatter_update": lambda x: _by_columns(lambda c: ops.scatter_update(c, IDS[:2, None] + 1, c[:2], "add"), x),
    **_each("segment_max segment_min segment_prod segment_sum", lambda f, x: _by_columns(lambda c: f(c, IDS, 3), x)),
    "select": lambda x: ops.select([x > 1, x > 0], [x, 2 * x], 0.5),
    "slice": lambda x: ops.slice(x, (0, 1, 0), (2, 2, 6)),
    "slice_update": lambda x: ops.slice_update(x, (0, 1, 0), 2 * x[:, 1:3]),
    "squeeze": lambda x: ops.squeeze(x[:, :1], 1),
    "stack": lambda x: ops.stack([x, _rolled(x)], axis=1),
    "take": lambda x: ops.take(x, [0, 2, 2], axis=1),
    "take_along_axis": lambda x: ops.take_along_axis(x, np.zeros((2, 1, 6), "int32"), axis=1),
    "threshold": lambda x: ops.threshold(x, 0.1, 0.0),
    "tile": lambda x: ops.tile(x, (1, 2, 1)),
    "top_k": lambda x: ops.top_k(x, 2)[0],
    "trace": lambda x: ops.trace(x, axis1=1, axis2=2)[:, None],
    **_each("tril triu", lambda f, x: f(x)),
    "unique": lambda x: _times(x, ops.size(ops.unique(_integers(x)))),
    "unravel_index": lambda x: _times(x, ops.unravel_index(ops.argmax(x, axis=-1), (2, 3))[0][..., None]),
    "vander": lambda x: ops.vander(x[:, 0, 0], 3),
    "view": lambda x: ops.view(x, "float32"),
    "view_as_complex": lambda x: ops.real(ops.view_as_complex(ops.reshape(x, (-1, 12, 2)))),
    "view_as_real": lambda x: ops.view_as_real(ops.view_as_complex(ops.reshape(x, (-1, 12, 2)))),
    "where": lambda x: ops.where(x > 0, x, 0.5 * x),
    # pictures
    **_each(
        "image.rgb_to_grayscale image.rgb_to_hsv image.hsv_to_rgb image.gaussian_blur image.sobel_edges",
        lambda f, x: f(_image(x)),
    ),
    "image.affine_transform": lambda x: ops.image.affine_transform(_image(x), MOTION[None], fill_value=0.5),
    "image.crop_images": lambda x: ops.image.crop_images(_image(x), 1, 0, target_height=2, target_width=2),
    "image.elastic_transform": lambda x: ops.image.elastic_transform(_image(x), seed=1),
    "image.extract_patches": lambda x: ops.image.extract_patches(_image(x), 2, padding="VALID"),
    "image.extract_patches_3d": lambda x: ops.image.extract_patches_3d(ops.reshape(x, (-1, 4, 2, 3, 1)), (2, 2, 2)),
    "image.map_coordinates": lambda x: ops.image.map_coordinates(x[0], numbers(2, 6) + 2, order=1)[None],
    "image.pad_images": lambda x: ops.image.pad_images(_image(x), 1, 0, target_height=6, target_width=2),
    "image.perspective_transform": lambda x: ops.image.perspective_transform(_image(x), CORNERS, CORNERS + 0.2),
    "image.resize": lambda x: ops.image.resize(_image(x), (3, 5), interpolation="nearest"),
    "image.scale_and_translate": lambda x: ops.image.scale_and_translate(
        _image(x), (2, 3, 3, 3), np.array([1.2, 0.9], "f"), np.array([0.1, 0.2], "f"), (1, 2), "linear"
    ),
    "image.ssim": lambda x: x * ops.image.ssim(_image(x), _image(x), 1.0, filter_size=2)[:, None, None],
}  # fmt: skip


# -- layers: (function that makes it, shape of a sample or list of shapes) ----------------------------------------------

TABLE, IMAGE, SERIES, VOLUME = (6,), (8, 8, 3), (7, 4), (6, 6, 6, 2)


def _layers(names, shape, *args, **options):
    return {name: (lambda name=name: getattr(layers, name)(*args, **options), shape) for name in names.split()}


def _by_rank(name, *args, ranks=(1, 2, 3), **options):
    shapes = {1: SERIES, 2: IMAGE, 3: VOLUME}
    return {f"{name}{n}D": v for n in ranks for v in _layers(f"{name}{n}D", shapes[n], *args, **options).values()}


LAYERS = {
    **_layers("Dropout AlphaDropout GaussianDropout GaussianNoise", TABLE, 0.3),
    **_layers(
        "Identity ReLU LeakyReLU PReLU ELU Softmax Flatten ActivityRegularization UnitNormalization RMSNormalization "
        "LayerNormalization BatchNormalization",
        TABLE,
    ),
    "GroupNormalization": (lambda: layers.GroupNormalization(3), TABLE),
    "Normalization": (lambda: layers.Normalization(mean=[0.1] * 6, variance=[2.0] * 6), TABLE),
    "SpectralNormalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), TABLE),
    "Activation": (lambda: layers.Activation("tanh"), TABLE),
    "Dense": (lambda: layers.Dense(3), TABLE),
    "EinsumDense": (lambda: layers.EinsumDense("ab,bc->ac", output_shape=3, bias_axes="c"), TABLE),
    "Rescaling": (lambda: layers.Rescaling(0.5, 0.1), TABLE),
    "Reshape": (lambda: layers.Reshape((2, 3)), TABLE),
    "RepeatVector": (lambda: layers.RepeatVector(3), TABLE),
    "Permute": (lambda: layers.Permute((2, 1)), SERIES),
    "Lambda": (lambda: layers.Lambda(lambda t: ops.tanh(t)), TABLE),
    "Masking": (lambda: layers.Masking(), SERIES),
    "Layer": (None, ""),
    "Wrapper": (None, ""),
    "InputLayer": (None, TABLE),
    **_layers("Add Subtract Multiply Average Maximum Minimum Concatenate", [TABLE, TABLE]),
    "Dot": (lambda: layers.Dot(1), [TABLE, TABLE]),
    **_layers("Attention AdditiveAttention", [SERIES, SERIES]),
    "MultiHeadAttention": (lambda: layers.MultiHeadAttention(2, 3), [SERIES, SERIES]),
    "GroupQueryAttention": (lambda: layers.GroupQueryAttention(3, 4, 2), [SERIES, SERIES]),
    "Embedding": (lambda: layers.Embedding(9, 4), "tokens"),
    "ReversibleEmbedding": (lambda: layers.ReversibleEmbedding(9, 4), "tokens"),
    **_by_rank("Conv", 3, 2),
    **{
        f"Conv{n}DTranspose": (lambda n=n: getattr(layers, f"Conv{n}DTranspose")(3, 2), shape)
        for n, shape in ((1, SERIES), (2, IMAGE), (3, VOLUME))
    },
    **_by_rank("SeparableConv", 3, 2, ranks=(1, 2)),
    **_by_rank("DepthwiseConv", 3, ranks=(1, 2)),
    **{
        name: value
        for kind in ("Average", "Max")
        for name, value in (
            *_by_rank(f"{kind}Pooling", 2).items(),
            *_by_rank(f"Global{kind}Pooling").items(),
            *_by_rank(f"Adaptive{kind}Pooling", 2).items(),
        )
    },
    **_by_rank("UpSampling"),
    **_by_rank("ZeroPadding"),
    **_by_rank("Cropping"),
    **{
        f"SpatialDropout{n}D": (lambda n=n: getattr(layers, f"SpatialDropout{n}D")(0.3), s)
        for n, s in ((1, SERIES), (2, IMAGE), (3, VOLUME))
    },
    **_layers("LSTM GRU SimpleRNN", SERIES, 3),
    "ConvLSTM1D": (lambda: layers.ConvLSTM1D(2, 2), (3, 7, 4)),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(2, 2), (3, 5, 5, 2)),
    "ConvLSTM3D": (lambda: layers.ConvLSTM3D(2, 2), (3, 4, 4, 4, 2)),
    **{f"{n}Cell": (lambda n=n: layers.RNN(getattr(layers, f"{n}Cell")(3)), SERIES) for n in ("LSTM", "GRU", "SimpleRNN")},
    "RNN": (lambda: layers.RNN(layers.GRUCell(3)), SERIES),
    "StackedRNNCells": (lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)])), SERIES),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SERIES),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), SERIES),
    # pictures and sounds
    "Resizing": (lambda: layers.Resizing(5, 6, interpolation="nearest"), IMAGE),
    "CenterCrop": (lambda: layers.CenterCrop(5, 6), IMAGE),
    "RandomCrop": (lambda: layers.RandomCrop(8, 8), IMAGE),
    "Solarization": (lambda: layers.Solarization(), IMAGE),
    **_layers(
        "AugMix AutoContrast CutMix Equalization MixUp RandAugment RandomGrayscale RandomHue RandomPerspective RandomErasing "
        "ContrastLimitedAdaptiveHistogramEqualization RandomElasticTransform RandomGaussianBlur RandomColorJitter RandomInvert "
        "RandomFlip",
        IMAGE,
    ),
    **_layers(
        "RandomBrightness RandomColorDegeneration RandomContrast RandomRotation RandomSaturation RandomSharpness RandomShear "
        "RandomTranslation RandomZoom",
        IMAGE,
        0.2,
    ),
    "RandomHue": (lambda: layers.RandomHue(0.2), IMAGE),
    "RandomPosterization": (lambda: layers.RandomPosterization(4), IMAGE),
    "RandomTranslation": (lambda: layers.RandomTranslation(0.2, 0.2), IMAGE),
    "MaxNumBoundingBoxes": (lambda: layers.MaxNumBoundingBoxes(3, bounding_box_format="xyxy"), IMAGE),
    "Pipeline": (lambda: layers.Pipeline([layers.RandomFlip(), layers.AutoContrast()]), IMAGE),
    "MelSpectrogram": (
        lambda: layers.MelSpectrogram(fft_length=16, sequence_stride=8, num_mel_bins=4, sampling_rate=100, min_freq=1),
        (64,),
    ),
    "STFTSpectrogram": (lambda: layers.STFTSpectrogram(mode="psd", frame_length=8, frame_step=4, fft_length=8), (32, 1)),
    # categories and texts
    "CategoryEncoding": (lambda: layers.CategoryEncoding(9, output_mode="one_hot"), "categories"),
    "IntegerLookup": (lambda: layers.IntegerLookup(vocabulary=list(range(9)), output_mode="one_hot"), "categories"),
    "Hashing": (lambda: layers.Hashing(9, output_mode="one_hot"), "categories"),
    "HashedCrossing": (lambda: layers.HashedCrossing(9, output_mode="one_hot"), ["categories", "categories"]),
    "Discretization": (lambda: layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot"), (1,)),
    "StringLookup": (lambda: layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot"), "strings"),
    "TextVectorization": (lambda: layers.TextVectorization(vocabulary=["a", "b"], output_mode="multi_hot"), "strings"),
    # layers of other libraries and formats
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"), (None, "")),
}


# -- what is made of them -----------------------------------------------------------------------------------------------


class Example(layers.Layer):
    """A layer whose call is a function."""

    def __init__(self, function, name):
        super().__init__(name=name)
        self.function = function

    def call(self, x):
        return self.function(x)


def model_of_function(name, batch_size=None, in_layer=True):
    """A model with the example of a function in the middle, and an input for it."""
    inputs = keras.Input((4, 6), batch_size=batch_size)
    if not in_layer:
        return _with_head(inputs, FUNCTIONS[name](inputs)), numbers(2, 4, 6)
    h = Example(FUNCTIONS[name], re.sub(r"\W", "_", name) + "_of")(inputs)
    return _with_head(inputs, h), numbers(2, 4, 6)


def model_of_layer(name, batch_size=None, in_layer=True):
    """A model with the example of a layer in the middle, and an input for it."""
    make, shapes = LAYERS[name]
    inputs = keras.tree.map_shape_structure(_input, shapes) if isinstance(shapes, list) else _input(shapes)
    x = [_values(s) for s in shapes] if isinstance(shapes, list) else _values(shapes)
    return _with_head(inputs, inputs if make is None else make()(*inputs) if _takes_two(name) else make()(inputs)), x


def _with_head(inputs, h):
    h = layers.Flatten()(h) if len(h.shape) > 2 else h
    model = keras.Model(inputs, layers.Dense(2)(h) if h.shape[-1] is not None else h)
    rng = np.random.default_rng(SEED)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def _takes_two(name):
    return name in ("MultiHeadAttention", "GroupQueryAttention")


def _input(shape):
    if isinstance(shape, str):
        return keras.Input((5,) if shape == "tokens" else (1,), dtype="string" if shape == "strings" else "int32")
    return keras.Input(shape)


def _values(shape):
    if shape == "tokens":
        return np.array([[1, 2, 3, 4, 5], [6, 7, 8, 0, 1]])
    if shape == "categories":
        return np.array([[1], [3]])
    return np.array([["a"], ["b"]]) if shape == "strings" else numbers(2, *shape)


def outcome(name, build):
    """What is made of one model: {"rules": ...}, {"refused": sentence}, {"keras": why Keras cannot run it}, {"wrong": what}."""
    import tf_lrp

    if LAYERS.get(name, ("", "example"))[1] == "":
        return {"keras": "no layer of a model by itself" if name in ("Layer", "Wrapper") else "runs other libraries or formats"}
    try:
        model, x, expected = _running(name, build)
    except Exception as error:
        return {"keras": _line(error)}
    try:
        analyzer = tf_lrp.Analyzer(model, "z")
    except (tf_lrp.UnsupportedLayerError, ValueError) as error:
        return {"refused": _line(error)}
    try:
        found = [np.asarray(y, "float64") for y in keras.tree.flatten(analyzer.twin(x))]
        maps = keras.tree.flatten(analyzer.analyze(x))
        balance = analyzer.conservation(x)
    except Exception as error:
        return {"wrong": f"{type(error).__name__}: {_line(error)}"}
    deviation = max(np.abs(f - e).max() / max(np.abs(e).max(), 1e-9) for f, e in zip(found, expected, strict=True))
    wrong = [] if deviation < TWIN else [f"the twin deviates by {deviation:.0e}"]
    if not all(np.isfinite(m).all() for m in maps):
        wrong.append("relevance is not finite")
    if abs(balance.rounding) > UNACCOUNTED * max(abs(balance.output), abs(balance.input), 1e-3):
        wrong.append(f"{balance.rounding:.1e} of {balance.output:.1e} is not accounted for")
    if wrong:
        return {"wrong": ", ".join(wrong)}
    return {"rules": [[row[1], row[2]] for row in analyzer.rules()], "relevance": bool(any(np.any(m) for m in maps))}


def _running(name, build):
    """A model, an input and its output: some functions run in no layer, or for a known number of samples only."""
    failures = []
    for in_layer, batch_size in itertools.product((True, False), (None, 2)):
        try:
            model, x = build(name, batch_size, in_layer)
            return model, x, [np.asarray(y, "float64") for y in keras.tree.flatten(model(x, training=False))]
        except Exception as error:
            failures.append(error)
    raise failures[0]


def _line(error):
    """The sentence of an error."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("Arguments received by")[0]
    lines = [line.strip(" -") for line in text.splitlines() if line.strip() and "Exception encountered" not in line]
    lines = [line for line in lines if "Could not automatically infer" not in line] or [type(error).__name__]
    return lines[1] if lines[0].endswith("relevance rule:") else lines[0]


# -- the page -----------------------------------------------------------------------------------------------------------

TABLES = {"keras.ops": (FUNCTIONS, model_of_function), "keras.layers": (LAYERS, model_of_layer)}
#: The section that tensorflow_operations.py writes.
TENSORFLOW = "TensorFlow operations"
_AROUND = ("Flatten", "Dense")


def kept_sections(page):
    """The sections on functions and operations in a page, which other parts of the page are written around."""
    titles = [title for title in (*TABLES, TENSORFLOW) if f"## {title}\n" in page]
    return "".join(f"\n## {title}\n{section_of(page, title)}" for title in titles)


def section_of(page, title):
    return page.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].rstrip() + "\n"


def section(title, results, command):
    """What is made of each name, as text: explained by which rules, refused, or not run by Keras."""
    import tensorflow as tf

    explained = {name: r["rules"] for name, r in results.items() if "rules" in r}
    refused = {name: r["refused"] for name, r in results.items() if "refused" in r}
    rest = {name: r.get("keras") or f"**wrong**: {r['wrong']}" for name, r in results.items() if "keras" in r or "wrong" in r}
    lines = [
        "",
        f"Run as `{command}`: a small model around each, with random weights and an input of both signs, under `z`; Keras "
        f"{keras.__version__}, TensorFlow {tf.__version__}. Of {len(results)} names {len(explained)} are explained (the twin "
        f"deviates by less than {TWIN:.0e}, and all relevance is accounted for), {len(refused)} are refused. In the examples "
        f"of {len(rest)} there is nothing to explain, or Keras itself does not run them.",
        "",
        "| explained | by |",
        "|---|---|",
    ]
    groups = {}
    for name, rules in explained.items():
        groups.setdefault(_way(name, rules), []).append(f"`{name}`")
    lines += [f"| {', '.join(names)} | {way} |" for way, names in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))]
    for heading, found in (("refused", refused), ("not run", rest)):
        if found:
            lines += ["", f"| {heading} | why |", "|---|---|"]
            lines += [f"| `{name}` | {_escaped(why)} |" for name, why in found.items()]
    return "\n".join(lines) + "\n"


def _way(name, rules):
    """How relevance goes through an example, without the layers around it."""
    steps = [(kind, rule) for kind, rule in rules if kind not in _AROUND or name in (kind, kind.lower())]
    own = [(kind, rule) for kind, rule in steps if kind.lower() == name.rpartition(".")[2].replace("_", "").lower()]
    if own:
        return f"{own[0][1]}"
    shown = [f"{kind}" if rule in ("Pass()", "Stop()") else f"{kind} {rule}" for kind, rule in steps]
    return "opened: " + ", ".join(dict.fromkeys(shown)) if shown else "nothing to do"


def _escaped(why):
    sentence = why.split("could not be opened: ", 1)[-1] if "could not be opened: " in why else why
    if sentence.startswith("'"):
        sentence = "no relevance rule"
    sentence = re.sub(r", in `.*?` \(.*?\)", "", sentence)
    return re.sub(r"([|<>])", r"\\\1", sentence)[:200]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="regular expression that a name must contain")
    parser.add_argument("--out", type=Path, help="page whose sections are written anew")
    arguments = parser.parse_args()
    command = " ".join(["python benchmarks/keras_functions.py", *sys.argv[1:]])
    page = arguments.out.read_text(encoding="utf-8") if arguments.out and arguments.out.exists() else ""
    for title, (table, build) in TABLES.items():
        results = {}
        for name in sorted(table):
            if re.search(arguments.only, name):
                results[name] = outcome(name, build)
                print(name, results[name], flush=True)
        text = section(title, results, command)
        heading = f"## {title}\n"
        page = page.replace(section_of(page, title), text) if heading in page else f"{page.rstrip()}\n\n{heading}{text}"
    if arguments.out:
        arguments.out.write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
