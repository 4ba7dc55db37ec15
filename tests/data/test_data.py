"""Explanations in data pipelines: datasets in, datasets out, shards on disk that survive being killed."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from locations import ROOT, TESTS
from small_models import convnet, pictures, randomize

import tf_lrp
import tf_lrp.data
from tf_lrp.data import formats, shards

SAMPLES, BATCH, SHARD = 41, 7, 8  # neither divides the other, and the last batch and shard are short


@pytest.fixture(scope="module")
def analyzer():
    return tf_lrp.Analyzer(convnet(), "epsilon")


@pytest.fixture(scope="module")
def x():
    return pictures(SAMPLES)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(5).integers(0, 5, SAMPLES)


@pytest.fixture(scope="module")
def labelled(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


def close(a, b, rtol=1e-5):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def columns(dataset):
    """The tensors of all batches, concatenated, in the structure of one."""
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *dataset.as_numpy_iterator())


# -- explaining a dataset -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 3, tf.data.AUTOTUNE])
def test_relevance_is_that_of_analyze_in_the_order_of_the_samples(analyzer, labelled, x, y, parallel):
    explained = tf_lrp.data.explain(labelled, analyzer, num_parallel_calls=parallel)
    assert [len(batch[0]) for batch in explained] == [7, 7, 7, 7, 7, 6]
    got_x, got_y, relevance = columns(explained)
    np.testing.assert_array_equal(got_x, x)
    np.testing.assert_array_equal(got_y, y)
    close(relevance, analyzer.analyze(x))


def test_eager_compiled_and_mapped_are_one(analyzer, x):
    want = analyzer.analyze(x)
    close(analyzer(tf.constant(x)).numpy(), want)
    close(tf.function(analyzer)(tf.constant(x)).numpy(), want)
    batches = tf.data.Dataset.from_tensor_slices(x).batch(BATCH)
    close(columns(batches.map(analyzer, num_parallel_calls=tf.data.AUTOTUNE)), want)
    close(columns(tf_lrp.data.explain(batches, analyzer))[2], want)


def test_one_trace_for_all_batches(labelled):
    analyzer = tf_lrp.Analyzer(convnet(), "epsilon")
    explained = tf_lrp.data.explain(labelled, analyzer)
    for _ in range(2):
        for _ in explained:
            pass
    for _ in tf_lrp.data.explain(labelled.unbatch().batch(3), analyzer):
        pass
    assert [run.experimental_get_tracing_count() for run in analyzer.compiled_passes.values()] == [1]


def test_what_comes_after_x_is_carried_along(analyzer, x, y):
    want = analyzer.analyze(x)
    label = {"class": y, "name": np.array([f"sample {n}" for n in range(SAMPLES)])}
    slices = tf.data.Dataset.from_tensor_slices
    for elements, expected in (
        (x, ()),
        ((x,), ()),
        ((x, label), label),
        ((x, y, y / 2), (y, y / 2)),
        (({"picture": x}, y), y),
    ):
        explained = tf_lrp.data.explain(slices(elements).batch(BATCH), analyzer)
        got_x, got_y, relevance = columns(explained)
        tf.nest.assert_same_structure(got_y, expected)
        for a, b in zip(tf.nest.flatten(got_y), tf.nest.flatten(expected), strict=True):
            np.testing.assert_array_equal(a, np.char.encode(b) if b.dtype.kind == "U" else b)
        assert isinstance(got_x, dict) == isinstance(relevance, dict)
        close(relevance["picture"] if isinstance(relevance, dict) else relevance, want)


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    h = keras.layers.Concatenate()([keras.layers.Dense(3, activation="relu")(a), keras.layers.Dense(3, activation="relu")(b)])
    analyzer = tf_lrp.Analyzer(
        randomize(keras.Model([a, b], [keras.layers.Dense(2, name="up")(h), keras.layers.Dense(3, name="down")(h)])), "z"
    )
    x = np.random.default_rng(0).normal(size=(5, 10)).astype("float32")
    x = (x[:, :4], x[:, 4:])
    want = analyzer.analyze(x, 1, output="down")
    slices = tf.data.Dataset.from_tensor_slices
    for elements in (({"b": x[1], "a": x[0]},), (x,), (x, np.arange(5))):
        got = columns(tf_lrp.data.explain(slices(elements).batch(2), analyzer, 1, output="down"))[2]
        tf.nest.assert_same_structure(got, elements[0])
        for k, name in enumerate("ab"):
            close(got[name] if isinstance(got, dict) else got[k], want[k])
    with pytest.raises(ValueError, match=r"takes 2 inputs.*lambda a, b: \(\(a, b\),\)"):
        tf_lrp.data.explain(slices(x).batch(2), analyzer, 1, output="down")


def test_inner_layers_and_layers_used_twice(labelled, x):
    inputs, dense = keras.Input((8, 8, 3)), keras.layers.Dense(3, activation="relu", name="twice")
    model = randomize(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(dense(dense(inputs))))))
    analyzer = tf_lrp.Analyzer(model, "z")
    maps = columns(tf_lrp.data.explain(labelled, analyzer, layers="twice"))[2]
    want = analyzer.analyze(x, layers=["twice"])
    assert list(maps) == list(want)
    close(maps["input"], want["input"])
    assert isinstance(maps["twice"], tuple)
    for got, expected in zip(maps["twice"], want["twice"], strict=True):
        close(got, expected)


def test_integer_pictures_and_unknown_shapes(analyzer):
    whole = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype="uint8")
    got_x, _, relevance = columns(tf_lrp.data.explain(tf.data.Dataset.from_tensor_slices(whole).batch(4), analyzer))
    assert (got_x.dtype, relevance.dtype) == ("uint8", "float32")
    close(relevance, analyzer.analyze(whole))
    unknown = tf.data.Dataset.from_generator(lambda: iter([whole[:4], whole[4:]]), output_types=tf.uint8)
    close(columns(tf_lrp.data.explain(unknown, analyzer))[2], analyzer.analyze(whole))


# -- the explained neuron -----------------------------------------------------------------------------------------------


def test_labels_in_every_form_are_explained(analyzer, x, y):
    want = analyzer.analyze(x, y)
    hot = np.eye(5, dtype="float32")[y]
    for labels in (y, y.astype("uint8"), y[:, None], hot, hot.astype("int32"), hot.astype(bool)):
        data = tf.data.Dataset.from_tensor_slices((x, labels)).batch(BATCH)
        close(columns(tf_lrp.data.explain(data, analyzer, "labels"))[2], want)
    weighted = tf.data.Dataset.from_tensor_slices((x, y, np.ones(SAMPLES))).batch(BATCH)
    close(columns(tf_lrp.data.explain(weighted, analyzer, "labels"))[2], want)
    # as a dataset of (x, label) that is mapped over the analyzer itself
    close(columns(tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).map(analyzer)), want)


def test_other_selections(analyzer, labelled, x, y):
    def relevance(selection):
        return columns(tf_lrp.data.explain(labelled, analyzer, selection))[2]

    close(relevance(3), analyzer.analyze(x, 3))
    close(relevance("all"), analyzer.analyze(x, "all"))
    close(relevance([[4, 0]]), analyzer.analyze(x, np.tile([4, 0], (SAMPLES, 1))))
    close(relevance(np.ones((1, 5))), analyzer.analyze(x, np.ones((SAMPLES, 5))))
    close(relevance(lambda x, y: (y + 1) % 5), analyzer.analyze(x, (y + 1) % 5))

    def needs_autograph(x, y):
        if tf.reduce_sum(y) < 0:
            return y
        return 4 - y

    close(relevance(needs_autograph), analyzer.analyze(x, 4 - y))


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_names_no_neuron_stops_the_run(analyzer, x, label):
    data = tf.data.Dataset.from_tensor_slices((x[:3], [0, label, 1])).batch(2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not a neuron: the output has the neurons 0 to 4"):
        list(tf_lrp.data.explain(data, analyzer, "labels"))


@pytest.mark.parametrize("row", [[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [1, 1, -1, 0, 0]])
def test_soft_and_several_labels_are_not_taken_for_one_hot(analyzer, x, row):
    data = tf.data.Dataset.from_tensor_slices((x[:1], np.array([row], "float32"))).batch(1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="are one-hot"):
        list(tf_lrp.data.explain(data, analyzer, "labels"))


def test_labels_that_cannot_be_explained(analyzer, x):
    slices = tf.data.Dataset.from_tensor_slices
    for elements, error, message in (
        ((x, np.zeros(SAMPLES)), ValueError, r"Labels are integers.*got float64 \(None,\)"),
        ((x, np.zeros((SAMPLES, 3), int)), ValueError, r"one-hot of shape \(N, 5\); got int64 \(None, 3\)"),
        (x, TypeError, "elements have no y"),
        ((x, {"class": np.zeros(SAMPLES, int)}), TypeError, r'y as dict.*lambda x, y: y\["class"\]'),
    ):
        with pytest.raises(error, match=message):
            tf_lrp.data.explain(slices(elements).batch(2), analyzer, "labels")
    binary = tf_lrp.Analyzer(convnet(classes=1), "z")
    with pytest.raises(ValueError, match=r"C > 1 classes; it has the shape \(None, 1\)"):
        tf_lrp.data.explain(slices((x, np.zeros(SAMPLES, int))).batch(2), binary, "labels")


def test_datasets_that_cannot_be_explained(analyzer, labelled, x):
    with pytest.raises(ValueError, match=r"x of shape \(N, 8, 8, 3\); its.*\(8, 8, 3\).*dataset.batch\(32\)"):
        tf_lrp.data.explain(labelled.unbatch(), analyzer)
    with pytest.raises(TypeError, match="got Analyzer and "):
        tf_lrp.data.explain(analyzer, labelled)
    with pytest.raises(TypeError, match="got ndarray and Analyzer"):
        tf_lrp.data.explain(x, analyzer)
    with pytest.raises(ValueError, match=r"needs shape \(None, 8, 8, 3\), got \(None, 8, 4, 3\)"):
        tf_lrp.data.explain(labelled.map(lambda x, y: (x[:, :, :4], y)), analyzer)
    for selection, message in (
        ([0, 1], r"first axis of 1, such as ints \(1, K\); got shape \(2,\)"),
        (7, "no neuron 7"),
        ("best", '"max_activation"'),
    ):
        with pytest.raises(ValueError, match=message):
            tf_lrp.data.explain(labelled, analyzer, selection)
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        tf_lrp.data.explain(labelled, analyzer, layers=["conv9"])
    with pytest.raises(ValueError, match="num_parallel_calls needs"):
        tf_lrp.data.explain(labelled, analyzer, num_parallel_calls=0)


# -- writing and reading ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["tfrecord", "npz", "zarr"])
def format(request):
    if request.param == "zarr":
        pytest.importorskip("zarr")
    return request.param


def contents(folder):
    """File names and bytes below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_what_is_read_is_what_was_explained(analyzer, labelled, x, y, format, tmp_path):
    explained = tf_lrp.data.explain(labelled, analyzer, "labels")
    assert tf_lrp.data.write(explained, tmp_path / "new", format=format, shard_size=SHARD) == SAMPLES
    samples = tf_lrp.data.read(tmp_path / "new")
    assert samples.cardinality() == SAMPLES
    assert samples.batch(BATCH).element_spec == explained.element_spec
    got_x, got_y, relevance = columns(samples.batch(5))
    np.testing.assert_array_equal(got_x, x)
    np.testing.assert_array_equal(got_y, y)
    close(relevance, analyzer.analyze(x, y))
    assert not [p for p in (tmp_path / "new").rglob("*") if p.name.endswith(".partial")]


