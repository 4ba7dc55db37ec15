"""The parts of all data sets of annotated pictures, and the check of boxes."""

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

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_TO_STORED = {  # EXIF orientation -> transpose that undoes the rotation to upright
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
    """The pixels that one class covers in one picture: the union of its boxes, or a mask.

    Attributes:
        label: class index, which is the output neuron.
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
        name: unique within the data set.
        read: returns uint8 (H, W, 3), RGB; raises ValueError or OSError for a file that cannot be read.
        regions: one `Region` for each class present, in ascending order of labels.
    """

    name: str
    read: Callable[[], np.ndarray]
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Problem:
    """A picture or annotation that was left out.

    Attributes:
        name: of the picture or file.
        what: kind of problem: "missing picture", "several pictures", "repeated picture", "unreadable picture", "picture too
            small", "size differs", "wrong size", "missing annotation", "unreadable annotation", "nothing annotated", "unknown
            class", "empty box", "box outside the picture", "empty mask" or "nothing inside the crop".
        detail: description of the problem.
    """

    name: str
    what: str
    detail: str


class AnnotationError(ValueError):
    """An annotation that cannot be used; ``what`` is the kind of `Problem`, the message is its detail."""

    def __init__(self, what, detail):
        super().__init__(detail)
        self.what = what


class Dataset(ABC):
    """Annotated pictures: an iterable with a fixed order; ``len`` is the number of listed pictures.

    Every listed picture is either yielded or has at least one `Problem` that says why it is not. One pair of class and picture
    is one measurement (Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP",
    section IV-A). If the annotation of one object is invalid, the whole pair is left out, because a mask without one of the
    objects would count correct relevance as wrong; the other classes of the picture are kept.

    Pictures are read as stored, without the rotation that EXIF may specify: boxes are annotated on stored pixels, and published
    accuracies of networks are for stored pixels as well.

    Attributes:
        name: of the data set.
        fitting: how `prepared` converts pictures to a network's size: "crop", "rescale" or "as it is".
        problems: list of `Problem`, each once, in the order in which iterating and preparing met them.
    """

    name = "pictures"
    fitting = "rescale"

    def __init__(self, index=None):
        self.problems = []
        self._known = set()
        self._index = index

    @abstractmethod
    def __len__(self):
        """Number of listed pictures."""

    @abstractmethod
    def __iter__(self):
        """Yields `Picture`."""

    def report(self, name, what, detail):
        """Adds a `Problem`, unless it is known already."""
        problem = Problem(name, what, str(detail))
        if problem not in self._known:
            self._known.add(problem)
            self.problems.append(problem)

    def _picture(self, name, files, annotated_size, objects):
        """A picture from its file and annotated objects; None, after reporting why, if it cannot be used.

        Args:
            name: of the picture.
            files: paths of files with its name; there should be exactly one.
            annotated_size: (width, height) according to the annotation, or None.
            objects: pairs of a class name and a function that takes (width, height) and returns a box or a mask, or raises
                `AnnotationError`.
        """
        if len(files) != 1:
            detail = ", ".join(map(str, files)) or "no file of that name"
            return self.report(name, "several pictures" if files else "missing picture", detail)
        try:
            size = stored_size(files[0])
        except images.UnreadablePictureError as error:
            return self.report(name, "unreadable picture", error)
        if annotated_size is not None and tuple(annotated_size) != size:
            detail = f"annotated as {annotated_size[0]} x {annotated_size[1]} pixels, the file has {size[0]} x {size[1]}"
            return self.report(name, "size differs", detail)
        if not objects:
            return self.report(name, "nothing annotated", "the annotation holds no object")
        regions = self._regions(name, size, objects)
        return Picture(name, partial(read_stored, files[0]), regions) if regions else None

    def _regions(self, name, size, objects):
        shapes, invalid = defaultdict(list), set()
        for class_name, shape in objects:
            label = lookup(self._index, class_name)
            if label is None:
                self.report(name, "unknown class", f"{class_name!r} is not in the index of {len(self._index)} names")
                continue
            try:
                shapes[label].append(shape(size))
            except AnnotationError as error:
                invalid.add(label)
                self.report(name, error.what, f"{class_name}: {error}; the class is left out in this picture")
        return tuple(_region(label, shapes[label]) for label in sorted(shapes.keys() - invalid))


def _region(label, shapes):
    masks = [shape for shape in shapes if isinstance(shape, np.ndarray)]
    return Region(label, mask=np.logical_or.reduce(masks)) if masks else Region(label, boxes=tuple(shapes))


# ---- reading --------------------------------------------------------------------------------------------------------


def lookup(index, name):
    """The class index of the class name in an annotation, or None if it is unknown.

    Args:
        index: mapping from lower-case names, with spaces for underscores, to class indices: wnids such as "n02084071" for
            ImageNet, names such as "potted plant" for COCO.
        name: in any case, with spaces or underscores.
    """
    label = index.get(name.strip().lower().replace("_", " "))
    return None if label is None else int(label)


def checked_index(index, example):
    """The index; raises ValueError unless it is a mapping with at least one name."""
    if not isinstance(index, Mapping) or not index:
        got = "an empty one" if isinstance(index, Mapping) else type(index).__name__
        raise ValueError(f"index must map class names to output neurons, such as {example}; got {got}.")
    return index


def existing(path, expected):
    """The absolute path, with ~ replaced; raises FileNotFoundError if it does not exist."""
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {str(path)!r}; expected {expected}.")
    return path


def find_pictures(folder, names):
    """The picture files with given names, without suffix, in a folder and its subfolders: name -> list of paths."""
    paths, seen = defaultdict(list), {os.path.realpath(folder)}
    for where, folders, files in os.walk(folder, followlinks=True):
        new = {os.path.realpath(os.path.join(where, f)): f for f in sorted(folders, reverse=True)}
        folders[:] = sorted(
            f for real, f in new.items() if real not in seen
        )  # links may lead to a parent folder, or to the same folder twice
        seen.update(new)
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if stem in names and suffix.lower() in _SUFFIXES:
                paths[stem].append(Path(where) / file)
    return dict(paths)


def stored_size(path):
    """(width, height) of a picture as stored, from the header of its file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise images.UnreadablePictureError(str(error) or type(error).__name__) from error


def read_stored(path):
    """A picture file as uint8 (H, W, 3), RGB, in the orientation in which it is stored."""
    image = images.read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as head:
            # Pillow itself rotates TIFF while decoding, and reports the size after it.
            orientation = 1 if head.format == "TIFF" else head.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in _TO_STORED:
        image = image.transpose(_TO_STORED[orientation])
    return np.array(image)


def clip_box(box, size):
    """A box clipped to its picture.

    Args:
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.
        size: (width, height) of the picture.

    Returns:
        The box as four floats; up to one pixel outside the picture is cut off.

    Raises:
        AnnotationError: the box is not finite, has no area, lies outside the picture, or reaches more than one pixel past it.
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
            "box outside the picture", f"the box {_written(box)} does not fit the picture of {width} x {height} pixels"
        )
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def _written(box):
    return "({:g}, {:g}, {:g}, {:g})".format(*box)


# ---- pictures in the network's size -----------------------------------------------------------------------------------------
