"""Annotated pictures: which classes a picture shows, and which pixels each class covers.

    dataset = open_dataset("voc:~/data/VOCdevkit", split="test")
    for picture in dataset:
        prepared(dataset, picture, (224, 224))             # image, labels, masks in the network's size; None if unusable
    dataset.problems                                       # what was left out and why

A picture or annotation that cannot be used does not end a run and is not dropped silently: it is recorded as a `Problem`.
Only NumPy and Pillow are needed, except for `Shapes`, whose pictures come from the model zoo, and the masks of `COCO`.
"""

from __future__ import annotations

from tf_lrp.evaluation.datasets.base import AnnotationError, Dataset, Picture, Problem, Region, lookup
from tf_lrp.evaluation.datasets.coco import COCO
from tf_lrp.evaluation.datasets.fitting import Prepared, prepared
from tf_lrp.evaluation.datasets.imagenet import ImageNet
from tf_lrp.evaluation.datasets.mosaic import Mosaic
from tf_lrp.evaluation.datasets.shapes import Shapes
from tf_lrp.evaluation.datasets.voc import VOC

__all__ = [
    "COCO",
    "KINDS",
    "VOC",
    "AnnotationError",
    "Dataset",
    "ImageNet",
    "Mosaic",
    "Picture",
    "Prepared",
    "Problem",
    "Region",
    "Shapes",
    "lookup",
    "open_dataset",
    "prepared",
]


def _shapes(number, **options):
    if not number:
        return Shapes(**options)
    if not number.isdecimal():
        raise ValueError(f'Drawn shapes are named "shapes" or "shapes:NUMBER_OF_PICTURES"; got "shapes:{number}".')
    return Shapes(int(number), **options)


#: Word before the colon -> (class or function of the text after it, whether it takes an index of classes).
KINDS = {
    "imagenet": (ImageNet, True),
    "voc": (VOC, True),
    "coco": (COCO, True),
    "mosaic": (Mosaic, False),
    "shapes": (_shapes, False),
}


def open_dataset(text, index=None, **options):
    """Opens a data set, given by its kind and path.

    Args:
        text: "imagenet:FOLDER", "voc:FOLDER", "coco:FOLDER_OR_FILE.json", "mosaic:FILE.json", "shapes" or "shapes:NUMBER".
        index: mapping from class names to the network's output neurons, see `lookup`. Mosaics and shapes need none: their
            annotations are output neurons.
        **options: of the data set's class, such as ``split`` of `VOC`.

    Returns:
        `Dataset`.

    Raises:
        ValueError: an unknown kind, a missing path or index, or no data set of this kind at that path.
        ImportError: masks of COCO without pycocotools, see `COCO`.
        FileNotFoundError: no such file or folder.
    """
    kind, _, place = text.partition(":")
    if kind not in KINDS:
        raise ValueError(f"A data set is named KIND:PLACE with KIND one of {', '.join(KINDS)}; got {text!r}.")
    opener, takes_index = KINDS[kind]
    if not place and kind != "shapes":
        raise ValueError(f'The place of the data set is missing; write "{kind}:PATH".')
    if takes_index:
        options["index"] = index
    return opener(place, **options)
