"""What all data sets of annotated pictures share: their parts, the check of boxes, and pictures as a network gets them."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from tf_lrp.vision import images

FITTINGS = ("crop", "rescale", "as it is")

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_TURNED_BACK = {  # EXIF orientation -> what undoes its turning upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Region:
    """What one class covers in one picture: the union of its boxes, or a mask.

    Attributes:
        label: class index, the output neuron.
        boxes: (left, top, right, bottom) each, floats in pixels of the picture as stored; the centre of the first pixel is at
            0.5, right and bottom are exclusive.
        mask: bool (H, W) instead of boxes.
    """

    label: int
    boxes: tuple = ()
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Picture:
    """One picture of a data set.

    Attributes:
        name: unique in its data set.
        read: returns uint8 (H, W, 3), RGB; raises ValueError or OSError for a file that cannot be read.
        regions: one `Region` for each class present, in ascending order of labels.
    """

    name: str
    read: Callable[[], np.ndarray]
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Problem:
    """Something that was left out.

    Attributes:
        name: of the picture or file.
        what: kind, to count by: "missing picture", "several pictures", "repeated picture", "unreadable picture", "picture too
            small", "size differs", "wrong size", "missing annotation", "unreadable annotation", "nothing annotated", "unknown
            class", "empty box", "box outside the picture", "empty mask" or "nothing inside the crop".
        detail: what exactly, for people.
    """

    name: str
    what: str
    detail: str


@dataclass(frozen=True)
class Prepared:
    """A picture as the network gets it, before its preprocessing.

    Attributes:
        name: of the picture.
        image: uint8 (height, width, 3), RGB.
        labels: ints (K,), the classes present.
        masks: bool (K, height, width), the pixels of each.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


class AnnotationError(ValueError):
    """An annotation that cannot be used; ``what`` is the kind of `Problem`, the message its detail."""

    def __init__(self, what, detail):
        super().__init__(detail)
        self.what = what


class Dataset(ABC):
    """Annotated pictures: iterable in a fixed order as often as wanted; ``len`` is the number of pictures listed.

    Every picture listed is either yielded or has at least one problem that says why not. One pair of class and picture is one
    measurement (Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP", section
    IV-A). A pair of which any object's annotation is faulty is left out as a whole, because a mask that lacks an object
    would count right relevance as wrong; the other classes of the picture stay.

    Pictures are read as stored, without the turn that EXIF may ask for: annotators' boxes lie on stored pixels, and published
    accuracies of networks come from stored pixels as well.

    Attributes:
        name: of the data set.
        fitting: how `prepared` brings pictures to a network's size: "crop", "rescale" or "as it is".
        problems: list of `Problem`, in the order of discovery while iterating and preparing; each one once.
    """

    name = "pictures"
    fitting = "rescale"

    def __init__(self, index=None):
        self.problems = []
        self._known = set()
        self._index = index

    @abstractmethod
    def __len__(self):
        """Number of pictures listed."""

    @abstractmethod
    def __iter__(self):
        """Yields `Picture`."""

    def report(self, name, what, detail):
        """Adds a `Problem`, unless it is known already."""
        problem = Problem(name, what, str(detail))
        if problem not in self._known:
            self._known.add(problem)
            self.problems.append(problem)

    def _picture(self, name, files, claimed, objects):
        """A picture from its file and annotated objects; None, after reporting why, where nothing can be measured.

        Args:
            name: of the picture.
            files: the paths that may hold it; exactly one should.
            claimed: (width, height) that the annotation states, or None.
            objects: pairs of a class name and a function that takes (width, height) and returns a box or a mask, or raises
                `AnnotationError`.
        """
        if len(files) != 1:
            found = ", ".join(map(str, files)) or "no file of that name"
            return self.report(name, "several pictures" if files else "missing picture", found)
        try:
            size = stored_size(files[0])
        except images.UnreadablePictureError as error:
            return self.report(name, "unreadable picture", error)
        if claimed is not None and tuple(claimed) != size:
            detail = f"annotated as {claimed[0]} x {claimed[1]} pixels, the file has {size[0]} x {size[1]}"
            return self.report(name, "size differs", detail)
        if not objects:
            return self.report(name, "nothing annotated", "the annotation holds no object")
        regions = self._regions(name, size, objects)
        return Picture(name, partial(read_stored, files[0]), regions) if regions else None

    def _regions(self, name, size, objects):
        shapes, faulty = defaultdict(list), set()
        for class_name, shape in objects:
            label = lookup(self._index, class_name)
            if label is None:
                self.report(name, "unknown class", f"{class_name!r} is not in the index of {len(self._index)} names")
                continue
            try:
                shapes[label].append(shape(size))
            except AnnotationError as error:
                faulty.add(label)
                self.report(name, error.what, f"{class_name}: {error}; the class is left out in this picture")
        return tuple(_region(label, shapes[label]) for label in sorted(shapes.keys() - faulty))


