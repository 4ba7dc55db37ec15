"""Digits and heatmaps as RGB images, the way the LRP Toolbox draws them.

    digit = render.digit_to_rgb(X, scaling=3)
    heatmap = render.hm_to_rgb(R, X, scaling=3, sigma=2)
    render.save_image([digit, heatmap], "heatmap.png")

Images are arrays (H, W, 3) of numbers in [0, 1]. `tf_lrp.heatmap` has more: overlays, grids with titles, colours whose middle
is exactly 0.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_lrp import heatmap
from tf_lrp.messages import checks
from tf_lrp.messages.names import did_you_mean

__all__ = ["COLORMAPS", "digit_to_rgb", "enlarge_image", "hm_to_rgb", "repaint_corner_pixels", "save_image", "vec2im"]

#: The toolbox's own colour maps: (relevance in [-1, 1], red, green, blue), with straight lines between.
COLORMAPS = {
    "gray-red": ((-1, 0, 0, 1), (0, 0.8, 0.8, 0.8), (1, 1, 0, 0)),
    "gray-red2": ((-1, 0, 0, 0.4), (-0.3, 0.4, 0.4, 0.9), (0, 0.9, 0.9, 0.9), (0.3, 0.9, 0.4, 0.4), (1, 0.4, 0, 0)),
    "black-green": ((-1, 0, 0, 1), (0, 0, 0, 0), (1, 0, 1, 0)),
    "black-firered": (
        (-1, 1, 1, 1), (-0.5, 0, 1, 1), (-0.25, 0, 0, 1), (0, 0, 0, 0), (0.25, 1, 0, 0), (0.5, 1, 1, 0), (1, 1, 1, 1),
    ),
    "blue-black-yellow": ((-1, 0, 0, 1), (0, 0, 0, 0), (1, 1, 1, 0)),
}  # fmt: skip


def vec2im(V: Any, shape: Sequence[int] = ()) -> np.ndarray:
    """Numbers as an image.

    Args:
        V: array of any shape.
        shape: (H, W), or (H, W, D); by default a square.

    Raises:
        ValueError: if the numbers do not fill the shape, or are no square.
    """
    V = np.asarray(V)
    if len(shape) < 2:
        side = math.isqrt(V.size)
        if side * side != V.size or not V.size:
            raise ValueError(
                f"{V.size} numbers (shape {V.shape}) are no square image: give shape=(H, W), or sum the channels first."
            )
        shape = (side, side)
    if V.size != math.prod(shape):
        raise ValueError(f"{V.size} numbers (shape {V.shape}) do not fill an image of the shape {tuple(shape)}.")
    return V.reshape(shape)


def enlarge_image(img: Any, scaling: int = 3) -> np.ndarray:
    """Each pixel as a block of scaling x scaling pixels: (H, W) or (H, W, D) -> (scaling H, scaling W, ...)."""
    img, scaling = np.asarray(img), checks.integer("scaling", scaling)
    if img.ndim not in (2, 3):
        raise ValueError(f"An image has the shape (H, W) or (H, W, D); got {img.shape}.")
    return img.repeat(scaling, axis=0).repeat(scaling, axis=1)


def repaint_corner_pixels(rgbimg: Any, scaling: int = 3) -> np.ndarray:
    """An image whose top left and bottom right pixels have the mean colour of their three neighbours.

    Older versions of the toolbox wrote the ends of the colour scale into these pixels; `hm_to_rgb` does not.

    Args:
        rgbimg: (H, W, 3), of blocks of scaling x scaling pixels.
        scaling: side of a block.

    Returns:
        A new array (H, W, 3).
    """
    image, block = np.array(rgbimg, np.float64), checks.integer("scaling", scaling)
    if image.ndim != 3 or min(image.shape[:2]) < 2 * block:
        raise ValueError(
            f"An image to repaint has at least 2 x 2 blocks of {block} pixels and colours; got the shape {image.shape}."
        )
    first, second = slice(0, block), block
    image[first, first] = (image[0, second] + image[second, 0] + image[second, second]) / 3
    last, before = slice(-block, None), -1 - block
    image[last, last] = (image[-1, before] + image[before, -1] + image[before, before]) / 3
    return image


def digit_to_rgb(X: Any, scaling: int = 3, shape: Sequence[int] = (), cmap: str = "binary") -> np.ndarray:
    """An input as an image.

    Args:
        X: numbers in [0, 1], of which what lies outside is drawn as the nearest end; or whole numbers in 0..255.
        scaling: side of the block that each pixel becomes.
        shape: (H, W); by default a square.
        cmap: a colour map of matplotlib, or one of `COLORMAPS`. "binary" is white at 0 and black at 1.

    Returns:
        (scaling H, scaling W, 3) in [0, 1].
    """
    X = _finite(X, "X")
    image = enlarge_image(vec2im(X / 255 if X.dtype.kind in "iu" else X, shape), scaling)
    return _colormap(cmap)(image.astype(np.float64))[..., :3]


def hm_to_rgb(
    R: Any,
    X: Any = None,
    scaling: int = 3,
    shape: Sequence[int] = (),
    sigma: float = 2,
    cmap: str = "jet",
    normalize: bool = True,
) -> np.ndarray:
    """Relevance as an image, with the outlines of the input.

    Args:
        R: relevance, as many numbers as the image has pixels: sum the channels of coloured inputs first.
        X: the input, of which the edges are drawn in black; None for no outline. Needs scikit-image.
        scaling: side of the block that each pixel becomes. The outline is one pixel wide: the larger the blocks, the finer.
        shape: (H, W); by default a square.
        sigma: width of the filter of the edge detector (Canny), in pixels of the enlarged image.
        cmap: a colour map of matplotlib, or one of `COLORMAPS`. 0 has the colour of its middle.
        normalize: whether R is divided by max |R|. If not, -1 and 1 are the ends of the colours.

    Returns:
        (scaling H, scaling W, 3) in [0, 1].

    Raises:
        ImportError: for an outline, without scikit-image.
        ValueError: for shapes that do not fit, NaN or infinite values, and an unknown ``cmap``.
    """
    relevance = vec2im(_finite(R, "R").astype(np.float64), shape)
    largest = np.abs(relevance).max()
    if normalize and largest:
        relevance = relevance / largest
    rgb = _colormap(cmap)(enlarge_image((np.clip(relevance, -1, 1) + 1) / 2, scaling))[..., :3]
    if X is None:
        return rgb
    outlined = vec2im(_finite(X, "X").astype(np.float64), shape)
    if outlined.shape != relevance.shape:
        raise ValueError(f"X and R need the same number of pixels; got {outlined.shape} and {relevance.shape}.")
    rgb[_edges(enlarge_image(outlined, scaling), sigma)] = 0
    return rgb


def save_image(rgb_images: Iterable[Any], path: str | os.PathLike[str], gap: int = 2) -> np.ndarray:
    """Writes images side by side.

    Args:
        rgb_images: arrays (H, W, 3) of the same height, of numbers in [0, 1].
        path: of the file; its ending says the format. Its folder is made if there is none.
        gap: width of the black columns between two images.

    Returns:
        What was written, uint8 (H, sum of W and gaps, 3).

    Raises:
        ValueError: for images of different heights, no image, or an ending that names no format.
    """
    images = [_finite(image, "An image").astype(np.float64) for image in rgb_images]
    gap = checks.integer("gap", gap, least=0)
    shapes = [image.shape for image in images]
    if not images or any(len(s) != 3 or s[2] != 3 or s[0] != shapes[0][0] for s in shapes):
        raise ValueError(f"save_image takes images (H, W, 3) of one height; got {', '.join(map(str, shapes)) or 'none'}.")
    black = np.zeros((shapes[0][0], gap, 3))
    columns = [part for image in images for part in (black, image)][1:]
    pixels = np.rint(255 * np.clip(np.hstack(columns), 0, 1)).astype(np.uint8)
    heatmap.save(pixels, Path(path))
    return pixels


def _finite(values, name):
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} needs numbers; got {values.dtype}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values.")
    return values


@functools.cache
def _colormap(name):
    """A colour map: a function of an array of numbers in [0, 1]."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    if name in COLORMAPS:
        stops = [((value + 1) / 2, colour) for value, *colour in COLORMAPS[name]]
        return LinearSegmentedColormap.from_list(name, stops, N=511)
    if name not in matplotlib.colormaps:
        known = [*COLORMAPS, *matplotlib.colormaps]
        raise ValueError(
            f"There is no colour map {name!r}.{did_you_mean(name, known)} There are matplotlib's, and {', '.join(COLORMAPS)}."
        )
    return matplotlib.colormaps[name]


def _edges(image, sigma):
    """Where the edges of an image are: bools (H, W)."""
    try:
        from skimage.feature import canny
    except ImportError:
        raise ImportError('Outlines need scikit-image: pip install "tf_lrp[toolbox]", or X=None for none.') from None
    return canny(image, sigma=sigma)
