"""Any number of samples and targets, explained in batches that fit into memory, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_lrp.explain.neurons import Selection

#: Backward passes of one forward pass that are laid out in one graph; more are run in portions of this size.
TARGETS_AT_ONCE = 16
#: Seconds after which a run with batches left counts as long and shows its progress.
LONG_RUN = 2.0


def number(samples: int, selection: Selection, batch_size: int) -> int:
    """How many batches `run` explains, counting each portion of the targets."""
    return len(range(0, samples, batch_size)) * len(list(selection.portions(TARGETS_AT_ONCE)))


def run(
    explain: Callable, arrays: list, selection: Selection, batch_size: int, *, padded: bool, verbose: bool | str
) -> tuple[np.ndarray, list]:
    """Explains arrays batch by batch.

    Args:
        explain: (list of input tensors, `Selection`) -> [explained output, *relevances] as tensors.
        arrays: the flat inputs, NumPy (N, ...).
        selection: `Selection` of NumPy values for all N samples.
        batch_size: samples of a batch.
        padded: whether the last, smaller batch is filled up to the size of the others: XLA compiles for each size.
        verbose: "auto" shows a progress bar on long runs, True always, False never.

    Returns:
        (explained output, list of relevances), NumPy, of all samples; relevance has K targets as its second axis where the
        selection has several.
    """
    samples = len(arrays[0])
    portions = []
    for portion in selection.portions(TARGETS_AT_ONCE):
        batches = [
            _explain_batch(explain, [a[rows] for a in arrays], portion.rows(rows), min(batch_size, samples) if padded else 0)
            for rows in _batches(samples, batch_size, verbose)
        ]
        portions.append([np.concatenate(pieces) for pieces in zip(*batches, strict=True)])
    if len(portions) > 1:
        return portions[0][0], [np.concatenate(pieces, axis=1) for pieces in list(zip(*portions, strict=True))[1:]]
    explained, *relevances = portions[0]
    return explained, relevances


def _explain_batch(explain, arrays, selection, full_size):
    """The results of one batch as NumPy arrays; the batch is filled up with its last sample to ``full_size``."""
    count = len(arrays[0])
    missing = max(0, full_size - count)

    def filled(array):
        return tf.constant(np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array)

    values = None if selection.values is None else filled(selection.values)
    results = explain([filled(a) for a in arrays], Selection(selection.mode, values))
    return [np.asarray(r[:count] if missing else r) for r in results]


def _batches(samples: int, batch_size: int, verbose: bool | str) -> Iterator[slice]:
    """Index slices of the batches, with a progress bar where that is due."""
    firsts = range(0, samples, batch_size)
    bar, began = None, time.monotonic()
    for number, first in enumerate(firsts, 1):
        if bar is None and (verbose is True or (verbose == "auto" and time.monotonic() - began > LONG_RUN)):
            bar = keras.utils.Progbar(len(firsts), unit_name="batch")
        yield slice(first, first + batch_size)
        if bar is not None:
            bar.update(number)
