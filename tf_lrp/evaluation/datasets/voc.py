"""PASCAL VOC: boxes of twenty classes in XML, several classes in a picture; and the reader of such XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tf_lrp.evaluation.datasets.base import AnnotationError, Dataset, checked_index, clip_box, existing, find_pictures

#: The classes in alphabetical order, the usual order of a network's output.
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse"),
    *("motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

_EDGES = ("xmin", "ymin", "xmax", "ymax")


class XMLDataset(Dataset):
    """Pictures with an XML file each, in VOC's format.

    Attributes:
        first: the coordinate of a picture's first pixel, which is subtracted from xmin and ymin.
    """

    first = 0

    def __init__(self, index, annotations, pictures):
        """
        Args:
            index: mapping from class names to class indices.
            annotations: picture name -> path of its XML file.
            pictures: picture name -> paths of files with this name.
        """
        super().__init__(index)
        self._annotations = dict(sorted(annotations.items()))
        self._pictures = pictures

    def __len__(self):
        return len(self._annotations)

    def __iter__(self):
        for name, path in self._annotations.items():
            try:
                annotated_size, objects = read_annotation(path, self.first)
            except AnnotationError as error:
                self.report(name, error.what, error)
                continue
            picture = self._picture(name, self._pictures.get(name, []), annotated_size, objects)
            if picture is not None:
                yield picture


class VOC(XMLDataset):
    """PASCAL VOC 2007 to 2012 with the boxes of its detection task.

    Coordinates in the XML files are pixels counted from 1, the last inclusive: they become (xmin - 1, ymin - 1, xmax, ymax).
    Objects marked as difficult or truncated are used, since the picture shows them. Pictures are rescaled without cropping, so
    that objects at their borders remain (Kohlbrenner et al. 2020, section IV-A).

    Args:
        path: folder with JPEGImages and Annotations; or the folder around one such folder, as VOCdevkit around VOC2007; or
            the folder around VOCdevkit.
        index: mapping from class names to class indices, see `lookup`; by default the places in `CLASSES`.
        split: name of a list in ImageSets/Main, such as "test"; by default all annotations. Of a list for one class
            ("dog_val") all pictures are used, with the classes of their annotations.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no or several VOC folders there, or no such split.

    Source: Everingham et al. 2010, "The PASCAL visual object classes (VOC) challenge".
    """

    name = "voc"
    fitting = "rescale"
    first = 1

    def __init__(self, path, index=None, split=None):
        if index is None:
            index = {name: place for place, name in enumerate(CLASSES)}
        checked_index(index, '{"aeroplane": 0}')
        folder = _voc_folder(existing(path, "a VOC folder"))
        names = [file.stem for file in (folder / "Annotations").glob("*.xml")] if split is None else _listed(folder, split)
        if not names:
            raise ValueError(f"{folder} has no annotations{'' if split is None else f' in the split {split!r}'}.")
        super().__init__(
            index,
            {name: folder / "Annotations" / f"{name}.xml" for name in names},
            find_pictures(folder / "JPEGImages", set(names)),
        )


def _voc_folder(path):
    for places in ([path], path.glob("VOC*"), path.glob("VOCdevkit/VOC*")):
        folders = sorted(f for f in places if (f / "Annotations").is_dir() and (f / "JPEGImages").is_dir())
        if len(folders) > 1:
            raise ValueError(f"There are several VOC folders: {', '.join(map(str, folders))}. Name one of them.")
        if folders:
            return folders[0]
    raise ValueError(f"{path} is no VOC folder: neither it nor VOCdevkit/VOC* in it contains both Annotations and JPEGImages.")


def _listed(folder, split):
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in lists.glob("*.txt"))) or "none"
        raise ValueError(f"There is no split {split!r} in {lists}; there are: {there}.")
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def read_annotation(path, first):
    """Reads an XML file in VOC's format.

    Args:
        path: of the file.
        first: coordinate of a picture's first pixel. 1: xmax and ymax are those of the last pixel; 0: they are right and
            bottom edges. In both cases the result has edges.

    Returns:
        ((width, height) according to the file, None if absent or zero;
        list of (class name, function of the true (width, height) that returns the object's box or raises AnnotationError)).

    Raises:
        AnnotationError: a missing file, other XML, or an object without a name, which might belong to any class.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise AnnotationError("missing annotation", f"there is no {path}") from None
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:  # the last two: encodings
        raise AnnotationError("unreadable annotation", f"{path.name}: {error}") from error
    if root.tag != "annotation":
        raise AnnotationError("unreadable annotation", f"{path.name}: expected <annotation>, got <{root.tag}>")
    objects = []
    for element in root.findall("object"):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise AnnotationError("unreadable annotation", f"{path.name}: an object has no <name>")
        objects.append((name, _Box(element.findall("bndbox"), first)))
    return _stated_size(root, path), objects


def _stated_size(root, path):
    texts = [(root.findtext(f"size/{side}") or "0").strip() for side in ("width", "height")]
    try:
        width, height = (int(float(text)) for text in texts)
    except (ValueError, OverflowError):
        raise AnnotationError("unreadable annotation", f"{path.name}: the size {' x '.join(texts)} is not a number") from None
    return (width, height) if width and height else None


class _Box:
    """The box of an object, read as soon as the size of the picture is known."""

    def __init__(self, elements, first):
        self.elements, self.first = elements, first

    def __call__(self, size):
        if len(self.elements) != 1:
            raise AnnotationError("unreadable annotation", f"expected one <bndbox>, got {len(self.elements)}")
        texts = [self.elements[0].findtext(edge) for edge in _EDGES]
        try:
            left, top, right, bottom = (float(text) for text in texts)
        except (TypeError, ValueError):
            given = ", ".join(f"{edge}={text}" for edge, text in zip(_EDGES, texts, strict=True))
            raise AnnotationError("unreadable annotation", f"the box has coordinates that are not numbers: {given}") from None
        return clip_box((left - self.first, top - self.first, right, bottom), size)
