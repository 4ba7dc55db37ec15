"""COCO: masks or boxes of objects in JSON."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from functools import partial

import numpy as np

from tf_lrp.evaluation.datasets.base import AnnotationError, Dataset, checked_index, clip_box, existing


class COCO(Dataset):
    """Pictures of COCO's object detection task.

    A class covers the union of its objects, crowds (``iscrowd``) included, since they are in the picture. Masks are those of
    pycocotools, COCO's own library: polygons mark the pixels whose centres lie inside, to a fifth of a pixel, and an object
    covers the union of its polygons. Coordinates are edges counted from 0. Pictures are rescaled without cropping. The order is
    that of the file names, which are the pictures' names.

    Args:
        path: JSON file, or a folder with annotations/instances_*.json (several: the only instances_val*.json). Pictures are
            looked for in folders beside the file and beside its folder ``annotations``: val2017 for instances_val2017.json,
            images/val2017, images, then all others.
        index: mapping from category names such as "potted plant" to class indices, see `lookup`.
        masks: whether to use the objects' masks, which needs pycocotools (``pip install "tf_lrp[coco]"``); False takes their
            boxes.

    Raises:
        ImportError: masks without pycocotools.
        FileNotFoundError: no such file or folder.
        ValueError: no or several files of annotations there, or a file without images, annotations and categories.

    Source: Lin et al. 2014, "Microsoft COCO: common objects in context".
    """

    name = "coco"
    fitting = "rescale"

    def __init__(self, path, index, masks=True):
        super().__init__(checked_index(index, '{"person": 0}'))
        self._decoder = _decoder() if masks else None
        path = existing(path, "a JSON file of COCO's format or a folder with one")
        path = _instances(path) if path.is_dir() else path
        content = _read(path)
        self._categories = {c["id"]: str(c.get("name")) for c in content["categories"] if _has_ids(c, "id")}
        self._objects = defaultdict(list)
        self._faults = []  # of annotations that belong to no picture
        self._images = sorted(content["images"], key=lambda i: str(i.get("file_name")) if isinstance(i, dict) else "")
        # One id with two files, or one file with two ids: whose objects are whose is unknown.
        pairs = {(i["id"], i["file_name"]) for i in self._images if _has_ids(i, "id", "file_name")}
        ids, names = Counter(number for number, _ in pairs), Counter(name for _, name in pairs)
        self._ambiguous = {pair for pair in pairs if ids[pair[0]] > 1 or names[pair[1]] > 1}
        for number, annotation in enumerate(content["annotations"]):
            if not _has_ids(annotation, "image_id"):
                self._faults.append((f"annotation {number}", "it names no picture"))
            elif annotation["image_id"] not in ids:
                self._faults.append((f"annotation {number}", f"no picture has the id {annotation['image_id']}"))
            else:
                self._objects[annotation["image_id"]].append(annotation)
        self._folders = _picture_folders(path)

    def __len__(self):
        return len(self._images)

    def __iter__(self):
        for name, detail in self._faults:
            self.report(name, "unreadable annotation", detail)
        seen = set()
        for number, record in enumerate(self._images):
            name = record.get("file_name") if _has_ids(record, "id") else None
            if not isinstance(name, str) or not name:
                self.report(f"image {number}", "unreadable annotation", f"expected an id and a file_name, got {record!r}")
            elif name in seen or (record["id"], name) in self._ambiguous:
                self.report(name, "repeated picture", f"its id {record['id']} or its file name is listed more than once")
            else:
                seen.add(name)
                picture = self._from_record(name, record)
                if picture is not None:
                    yield picture

    def _from_record(self, name, record):
        try:
            objects = [(self._class_name(a), partial(_shape, a, self._decoder)) for a in self._objects.get(record["id"], ())]
        except AnnotationError as error:
            return self.report(name, error.what, error)
        sides = record.get("width"), record.get("height")
        files = [folder / name for folder in self._folders if (folder / name).is_file()]
        return self._picture(name, files[:1], sides if all(sides) else None, objects)

    def _class_name(self, annotation):
        category = annotation.get("category_id")
        if not _has_ids(annotation, "category_id"):
            raise AnnotationError("unreadable annotation", f"an object has the category {category!r}")
        return self._categories.get(category, f"category {category}")


# ---- files ----------------------------------------------------------------------------------------------------------


def _instances(folder):
    for place in (folder / "annotations", folder):
        files = sorted(place.glob("instances_*.json"))
        chosen = files if len(files) == 1 else sorted(place.glob("instances_val*.json"))
        if len(chosen) == 1:
            return chosen[0]
        if files:
            raise ValueError(f"There are several files of annotations: {', '.join(map(str, files))}. Name one of them.")
    raise ValueError(f"{folder} has no annotations/instances_*.json; name the JSON file itself.")


def _read(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} is no file of COCO's object detection: expected a list under {key!r}.")
    return content


def _has_ids(record, *keys):
    return isinstance(record, dict) and all(isinstance(record.get(key), int | str) for key in keys)


def _picture_folders(path):
    split = path.stem.removeprefix("instances_")
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    folders = [root / split, root / "images" / split, root / "images", root, path.parent]
    folders += sorted(folder for folder in root.iterdir() if folder.is_dir())
    return list(dict.fromkeys(folders))


# ---- shapes ---------------------------------------------------------------------------------------------------------


def _decoder():
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(
            'The masks of COCO need pycocotools: pip install "tf_lrp[coco]". In Python, COCO(path, index, masks=False) takes '
            "boxes instead."
        ) from error
    return mask


def _shape(annotation, decoder, size):
    """The mask, bool (H, W), of an object in a picture of a size (width, height); its box where ``decoder`` is None."""
    if decoder is None:
        left, top, width, height = _numbers(annotation.get("bbox"), "bbox", 4)
        return clip_box((left, top, left + width, top + height), size)
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, size, decoder)
    if not isinstance(segmentation, list) or not segmentation:
        detail = f"expected polygons or run lengths under segmentation, got {segmentation!r}; masks=False takes boxes"
        raise AnnotationError("unreadable annotation", detail)
    return _polygons([_numbers(polygon, "polygon") for polygon in segmentation], size, decoder)


def _numbers(values, name, count=None):
    """A list of finite numbers as floats: ``count`` of them, or the coordinates of at least three points."""
    sound = isinstance(values, list) and all(type(v) in (int, float) and math.isfinite(v) for v in values)
    if not sound or (len(values) != count if count else len(values) < 6 or len(values) % 2):
        raise AnnotationError("unreadable annotation", f"the {name} holds no {count or 'x, y, x, y, ...'} numbers: {values!r}")
    return [float(v) for v in values]


def _polygons(polygons, size, decoder):
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    left, top, right, bottom = clip_box((*points.min(0), *points.max(0)), size)
    width, height = size
    mask = decoder.decode(decoder.merge(decoder.frPyObjects(polygons, height, width))).astype(bool)
    if not mask.any():  # thinner than a pixel
        mask[int((top + bottom) / 2), int((left + right) / 2)] = True
    return mask


def _run_lengths(segmentation, size, decoder):
    """A mask from the lengths of its runs of zeros and ones, in turn, column by column; compressed as str, else as list."""
    counts, (width, height) = segmentation.get("counts"), size
    if segmentation.get("size") != [height, width]:
        detail = f"the mask has the size {segmentation.get('size')}, the picture {[height, width]} (height, width)"
        raise AnnotationError("size differs", detail)
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != width * height:
            raise AnnotationError("unreadable annotation", f"the run lengths do not add up to {width * height} pixels")
        segmentation = decoder.frPyObjects(segmentation, height, width)
    elif not isinstance(counts, str):
        raise AnnotationError("unreadable annotation", f"expected run lengths as a list or a str, got {counts!r:.60}")
    try:
        mask = decoder.decode(segmentation).astype(bool)
    except Exception as error:  # the decoder is written in C and raises many kinds of errors
        raise AnnotationError("unreadable annotation", f"the compressed mask cannot be decoded: {error}") from error
    if not mask.any():
        raise AnnotationError("empty mask", "the mask has no pixel")
    return mask
