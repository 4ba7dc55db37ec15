"""What a folder of shards says about itself: ``manifest.json``, checked, and the shards that are as it says.

    {"written_by": "tf_lrp.data", "version": 2, "format", "shard_size", "structure", "leaves", "settings", "samples",
     "finished", "shards": [{"samples", "files": {name: [size in bytes, SHA-256]}, "end": {"batch", "samples", "marks"}}, ...]}

"end" is where in the dataset a shard ends: how many samples of which batch were taken, and marks of that batch. It is null for
the last shard of a dataset.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from tf_lrp.data.formats import FORMATS, LOCK, MANIFEST, is_own
from tf_lrp.runs import files
from tf_lrp.runs.fingerprints import file_digest
from tf_lrp.runs.resume import as_json, changed_settings

_VERSION = 2


def found(folder, overwrite=False):
    """The manifest of a run in this folder, None if the folder is empty or not there, or the run is to be overwritten.

    Raises:
        FileExistsError: if there is something else, which must not be overwritten.
        ValueError: if the manifest is damaged; not where it is to be overwritten.
    """
    if not folder.exists():
        return None
    others = FileExistsError(
        f"{folder} holds other things than a run of tf_lrp.data.write, which would get mixed up: name a new or an empty folder."
    )
    if not folder.is_dir():
        raise others
    path, names = folder / MANIFEST, {p.name for p in folder.iterdir()} - {LOCK}
    if all(is_own(folder / name) and ".partial" in name for name in names):
        return None  # killed before its first manifest, at the latest
    if not path.is_file():
        raise others
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        run, why = json.loads(text), None
    except (ValueError, RecursionError) as error:
        run, why = None, f"it is no JSON: {error}"
    ours = run.get("written_by") == "tf_lrp.data" if isinstance(run, dict) else why and '"tf_lrp.data"' in text
    if not ours and not (why and any(is_own(folder / name) for name in names)):
        raise others  # somebody else's manifest.json
    if ours and overwrite:
        return None
    try:
        if why:
            raise ValueError(why)
        return _checked(run)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        anew = "begin anew with overwrite=True" if ours else "begin anew in another folder"
        raise ValueError(f"The manifest {path} is damaged or was edited ({why}): put the right one back, or {anew}.") from error


def save(run, folder):
    """Writes the manifest: as a whole or not at all, one line for each shard."""
    entries = ",\n  ".join(json.dumps(entry) for entry in run["shards"])
    lines = {key: json.dumps(value) for key, value in run.items()} | {"shards": f"[\n  {entries}\n ]"}
    files.write(folder / MANIFEST, "{\n " + ",\n ".join(f"{json.dumps(k)}: {v}" for k, v in lines.items()) + "\n}\n")


def new(format, shard_size, structure, leaves, settings):
    """The manifest of a run of which nothing is written yet."""
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


def check_same(begun, run, folder):
    """Raises ValueError, with what differs, for a run that was begun otherwise."""
    changed = changed_settings(_compared(begun), _compared(run))
    if changed:
        raise ValueError(
            f"The run in {folder} was begun otherwise: {changed}. Go on with what it was begun with, name another "
            "folder, or begin anew with overwrite=True."
        )


def _compared(run):
    """What two manifests of the same run share, flat, so that a difference can be named."""
    tensors = {f"tensor {e['key']}": f"{e['dtype']} {e['shape']}" for e in run["leaves"]}
    return {**{k: run[k] for k in ("format", "shard_size", "structure")}, **tensors, **(run["settings"] or {})}


# -- what a manifest must say -------------------------------------------------------------------------------------------


def _checked(run):
    """The manifest, if it is one; that of an earlier version in today's form, without the digests it did not keep."""
    _is(isinstance(run["version"], int) and run["version"] >= 1, "version", run)
    if run["version"] > _VERSION:
        raise ValueError(f"it was written by a later version of tf_lrp, as its version {run['version']} says")
    _is(isinstance(run["format"], str) and run["format"] in FORMATS, "format", run)
    _is(_count(run["shard_size"]) and run["shard_size"], "shard_size", run)
    _is(_count(run["samples"]), "samples", run)
    _is(isinstance(run["finished"], bool), "finished", run)
    _is(run["settings"] is None or isinstance(run["settings"], dict), "settings", run)
    keys = []
    for leaf in run["leaves"]:
        _is(isinstance(leaf["key"], str) and leaf["key"] not in keys, "leaves", run)
        _is(leaf["shape"] is None or all(d is None or _count(d) for d in leaf["shape"]), "leaves", run)
        tf.as_dtype(leaf["dtype"])
        keys.append(leaf["key"])
    _is(keys and sorted(_keys_of(run["structure"])) == sorted(keys), "structure", run)
    if run["version"] == 1:
        run = _modern(run)
    place = 0, 0
    for entry in run["shards"]:
        files, end = entry["files"], entry["end"]
        plain = files is None or all(len(known) == 2 and _count(known[0]) for known in files.values())
        _is(plain and 0 < entry["samples"] <= run["shard_size"], "shards", run)
        if end is not None:
            before, place = place, (end["batch"], end["samples"])
            marks = [mark for row in end["marks"] for mark in row]
            _is(all(map(_count, place)) and place >= before and all(isinstance(m, (int, float)) for m in marks), "shards", run)
    _is(run["finished"] or not run["shards"] or run["shards"][-1]["end"], "finished", run)
    full = all(entry["samples"] == run["shard_size"] for entry in run["shards"][: None if not run["finished"] else -1])
    _is(full and sum(entry["samples"] for entry in run["shards"]) == run["samples"], "samples", run)
    return run


