"""A target in a structured output as it is written on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Neuron = Annotated[
    str | None,
    typer.Option(
        metavar="I,J,...",
        help="For an output of more axes than classes: the entry to explain, an index for each axis but the batch, as 12,3 for "
        "class 3 of anchor 12.",
        show_default=False,
    ),
]
Region = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For a map of classes (height, width, classes): a picture of the mask, black outside, over which the scores of "
        "--channel are explained. It is cut and resized as the pictures are, and the same for all of them.",
        show_default=False,
    ),
]
Channel = Annotated[
    int | None, typer.Option(metavar="K", help="The class that --region is about, its index.", show_default=False)
]
Reduce = Annotated[str, typer.Option(metavar="HOW", help="What is explained of the scores in --region: sum or mean.")]


def target_of(neuron, region, channel, reduce, network, size):
    """What the options say: (`tf_lrp.target.Target`, what it is called), or (None, "") without any.

    Args:
        neuron, region, channel, reduce: values of the options.
        network: keras.Model with one output.
        size: (height, width) of the pictures it takes.

    Raises:
        ValueError: for options that do not go together, or a text that is none.
    """
    from tf_lrp import target

    if neuron is not None and region is not None:
        raise ValueError("What is explained is either --neuron or --region; got both.")
    if region is None and channel is not None:
        raise ValueError("--channel belongs to --region: give the mask as a picture, --region FILE.")
    if neuron is not None:
        return target.neuron(*_indices(neuron)), f"neuron {' '.join(map(str, _indices(neuron)))}"
    if region is None:
        return None, ""
    if len(size) != 2 or None in size:
        raise ValueError("--region is for networks that take pictures of a known size: say which, --size PIXELS.")
    shape = _output_shape(network, size)
    if len(shape) not in (2, 3):
        raise ValueError(f"--region is for an output (N, height, width, classes); this network's has the shape (N, {shape}).")
    if channel is None and len(shape) == 3 and shape[2] == 1:
        channel = 0
    mask = _mask(region, size, shape[:2])
    of_channel = "" if channel is None else f" channel {channel}"
    label = f"region {region.stem.replace(',', ' ')}{of_channel}{' mean' * (reduce == 'mean')}"
    return target.region(mask, channel, reduce), label


def _indices(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--neuron is integers with commas between them, as 12,3; got {text!r}.") from None


def _output_shape(network, size):
    """Of one sample, for pictures of a size."""
    import numpy as np

    shape = tuple(network.outputs[0].shape[1:])
    if None in shape:
        (picture,) = network.inputs
        shape = tuple(network(np.zeros((1, *size, picture.shape[-1]), "float32"), training=False).shape[1:])
    return shape


def _mask(path, size, grid):
    """The fraction of each location of the output that the mask covers, float (height, width)."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            deep = image.mode[0] in "IF"
            values = np.atleast_3d(np.asarray(image if deep else image.convert("RGBA")))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as a picture of a mask: {error}") from None
    inside = values.any(axis=2) if deep else values[..., :3].any(axis=2) & (values[..., 3] > 0)
    mask = ImageOps.fit(Image.fromarray(np.float32(inside)), (size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(mask.resize((grid[1], grid[0]), Image.Resampling.BOX))
