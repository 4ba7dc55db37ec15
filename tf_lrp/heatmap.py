"""Relevance to pictures: RGB heatmaps, overlays, grids with titles, PNG files.

    rgb = heatmap.to_rgb(relevance)                      # (N, H, W, C) -> uint8 (N, H, W, 3)
    on_picture = heatmap.overlay(relevance, pictures)    # the same, over the greyed pictures
    heatmap.save(heatmap.grid([[pictures[0], rgb[0], on_picture[0]]]), "heatmap.png")

Shapes: a relevance *map* is (H, W), a batch of maps (N, H, W); relevance with channels has four axes, (N, H, W, C).
So three axes are always a batch of maps; one picture's (H, W, C) relevance goes through `channel_sum` first.

Colours: relevance is scaled by a symmetric range [-s, s], so zero is the colour map's neutral colour, exactly: white
in "seismic" and "bwr", black in "toolbox", light green in "jet". Sums and scales are taken in float64, so float32
relevance of any size neither overflows nor vanishes.

This module needs NumPy, Pillow and (for its colour tables and its font) matplotlib; neither TensorFlow nor Keras.
"""

import functools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from tf_lrp.messages.names import did_you_mean
from tf_lrp.vision.image_grid import as_image, grid
from tf_lrp.vision.luma import luma

__all__ = ["channel_sum", "colormaps", "grid", "normalize", "overlay", "save", "to_rgb"]

# matplotlib does not mark which of its maps diverge; these are the ones it documents as diverging.
_MATPLOTLIB_DIVERGING = (
    *("BrBG", "PRGn", "PiYG", "PuOr", "RdBu", "RdGy", "RdYlBu", "RdYlGn", "Spectral"),
    *("berlin", "bwr", "coolwarm", "managua", "seismic", "vanimo"),
)
_HALF = 255  # a table has 2 * _HALF + 1 entries: odd, so that one entry, the middle one, is zero's own


def colormaps() -> list[str]:
    """Names `cmap` accepts, as a sorted list: each diverging map and, with "_r" after its name, its reverse.

    "toolbox" (black at zero, red to yellow above, blue to cyan below) and "jet" (light green at zero, yellow to red
    above, cyan to blue below) are the two styles of the LRP Toolbox; the others are matplotlib's diverging maps, in
    matplotlib's direction ("RdBu" is blue above zero, "RdBu_r" red). Sequential maps such as viridis have no neutral
    centre, so zero would look like evidence; they are not accepted.
    """
    import matplotlib

    names = {"jet", "toolbox", *(name for name in _MATPLOTLIB_DIVERGING if name in matplotlib.colormaps)}
    return sorted(names | {f"{name}_r" for name in names})


def channel_sum(relevance: ArrayLike) -> np.ndarray:
    """Sums relevance over the channels, the last axis: R_hw = sum_c R_hwc.

    Args:
        relevance: numbers of shape (N, H, W, C) or (H, W, C). Maps without a channel axis do not belong here.

    Returns:
        float64 array (N, H, W) or (H, W), in the unit of `relevance`.

    Raises:
        ValueError: another number of axes, no entries, NaN or Inf, or a sum beyond float64.
    """
    relevance = _finite_floats(relevance, "relevance")
    if relevance.ndim not in (3, 4):
        raise ValueError(f"channel_sum expects relevance (N, H, W, C) or (H, W, C), got shape {relevance.shape}.")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = relevance.sum(axis=-1)
    if not np.isfinite(total).all():
        raise ValueError("The channel sum exceeds the range of float64; divide the relevance by its maximum first.")
    return total


def normalize(
    relevance_map: ArrayLike, mode: str = "image", scale: float | None = None, percentile: float | None = None
) -> np.ndarray:
    """Scales maps to [-1, 1] symmetrically about zero: clip(R, -s, s) / s, so zero stays zero and signs stay.

    Args:
        relevance_map: (H, W) or (N, H, W).
        mode: "image": s = max |R| of each map; "shared": s = max |R| over the batch, so maps can be compared.
        scale: a positive number that replaces s; values beyond it are clipped.
        percentile: in (0, 100]; s is this percentile of |R| instead of its maximum, so that few outliers do not
            drown the rest. Where it is zero (nearly empty maps), s is the maximum.

    Returns:
        float64 array of the same shape. A map of zeros stays zeros.

    Raises:
        ValueError: other shapes, NaN or Inf, unknown mode, bad scale or percentile, or both of them.
    """
    return _scaled(_as_maps(relevance_map), mode, scale, percentile)