def test_shards_can_be_read_without_this_library(analyzer, labelled, x, y, tmp_path):
    explained = tf_lrp.data.explain(labelled, analyzer)
    tf_lrp.data.write(explained, tmp_path / "npz", format="npz", shard_size=SHARD)
    files = sorted((tmp_path / "npz").glob("*.npz"))
    assert [len(np.load(f, allow_pickle=False)["relevance"]) for f in files] == [8, 8, 8, 8, 8, 1]
    np.testing.assert_array_equal(np.load(files[1])["y"], y[8:16])

    tf_lrp.data.write(explained, tmp_path / "tfrecord", shard_size=SHARD)
    record = next(iter(tf.data.TFRecordDataset(str(tmp_path / "tfrecord" / "shard-000005.tfrecord"))))
    features = tf.train.Example.FromString(record.numpy()).features.feature
    assert set(features) == {"x", "y", "relevance"}
    np.testing.assert_array_equal(tf.io.parse_tensor(features["x"].bytes_list.value[0], tf.float32), x[40])


def test_zarr_arrays_are_whole(analyzer, labelled, x, tmp_path):
    zarr = pytest.importorskip("zarr")
    tf_lrp.data.write(tf_lrp.data.explain(labelled, analyzer), tmp_path / "z", format="zarr", shard_size=SHARD)
    group = zarr.open_group(str(tmp_path / "z" / "arrays.zarr"), mode="r")
    assert group["relevance"].shape == x.shape
    assert group["relevance"].chunks == (SHARD, 8, 8, 3)
    np.testing.assert_array_equal(group["x"][:], x)