def _is(right, key, run):
    if not right:
        raise ValueError(f"{key} is {json.dumps(run[key])[:80]}")


def _count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _keys_of(structure):
    if isinstance(structure, str):
        return [structure]
    (parts,) = structure.values()
    (kind,) = structure
    if kind not in ("tuple", "dict"):
        raise ValueError(f"its structure has a {kind!r}")
    return [key for part in (parts.values() if kind == "dict" else parts) for key in _keys_of(part)]


def _modern(run):
    """A manifest of version 1, which had the number of shards and where the last one ends."""
    run = dict(run)
    count, size, position = run["shards"], run["shard_size"], run.pop("position")
    _is(_count(count), "shards", run)
    entries = [{"samples": size, "files": None, "end": None} for _ in range(count)]
    if entries:
        entries[-1] |= {"samples": run["samples"] - size * (count - 1), "end": position}
    return {**run, "version": _VERSION, "shards": entries}


# -- shards that are as the manifest says -------------------------------------------------------------------------------


def entry_of(shards, index, samples, end):
    """What the manifest keeps of a shard that was just written."""
    files = {shards.name_of(path): [path.stat().st_size, file_digest(path)] for path in shards.files(index)}
    return {"samples": samples, "files": files, "end": end}


def damaged(run, shards, digests=True):
    """{index of a shard: what is wrong with it} for the shards that are not as the manifest says.

    Args:
        run: the manifest.
        shards: of `FORMATS`.
        digests: whether files are read as well; their sizes are looked at in any case.
    """
    fault = shards.fault(run["samples"]) if run["shards"] else None
    if fault:
        return dict.fromkeys(range(len(run["shards"])), fault)

    def wrong(index):
        entry = run["shards"][index]
        if entry["files"] is None:  # written by a version that kept no digests: it is read, or it is not there
            return _unreadable(shards, index, entry["samples"]) if digests else shards.missing(index)
        there = {shards.name_of(path): path for path in shards.files(index)}
        for name in sorted({*there, *entry["files"]}):
            if name not in there:
                return f"{name} is missing"
            if name not in entry["files"]:
                return f"{name} is none of its files"
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
    except Exception as error:  # whatever is raised by damaged files
        return f"{shards.missing(index) or f'shard {index} cannot be read'} ({type(error).__name__})"
    return None if count == samples else f"shard {index} has {count} samples instead of {samples}"