def _region(label, shapes):
    masks = [shape for shape in shapes if isinstance(shape, np.ndarray)]
    return Region(label, mask=np.logical_or.reduce(masks)) if masks else Region(label, boxes=tuple(shapes))


# ---- reading --------------------------------------------------------------------------------------------------------


def lookup(index, name):
    """The class index of an annotation's class name, or None.

    Args:
        index: mapping from lower-case names, with spaces for underscores, to class indices: wnids such as "n02084071" for
            ImageNet, names such as "potted plant" for COCO.
        name: in any case, with spaces or underscores.
    """
    label = index.get(name.strip().lower().replace("_", " "))
    return None if label is None else int(label)


def checked_index(index, example):
    """The index itself; raises ValueError where it is no mapping with names."""
    if not isinstance(index, Mapping) or not index:
        got = "an empty one" if isinstance(index, Mapping) else type(index).__name__
        raise ValueError(f"index must map class names to output neurons, such as {example}; got {got}.")
    return index


def existing(path, expected):
    """The absolute path, with ~ replaced; raises FileNotFoundError where there is nothing."""
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {str(path)!r}; expected {expected}.")
    return path


def find_pictures(folder, names):
    """The picture files of given names, without their suffixes, in a folder and all below: name -> list of paths."""
    found, seen = defaultdict(list), {os.path.realpath(folder)}
    for where, folders, files in os.walk(folder, followlinks=True):
        new = {os.path.realpath(os.path.join(where, f)): f for f in sorted(folders, reverse=True)}
        folders[:] = sorted(f for real, f in new.items() if real not in seen)  # a link may lead back up, or to a folder twice
        seen.update(new)
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if stem in names and suffix.lower() in _SUFFIXES:
                found[stem].append(Path(where) / file)
    return dict(found)


