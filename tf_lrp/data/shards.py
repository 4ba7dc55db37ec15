"""Batches of a dataset as shards on disk, written so that a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_lrp.data.formats import FORMATS, MANIFEST, Leaf, into_place, is_own, partial
from tf_lrp.data.pipeline import recipe_of

#: Samples of a batch that are compared when a run goes on.
_COMPARED = 16


def write(dataset, path, *, format="tfrecord", shard_size=256, keep=None, overwrite=False, resume=True):
    """Writes the samples of a dataset into a folder, in shards, and goes on where an interrupted run stopped.

    Call it again with the same arguments after an interruption: complete shards are kept, the rest is computed, and the files
    are those of a run in one piece. Of a dataset that `explain` returned, no more than the batch in which the last shard ended
    is explained again; its batches are explained here, one at a time, on the device that TensorFlow prefers (a ``dataset.map``
    stays on the CPU). Any other dataset is skipped up to the place, with whatever its own transformations cost.

    ``manifest.json`` in the folder says what was written, with which settings, and whether the run is finished.

    Args:
        dataset: finite tf.data.Dataset of batches: tensors, or nested tuples and dicts of them, each with a first axis of
            samples. It must yield the same batches each time it is read: a shuffled one needs a seed and
            reshuffle_each_iteration=False.
        path: a folder, made where it does not exist. One with anything else in it is refused.
        format: "tfrecord", "npz" or "zarr" (with the package zarr). "npz" and "zarr" need samples of one shape, and hold
            one shard in memory.
        shard_size: samples in a shard; the last may have fewer.
        keep: function called with a batch as ``dataset.map`` calls; returns what is written of it, for example
            ``lambda x, y, relevance: {"relevance": tf.cast(relevance, tf.float16)}``. None writes all.
        overwrite: whether a run in the folder, finished or not, is deleted and begun anew.
        resume: whether an unfinished run may be gone on with.

    Returns:
        The number of samples in the folder. Of a finished run nothing is computed.

    Raises:
        TypeError, ValueError: for a dataset that cannot be written, and for a run in the folder of other settings, another
            structure or other samples.
        FileExistsError: for a folder with other things in it, or with a run when ``resume`` is False.
        FileNotFoundError: if shards of the run have vanished.
        ImportError: for "zarr" without the package.

    Example:
        >>> tf_lrp.data.write(tf_lrp.data.explain(pictures.batch(32), analyzer), "explained")
    """
    _check_arguments(dataset, format, shard_size)
    source, step, settings = _prepared(dataset, keep)
    specs = step.get_concrete_function().structured_outputs[0]
    names = ("x", "y", "relevance") if settings is not None and keep is None else None
    leaves = []
    structure = _described(specs, (), names, leaves)
    if not leaves:
        raise ValueError("There is nothing to write: the batches hold no tensors.")

    folder = Path(path)
    shards = FORMATS[format](folder, leaves, shard_size)
    run = {
        "written_by": "tf_lrp.data",
        "version": 1,
        "format": format,
        "shard_size": shard_size,
        "structure": structure,
        "leaves": [{"key": leaf.key, "shape": leaf.shape, "dtype": leaf.dtype} for leaf in leaves],
        "settings": settings,
    }
    run = json.loads(json.dumps(run))  # tuples as they come back
    begun = _found(folder)
    if begun is None or overwrite:
        folder.mkdir(parents=True, exist_ok=True)
        begun = {**run, "shards": 0, "samples": 0, "finished": False, "position": None}
        _save(begun, folder)
    elif not resume:
        raise FileExistsError(f"There is a run in {folder} already: overwrite=True deletes it, resume=True goes on with it.")
    else:
        _check_same(begun, run, folder)
    shards.check(begun["shards"])
    shards.keep(begun["shards"])
    return begun["samples"] if begun["finished"] else _finish(begun, folder, shards, source, step)


def read(path, *, unfinished=False):
    """The samples that `write` wrote.

    Args:
        path: the folder.
        unfinished: whether a run that is not finished is read too, as far as its shards are complete.

    Returns:
        tf.data.Dataset of single samples in the order of writing, with the structure and types of the batches written:
        ``read(path).batch(32)`` has batches again. Its cardinality is known.

    Raises:
        FileNotFoundError: if there is no run, or shards of it have vanished.
        ValueError: if the run is not finished.
    """
    folder = Path(path)
    run = _found(folder)
    if run is None:
        raise FileNotFoundError(f"{folder} holds no run of tf_lrp.data.write: there is no {MANIFEST}.")
    if not run["finished"] and not unfinished:
        raise ValueError(
            f"The run in {folder} is not finished ({run['samples']} samples so far): call write again, or read what is there "
            "with unfinished=True."
        )
    leaves = [Leaf(e["key"], None if e["shape"] is None else tuple(e["shape"]), e["dtype"]) for e in run["leaves"]]
    shards = FORMATS[run["format"]](folder, leaves, run["shard_size"])
    shards.check(run["shards"])
    keys = [leaf.key for leaf in leaves]

    @tf.autograph.experimental.do_not_convert
    def packed(*values):
        return _packed(run["structure"], dict(zip(keys, values, strict=True)))

    if not run["samples"]:
        empty = [tf.zeros((0, *(d or 0 for d in leaf.shape or ())), tf.as_dtype(leaf.dtype)) for leaf in leaves]
        return tf.data.Dataset.from_tensor_slices(tuple(empty)).map(packed)
    dataset = shards.dataset(run["shards"]).map(packed)
    return dataset.apply(tf.data.experimental.assert_cardinality(run["samples"])).prefetch(tf.data.AUTOTUNE)


# -- a run --------------------------------------------------------------------------------------------------------------


def _prepared(dataset, keep):
    """What a run reads and does: source, compiled step on a batch of it -> (what is written, marks), settings or None."""
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


def _finish(run, folder, shards, source, step):
    """Writes what is missing; returns the number of all samples."""
    position = run["position"]
    first = position["batch"] if position else 0
    pending = 0  # samples in the shard that is open
    number = first - 1
    for number, element in enumerate(source.skip(first).prefetch(1), first):
        result, marks = step(*element) if isinstance(element, tuple) else step(element)
        arrays = [leaf.numpy() for leaf in tf.nest.flatten(result)]
        marks = [m.numpy().tolist() for m in marks]
        start, count = 0, _samples(arrays, shards.leaves)
        if position and number == first:
            _check_position(position, marks, count, folder)
            start = position["samples"]
        while start < count:
            if not pending:
                shards.begin(run["shards"])
            taken = min(count - start, shards.shard_size - pending)
            shards.add([a[start : start + taken] for a in arrays])
            start, pending = start + taken, pending + taken
            if pending == shards.shard_size:
                run = _commit(run, folder, shards, pending, {"batch": number, "samples": start, "marks": marks})
                pending = 0
    if position and number < first:
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"it ends before batch {first}"))
    if pending:
        run = _commit(run, folder, shards, pending, None)
    _save({**run, "finished": True, "position": None}, folder)
    return run["samples"]


def _commit(run, folder, shards, samples, position):
    """Closes the open shard and counts it, in this order: a shard that the manifest does not count is written again."""
    shards.commit()
    run = {**run, "shards": run["shards"] + 1, "samples": run["samples"] + samples, "position": position}
    _save(run, folder)
    return run


_OTHER_SAMPLES = (
    "The dataset does not yield the samples it did when the run in {folder} was interrupted: {what}. Give it the same order "
    "each time (no shuffling, or with a seed and reshuffle_each_iteration=False), or begin anew with overwrite=True."
)


def _marks(element):
    """Numbers that tell batches apart: the mean magnitude of each tensor in the first samples.

    Magnitudes and not a digest of the bytes, as another machine may read the same pictures with other last bits.
    """
    marks = []
    for leaf in tf.nest.flatten(element, expand_composites=True):
        if leaf.shape.rank == 0:
            continue  # no batch: refused if it is to be written
        few = leaf[:_COMPARED]
        few = tf.strings.to_hash_bucket_fast(few, 1 << 30) if few.dtype == tf.string else few
        magnitude = tf.cast(tf.abs(few), tf.float64) if few.dtype.is_complex else tf.abs(tf.cast(few, tf.float64))
        marks.append(tf.reduce_mean(magnitude, axis=tf.range(1, tf.rank(few))))
    return marks


def _check_position(position, marks, count, folder):
    same = len(marks) == len(position["marks"]) and all(
        len(a) == len(b) and np.allclose(a, b, rtol=1e-3, atol=1e-12, equal_nan=True)
        for a, b in zip(marks, position["marks"], strict=True)
    )
    if not same or count < position["samples"]:
        raise ValueError(_OTHER_SAMPLES.format(folder=folder, what=f"batch {position['batch']} differs"))


def _samples(arrays, leaves):
    """The number of samples that all arrays of a batch have."""
    lengths = [len(a) if np.ndim(a) else None for a in arrays]
    if lengths[0] is None or set(lengths) != {lengths[0]}:
        found = ", ".join(f"{leaf.key!r}: {np.shape(a)}" for leaf, a in zip(leaves, arrays, strict=True))
        raise ValueError(f"All tensors of a batch need the same number of samples as their first axis; got {found}.")
    return lengths[0]


# -- the manifest -------------------------------------------------------------------------------------------------------


def _found(folder):
    """The manifest of a run in this folder, None if the folder is empty or not there.

    Raises:
        FileExistsError: if there is something else.
    """
    if not folder.exists():
        return None
    if folder.is_dir() and all(is_own(p) and ".partial" in p.name for p in folder.iterdir()):
        return None  # killed before its first manifest, at the latest
    try:
        run = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        run = None
    if not isinstance(run, dict) or run.get("written_by") != "tf_lrp.data":
        raise FileExistsError(
            f"{folder} holds other things than a run of tf_lrp.data.write, which would get mixed up: name a new or an empty "
            "folder."
        )
    if run["version"] != 1:
        raise ValueError(f"The run in {folder} was written by a later version of tf_lrp (manifest version {run['version']}).")
    return run


def _save(run, folder):
    temporary = partial(folder / MANIFEST)
    temporary.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    into_place(temporary, folder / MANIFEST)


def _check_same(begun, run, folder):
    """Raises ValueError, with what differs, for a run that was begun otherwise."""
    old, new = _compared(begun), _compared(run)
    differ = [f"{k} was {old.get(k)!r} and is {new.get(k)!r}" for k in {**old, **new} if old.get(k) != new.get(k)]
    if differ:
        raise ValueError(
            f"The run in {folder} was begun otherwise: {'; '.join(differ)}. Go on with what it was begun with, name another "
            "folder, or begin anew with overwrite=True."
        )


def _compared(run):
    """What two manifests of the same run share, flat, so that a difference can be named."""
    tensors = {f"tensor {e['key']}": f"{e['dtype']} {e['shape']}" for e in run["leaves"]}
    return {**{k: run[k] for k in ("format", "shard_size", "structure")}, **tensors, **(run["settings"] or {})}


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
    if not isinstance(shard_size, int) or isinstance(shard_size, bool) or shard_size < 1:
        raise ValueError(f"shard_size needs an integer >= 1, got {shard_size!r}.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset is infinite: end it with .take(n), or leave out .repeat().")
