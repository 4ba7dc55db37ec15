"""iNNvestigate's helpers for users: batches, and pictures in another order of axes or colours."""

from __future__ import annotations

import math

import keras as _keras
import numpy as np

from tf_lrp.integrations.innvestigate.models import model_wo_output_activation, model_wo_softmax
from tf_lrp.integrations.innvestigate.utils import keras, visualizations

__all__ = [
    "BatchSequence",
    "keras",
    "model_wo_output_activation",
    "model_wo_softmax",
    "postprocess_images",
    "preprocess_images",
    "to_list",
    "visualizations",
]


def to_list(value):
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


class BatchSequence(_keras.utils.PyDataset):
    """Arrays as batches.

    Args:
        Xs: array (N, ...), or a list of such.
        batch_size: samples in a batch; the last may have fewer.

    Its entries are arrays, or tuples of them for a list of several.
    """

    def __init__(self, Xs, batch_size=32):
        super().__init__()
        self.Xs, self.batch_size = to_list(Xs), batch_size
        lengths = {len(X) for X in self.Xs}
        if len(lengths) != 1:
            raise ValueError(f"All arrays need the same number of samples; got {', '.join(str(len(X)) for X in self.Xs)}.")

    def __len__(self):
        return math.ceil(len(self.Xs[0]) / self.batch_size)

    def __getitem__(self, index):
        batch = tuple(X[index * self.batch_size : (index + 1) * self.batch_size] for X in self.Xs)
        return batch[0] if len(batch) == 1 else batch


def preprocess_images(images, color_coding=None):
    """Pictures as Keras is set to have them, ``keras.config.image_data_format()``.

    Args:
        images: (N, H, W, C), or (N, C, H, W) with 1 or 3 channels.
        color_coding: "RGBtoBGR" or "BGRtoRGB" turns the channels round.
    """
    images = np.asarray(images)
    have, wanted = (1 if images.shape[1] in (1, 3) else -1), _channel_axis()
    return _recoloured(np.moveaxis(images, have, wanted), color_coding, wanted)


def postprocess_images(images, color_coding=None, channels_first=None):
    """Pictures or relevance for drawing: the reverse of `preprocess_images`.

    Args:
        images: as Keras is set to have them.
        color_coding: "RGBtoBGR" or "BGRtoRGB" turns the channels round.
        channels_first: whether the result is (N, C, H, W) instead of (N, H, W, C).
    """
    have = _channel_axis()
    return np.moveaxis(_recoloured(np.asarray(images), color_coding, have), have, 1 if channels_first else -1)


def _channel_axis():
    return 1 if _keras.config.image_data_format() == "channels_first" else -1


def _recoloured(images, color_coding, axis):
    if color_coding not in (None, "RGBtoBGR", "BGRtoRGB"):
        raise ValueError(f'color_coding is None, "RGBtoBGR" or "BGRtoRGB"; got {color_coding!r}.')
    return images if color_coding is None else np.flip(images, axis)