def test_without_zarr_the_error_names_the_package(labelled, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install tf_lrp\[zarr\]"):
        tf_lrp.data.write(labelled, tmp_path / "z", format="zarr")
    assert not (tmp_path / "z").exists()


def test_only_what_is_kept_is_written(analyzer, labelled, x, tmp_path):
    explained = tf_lrp.data.explain(labelled, analyzer)
    half = lambda x, y, relevance: {"class": y, "heat": tf.cast(tf.reduce_sum(relevance, axis=-1), tf.float16)}  # noqa: E731
    tf_lrp.data.write(explained, tmp_path / "run", keep=half, format="npz", shard_size=SHARD)
    kept = columns(tf_lrp.data.read(tmp_path / "run").batch(8))
    assert set(kept) == {"class", "heat"}
    close(kept["heat"].astype("float32"), analyzer.analyze(x).sum(-1), rtol=1e-3)


@pytest.mark.parametrize("format", ["tfrecord", "npz"])
def test_any_structure_type_and_text(format, tmp_path):
    rng = np.random.default_rng(0)
    elements = {
        "file": np.array([b"a.jpg", b"", b"longer name.png", b"\xff", b"e"]),
        "deep": (rng.normal(size=(5, 2)), {"i": np.arange(5, dtype="uint16"), "b": rng.normal(size=(5, 1)) > 0}),
        "half": tf.cast(rng.normal(size=(5, 3)), tf.bfloat16),
        "none": (),
        "empty": np.zeros((5, 0, 2), "float32"),
        "complex": rng.normal(size=5) + 1j,
    }
    data = tf.data.Dataset.from_tensor_slices(elements).batch(2)
    assert tf_lrp.data.write(data, tmp_path, format=format, shard_size=3) == 5
    read = tf_lrp.data.read(tmp_path).batch(2)
    assert read.element_spec == data.element_spec
    for a, b in zip(tf.nest.flatten(columns(read)), tf.nest.flatten(columns(data)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_tensor_and_samples_of_several_sizes(tmp_path):
    rows = [np.ones((2, 3, 1), "float32"), np.zeros((1, 5, 1), "float32")]
    data = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=tf.TensorSpec((None, None, 1)))
    tf_lrp.data.write(data, tmp_path / "records")
    read = tf_lrp.data.read(tmp_path / "records")
    assert [s.shape for s in read.as_numpy_iterator()] == [(3, 1), (3, 1), (5, 1)]
    assert read.element_spec == tf.TensorSpec((None, 1))
    with pytest.raises(ValueError, match=r"'values' has \(3, 1\) and \(5, 1\).*tfrecord"):
        tf_lrp.data.write(data, tmp_path / "npz", format="npz")


def test_an_empty_dataset(format, tmp_path, labelled):
    nothing = labelled.take(0)
    assert tf_lrp.data.write(nothing, tmp_path, format=format) == 0
    read = tf_lrp.data.read(tmp_path)
    assert read.cardinality() == 0
    assert read.batch(2).element_spec == labelled.element_spec


# -- interruptions ------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def counted(dataset, seen):
    """The dataset, with the number of samples of each batch that is really read appended to ``seen``."""

    def look(x, y):
        tf.py_function(lambda n: seen.append(int(n)), [tf.shape(y)[0]], [])
        return x, y

    return dataset.map(look)


@pytest.mark.parametrize("adds", [1, 3, 8, 11])
def test_an_interrupted_run_goes_on_where_it_stopped(analyzer, labelled, format, tmp_path, monkeypatch, adds):
    explained = tf_lrp.data.explain(labelled, analyzer, "labels")
    tf_lrp.data.write(explained, tmp_path / "whole", format=format, shard_size=SHARD)

    kind, calls = formats.FORMATS[format], []
    with monkeypatch.context() as patch:

        def add(self, arrays, original=kind.add):
            calls.append(len(arrays[0]))
            if len(calls) == adds:
                raise Interrupted
            original(self, arrays)

        patch.setattr(kind, "add", add)
        with pytest.raises(Interrupted):
            tf_lrp.data.write(explained, tmp_path / "stopped", format=format, shard_size=SHARD)
    complete = sum(calls[:-1]) // SHARD * SHARD
    state = json.loads((tmp_path / "stopped" / "manifest.json").read_text())
    assert (state["samples"], state["finished"]) == (complete, False)
    with pytest.raises(ValueError, match=rf"not finished \({complete} samples so far\).*unfinished=True"):
        tf_lrp.data.read(tmp_path / "stopped")
    assert tf_lrp.data.read(tmp_path / "stopped", unfinished=True).cardinality() == complete

    ran, again = [], tf_lrp.data.explain(labelled, analyzer, "labels")
    monkeypatch.setattr(shards, "_samples", lambda *a, original=shards._samples: ran.append(original(*a)) or ran[-1])
    assert tf_lrp.data.write(again, tmp_path / "stopped", format=format, shard_size=SHARD) == SAMPLES
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    # Only the batch in which the last shard ended is explained a second time.
    assert SAMPLES - complete <= sum(ran) <= SAMPLES - complete + BATCH


def test_a_finished_run_is_left_alone(analyzer, labelled, tmp_path):
    seen = []
    data = tf_lrp.data.explain(counted(labelled, seen), analyzer)
    tf_lrp.data.write(data, tmp_path, shard_size=SHARD)
    assert sum(seen) == SAMPLES
    before, times = contents(tmp_path), {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert tf_lrp.data.write(data, tmp_path, shard_size=SHARD) == SAMPLES
    assert sum(seen) == SAMPLES
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times
    assert tf_lrp.data.write(data, tmp_path, shard_size=SHARD, overwrite=True) == SAMPLES
    assert sum(seen) == 2 * SAMPLES
    assert contents(tmp_path) == before


def test_batches_of_other_sizes_in_between(analyzer, x, format, tmp_path, monkeypatch):
    cuts = [0, 1, 11, 14, 14, 30, 32, SAMPLES]  # one batch is empty
    parts = [x[a:b] for a, b in pairwise(cuts)]
    data = tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=tf.TensorSpec((None, 8, 8, 3)))
    calls = []

    def commit(self, original=formats.FORMATS[format].commit):
        calls.append(self)
        if len(calls) % 4 != 2:
            original(self)
        if len(calls) % 2 == 0:  # in turns before the shard is there, and before it is counted
            raise Interrupted

    monkeypatch.setattr(formats.FORMATS[format], "commit", commit)
    for _ in range(20):
        try:
            assert tf_lrp.data.write(data, tmp_path, format=format, shard_size=5) == SAMPLES
        except Interrupted:
            continue
        break
    assert len(calls) > 9
    np.testing.assert_array_equal(columns(tf_lrp.data.read(tmp_path).batch(10)), x)


#: A process that writes in both formats at the same time, stops each at the given moment, and is killed there.
KILLED = """
import os, signal, sys, threading, time
import test_data
from tf_lrp.data import formats
from tf_lrp.runs import atomic_files

moment, count = sys.argv[1], int(sys.argv[2])
stopped = threading.Semaphore(0)

def stop_at(owner, name, when, of_manifest=None):
    original, calls = getattr(owner, name), {}

    def wrapped(*arguments):
        if of_manifest is not None and of_manifest != (arguments[1].name == formats.MANIFEST):
            return original(*arguments)
        mine = threading.get_ident()
        calls[mine] = calls.get(mine, 0) + 1
        due = calls[mine] == count
        if due and when == "before":
            stopped.release(), time.sleep(3600)
        original(*arguments)
        if due:
            stopped.release(), time.sleep(3600)

    setattr(owner, name, wrapped)

if moment == "in a shard":
    for kind in (formats.TFRecord, formats.NPZ):
        stop_at(kind, "add", "after")
elif moment == "before the shard is counted":
    stop_at(atomic_files, "commit", "after", of_manifest=False)
elif moment == "before the manifest has its name":
    stop_at(atomic_files, "commit", "before", of_manifest=True)
explained = test_data.explained_for_killing()
for format in ("tfrecord", "npz"):
    threading.Thread(target=test_data.killed_run, args=(explained, sys.argv[3], format), daemon=True).start()
for _ in range(2):
    assert stopped.acquire(timeout=60)
os.kill(os.getpid(), signal.SIGKILL)
"""


def explained_for_killing():
    data = tf.data.Dataset.from_tensor_slices((pictures(SAMPLES), np.arange(SAMPLES) % 5)).batch(BATCH)
    return tf_lrp.data.explain(data, tf_lrp.Analyzer(convnet(), "epsilon"), "labels")


def killed_run(explained, folder, format):
    return tf_lrp.data.write(explained, Path(folder) / format, format=format, shard_size=SHARD)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    # (moment, how often it has come in this process, samples counted then, what lies about then)
    moments = [
        ("in a shard", 5, 16, "tfrecord/shard-000002.tfrecord.*.partial"),
        ("before the shard is counted", 1, 16, "npz/shard-000002.npz"),
        ("before the manifest has its name", 2, 24, "npz/manifest.json.*.partial"),
    ]
    for moment, count, samples, left in moments:
        command = [sys.executable, "-c", KILLED, moment, str(count), str(tmp_path / "killed")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == -9, done.stderr[-2000:]
        for format in ("tfrecord", "npz"):
            state = json.loads((tmp_path / "killed" / format / "manifest.json").read_text())
            assert (state["samples"], state["finished"]) == (samples, False), moment
        assert len(list((tmp_path / "killed").glob(left))) == 1
    explained = explained_for_killing()
    for format in ("tfrecord", "npz"):
        for folder in ("killed", "whole"):
            assert killed_run(explained, tmp_path / folder, format) == SAMPLES
        assert contents(tmp_path / "killed" / format) == contents(tmp_path / "whole" / format)


def test_half_written_and_uncounted_files_are_cleared(analyzer, labelled, format, tmp_path):
    explained = tf_lrp.data.explain(labelled, analyzer)
    tf_lrp.data.write(explained, tmp_path / "whole", format=format, shard_size=SHARD)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json.17.partial").write_text("{")  # killed before the first manifest was there
    tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD)
    for name in ("shard-000009.tfrecord", "shard-000002.npz.99.partial", "shard-000001.tfrecord.1.partial"):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    tf_lrp.data.write(explained, folder, format=format, shard_size=SHARD)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    assert contents(folder) == contents(tmp_path / "whole")


def test_overwriting_with_another_format(analyzer, labelled, tmp_path):
    explained = tf_lrp.data.explain(labelled, analyzer)
    tf_lrp.data.write(explained, tmp_path, shard_size=SHARD)
    tf_lrp.data.write(explained, tmp_path, format="npz", shard_size=20, overwrite=True)
    expected = {"manifest.json", *(f"shard-00000{k}.npz" for k in range(3))}
    assert {p.name for p in tmp_path.iterdir()} - {"manifest.json.lock"} == expected


# -- what goes wrong ----------------------------------------------------------------------------------------------------


def test_a_run_with_other_settings_says_what_differs(analyzer, labelled, tmp_path):
    run = tmp_path / "run"
    tf_lrp.data.write(tf_lrp.data.explain(labelled, analyzer), run, shard_size=SHARD)
    before = contents(run)

    def fails(message, data=None, **arguments):
        with pytest.raises(ValueError, match=message):
            tf_lrp.data.write(data or tf_lrp.data.explain(labelled, analyzer), run, **{"shard_size": SHARD, **arguments})
        assert contents(run) == before

    explain = tf_lrp.data.explain
    fails("shard_size was 8 and is 9", shard_size=9)
    fails("format was 'tfrecord' and is 'npz'", format="npz")
    fails("neuron_selection was None and is 2", explain(labelled, analyzer, 2))
    fails("preset was 'epsilon' and is 'z'", explain(labelled, tf_lrp.Analyzer(convnet(), "z")))
    fails("rules was", explain(labelled, tf_lrp.Analyzer(convnet(), tf_lrp.preset("epsilon", epsilon=0.5))))
    fails("started with other settings: weights was", explain(labelled, tf_lrp.Analyzer(randomize(convnet(), 3), "epsilon")))
    fails("tensor relevance was .* and is None", keep=lambda x, y, relevance: (x, y))
    fails(
        r"tensor y was 'int64 \[\]' and is 'int32 \[\]'",
        explain(labelled.map(lambda x, y: (x, tf.cast(y, tf.int32))), analyzer),
    )
    fails("preset was 'epsilon' and is None", labelled)
    with pytest.raises(FileExistsError, match=r"There is a run in .* already"):
        tf_lrp.data.write(explain(labelled, analyzer), run, shard_size=SHARD, resume=False)
    assert contents(run) == before


def test_other_samples_are_noticed(analyzer, x, y, tmp_path, monkeypatch):
    shuffled = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(SAMPLES).batch(BATCH)
    shorter = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).take(1)
    calls = []

    def commit(self, original=formats.TFRecord.commit):
        calls.append(self)
        if len(calls) == 3:
            raise Interrupted
        original(self)

    monkeypatch.setattr(formats.TFRecord, "commit", commit)
    with pytest.raises(Interrupted):
        tf_lrp.data.write(tf_lrp.data.explain(shuffled, analyzer), tmp_path, shard_size=SHARD)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"batch 2 differs\. .*reshuffle_each_iteration=False"):
        tf_lrp.data.write(tf_lrp.data.explain(shuffled, analyzer), tmp_path, shard_size=SHARD)
    with pytest.raises(ValueError, match="it ends before batch 2"):
        tf_lrp.data.write(tf_lrp.data.explain(shorter, analyzer), tmp_path, shard_size=SHARD)
    after = contents(tmp_path)
    assert {k: v for k, v in before.items() if ".partial" not in k} == after


def test_folders_of_others_are_refused(labelled, tmp_path):
    for name, text in (("thesis.tex", "years of work"), ("manifest.json", "{}"), ("shard-000000.npz", "whose?")):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(text)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="holds files that are not"):
                tf_lrp.data.write(labelled, folder, overwrite=overwrite)
        assert [p.read_text() for p in folder.iterdir()] == [text]
    with pytest.raises(FileExistsError, match="holds files that are not"):
        tf_lrp.data.write(labelled, tmp_path / "thesis-tex" / "thesis.tex")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        tf_lrp.data.read(tmp_path / "nowhere")


