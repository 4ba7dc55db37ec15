"""ImageNet's validation pictures with their boxes (ILSVRC2012, classification and localization)."""

from __future__ import annotations

from tf_lrp.evaluation.datasets.base import checked_index, existing, find_pictures
from tf_lrp.evaluation.datasets.voc import XMLDataset

_ANNOTATIONS = (
    "ILSVRC/Annotations/CLS-LOC/val",
    "Annotations/CLS-LOC/val",
    "CLS-LOC/val",
    "val",
    "ILSVRC2012_bbox_val_v3/val",
    ".",
)


class ImageNet(XMLDataset):
    """The 50 000 validation pictures of ILSVRC2012, one class each, in boxes.

    Coordinates are read as edges, counted from 0, right and bottom exclusive: both 0 and the full width occur in the files, so
    they cannot be indices of pixels. Pictures are resized by the shorter side and cropped around the centre (Kohlbrenner et al.
    2020, section IV-A).

    Args:
        path: folder of one of these layouts. (a) As unpacked from ``imagenet_object_localization``:
            ILSVRC/Annotations/CLS-LOC/val/*.xml and ILSVRC/Data/CLS-LOC/val/*.JPEG. (b) Official downloads: val/*.xml, or the
            XML files themselves, with the pictures beside them, in any folder below ``path`` or in ILSVRC2012_img_val next
            to it. In both, pictures may lie in folders of wnids.
        index: mapping from wnids such as "n02084071" to class indices, see `lookup`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no XML files in it, or several folders of them.

    Source: Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge".
    """

    name = "imagenet"
    fitting = "crop"

    def __init__(self, path, index):
        index = checked_index(index, '{"n02084071": 207}')
        path = existing(path, "a folder with ImageNet's validation boxes")
        folder = _annotation_folder(path)
        annotations = {file.stem: file for file in folder.glob("*.xml")}
        super().__init__(index, annotations, _pictures(path, folder, annotations.keys()))


def _annotation_folder(path):
    for place in _ANNOTATIONS:
        if any((path / place).glob("*.xml")):
            return path / place
    folders = sorted({file.parent for depth in ("*/*.xml", "*/*/*.xml") for file in path.glob(depth)})
    if len(folders) > 1:
        raise ValueError(f"There are several folders of XML files: {', '.join(map(str, folders))}. Name one of them.")
    if not folders:
        raise ValueError(f"{path} has no XML files of boxes, neither in {_ANNOTATIONS[0]} nor in val.")
    return folders[0]


def _pictures(path, annotations, names):
    """The files of the first folder that has any of the pictures; the most specific folder comes first."""
    folders = [annotations.parents[2] / "Data" / "CLS-LOC" / "val"] if annotations.parent.name == "CLS-LOC" else []
    folders += [path / "ILSVRC2012_img_val", path, path.parent / "ILSVRC2012_img_val", path.parent / "images"]
    for folder in folders:
        pictures = find_pictures(folder, names)
        if pictures:
            return pictures
    return {}
