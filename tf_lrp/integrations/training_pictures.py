"""The pictures that are logged while a model is trained: what is drawn of its inputs, above the heatmaps."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tf_lrp import heatmap

_PER_LINE = 8  # pictures side by side; more go on the next line
_CELL = 96, 224  # small pictures are enlarged to at least the first, large ones reduced to the second


def pictures_of(names, arrays, given, count):
    """{position of a drawn input: uint8 (count, h, w, 3), what is shown for it}."""
    drawn = [n for n, a in enumerate(arrays) if a.ndim == 4]
    if given is None:
        given = {}
    elif not isinstance(given, dict):
        if len(drawn or arrays) != 1:
            raise ValueError(
                f"The model has {len(drawn or arrays)} inputs that pictures may belong to: give them as a dict with keys among "
                f"{', '.join(map(repr, names))}."
            )
        given = {names[drawn[0] if drawn else 0]: given}
    unknown = set(given) - set(names)
    if unknown:
        raise ValueError(
            f"There are pictures for {', '.join(map(repr, sorted(unknown)))}, but the model's inputs are "
            f"{', '.join(map(repr, names))}."
        )
    shown = {}
    for position, (name, array) in enumerate(zip(names, arrays, strict=True)):
        if name not in given:
            if position in drawn:
                shown[position] = _stretched(array[:count])
            continue
        if array.ndim not in (3, 4):
            raise ValueError(f"There are pictures for {name!r}, but an input of shape {array.shape} has no heatmap.")
        pictures = np.asarray(given[name])
        if pictures.ndim not in (3, 4) or len(pictures) != len(array):
            raise ValueError(f"x has {len(array)} samples of {name!r}; got pictures of shape {pictures.shape} for it.")
        # overlay reads and checks pictures; without opacity it returns them.
        blank = np.zeros((count, *pictures.shape[1:3]))
        shown[position] = heatmap.overlay(blank, pictures[:count], alpha=0, grey=False)
    return shown


def _stretched(array):
    """(N, H, W, C) of any range as uint8 (N, H, W, 3)."""
    pixels = array.astype(np.float64)
    if pixels.shape[-1] not in (1, 3):
        pixels = pixels.mean(axis=-1, keepdims=True)
    low, high = pixels.min(), pixels.max()
    pixels = np.rint(255 * (pixels - low) / (high - low or 1)).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def sheet(rows, titles):
    """Rows of N pictures below each other as one PIL.Image, in lines of a few columns."""
    height, width = rows[-1].shape[1:3]
    longer = max(height, width)
    factor = -(-_CELL[0] // longer) if longer < _CELL[0] else min(1, _CELL[1] / longer)
    cell = max(1, round(factor * height)), max(1, round(factor * width))
    columns = min(_PER_LINE, len(titles))
    lines = []
    for n in range(0, len(titles), columns):
        empty = [None] * (columns - len(titles[n : n + columns]))
        cells = [[*row[n : n + columns], *empty] for row in rows]
        lines.append(heatmap.grid(cells, column_titles=[*titles[n : n + columns], *empty], cell_size=cell))
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines)), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    return sheet