def test_datasets_that_cannot_be_written(labelled, x, tmp_path):
    slices = tf.data.Dataset.from_tensor_slices
    uneven = slices((x[None], x[None, :3]))
    ragged = labelled.map(lambda x, y: tf.RaggedTensor.from_tensor(x[..., 0]))
    for data, arguments, error, message in (
        (x, {}, TypeError, "needs a tf.data.Dataset of batches, got ndarray"),
        (labelled, {"format": "hdf5"}, ValueError, "'tfrecord', 'npz', 'zarr'; got 'hdf5'"),
        (labelled, {"shard_size": 0}, ValueError, "shard_size needs an integer >= 1"),
        (labelled.repeat(), {}, ValueError, "infinite"),
        (tf.data.Dataset.range(3), {}, ValueError, "no axis of samples"),
        (uneven, {}, ValueError, r"same number of samples.*'0': \(41, 8, 8, 3\), '1': \(3, 8, 8, 3\)"),
        (ragged, {}, TypeError, "RaggedTensor"),
        (labelled, {"keep": lambda x, y: ()}, ValueError, "nothing to write"),
        (slices([b"ends in zero\0"]).batch(1), {"format": "npz"}, ValueError, "zero byte"),
    ):
        with pytest.raises(error, match=message):
            tf_lrp.data.write(data, tmp_path / "run", **arguments)
        if (tmp_path / "run").exists():  # a run that began may be begun anew
            assert tf_lrp.data.write(labelled, tmp_path / "run", overwrite=True) == SAMPLES
            for path in (tmp_path / "run").iterdir():
                path.unlink()
            (tmp_path / "run").rmdir()


def test_text_is_no_zarr_array(tmp_path):
    pytest.importorskip("zarr")
    with pytest.raises(TypeError, match="'values' has the type string"):
        tf_lrp.data.write(tf.data.Dataset.from_tensor_slices(["a"]).batch(1), tmp_path, format="zarr")


# -- the documentation --------------------------------------------------------------------------------------------------


def test_the_code_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "docs/pipelines.md", "exec"), names)
    analyzer, x, labels = names["analyzer"], *columns(names["dataset"])
    for name, selection in (
        ("of_labels", labels),
        ("of_class_2", 2),
        ("of_two_classes", np.tile([0, 2], (40, 1))),
        ("of_the_next_class", (labels + 1) % 6),
        ("back", labels),
    ):
        close(columns(names[name])[2], analyzer.analyze(x, selection))
    assert names["count"] == 40
    close(names["heat"].astype("float32"), analyzer.analyze(x, labels).sum(-1)[:16], rtol=2e-3)
