"""Batches of an annotated data set, and functions of them that TensorFlow compiles."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation.datasets import prepared


@dataclass(frozen=True)
class Batch:
    """Pictures with the same number K of classes.

    Attributes:
        number: its place in the run.
        names: N names of pictures.
        images: uint8 (N, height, width, 3).
        labels: int32 (N, K), the classes that each picture shows.
        masks: bool (N, K, height, width), the pixels of each class.
    """

    number: int
    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def batches(dataset, size, batch_size, limit=None):
    """Yields every `Batch` of an annotated data set, read ahead in a thread of tf.data.

    A picture is kept until there are ``batch_size`` pictures with as many classes; what remains is yielded at the end.

    Args:
        dataset: `datasets.Dataset`.
        size: (height, width) of the network's input.
        batch_size: pictures in a batch.
        limit: number of usable pictures after which to stop; None for all.
    """

    def usable():
        pictures = (prepared(dataset, picture, size) for picture in dataset)
        return itertools.islice((p for p in pictures if p is not None), limit)

    def grouped():
        waiting = {}
        for picture in usable():
            group = waiting.setdefault(len(picture.labels), [])
            group.append(picture)
            if len(group) == batch_size:
                yield _stacked(group)
                group.clear()
        for _, group in sorted(waiting.items()):
            if group:
                yield _stacked(group)

    height, width = size
    signature = (
        tf.TensorSpec((None,), tf.string),
        tf.TensorSpec((None, height, width, 3), tf.uint8),
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None, None, height, width), tf.bool),
    )
    stream = tf.data.Dataset.from_generator(grouped, output_signature=signature).prefetch(2)
    for number, (names, images, labels, masks) in enumerate(stream.as_numpy_iterator()):
        yield Batch(number, tuple(name.decode() for name in names), images, labels, masks)


def _stacked(group):
    return (
        [p.name for p in group],
        np.stack([p.image for p in group]),
        np.stack([p.labels for p in group]).astype(np.int32),
        np.stack([p.masks for p in group]),
    )


def compiled_step(step):
    """A function of arrays as a tf.function that is traced once for each number of classes, whatever the number of pictures.

    Args:
        step: function of tensors whose first axis is the samples; returns a dict of tensors.

    Returns:
        Function of arrays that returns a dict of NumPy arrays.
    """
    traced = {}

    def call(*arrays):
        tensors = [tf.convert_to_tensor(a) for a in arrays]
        key = tuple((t.shape[1:], t.dtype) for t in tensors)
        if key not in traced:
            signature = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors]
            traced[key] = tf.function(step, input_signature=signature)
        return {name: value.numpy() for name, value in traced[key](*tensors).items()}

    return call