def to_rgb(
    relevance: ArrayLike,
    cmap: str = "seismic",
    normalization: str = "image",
    scale: float | None = None,
    percentile: float | None = None,
) -> np.ndarray:
    """Colours relevance.

    Args:
        relevance: (H, W), (N, H, W), or (N, H, W, C), whose channels are summed first.
        cmap: one of `colormaps()`.
        normalization, scale, percentile: as `mode`, `scale`, `percentile` of `normalize`. Maps that are normalised
            already keep their range with scale=1.

    Returns:
        uint8 array (H, W, 3) or (N, H, W, 3). Zero relevance has exactly the neutral colour.

    Raises:
        ValueError: as in `normalize`, or an unknown or non-diverging `cmap`.
    """
    return _colour(_scaled(_summed(relevance), normalization, scale, percentile), cmap)


def overlay(
    relevance: ArrayLike,
    picture: Any,
    alpha: float = 0.9,
    cmap: str = "seismic",
    normalization: str = "image",
    scale: float | None = None,
    percentile: float | None = None,
    grey: bool = True,
) -> np.ndarray:
    """Lays the heatmap over the picture: (1 - a) picture + a colour, with a = alpha |R| / s.

    Where relevance is zero the picture shows unchanged. Maps of another size than the picture are normalised, then
    resized to it (bilinear): networks see smaller pictures than people do. This presumes that the network saw the
    whole picture; give the cropped one if it saw a crop.

    Args:
        relevance: (H, W), (N, H, W) or (N, H, W, C), as in `to_rgb`.
        picture: one picture (h, w), (h, w, 1), (h, w, 3) or a PIL image, which serves every map, or a batch of N:
            (N, h, w), (N, h, w, 1), (N, h, w, 3). Integers in 0..255, or floats in [0, 1] or [0, 255].
        alpha: opacity, in [0, 1], of the strongest relevance.
        cmap, normalization, scale, percentile: as in `to_rgb`.
        grey: show the picture in grey, so that every colour seen is relevance.

    Returns:
        uint8 array (h, w, 3), or (N, h, w, 3) for a batch of maps.

    Raises:
        ValueError: as in `to_rgb`; a picture of another shape, range or number; alpha outside [0, 1].
    """
    if not (np.ndim(alpha) == 0 and 0 <= alpha <= 1):
        raise ValueError(f"alpha must be one number in [0, 1], got {alpha!r}.")
    maps = _scaled(_summed(relevance), normalization, scale, percentile)
    pictures = _as_pictures(picture, grey)
    if pictures.ndim == 4 and (maps.ndim == 2 or len(maps) != len(pictures)):
        count = "one (H, W) map" if maps.ndim == 2 else f"{len(maps)} relevance maps"
        raise ValueError(f"Got {count} for a batch of {len(pictures)} pictures; give one picture a map, or one in all.")
    with np.errstate(under="ignore"):
        maps = _resize(maps, pictures.shape[-3:-1])
        opacity = alpha * np.abs(maps)[..., None]
        return np.rint(pictures + opacity * (_colour(maps, cmap) - pictures)).astype(np.uint8)


def save(image: Any, path: str | os.PathLike[str]) -> Path:
    """Writes one picture, normally as PNG (lossless: neutral stays neutral); makes the folder if there is none.

    Args:
        image: PIL image, or uint8 array (h, w), (h, w, 1) or (h, w, 3).
        path: file name ending in .png, or in the suffix of another format Pillow writes.

    Returns:
        pathlib.Path of the file.

    Raises:
        ValueError: the suffix names no format that can be written, or `image` is no single uint8 picture.
    """
    path = Path(path)
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"Cannot write {path.name!r}: Pillow writes no {path.suffix!r} files; end the name in .png.")
    image = as_image(image, "save")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def _finite_floats(values, what):
    array = np.asarray(values)
    if array.dtype.kind in "cOSUMm":
        raise ValueError(f"{what} must be real numbers, got dtype {array.dtype}.")
    array = array.astype(np.float64)
    if array.size == 0:
        raise ValueError(f"{what} is empty: shape {array.shape}.")
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            f"{what} holds {bad} NaN or Inf values of {array.size}. Find out where they come from (an input with NaN, "
            "a rule without epsilon, float16), or replace them on purpose with numpy.nan_to_num."
        )
    return array


def _as_maps(relevance):
    maps = _finite_floats(relevance, "relevance")
    shape = maps.shape
    if maps.ndim not in (2, 3):
        raise ValueError(
            f"Expected relevance maps (H, W) or (N, H, W), got shape {shape}. Sum channels first with channel_sum "
            "(to_rgb and overlay do so for (N, H, W, C)), fold further axes into N; scalars and 1-D signals have no "
            "heatmap."
        )
    if maps.ndim == 3 and shape[2] in (1, 3, 4) and shape[1] > shape[2]:
        raise ValueError(
            f"Shape {shape} looks like one picture with {shape[2]} channels, but three axes mean (N, H, W). Sum the "
            "channels with channel_sum(relevance), or, if the maps are so narrow, colour relevance[..., None]."
        )
    return maps


