"""The brightness of colours."""

from __future__ import annotations

import numpy as np


def luma(pixels):
    """Luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, as Pillow's convert("L") has it, without rounding.

    Args:
        pixels: RGB (..., 3), in any units; integers are read as float64.

    Returns:
        (..., 1), floats of the same type and units.
    """
    pixels = np.asarray(pixels)
    return pixels @ np.array([[0.299], [0.587], [0.114]], pixels.dtype if pixels.dtype.kind == "f" else np.float64)
