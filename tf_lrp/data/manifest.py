"""The manifest of a folder of shards, ``manifest.json``: read, checked, and compared with the shards on disk.

    {"written_by": "tf_lrp.data", "version": 2, "format", "shard_size", "structure", "leaves", "settings", "samples",
     "finished", "shards": [{"samples", "files": {name: [size in bytes, SHA-256]}, "end": {"batch", "samples", "marks"}}, ...]}

"end" is the place in the dataset where a shard ends: the number of the batch, the number of its samples that were taken, and
marks that identify the batch. It is null for the last shard of a dataset.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from tf_lrp.data.formats import FORMATS, LOCK, MANIFEST, is_own
from tf_lrp.messages.checks import is_integer
from tf_lrp.runs import atomic_files
from tf_lrp.runs.fingerprints import file_digest
from tf_lrp.runs.resume import as_json, changed_settings

_VERSION = 2


def read(folder, overwrite=False):
    """The manifest of the run in this folder, None if the folder is empty or missing, or the run is to be overwritten.

    Raises:
        FileExistsError: the folder holds something else, which must not be overwritten.
        ValueError: the manifest is damaged, and is not to be overwritten.
    """
    if not folder.exists():
        return None
    others = FileExistsError(
        f"{folder} holds files that are not from tf_lrp.data.write, and is left unchanged: name a new or an empty folder."
    )
    if not folder.is_dir():
        raise others
    path, names = folder / MANIFEST, {p.name for p in folder.iterdir()} - {LOCK}
    if all(is_own(folder / name) and ".partial" in name for name in names):
        return None  # killed before the first manifest was written
    if not path.is_file():
        raise others
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        run, why = json.loads(text), None
    except (ValueError, RecursionError) as error:
        run, why = None, f"it is no JSON: {error}"
    is_ours = run.get("written_by") == "tf_lrp.data" if isinstance(run, dict) else why and '"tf_lrp.data"' in text
    if not is_ours and not (why and any(is_own(folder / name) for name in names)):
        raise others  # somebody else's manifest.json
    if is_ours and overwrite:
        return None
    try:
        if why:
            raise ValueError(why)
        return _checked(run)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        restart = "start again with overwrite=True" if is_ours else "start again in another folder"
        raise ValueError(f"The manifest {path} is damaged or was edited ({why}): restore it, or {restart}.") from error


def save(run, folder):
    """Writes the manifest atomically, with one line for each shard."""
    entries = ",\n  ".join(json.dumps(entry) for entry in run["shards"])
    lines = {key: json.dumps(value) for key, value in run.items()} | {"shards": f"[\n  {entries}\n ]"}
    atomic_files.write(folder / MANIFEST, "{\n " + ",\n ".join(f"{json.dumps(k)}: {v}" for k, v in lines.items()) + "\n}\n")


def new(format, shard_size, structure, leaves, settings):
    """The manifest of a run that has written no shard yet."""
    run = {
        "written_by": "tf_lrp.data",
        "version": _VERSION,
        "format": format,
        "shard_size": shard_size,
        "structure": structure,
        "leaves": [{"key": leaf.key, "shape": leaf.shape, "dtype": leaf.dtype} for leaf in leaves],
        "settings": settings,
        "samples": 0,
        "finished": False,
        "shards": [],
    }
    return as_json(run)


def check_same(earlier, run, folder):
    """Raises ValueError if the run in the folder was started with other settings, saying what differs."""
    changed = changed_settings(_compared(earlier), _compared(run))
    if changed:
        raise ValueError(
            f"The run in {folder} was started with other settings: {changed}. Continue it with its own settings, name another "
            "folder, or start again with overwrite=True."
        )


def _compared(run):
    """The settings that two manifests of the same run share, as a flat dict."""
    tensors = {f"tensor {e['key']}": f"{e['dtype']} {e['shape']}" for e in run["leaves"]}
    return {**{k: run[k] for k in ("format", "shard_size", "structure")}, **tensors, **(run["settings"] or {})}


# -- checking a manifest -------------------------------------------------------------------------------------------


def _checked(run):
    """The manifest, checked; one of version 1 is converted, without the digests that it did not have."""
    _require(isinstance(run["version"], int) and run["version"] >= 1, "version", run)
    if run["version"] > _VERSION:
        raise ValueError(f"it was written by a later version of tf_lrp (manifest version {run['version']})")
    _require(isinstance(run["format"], str) and run["format"] in FORMATS, "format", run)
    _require(_count(run["shard_size"]) and run["shard_size"], "shard_size", run)
    _require(_count(run["samples"]), "samples", run)
    _require(isinstance(run["finished"], bool), "finished", run)
    _require(run["settings"] is None or isinstance(run["settings"], dict), "settings", run)
    keys = []
    for leaf in run["leaves"]:
        _require(isinstance(leaf["key"], str) and leaf["key"] not in keys, "leaves", run)
        _require(leaf["shape"] is None or all(d is None or _count(d) for d in leaf["shape"]), "leaves", run)
        tf.as_dtype(leaf["dtype"])
        keys.append(leaf["key"])
    _require(keys and sorted(_keys_of(run["structure"])) == sorted(keys), "structure", run)
    if run["version"] == 1:
        run = _upgraded(run)
    place = 0, 0
    for entry in run["shards"]:
        files, end = entry["files"], entry["end"]
        valid = files is None or all(len(known) == 2 and _count(known[0]) for known in files.values())
        _require(valid and 0 < entry["samples"] <= run["shard_size"], "shards", run)
        if end is not None:
            before, place = place, (end["batch"], end["samples"])
            marks = [mark for row in end["marks"] for mark in row]
            _require(
                all(map(_count, place)) and place >= before and all(isinstance(m, (int, float)) for m in marks), "shards", run
            )
    _require(run["finished"] or not run["shards"] or run["shards"][-1]["end"], "finished", run)
    full = all(entry["samples"] == run["shard_size"] for entry in run["shards"][: None if not run["finished"] else -1])
    _require(full and sum(entry["samples"] for entry in run["shards"]) == run["samples"], "samples", run)
    return run


def _require(valid, key, run):
    if not valid:
        raise ValueError(f"{key} is {json.dumps(run[key])[:80]}")


def _count(value):
    return is_integer(value) and value >= 0


def _keys_of(structure):
    if isinstance(structure, str):
        return [structure]
    (parts,) = structure.values()
    (kind,) = structure
    if kind not in ("tuple", "dict"):
        raise ValueError(f"its structure has a {kind!r}")
    return [key for part in (parts.values() if kind == "dict" else parts) for key in _keys_of(part)]


def _upgraded(run):
    """A manifest of version 1, which had only the number of shards and the place where the last one ends, as version 2."""
    run = dict(run)
    count, size, position = run["shards"], run["shard_size"], run.pop("position")
    _require(_count(count), "shards", run)
    entries = [{"samples": size, "files": None, "end": None} for _ in range(count)]
    if entries:
        entries[-1] |= {"samples": run["samples"] - size * (count - 1), "end": position}
    return {**run, "version": _VERSION, "shards": entries}


# -- comparing shards with the manifest -------------------------------------------------------------------------------


def entry_of(shards, index, samples, end):
    """The entry of the manifest for a shard that was just written."""
    files = {shards.name_of(path): [path.stat().st_size, file_digest(path)] for path in shards.files(index)}
    return {"samples": samples, "files": files, "end": end}


def damaged(run, shards, digests=True):
    """{index of a shard: what is wrong with it} for the shards that differ from the manifest.

    Args:
        run: the manifest.
        shards: of `FORMATS`.
        digests: whether the files are read and their digests compared; their sizes always are.
    """
    fault = shards.fault(run["samples"]) if run["shards"] else None
    if fault:
        return dict.fromkeys(range(len(run["shards"])), fault)

    def wrong(index):
        entry = run["shards"][index]
        if entry["files"] is None:  # version 1 kept no digests: whether it can be read is all that can be checked
            return _unreadable(shards, index, entry["samples"]) if digests else shards.missing(index)
        there = {shards.name_of(path): path for path in shards.files(index)}
        for name in sorted({*there, *entry["files"]}):
            if name not in there:
                return f"{name} is missing"
            if name not in entry["files"]:
                return f"{name} is not one of its files"
            size, digest = entry["files"][name]
            if there[name].stat().st_size != size:
                return f"{name} has {there[name].stat().st_size} bytes instead of {size}"
            if digests and file_digest(there[name]) != digest:
                return f"{name} was changed"
        return None

    with ThreadPoolExecutor() as pool:
        return {index: why for index, why in enumerate(pool.map(wrong, range(len(run["shards"])))) if why}


def _unreadable(shards, index, samples):
    try:
        count = shards.count(index)
    except Exception as error:  # damaged files raise many kinds of errors
        return f"{shards.missing(index) or f'shard {index} cannot be read'} ({type(error).__name__})"
    return None if count == samples else f"shard {index} has {count} samples instead of {samples}"
