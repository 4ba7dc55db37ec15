"""Folders of shards: one writer at a time, damaged shards explained again, manifests that were edited."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lrp
import tf_lrp.data
from tf_lrp.data import formats, manifest, pipeline, shards
from tf_lrp.data.formats import LOCK, MANIFEST

SAMPLES, BATCH, SHARD = 41, 6, 8
FORMATS = ("tfrecord", "npz", "zarr")


@pytest.fixture(scope="module")
def explained():
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(SAMPLES, 5)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((x, np.arange(SAMPLES) % 3)).batch(BATCH)
    return tf_lrp.data.explain(batches, tf_lrp.Analyzer(model, "epsilon", verbose=False), "labels")


@pytest.fixture(scope="module", params=FORMATS)
def whole(request, explained, tmp_path_factory):
    """(format, folder of a finished run)."""
    if request.param == "zarr":
        pytest.importorskip("zarr")
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert tf_lrp.data.write(explained, folder, format=request.param, shard_size=SHARD) == SAMPLES
    return request.param, folder


@pytest.fixture(scope="module")
def records(explained, tmp_path_factory):
    """Folder of a finished run, as TFRecord files."""
    folder = tmp_path_factory.mktemp("records") / "run"
    tf_lrp.data.write(explained, folder, shard_size=SHARD)
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def shard_file(folder, format, index):
    if format == "zarr":
        return next((folder / "arrays.zarr" / "relevance" / "c" / str(index)).rglob("0"))
    return folder / f"shard-{index:06d}.{format}"


def edited(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE = {"cut": lambda data: data[:20], "empty": lambda data: b"", "edited": edited, "missing": None}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("indices", [(2,), (0, 1), (3, 5)], ids=str)
def test_damaged_shards_are_named_and_explained_again(explained, whole, tmp_path, monkeypatch, how, indices):
    format, source = whole
    folder = shutil.copytree(source, tmp_path / "run")
    for index in indices:
        path = shard_file(folder, format, index)
        data = path.read_bytes()
        path.unlink()
        if DAMAGE[how]:
            path.write_bytes(DAMAGE[how](data))
    if how != "edited":  # seen by the sizes alone
        with pytest.raises((ValueError, FileNotFoundError), match=f"{len(indices)} of 6 shards.*{path.name}"):
            tf_lrp.data.read(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{len(indices)} of 6 shards"):
        tf_lrp.data.read(folder, verify=True)

    ran = []
    monkeypatch.setattr(shards, "_samples", lambda *a, original=shards._samples: ran.append(original(*a)) or ran[-1])
    message = f"{len(indices)} of 6 shards in .* are damaged and are explained again: .*{path.name}"
    with pytest.warns(UserWarning, match=message):
        assert tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD) == SAMPLES
    assert contents(folder) == contents(source)
    assert sum(ran) <= len(indices) * (SHARD + 2 * BATCH) < SAMPLES + 2  # not everything anew
    ran.clear()
    assert tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD) == SAMPLES
    assert not ran


@pytest.mark.parametrize("fault", ["metadata", "gone"])
def test_what_all_chunks_share(explained, tmp_path, fault):
    pytest.importorskip("zarr")
    tf_lrp.data.write(explained, tmp_path, format="zarr", shard_size=SHARD)
    before = contents(tmp_path)
    if fault == "gone":
        shutil.rmtree(tmp_path / "arrays.zarr")
    else:
        (tmp_path / "arrays.zarr" / "y" / "zarr.json").write_text('{"zarr_format": 3}')
    with pytest.raises((ValueError, FileNotFoundError), match=r"6 of 6 shards.*arrays\.zarr"):
        tf_lrp.data.read(tmp_path)
    with pytest.warns(UserWarning, match=r"6 of 6 shards .*arrays\.zarr"):
        assert tf_lrp.data.write(explained, tmp_path, format="zarr", shard_size=SHARD) == SAMPLES
    assert contents(tmp_path) == before


class Interrupted(Exception):
    pass


def test_an_unfinished_run_with_damaged_shards(explained, whole, tmp_path, monkeypatch):
    """The damaged ones first, then the rest, all in one pass; also if that is interrupted in its turn."""
    format, source = whole
    kind, calls = formats.FORMATS[format], []
    with monkeypatch.context() as patch:

        def commit(self, original=kind.commit):
            calls.append(self)
            if len(calls) in (5, 7):
                raise Interrupted
            original(self)

        patch.setattr(kind, "commit", commit)
        with pytest.raises(Interrupted):
            tf_lrp.data.write(explained, tmp_path, format=format, shard_size=SHARD)  # four shards
        for index in (1, 3):
            shard_file(tmp_path, format, index).write_bytes(b"")
        with pytest.warns(UserWarning, match="2 of 4 shards"), pytest.raises(Interrupted):
            tf_lrp.data.write(explained, tmp_path, format=format, shard_size=SHARD)  # shard 1, not 3
    with pytest.warns(UserWarning, match="1 of 4 shards"):
        assert tf_lrp.data.write(explained, tmp_path, format=format, shard_size=SHARD) == SAMPLES
    assert contents(tmp_path) == contents(source)


def test_the_last_shard_and_the_end_are_counted_in_one_step(explained, tmp_path, monkeypatch):
    """A run that is killed after the last shard was counted is finished, and not begun anew behind it."""
    saved = []
    monkeypatch.setattr(manifest, "save", lambda run, folder, save=manifest.save: saved.append(run) or save(run, folder))
    tf_lrp.data.write(explained, tmp_path, shard_size=SHARD)
    assert [run["samples"] for run in saved] == [0, 8, 16, 24, 32, 40, 41]
    assert [run["finished"] for run in saved] == [False] * 6 + [True]


def test_other_samples_are_noticed_when_a_shard_is_explained_again(explained, tmp_path):
    recipe = pipeline.recipe_of(explained)
    tf_lrp.data.write(explained, tmp_path, shard_size=SHARD)
    x, y = next(iter(recipe.source.unbatch().batch(SAMPLES)))
    (tmp_path / "shard-000002.tfrecord").unlink()
    for other, message in ((x[::-1], "batch 2 differs"), (x[:10], "ends before batch 2"), (x[:20], "ends within shard 2")):
        source = tf.data.Dataset.from_tensor_slices((other, y[: len(other)])).batch(BATCH)
        swapped = source.map(lambda x, y: (x, y, x))
        swapped.tf_lrp_recipe = pipeline.Recipe(source, recipe.function, recipe.settings)
        with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match=message):
            tf_lrp.data.write(swapped, tmp_path, shard_size=SHARD)


def earlier_version(folder, finished):
    """The manifest as version 1 wrote it: no digests, the number of shards, and where the last one ends."""
    run = json.loads((folder / MANIFEST).read_text())
    entries = run["shards"] if finished else run["shards"][:4]
    run |= {"version": 1, "shards": len(entries), "samples": sum(e["samples"] for e in entries), "finished": finished}
    run["position"] = None if finished else entries[-1]["end"]
    (folder / MANIFEST).write_text(json.dumps(run, indent=1))


@pytest.mark.parametrize("finished", [True, False])
def test_runs_of_an_earlier_version_are_read_through(explained, whole, tmp_path, monkeypatch, finished):
    format, source = whole
    folder = shutil.copytree(source, tmp_path / "run")
    earlier_version(folder, finished)
    assert tf_lrp.data.read(folder, unfinished=True).cardinality() == (SAMPLES if finished else 32)
    ran = []
    monkeypatch.setattr(shards, "_samples", lambda *a, original=shards._samples: ran.append(original(*a)) or ran[-1])
    assert tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD) == SAMPLES
    assert sum(ran) == (0 if finished else 11)
    kept = [entry["files"] for entry in json.loads((folder / MANIFEST).read_text())["shards"]]
    assert kept == [entry["files"] for entry in json.loads((source / MANIFEST).read_text())["shards"]]

    if format != "zarr":  # without digests, a chunk is damaged where it cannot be decoded
        earlier_version(folder, finished)
        path = shard_file(folder, format, 3)
        path.write_bytes(path.read_bytes()[:70])
        with pytest.warns(UserWarning, match=f"1 of {6 if finished else 4} shards.*shard 3 cannot be read"):
            assert tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD) == SAMPLES
        files = {k: v for k, v in contents(folder).items() if k != MANIFEST}
        assert files == {k: v for k, v in contents(source).items() if k != MANIFEST}


@pytest.mark.parametrize("key", sorted(manifest.new("npz", 8, "x", [], None)))
def test_manifests_that_miss_a_key(explained, tmp_path, whole, key):
    folder = shutil.copytree(whole[1], tmp_path / "run")
    run = json.loads((folder / MANIFEST).read_text())
    del run[key]
    refused(folder, json.dumps(run), explained, f"holds files that are not|damaged or was edited .it lacks '{key}'")


EDITS = {
    "version": ["2", 0, None, 99],
    "format": ["csv", None, ["npz"], {}],
    "shard_size": [0, -1, 8.5, "8", None, 9, 10**30],
    "structure": [None, {"set": []}, {"tuple": ["x"]}, {"tuple": []}, "x", 5, {"tuple": ["x", "x", "x"]}, {}],
    "leaves": [None, [], [{}], [{"key": "x", "shape": [1], "dtype": "float32"}], "xyz", [{"key": 1, "shape": 1, "dtype": 1}]],
    "settings": ["none", []],
    "samples": [40, -1, None, "41", 41.5],
    "finished": ["yes", None, 1],
    "shards": [None, 6, [None], [{}], [{"samples": 41, "files": {}, "end": None}], "six"],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in EDITS.items() for v in values], ids=str)
def test_manifests_that_were_edited(explained, tmp_path, records, key, value):
    folder = shutil.copytree(records, tmp_path / "run")
    run = json.loads((folder / MANIFEST).read_text())
    refused(folder, json.dumps({**run, key: value}), explained, "damaged or was edited|started with other settings")


@pytest.mark.parametrize("change", [
    lambda e: e["files"].update({"shard-000001.tfrecord": 5}),
    lambda e: e["files"].update({"shard-000001.tfrecord": ["x", "y"]}),
    lambda e: e.pop("end"),
    lambda e: e.update(samples=7),
    lambda e: e["end"].update(batch=-1),
    lambda e: e["end"].update(batch=9),  # behind the end of the next one
    lambda e: e["end"].update(marks=["ab"]),
    lambda e: e["end"].pop("samples"),
])  # fmt: skip
def test_entries_of_shards_that_were_edited(explained, tmp_path, records, change):
    folder = shutil.copytree(records, tmp_path / "run")
    run = json.loads((folder / MANIFEST).read_text())
    change(run["shards"][1])
    refused(folder, json.dumps(run), explained, "damaged or was edited")


@pytest.mark.parametrize("cut", [500, 0])
def test_manifests_that_were_cut(explained, tmp_path, whole, cut):
    folder = shutil.copytree(whole[1], tmp_path / "run")
    refused(folder, (folder / MANIFEST).read_text()[:cut], explained, "damaged or was edited .it is no JSON")
    if cut:  # enough is left to see whose it is
        tf_lrp.data.write(explained, folder, format=whole[0], shard_size=SHARD, overwrite=True)
        assert contents(folder) == contents(whole[1])
    else:
        with pytest.raises(ValueError, match="start again in another folder"):
            tf_lrp.data.write(explained, folder, format=whole[0], shard_size=SHARD, overwrite=True)


def refused(folder, text, explained, message):
    (folder / MANIFEST).write_text(text)
    before = {k: v for k, v in contents(folder).items() if k != LOCK}
    with pytest.raises((ValueError, FileExistsError), match=message):
        tf_lrp.data.write(explained, folder, shard_size=SHARD)
    assert {k: v for k, v in contents(folder).items() if k != LOCK} == before


def test_somebody_elses_manifest_beside_shards_is_never_overwritten(explained, tmp_path):
    (tmp_path / MANIFEST).write_text('{"name": "my web page"}')
    (tmp_path / "shard-000000.npz").write_text("whose?")
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="holds files that are not"):
            tf_lrp.data.write(explained, tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


# -- one writer at a time -----------------------------------------------------------------------------------------------


def test_two_writers(explained, tmp_path):
    """The second is refused while the first is at work, in this process and in another, and may go on after it."""
    refusals, folder = [], tmp_path / "run"
    code = f"""
import sys
from tf_lrp.runs.locks import exclusive_lock
try:
    with exclusive_lock({str(folder / LOCK)!r}, "held"): print("free")
except BlockingIOError as error: print(error)
"""

    def meanwhile(x, y, relevance):
        def look(_):
            if len(refusals) < 2:
                for overwrite in (False, True):
                    with pytest.raises(BlockingIOError, match=r"Another process is writing into .*run"):
                        tf_lrp.data.write(explained, folder, overwrite=overwrite)
                refusals.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip())
            return np.int32(0)

        with tf.control_dependencies([tf.py_function(look, [0], tf.int32)]):
            return tf.identity(relevance)

    assert tf_lrp.data.write(explained, folder, keep=meanwhile, shard_size=SHARD) == SAMPLES
    assert refusals and set(refusals) == {"held"}
    assert tf_lrp.data.write(explained, folder, shard_size=SHARD, overwrite=True) == SAMPLES
