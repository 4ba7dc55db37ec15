"""Batches of a dataset as shards on disk; an interrupted run is resumed where it stopped."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_lrp.data import manifest
from tf_lrp.data.formats import FORMATS, LOCK, MANIFEST, Leaf
from tf_lrp.data.pipeline import recipe_of
from tf_lrp.messages import checks
from tf_lrp.runs.locks import exclusive_lock

#: Number of samples of a batch that are compared when a run is resumed.
_COMPARED = 16


def write(
    dataset: tf.data.Dataset,
    path: str | os.PathLike[str],
    *,
    format: str = "tfrecord",
    shard_size: int = 256,
    keep: Callable | None = None,
    overwrite: bool = False,
    resume: bool = True,
) -> int:
    """Writes the samples of a dataset into a folder, in shards, and resumes an interrupted run.

    Call it again with the same arguments after an interruption: complete shards are kept, the rest is computed, and the files
    are identical to those of an uninterrupted run. For a dataset that `explain` returned, at most the batch in which the last
    shard ended is explained again; its batches are explained here, one at a time, on the device that TensorFlow prefers (a
    ``dataset.map`` always runs on the CPU). Any other dataset is read and skipped up to the place, at the cost of its own
    transformations.

    ``manifest.json`` in the folder records what was written with which settings, the size and digest of each shard, and
    whether the run is finished. Shards that are missing or differ from it are named in a warning and explained again. The
    folder is locked against other processes.

    Args:
        dataset: finite tf.data.Dataset of batches: tensors, or nested tuples and dicts of them, whose first axis is the
            samples. It must yield the same batches each time it is read: a shuffled one needs a seed and
            reshuffle_each_iteration=False.
        path: a folder, created if it does not exist. A folder with other files is refused.
        format: "tfrecord", "npz" or "zarr" (with the package zarr). "npz" and "zarr" need samples of one shape, and hold
            one shard in memory.
        shard_size: samples in a shard; the last may have fewer.
        keep: function called with a batch as ``dataset.map`` calls; returns what is written of it, for example
            ``lambda x, y, relevance: {"relevance": tf.cast(relevance, tf.float16)}``. None writes all.
        overwrite: whether a run in the folder, finished or not, is deleted and started again.
        resume: whether an existing run may be continued.

    Returns:
        The number of samples in the folder. For a finished run nothing is computed.

    Raises:
        TypeError, ValueError: a dataset that cannot be written; a run in the folder with other settings, another structure or
            other samples, or with a damaged manifest.
        FileExistsError: a folder with other files, or with a run when ``resume`` is False.
        BlockingIOError: another process is writing into the folder.
        ImportError: "zarr" without the package zarr.

    Example:
        >>> tf_lrp.data.write(tf_lrp.data.explain(pictures.batch(32), analyzer), "explained")
    """
    _check_arguments(dataset, format, shard_size)
    source, step, settings = _compiled(dataset, keep)
    specs = step.get_concrete_function().structured_outputs[0]
    names = ("x", "y", "relevance") if settings is not None and keep is None else None
    leaves = []
    structure = _described(specs, (), names, leaves)
    if not leaves:
        raise ValueError("There is nothing to write: the batches hold no tensors.")

    folder = Path(path)
    shards = FORMATS[format](folder, leaves, shard_size)
    new = manifest.new(format, shard_size, structure, leaves, settings)
    manifest.read(folder, overwrite)  # before the lock: a folder of something else is left unchanged
    folder.mkdir(parents=True, exist_ok=True)
    message = (
        f"Another process is writing into {folder}: wait until it has ended, or choose another folder. Two writers would mix "
        "their shards, also with overwrite=True."
    )
    with exclusive_lock(folder / LOCK, message):
        run = manifest.read(folder, overwrite)
        if run is None:
            run = new
            manifest.save(run, folder)
        elif not resume:
            raise FileExistsError(f"There is a run in {folder} already: overwrite=True deletes it, resume=True continues it.")
        else:
            manifest.check_same(run, new, folder)
        run, again = _check_shards(run, folder, shards)
        shards.keep(len(run["shards"]))
        return run["samples"] if run["finished"] and not again else _finish(run, folder, shards, source, step, again)


def read(path: str | os.PathLike[str], *, unfinished: bool = False, verify: bool = False) -> tf.data.Dataset:
    """Reads the samples that `write` wrote.

    Args:
        path: the folder.
        unfinished: whether the complete shards of an unfinished run are read, too.
        verify: whether all shards are first compared with the digests in the manifest, which reads them once. File sizes are
            always compared, and the checksums in TFRecord and NPZ files are checked while they are read.

    Returns:
        tf.data.Dataset of single samples in the order of writing, with the structure and types of the batches written:
        ``read(path).batch(32)`` has batches again. Its cardinality is known.

    Raises:
        FileNotFoundError: there is no run, or shards are missing.
        ValueError: the run is not finished, or its manifest or one of its shards is damaged.
    """
    folder = Path(path)
    run = manifest.read(folder)
    if run is None:
        raise FileNotFoundError(f"{folder} holds no run of tf_lrp.data.write: there is no {MANIFEST}.")
    if not run["finished"] and not unfinished:
        raise ValueError(
            f"The run in {folder} is not finished ({run['samples']} samples so far): call write again, or read the complete "
            "shards with unfinished=True."
        )
    leaves = [Leaf(e["key"], None if e["shape"] is None else tuple(e["shape"]), e["dtype"]) for e in run["leaves"]]
    shards = FORMATS[run["format"]](folder, leaves, run["shard_size"])
    damaged = manifest.damaged(run, shards, digests=verify)
    if damaged:
        shown, only_missing = _listed(damaged), all("missing" in why for why in damaged.values())
        raise (FileNotFoundError if only_missing else ValueError)(
            f"{len(damaged)} of {len(run['shards'])} shards in {folder} are {'missing' if only_missing else 'damaged'}: "
            f"{shown}. Restore them, or call write again with the arguments of that run, which explains them again."
        )
    keys = [leaf.key for leaf in leaves]

    @tf.autograph.experimental.do_not_convert
    def packed(*values):
        return _packed(run["structure"], dict(zip(keys, values, strict=True)))

    if not run["samples"]:
        empty = [tf.zeros((0, *(d or 0 for d in leaf.shape or ())), tf.as_dtype(leaf.dtype)) for leaf in leaves]
        return tf.data.Dataset.from_tensor_slices(tuple(empty)).map(packed)
    dataset = shards.dataset(len(run["shards"])).map(packed)
    return dataset.apply(tf.data.experimental.assert_cardinality(run["samples"])).prefetch(tf.data.AUTOTUNE)


# -- a run --------------------------------------------------------------------------------------------------------------


def _compiled(dataset, keep):
    """(the dataset to read, a compiled function of its elements -> (what is written, marks), settings or None)."""
    recipe = recipe_of(dataset)
    source = recipe.source if recipe else dataset
    in_tuple = isinstance(source.element_spec, tuple)
    kept = tf.function(keep) if keep else None

    @tf.function(autograph=False, input_signature=source.element_spec if in_tuple else (source.element_spec,))
    def step(*element):
        result = recipe.function(*element) if recipe else element if in_tuple else element[0]
        if kept is not None:
            result = kept(*result) if isinstance(result, tuple) else kept(result)
        return result, _marks(element)

    return source, step, recipe.settings() if recipe else None


def _check_shards(run, folder, shards):
    """(the run, the indices of its shards that are to be written again); warns about damaged shards."""
    unknown = any(entry["files"] is None for entry in run["shards"])
    damaged = manifest.damaged(run, shards)
    if not damaged and unknown:
        entries = [manifest.entry_of(shards, k, entry["samples"], entry["end"]) for k, entry in enumerate(run["shards"])]
        run = {**run, "shards": entries}
        manifest.save(run, folder)
    if not damaged:
        return run, []
    again = set(damaged)
    for index in damaged:  # back to a shard whose start in the dataset is known
        while index and run["shards"][index - 1]["end"] is None:
            index -= 1
            again.add(index)
    warnings.warn(
        f"{len(damaged)} of {len(run['shards'])} shards in {folder} are damaged and are explained again: {_listed(damaged)}.",
        stacklevel=3,
    )
    if len(again) == len(run["shards"]):
        return {**run, "shards": [], "samples": 0, "finished": False}, []
    return run, sorted(again)


def _listed(damaged):
    """Text about what is wrong with the first few shards."""
    shown = list(dict.fromkeys(damaged.values()))
    return "; ".join(shown[:5]) + ("; ..." if len(shown) > 5 else "")


def _finish(run, folder, shards, source, step, again):
    """Writes the damaged shards again, then those that are missing; returns the total number of samples."""
    known = len(run["shards"])
    missing = itertools.chain(again, () if run["finished"] else itertools.count(known))
    index = next(missing)
    begin = _begin(run, index)
    pending, number = 0, begin["batch"] - 1  # samples in the open shard; number of the last batch that was read
    for number, element in enumerate(source.skip(begin["batch"]).prefetch(1), begin["batch"]):
        if number < begin["batch"]:
            continue
        result, marks = step(*element) if isinstance(element, tuple) else step(element)
        arrays = [leaf.numpy() for leaf in tf.nest.flatten(result)]
        marks = [[float(f"{mark:.6g}") for mark in m.numpy()] for m in marks]
        start, count = 0, _samples(arrays, shards.leaves)
        if number == begin["batch"]:
            _check_position(begin, marks, count, folder)
            start = begin["samples"]
        while start < count:
            if not pending:
                shards.begin(index)
            size = run["shards"][index]["samples"] if index < known else shards.shard_size
            taken = min(count - start, size - pending)
            shards.add([a[start : start + taken] for a in arrays])
            start, pending = start + taken, pending + taken
            if pending == size:
                end = {"batch": number, "samples": start, "marks": marks}
                if index < known:
                    _check_end(run["shards"][index]["end"], end, folder)
                end = end if size == shards.shard_size else None  # a shorter shard is the last one
                run, pending = _commit(run, folder, shards, index, pending, end), 0
                index = next(missing, None)
                if index is None:
                    return run["samples"]
                begin = _begin(run, index) if index <= known else end
                if begin["batch"] > number:
                    break
                start = begin["samples"]
    if number < begin["batch"] and (begin["batch"] or index < known):
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"it ends before batch {begin['batch']}"))
    if index < known:
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"it ends within shard {index}"))
    run = {**run, "finished": True}
    if pending:
        return _commit(run, folder, shards, index, pending, None)["samples"]
    manifest.save(run, folder)
    return run["samples"]


def _begin(run, index):
    """The place in the dataset where a shard starts: where the one before it ends."""
    return run["shards"][index - 1]["end"] if index else {"batch": 0, "samples": 0, "marks": None}


def _commit(run, folder, shards, index, samples, end):
    """Closes the open shard, then records it in the manifest: a shard that is not in the manifest is written again."""
    shards.commit()
    entries = list(run["shards"])
    entries[index : index + 1] = [manifest.entry_of(shards, index, samples, end)]
    run = {**run, "shards": entries, "samples": sum(entry["samples"] for entry in entries)}
    manifest.save(run, folder)
    return run


_OTHER_SAMPLES = (
    "The dataset does not yield the same samples as when the run in {folder} was interrupted: {what}. Give it the same order "
    "each time (no shuffling, or with a seed and reshuffle_each_iteration=False), or start again with overwrite=True."
)


def _marks(element):
    """Numbers that identify a batch: the mean magnitude of each tensor in the first samples.

    These are not digests of the bytes, because another machine may decode the same pictures with different last bits.
    """
    marks = []
    for leaf in tf.nest.flatten(element, expand_composites=True):
        if leaf.shape.rank == 0:
            continue  # no batch; `_described` refuses it if it is to be written
        few = leaf[:_COMPARED]
        few = tf.strings.to_hash_bucket_fast(few, 1 << 30) if few.dtype == tf.string else few
        magnitude = tf.cast(tf.abs(few), tf.float64) if few.dtype.is_complex else tf.abs(tf.cast(few, tf.float64))
        marks.append(tf.reduce_mean(magnitude, axis=tf.range(1, tf.rank(few))))
    return marks


def _check_position(begin, marks, count, folder):
    """Raises ValueError if a batch is not the one in which the previous shard ended."""
    expected = begin["marks"]
    same = expected is None or (
        len(marks) == len(expected)
        and all(
            len(a) == len(b) and np.allclose(a, b, rtol=1e-3, atol=1e-12, equal_nan=True)
            for a, b in zip(marks, expected, strict=True)
        )
    )
    if not same or count < begin["samples"]:
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"batch {begin['batch']} differs"))


def _check_end(expected, end, folder):
    """Raises ValueError if a shard that is written again ends at another place than before."""
    if expected is not None and (end["batch"], end["samples"]) != (expected["batch"], expected["samples"]):
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"batch {end['batch']} differs"))


def _samples(arrays, leaves):
    """The number of samples that all arrays of a batch have."""
    lengths = [len(a) if np.ndim(a) else None for a in arrays]
    if lengths[0] is None or set(lengths) != {lengths[0]}:
        shapes = ", ".join(f"{leaf.key!r}: {np.shape(a)}" for leaf, a in zip(leaves, arrays, strict=True))
        raise ValueError(f"All tensors of a batch need the same number of samples as their first axis; got {shapes}.")
    return lengths[0]


# -- structures ---------------------------------------------------------------------------------------------------------


def _described(spec, path, names, leaves):
    """A structure for JSON: {"tuple": [...]}, {"dict": {...}} or a leaf's key; appends to ``leaves`` as tf.nest flattens."""
    if isinstance(spec, (tf.TensorSpec, tf.Tensor)):
        shape = spec.shape
        if shape.rank == 0:
            raise ValueError(f"write needs batches: a tensor has no axis of samples ({'/'.join(path) or 'the only one'}).")
        key = "/".join(path) or "values"
        if any(leaf.key == key for leaf in leaves):
            raise ValueError(f"Two tensors would get the name {key!r}: rename one of them.")
        leaves.append(Leaf(key, None if shape.rank is None else tuple(shape[1:]), spec.dtype.name))
        return key
    if type(spec) in (tuple, list):
        own = names if names and len(names) == len(spec) else map(str, range(len(spec)))
        return {"tuple": [_described(s, (*path, name), None, leaves) for s, name in zip(spec, own, strict=True)]}
    if type(spec) is dict and all(isinstance(k, str) for k in spec):
        return {"dict": {k: _described(spec[k], (*path, k), None, leaves) for k in sorted(spec)}}
    raise TypeError(
        "write takes tensors in plain tuples and dicts with names as keys; got "
        f"{type(spec).__name__} at {'/'.join(path) or 'the top'}. keep= can turn it into one."
    )


def _packed(structure, values):
    """The structure of `_described` with the values of its keys."""
    if isinstance(structure, str):
        return values[structure]
    if "tuple" in structure:
        return tuple(_packed(s, values) for s in structure["tuple"])
    return {k: _packed(s, values) for k, s in structure["dict"].items()}


def _check_arguments(dataset, format, shard_size):
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(f"write needs a tf.data.Dataset of batches, got {type(dataset).__name__}.")
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(map(repr, FORMATS))}; got {format!r}.")
    checks.integer("shard_size", shard_size)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset is infinite: end it with .take(n), or leave out .repeat().")
