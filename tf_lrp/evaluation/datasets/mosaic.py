"""Mosaics of four pictures, one in each quadrant: relevance of a class should point at its quadrants."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
from PIL import Image

from tf_lrp.evaluation.datasets.base import Dataset, Picture, Region, existing, stored_size
from tf_lrp.vision import images


class Mosaic(Dataset):
    """Mosaics of two by two pictures, listed in a JSON file; the pictures lie in ``images`` beside it.

    A cell is the centre crop of its picture (upright, never enlarged); the region of a class is all cells that show it. The
    order is that of the list.

    Args:
        path: JSON file ``{"cell": 224, "mosaics": [{"id": 0, "files": [4 names], "classes": [4 output neurons]}, ...]}``; cells
            from left to right, then from top to bottom. ``cell`` is the edge of a cell in pixels, 224 where absent.

    Attributes:
        grid: (rows, columns) of cells.
        cell: edge of a cell in pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no list of mosaics.

    Source: Böhle et al. 2021, "Convolutional dynamic alignment networks for interpretable classifications" (grid pointing).
    """

    name = "mosaic"
    fitting = "as it is"
    grid = (2, 2)

    def __init__(self, path):
        super().__init__()
        path = existing(path, "a JSON file of mosaics")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name the JSON file that lists its mosaics.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON file: {error}") from error
        self._mosaics = content.get("mosaics") if isinstance(content, dict) else None
        if not isinstance(self._mosaics, list):
            raise ValueError(f'{path} is no list of mosaics; expected a key "mosaics" with a list.')
        self.cell = content.get("cell", 224)
        if type(self.cell) is not int or self.cell < 1:
            raise ValueError(f'{path}: "cell" must be the edge of a cell in pixels, such as 224; got {self.cell!r}.')
        self._images = path.parent / "images"

    def __len__(self):
        return len(self._mosaics)

    def __iter__(self):
        seen = set()
        for number, entry in enumerate(self._mosaics):
            fault = _fault(entry)
            if fault:
                self.report(f"entry {number}", "unreadable annotation", fault)
                continue
            name = f"mosaic {entry['id']}"
            if name in seen:
                self.report(f"entry {number}", "repeated picture", f"the id of {name} occurs again")
                continue
            seen.add(name)
            paths = [self._images / file for file in entry["files"]]
            usable = [self._usable(name, path) for path in paths]  # check all of them, to report every problem
            if all(usable):
                regions = tuple(self._region(entry["classes"], label) for label in sorted(set(entry["classes"])))
                yield Picture(name, partial(_compose, paths, self.cell), regions)

    def _usable(self, name, path):
        if not path.is_file():
            return self.report(name, "missing picture", path)
        try:
            size = stored_size(path)
        except images.UnreadablePictureError as error:
            return self.report(name, "unreadable picture", f"{path}: {error}")
        if min(size) < self.cell:
            return self.report(name, "picture too small", f"{path} has {size[0]} x {size[1]} pixels, a cell {self.cell}")
        return True

    def _region(self, classes, label):
        shown = np.reshape([c == label for c in classes], self.grid)
        return Region(label, mask=np.kron(shown, np.ones((self.cell, self.cell), bool)))


def _fault(entry):
    """Text about what is wrong with an entry of the list, or None."""
    if not isinstance(entry, dict) or "id" not in entry:
        return "expected a mosaic with an id"
    files, classes = entry.get("files"), entry.get("classes")
    if not isinstance(files, list) or len(files) != 4 or not all(isinstance(f, str) for f in files):
        return f"mosaic {entry['id']}: expected four names in files, got {files!r}"
    if not isinstance(classes, list) or len(classes) != 4 or not all(type(c) is int and c >= 0 for c in classes):
        return f"mosaic {entry['id']}: expected four output neurons in classes, got {classes!r}"
    return None


def _compose(paths, cell):
    mosaic = Image.new("RGB", (2 * cell, 2 * cell))
    for number, path in enumerate(paths):
        try:
            image = images.read(path)
        except images.UnreadablePictureError as error:
            raise images.UnreadablePictureError(f"{path}: {error}") from error
        left, top = (image.width - cell) // 2, (image.height - cell) // 2
        mosaic.paste(image.crop((left, top, left + cell, top + cell)), (number % 2 * cell, number // 2 * cell))
    return np.array(mosaic)
