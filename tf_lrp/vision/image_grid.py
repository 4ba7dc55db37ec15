"""Pictures in rows and columns with titles, on one white sheet."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def grid(
    rows: Sequence[Sequence],
    row_titles: Sequence[str | None] | None = None,
    column_titles: Sequence[str | None] | None = None,
    cell_size: int | tuple[int, int] | None = None,
    margin: int = 8,
    font_size: int | None = None,
) -> Image.Image:
    """Arranges pictures in rows and columns with titles, on white.

    Args:
        rows: list of equally long rows; a cell is a uint8 array (h, w), (h, w, 1) or (h, w, 3), a PIL image, or None
            for an empty cell. Pictures keep their proportions and are centred in their cell.
        row_titles: one title a row, drawn left of it; column_titles: one a column, drawn above. A title may have
            several lines and may be None. Titles wider than a cell are wrapped, and set smaller where a word is wider.
        cell_size: side of the square cells in pixels, or (height, width). Default: the largest picture, enlarged by
            the integer factor that brings its longer side to 96 pixels, so that small maps can be seen.
        margin: pixels around and between cells.
        font_size: height of the titles in pixels; by default a twelfth of the cell's height, within 11 to 24.

    Returns:
        PIL.Image in RGB.

    Raises:
        ValueError: rows of unequal length, no picture at all and no cell_size, a number of titles that differs from
            the number of rows or columns, cells that are not uint8 pictures.
    """
    cells = _as_cells(rows)
    height, width = _cell_size(cells, cell_size)
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin!r}.")
    row_titles = _as_titles(row_titles, len(cells), "row")
    column_titles = _as_titles(column_titles, len(cells[0]), "column")
    font_size = font_size or min(24, max(11, round(height / 12)))
    sides, heads = (_Titles(titles, width, font_size) for titles in (row_titles, column_titles))

    # A cell makes room for its title where wrapping and shrinking did not suffice, so no two titles ever meet.
    column_step, row_step = max(width, heads.width) + margin, max(height, sides.height) + margin
    left = margin + (sides.width + margin if sides.width else 0)
    top = margin + (heads.height + margin // 2 if heads.height else 0)
    canvas = Image.new("RGB", (left + column_step * len(cells[0]), top + row_step * len(cells)), "white")
    draw = ImageDraw.Draw(canvas)
    for c in range(len(cells[0])):
        center = left + c * column_step + (column_step - margin) / 2
        heads.draw(draw, c, center, margin + heads.height - heads.block_height(c), align=0.5)
    for r, row in enumerate(cells):
        middle = top + r * row_step + (row_step - margin) / 2
        sides.draw(draw, r, margin + sides.width, round(middle - sides.block_height(r) / 2), align=1)
        for c, cell in enumerate(row):
            if cell is None:
                continue
            cell = _fit(cell, height, width)
            x = left + c * column_step + (column_step - margin - cell.width) // 2
            y = top + r * row_step + (row_step - margin - cell.height) // 2
            if margin >= 2:  # a hairline in the gap: heatmaps that are white at the border keep their outline
                draw.rectangle((x - 1, y - 1, x + cell.width, y + cell.height), outline=(208, 208, 208))
            canvas.paste(cell, (x, y))
    return canvas


def as_image(picture, where):
    if isinstance(picture, Image.Image):
        return picture
    pixels = np.asarray(picture)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] == 3)
    if pixels.dtype != np.uint8 or not is_picture or not pixels.size:
        raise ValueError(
            f"{where} takes uint8 pictures (h, w), (h, w, 1) or (h, w, 3), got {pixels.dtype} of shape "
            f"{pixels.shape}. to_rgb and overlay make them from relevance; of a batch, take one by its index."
        )
    return Image.fromarray(pixels)


def _as_cells(rows):
    if any(isinstance(row, Image.Image) or (isinstance(row, np.ndarray) and row.ndim < 4) for row in rows):
        raise ValueError("Expected rows as lists of pictures, grid([[a, b], [c, d]]); got a picture in place of a row.")
    cells = [[cell if cell is None else as_image(cell, "grid").convert("RGB") for cell in row] for row in rows]
    lengths = [len(row) for row in cells]
    if not lengths or min(lengths) == 0 or min(lengths) != max(lengths):
        raise ValueError(f"Expected rows of one length, at least 1, got lengths {lengths}; fill up with None.")
    return cells


def _as_titles(titles, count, what):
    if titles is None:
        return [""] * count
    if isinstance(titles, str) or len(titles) != count:
        got = repr(titles) if isinstance(titles, str) else f"{len(titles)}: {list(titles)}"
        raise ValueError(f"Expected a list of {count} {what} titles, one a {what} (None for no title), got {got}.")
    return ["" if title is None else str(title) for title in titles]


def _cell_size(cells, cell_size):
    if cell_size is not None:
        size = (cell_size, cell_size) if np.ndim(cell_size) == 0 else tuple(cell_size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"cell_size must be a positive integer or a pair (height, width), got {cell_size!r}.")
        return int(size[0]), int(size[1])
    pictures = [cell for row in cells for cell in row if cell is not None]
    if not pictures:
        raise ValueError("A grid of empty cells needs a cell_size.")
    height, width = max(each.height for each in pictures), max(each.width for each in pictures)
    factor = math.ceil(96 / max(height, width))
    return factor * height, factor * width


def _fit(image, height, width):
    factor = min(height / image.height, width / image.width)
    size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
    # Strong enlargement shows the pixels as they are; bilinear never overshoots, so neutral stays neutral.
    return image.resize(size, Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BILINEAR)


class _Titles:
    """Titles of one kind, wrapped to `width` and set in one size, `font_size` or down to two thirds of it."""

    def __init__(self, titles, width, font_size):
        words = " ".join(titles).split()
        for size in range(font_size, min(font_size, max(8, round(font_size * 2 / 3))) - 1, -1):
            self._font = _font(size)
            if all(self._extent(word) <= width for word in words):
                break
        self._ascent, descent = self._font.getmetrics()
        self._line_height = self._ascent + descent
        self._lines = [self._wrap(title, width) for title in titles]
        self.width = max((self._extent(line) for lines in self._lines for line in lines), default=0)
        self.height = max(map(self.block_height, range(len(titles))))

    def block_height(self, index):
        return self._line_height * len(self._lines[index])

    def draw(self, draw, index, x, y, align):
        """Draws one title from the upper edge `y` down; `align` 0.5 centres its lines on `x`, 1 ends them there."""
        for number, line in enumerate(self._lines[index]):
            start = x - align * self._extent(line) - self._font.getbbox(line)[0]
            baseline = y + number * self._line_height + self._ascent
            draw.text((round(start), baseline), line, fill=(32, 32, 32), font=self._font, anchor="ls")

    def _extent(self, text):
        left, _, right, _ = self._font.getbbox(text)
        return math.ceil(right - left)

    def _wrap(self, title, width):
        lines = []
        for paragraph in title.splitlines():
            line = ""
            for word in paragraph.split():
                if line and self._extent(f"{line} {word}") <= width:
                    line = f"{line} {word}"
                    continue
                lines += [line] if line else []
                while len(word) > 1 and self._extent(word) > width:
                    # Break after the last punctuation mark that fits, else after the last letter that does.
                    ends = [end for end in range(1, len(word)) if self._extent(word[:end]) <= width] or [1]
                    end = max([end for end in ends if word[end - 1] in "_-./,:+="] or ends)
                    lines.append(word[:end])
                    word = word[end:]
                line = word
            lines.append(line)
        return lines


@functools.cache
def _font(size):
    import matplotlib

    # matplotlib's font has the Greek and accented letters that Pillow's own lacks, and is clearer in small sizes.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
