"""Images and their mean as the LRP Toolbox's Caffe program prepares them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tf_lrp.caffe.reading import read_blob
from tf_lrp.errors import CaffeError

_LARGEST = 2**28  # bytes of a mean in text


def read_mean(path: str | os.PathLike, kind: int) -> np.ndarray:
    """A mean image (H, W, C) with the channels B, G, R.

    Args:
        path: the file.
        kind: 0: text, the number of channels, height and width, then each channel column by column; 1: binaryproto; 2:
            binaryproto with the channels R, G, B.

    Raises:
        CaffeError: if the file is not what ``kind`` says.
        OSError: if it cannot be read.
    """
    if kind:
        blob = read_blob(path)
        shape = [n for n in blob.shape[:-3] if n != 1]
        if blob.ndim < 3 or shape:
            raise CaffeError(f"The mean {str(path)!r} is to have channels, rows and columns; its shape is {blob.shape}.")
        mean = np.moveaxis(blob.reshape(blob.shape[-3:]), 0, -1)
        return mean[..., ::-1] if kind == 2 else mean
    if os.stat(path).st_size > _LARGEST:
        raise CaffeError(f"The mean {str(path)!r} is larger than {_LARGEST} bytes.")
    words = Path(path).read_bytes().split()
    try:
        channels, rows, columns = (int(word) for word in words[:3])
        numbers = np.array([float(word) for word in words[3:]])
    except ValueError:
        raise CaffeError(
            f"The mean {str(path)!r} is no text of numbers: channels, rows and columns, then the values."
        ) from None
    if min(channels, rows, columns) < 1 or channels * rows * columns != numbers.size or not np.isfinite(numbers).all():
        raise CaffeError(
            f"The mean {str(path)!r} says it has {channels} x {rows} x {columns} finite values, and has {numbers.size}."
        )
    return numbers.reshape(channels, columns, rows).transpose(2, 1, 0)


def prepare(path: str | os.PathLike, base: int, shape: tuple[int, int, int], mean: np.ndarray | None, faithful: bool = False):
    """An image as the network takes it: its longest side resized to ``base`` pixels, its middle cut out, the mean subtracted.

    Where it is smaller than the network's input, its edges are repeated.

    Args:
        path: of the image, in any format that Pillow reads.
        base: pixels.
        shape: (H, W, C) of the network's input; C is 1 or 3.
        mean: (H, W, C), at least as large as the input, or 1 x 1; None for none.
        faithful: whether the mean of an image whose edges are repeated is cut from the corner, as in the toolbox, and not from
            the middle.

    Returns:
        (floats (H, W, C) in the order B, G, R, the picture (H, W, 3) or (H, W, 1) as uint8).

    Raises:
        OSError: if it is no image that can be read.
        CaffeError: if the mean is too small.
    """
    rows, columns, channels = shape
    with Image.open(path) as picture:
        picture = picture.convert("L" if channels == 1 else "RGB")
        scale = base / max(picture.size)
        size = [max(1, round(length * scale)) for length in picture.size]
        pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], channels)
    padded = False
    for axis, length in enumerate((rows, columns)):
        extra = length - pixels.shape[axis]
        padded |= extra > 0
        if extra > 0:
            border = [(extra // 2, extra - extra // 2) if a == axis else (0, 0) for a in range(3)]
            pixels = np.pad(pixels, border, mode="edge")
        first = (pixels.shape[axis] - length) // 2
        pixels = pixels.take(range(first, first + length), axis)
    values = pixels[..., ::-1].astype("float64")
    if mean is None:
        return values, pixels
    if mean.shape[2] != channels or (mean.shape[:2] != (1, 1) and (mean.shape[0] < rows or mean.shape[1] < columns)):
        raise CaffeError(f"The mean of shape {mean.shape} (rows, columns, channels) does not cover the input {shape}.")
    if mean.shape[:2] != (1, 1):
        top, left = (0, 0) if padded and faithful else ((mean.shape[0] - rows) // 2, (mean.shape[1] - columns) // 2)
        mean = mean[top : top + rows, left : left + columns]
    return values - mean, pixels


def output_path(image: str, out: str, root: str) -> Path:
    """Where the outputs of an image go, without their endings: below ``out``, the image's path from the folder ``root`` on.

    Raises:
        CaffeError: if ``root`` is no folder in the image's path.
    """
    full = os.path.abspath(image)
    if not root:
        return Path(out) / os.path.basename(full)
    at = re.search(rf"(?:^|/){re.escape(root.strip('/'))}(?=/)", full)
    if at is None:
        raise CaffeError(f"its path {full!r} has no folder {root!r}, which standalone_rootpath names")
    return Path(out) / full[at.start() :].lstrip("/")


def raw_text(relevance: np.ndarray) -> str:
    """Relevance (H, W, C) as the toolbox's text: channels, rows and columns, then the rows of each channel, the last first."""
    rows, columns, channels = relevance.shape
    lines = [str(channels), f"{rows} {columns}"]
    for channel in reversed(range(channels)):
        lines += ["".join(f"{value:g} " for value in row) for row in relevance[..., channel]]
    return "\n".join(lines) + "\n"