def _summed(relevance):
    return channel_sum(relevance) if np.ndim(relevance) == 4 else _as_maps(relevance)


def _scaled(maps, mode, scale, percentile):
    if mode not in ("image", "shared"):
        raise ValueError(f'The normalization must be "image" or "shared", got {mode!r}.')
    if scale is not None and percentile is not None:
        raise ValueError("scale and percentile both set the range; give one of them.")
    if scale is not None and not (np.ndim(scale) == 0 and 0 < scale < math.inf):
        raise ValueError(f"scale must be one positive finite number, got {scale!r}.")
    if percentile is not None and not (np.ndim(percentile) == 0 and 0 < percentile <= 100):
        raise ValueError(f"percentile must be one number in (0, 100], got {percentile!r}.")
    with np.errstate(under="ignore"):
        if scale is None:
            axes = (-2, -1) if mode == "image" else None
            scale = np.abs(maps).max(axis=axes, keepdims=True)
            if percentile is not None:
                limit = np.percentile(np.abs(maps), percentile, axis=axes, keepdims=True)
                scale = np.where(limit > 0, limit, scale)
        scale = np.asarray(scale, np.float64)
        # Division, not multiplication by 1 / scale: the inverse of a denormal scale would be infinite.
        return np.clip(maps, -scale, scale) / np.where(scale > 0, scale, 1.0)


def _colour(normalized, cmap):
    # One array look-up colours a 224 x 224 map several times faster than calling a matplotlib colour map.
    table = _table(_known_colormap(cmap))
    with np.errstate(under="ignore"):
        return table[np.rint(normalized * _HALF).astype(np.intp) + _HALF]


def _known_colormap(name):
    known = colormaps()
    if name in known:
        return name
    import matplotlib

    if str(name) in matplotlib.colormaps:
        hint = "It does not diverge: without a neutral centre, zero would look like evidence."
    else:
        hint = did_you_mean(name, known).strip()
    raise ValueError(f"Not a diverging colour map: {name!r}. {hint} Known: {', '.join(known)}.")


@functools.cache
def _table(name):
    """uint8 (2 * _HALF + 1, 3): the colours of -1 ... 1; the middle row is the colour of zero."""
    if name.endswith("_r"):
        return _table(name.removesuffix("_r"))[::-1]
    value = np.arange(-_HALF, _HALF + 1) / _HALF  # exactly odd, zero included; numpy.linspace rounds
    if name == "toolbox":
        # Each arm lights one primary up to half the range, then green; it stops short of white to keep the sign.
        first, second = np.clip(2 * np.abs(value), 0, 1), np.clip(2 * np.abs(value) - 1, 0, 1)
        rgb = np.stack([first * (value > 0), second, first * (value < 0)], axis=-1)
    elif name == "jet":
        # Three equal trapezoids, red, green and blue, centred on 1/2, 0 and -1/2.
        rgb = np.clip(1.5 - np.abs(2 * value[:, None] - [1, 0, -1]), 0, 1)
    else:
        import matplotlib

        # An odd number of samples puts one exactly on the neutral centre, which matplotlib's own 256 entries miss.
        rgb = matplotlib.colormaps[name].resampled(len(value))(np.arange(len(value)))[:, :3]
    table = np.rint(255 * rgb).astype(np.uint8)
    table.flags.writeable = False  # every caller shares it
    return table


def _as_pictures(picture, grey):
    """float64 in [0, 255]: (h, w, 3) for one picture, (N, h, w, 3) for a batch; grey ones have equal channels."""
    if isinstance(picture, Image.Image):
        picture = picture.convert("RGB")
    picture = np.asarray(picture)
    integers = picture.dtype.kind in "iu"
    pixels = _finite_floats(picture, "picture")
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 3)):
        pixels = pixels[..., None]
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            "Expected a picture (h, w), (h, w, 1) or (h, w, 3), or a batch of them with a leading axis, "
            f"got shape {picture.shape}."
        )
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        raise ValueError(
            f"Expected picture values in 0..255 or [0, 1], got {low:.6g} to {high:.6g}. Give the picture as it was "
            "before preprocessing."
        )
    if not integers and high <= 1:
        pixels = pixels * 255
    if grey and pixels.shape[-1] == 3:
        pixels = luma(pixels)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _resize(maps, size):
    if maps.shape[-2:] == size:
        return maps
    stack = maps.reshape(-1, *maps.shape[-2:]).astype(np.float32)
    resized = [Image.fromarray(each).resize(size[::-1], Image.Resampling.BILINEAR) for each in stack]
    resized = np.stack([np.asarray(each, np.float64) for each in resized])
    return resized if maps.ndim == 3 else resized[0]
