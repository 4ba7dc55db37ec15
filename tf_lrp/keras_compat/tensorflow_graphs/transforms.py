"""Resized pictures, and Fourier transforms."""

from __future__ import annotations

import numpy as np
from keras import ops

from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import add, replays
from tf_lrp.keras_compat.tensorflow_graphs.values import Complex, as_list


def _resized(node, x, size, interpolation):
    height, width = as_list(size)
    if isinstance(height, int) and isinstance(width, int) and x.shape[1:3] == (height, width):
        return ops.cast(x, "float32") if interpolation == "bilinear" else x
    if node.attr("align_corners", False) or not node.attr("half_pixel_centers", False):
        return _by_corners(node, x, (height, width), interpolation)
    x = ops.cast(x, "float32") if interpolation == "bilinear" and "float" not in x.dtype else x
    return ops.image.resize(x, (height, width), interpolation=interpolation, data_format="channels_last")


def _by_corners(node, x, size, interpolation):
    """Pixels are at whole numbers, as in TensorFlow 1: entries are taken, and averaged, along each axis."""
    x = ops.cast(x, "float32") if interpolation == "bilinear" and "float" not in x.dtype else x
    for axis, length in enumerate(size, 1):
        if not isinstance(length, int) or x.shape[axis] is None:
            raise Unexplainable("it resizes pictures of unknown size by an old rule of TensorFlow 1")
        aligned = node.attr("align_corners", False) and length > 1
        places = np.arange(length, dtype="float32") * np.float32((x.shape[axis] - aligned) / (length - aligned))
        below = np.floor(places).astype(int)
        if interpolation == "nearest":
            nearest = np.floor(places + 0.5).astype(int) if aligned else below
            x = ops.take(x, np.minimum(nearest, x.shape[axis] - 1), axis=axis)
            continue
        share = (places - below).reshape([-1 if a == axis else 1 for a in range(4)]).astype(x.dtype)
        lower, upper = (ops.take(x, np.minimum(below + n, x.shape[axis] - 1), axis=axis) for n in (0, 1))
        x = ops.add(ops.multiply(lower, 1 - share), ops.multiply(upper, share)) if share.any() else lower
    return x


add(("ResizeBilinear",), lambda node, x, size: _resized(node, x, size, "bilinear"))
add(("ResizeNearestNeighbor",), lambda node, x, size: _resized(node, x, size, "nearest"))


def _complex(x):
    return x if isinstance(x, Complex) else Complex(x, ops.zeros_like(x))


@replays("IFFT")
def _ifft(node, x):
    """The complex conjugate of the transform of the complex conjugate, divided by the length."""
    x = _complex(x)
    real, imaginary = ops.fft((x.real, ops.negative(x.imaginary)))
    length = x.shape[-1]
    if length is None:
        raise Unexplainable("it transforms an axis whose length is unknown")
    return Complex(ops.divide(real, length), ops.divide(ops.negative(imaginary), length))


def _of_pairs(function):
    """A function of Keras that takes and returns pairs (real, imaginary)."""

    def transform(node, x):
        x = _complex(x)
        return Complex(*function((x.real, x.imaginary)))

    return transform


for name, function in {"FFT": ops.fft, "FFT2D": ops.fft2, "IFFT2D": ops.ifft2}.items():
    add((name,), _of_pairs(function))


@replays("RFFT")
def _rfft(node, x, length):
    return Complex(*ops.rfft(x, fft_length=as_list(length)[0]))


@replays("IRFFT")
def _irfft(node, x, length):
    return ops.irfft((x.real, x.imaginary), fft_length=as_list(length)[0])


@replays("Complex")
def _of_parts(node, real, imaginary):
    return Complex(real, imaginary)


add(("Real",), lambda node, x: x.real)
add(("Imag",), lambda node, x: x.imaginary)
add(("Conj",), lambda node, x: Complex(x.real, ops.negative(x.imaginary)))
add(("ComplexAbs",), lambda node, x: ops.sqrt(ops.add(ops.square(x.real), ops.square(x.imaginary))))
add(("Angle",), lambda node, x: ops.arctan2(x.imaginary, x.real))