def stored_size(path):
    """(width, height) of a picture as stored, from the head of its file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except Exception as error:  # decoders raise anything at all on damaged files
        raise images.UnreadablePictureError(str(error) or type(error).__name__) from error


def read_stored(path):
    """A picture file as uint8 (H, W, 3), RGB, in the orientation in which it is stored."""
    image = images.read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as head:
            # Pillow itself turns TIFF upright while decoding, so that its size is upright from the start.
            orientation = 1 if head.format == "TIFF" else head.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in _TURNED_BACK:
        image = image.transpose(_TURNED_BACK[orientation])
    return np.array(image)


def sound_box(box, size):
    """A box clipped to its picture.

    Args:
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.
        size: (width, height) of the picture.

    Returns:
        The box as four floats; what reaches past an edge by at most a pixel is cut off.

    Raises:
        AnnotationError: not finite, without area, outside the picture or further past its edge.
    """
    left, top, right, bottom = box = tuple(map(float, box))
    if not np.isfinite(box).all():
        raise AnnotationError("unreadable annotation", f"the box {_written(box)} is not finite")
    if right <= left or bottom <= top:
        raise AnnotationError("empty box", f"the box {_written(box)} has no area")
    width, height = size
    outside = left >= width or top >= height or right <= 0 or bottom <= 0
    if outside or max(-left, -top, right - width, bottom - height) > 1:
        raise AnnotationError(
            "box outside the picture", f"the box {_written(box)} leaves the picture of {width} x {height} pixels"
        )
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def _written(box):
    return "({:g}, {:g}, {:g}, {:g})".format(*box)


# ---- as the network gets it -----------------------------------------------------------------------------------------


def prepared(dataset, picture, size):
    """A picture and its regions in a network's size.

    "crop": the shorter side is resized to the network's and the longer side cut to it around the middle (for sizes that are
    not square: resized so that the network's size is covered), exactly as `vision.images.fit` does. "rescale": both sides
    are resized, the aspect ratio is not kept. "as it is": the picture has the size already. Pictures are resized bilinearly.

    A region's pixels are those whose centres lie in one of its boxes (left and top edges included); a box too thin to meet
    a centre marks the row, or column, that holds its middle. Masks are resampled to the nearest pixel; one that would vanish
    marks the pixels that hold it.

    Args:
        dataset: `Dataset` of the picture; its problems are added to.
        picture: `Picture`.
        size: (height, width) that the network takes.

    Returns:
        `Prepared`; None where the file cannot be read, has the wrong size ("as it is"), or no class is left inside the crop.
    """
    if dataset.fitting not in FITTINGS:
        raise ValueError(f"A data set's fitting is one of {', '.join(map(repr, FITTINGS))}; got {dataset.fitting!r}.")
    height, width = size
    try:
        image = picture.read()
    except (images.UnreadablePictureError, OSError) as error:
        return dataset.report(picture.name, "unreadable picture", error)
    if dataset.fitting == "as it is" and image.shape[:2] != (height, width):
        detail = f"{image.shape[1]} x {image.shape[0]} pixels, and the network takes {width} x {height}"
        return dataset.report(picture.name, "wrong size", detail)
    window = _window(dataset.fitting, image.shape[1], image.shape[0], width, height)
    labels, masks = [], []
    for region in picture.regions:
        mask = _mask(region, window, (height, width))
        if mask.any():
            labels.append(region.label)
            masks.append(mask)
        else:
            detail = f"class {region.label} lies outside the part of the picture that {width} x {height} pixels show"
            dataset.report(picture.name, "nothing inside the crop", detail)
    if not labels:
        return None
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=window)
    return Prepared(picture.name, np.array(resized), np.array(labels), np.stack(masks))


def _window(fitting, full_width, full_height, width, height):
    """(left, top, right, bottom) of what the network sees, in pixels of the picture."""
    seen_width, seen_height = full_width, full_height
    if fitting == "crop":
        seen_width = min(full_width, full_height * width / height)
        seen_height = min(full_height, full_width * height / width)
    left, top = (full_width - seen_width) / 2, (full_height - seen_height) / 2
    return left, top, left + seen_width, top + seen_height


def _mask(region, window, size):
    """bool (height, width): the pixels of a region inside a window that is resized to ``size``."""
    if region.mask is not None:
        return _nearest(region.mask, window, size)
    mask = np.zeros(size, bool)
    for box in region.boxes:
        mask |= _painted(box, window, size)
    return mask


def _painted(box, window, size):
    left, top = max(box[0], window[0]), max(box[1], window[1])
    right, bottom = min(box[2], window[2]), min(box[3], window[3])
    if right <= left or bottom <= top:
        return np.zeros(size, bool)
    rows, columns = _centres(window, size)
    return _between(rows, top, bottom)[:, None] & _between(columns, left, right)


def _between(centres, low, high):
    """Which pixels of an axis lie in an interval: those whose centre does, or else the one that holds the interval's middle."""
    inside = (centres >= low) & (centres < high)
    if not inside.any():
        inside[np.argmin(np.abs(centres - (low + high) / 2))] = True
    return inside


def _nearest(mask, window, size):
    rows, columns = (np.minimum(c.astype(int), n - 1) for c, n in zip(_centres(window, size), mask.shape, strict=True))
    resampled = mask[rows[:, None], columns]
    if not resampled.any():
        y, x = (place + 0.5 for place in np.nonzero(mask))
        inside = (x >= window[0]) & (x < window[2]) & (y >= window[1]) & (y < window[3])
        resampled[_holding(x[inside], y[inside], window, size)] = True
    return resampled


def _centres(window, size):
    """Where the centres of the network's pixels lie in the picture: rows (height,), columns (width,)."""
    left, top, right, bottom = window
    height, width = size
    rows = top + (np.arange(height) + 0.5) * ((bottom - top) / height)
    return rows, left + (np.arange(width) + 0.5) * ((right - left) / width)


def _holding(x, y, window, size):
    """(row, column) of the network's pixel that holds a place of the picture."""
    left, top, right, bottom = window
    height, width = size
    row, column = (y - top) * height / (bottom - top), (x - left) * width / (right - left)
    return np.clip(np.int64(row), 0, height - 1), np.clip(np.int64(column), 0, width - 1)
