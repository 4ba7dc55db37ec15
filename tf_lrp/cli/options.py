"""Options that several commands share, and what is opened for a network and annotated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE|FOLDER",
        help="A network of the zoo, a saved Keras model, FILE.keras, or the FOLDER of a SavedModel.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="KIND:PATH",
        help="imagenet:DIR (ILSVRC2012 validation pictures with XML boxes), voc:DIR, coco:DIR or coco:FILE.json, "
        "mosaic:FILE.json, or shapes (drawn here; shapes:200 for that many).",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE|WORD", help="File with weights; imagenet, what Keras publishes; or random.", show_default=False),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        metavar="FILE",
        help="Class names: a text file with one a line, a JSON list, or Keras's imagenet_class_index.json.",
        show_default=False,
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="HOW", help="How a model from a file wants its pixels: none, 0..1, -1..1, caffe, torch.", show_default=False
    ),
]
Size = Annotated[
    int | None,
    typer.Option(min=1, metavar="PIXELS", help="Side of the pictures, for a network that takes any.", show_default=False),
]
BatchSize = Annotated[int, typer.Option(min=1, metavar="N", help="Pictures that are explained at once.")]


def check_folder(path):
    """Raises ValueError if there cannot be a folder of this name, because there is a file."""
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"--out names a folder, and {str(place)!r} is a file: name another.")
            return


def opened(model, data, weights, classes, preprocess, size):
    """(`classifier.Classifier`, `datasets.Dataset`): the network takes pictures of the size that the data have or are given."""
    from tf_lrp.evaluation.datasets import open_dataset
    from tf_lrp.vision import class_names, classifier

    kind = data.partition(":")[0]
    if size is None and kind in ("mosaic", "shapes"):  # pictures that are not resized
        size = next(iter(open_dataset(data))).read().shape[:2]
    network = classifier.load(model, weights, classes, preprocess, size)
    if network.classes is None or kind not in ("imagenet", "voc", "coco"):
        return network, open_dataset(data)
    return network, open_dataset(data, class_names.class_index(network.classes, classes))
