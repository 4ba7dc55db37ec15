"""The formats of shards on disk: TFRecord files, NPZ files, or the chunks of Zarr arrays.

A format is a class with

    __init__(folder, leaves, shard_size): ``leaves`` is a list of `Leaf`; raises if this format cannot hold them
    files(index): paths of the existing files of one shard
    missing(index): which file of one shard is missing, None if all exist
    fault(samples): what is wrong with files that all shards share, None if they are valid
    count(index): number of samples in one shard, which is read for this; raises any error if it cannot be read
    keep(shards): deletes everything of a run except its first shards, including incomplete files and other formats
    begin(index), add(arrays), commit(): write one shard; ``arrays`` holds one array (n, ...) for each leaf. When ``commit``
        returns, the shard is complete and survives a loss of power.
    dataset(shards): the samples as a tf.data.Dataset of tuples of leaves
"""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_lrp.files import npz
from tf_lrp.runs import atomic_files

MANIFEST = "manifest.json"
LOCK = f"{MANIFEST}.lock"
ZARR = "arrays.zarr"
_OWN = re.compile(r"shard-\d{6,}\.(tfrecord|npz)(\.\d+\.partial)?|manifest\.json\.\d+\.partial|arrays\.zarr")


@dataclass(frozen=True)
class Leaf:
    """One tensor of a sample.

    Attributes:
        key: its path in the structure, such as "y" or "relevance/input".
        shape: of one sample, with None for axes that vary; None if the rank varies.
        dtype: TensorFlow's name of its data type.
    """

    key: str
    shape: tuple | None
    dtype: str


def is_own(path):
    """Whether a file or folder has a name that is used for shards."""
    return _OWN.fullmatch(path.name) is not None


def _sweep(folder, kept):
    """Deletes all files and folders of shards except those with the names to keep."""
    for path in folder.iterdir():
        if path.name not in kept and is_own(path):
            shutil.rmtree(path) if path.name == ZARR else path.unlink()


class _Files:
    """One file for each shard."""

    suffix = ""

    def __init__(self, folder, leaves, shard_size):
        self.folder, self.leaves, self.shard_size = folder, leaves, shard_size

    def file(self, index):
        return self.folder / f"shard-{index:06d}{self.suffix}"

    def files(self, index):
        return [path for path in [self.file(index)] if path.is_file()]

    def name_of(self, path):
        """A file's name in the manifest."""
        return path.relative_to(self.folder).as_posix()

    def missing(self, index):
        return None if self.files(index) else f"{self.file(index).name} is missing"

    def fault(self, samples):
        return None

    def keep(self, shards):
        _sweep(self.folder, {self.file(k).name for k in range(shards)})

    def begin(self, index):
        self._index, self._final = index, self.file(index)
        self._temporary = atomic_files.partial(self._final)


class TFRecord(_Files):
    """One tf.train.Example a sample: for each leaf a bytes feature of its key that ``tf.io.parse_tensor`` reads."""

    suffix = ".tfrecord"

    def begin(self, index):
        super().begin(index)
        self._writer = tf.io.TFRecordWriter(str(self._temporary))

    def add(self, arrays):
        for n in range(len(arrays[0])):
            features = {}
            for leaf, array in zip(self.leaves, arrays, strict=True):
                value = array[n : n + 1].reshape(array.shape[1:])  # array[n] of a 1-D array of strings would be a Python object
                encoded = tf.make_tensor_proto(value, dtype=leaf.dtype).SerializeToString()
                features[leaf.key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
            example = tf.train.Example(features=tf.train.Features(feature=features))
            self._writer.write(example.SerializeToString(deterministic=True))  # the features are a map without a fixed order

    def commit(self):
        self._writer.close()
        atomic_files.commit(self._temporary, self._final)

    def count(self, index):
        return sum(1 for _ in tf.data.TFRecordDataset(str(self.file(index))))

    def dataset(self, shards):
        description = {leaf.key: tf.io.FixedLenFeature([], tf.string) for leaf in self.leaves}

        def parsed(record):
            example = tf.io.parse_single_example(record, description)
            values = [tf.io.parse_tensor(example[leaf.key], leaf.dtype) for leaf in self.leaves]
            return tuple(tf.ensure_shape(v, leaf.shape) for v, leaf in zip(values, self.leaves, strict=True))

        records = tf.data.TFRecordDataset([str(self.file(k)) for k in range(shards)])
        return records.map(parsed, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class _Arrays(_Files):
    """Shards with one array for each leaf, collected in memory."""

    def begin(self, index):
        super().begin(index)
        self._parts = []

    def add(self, arrays):
        self._parts.append(arrays)

    def concatenated(self):
        """The collected arrays of the shard, one for each leaf."""
        arrays = []
        for leaf, parts in zip(self.leaves, zip(*self._parts, strict=True), strict=True):
            shapes = {p.shape[1:] for p in parts}
            if len(shapes) > 1:
                raise _one_shape(leaf, shapes)
            arrays.append(np.concatenate(parts))
        self._parts = []
        return arrays

    def count(self, index):
        (samples,) = {len(array) for array in self.load(index)}
        return samples

    def dataset(self, shards):
        specs = tuple(tf.TensorSpec(None if leaf.shape is None else (None, *leaf.shape), leaf.dtype) for leaf in self.leaves)

        def load():
            for index in range(shards):
                yield tuple(self.load(index))

        # unbatch would crash TensorFlow 2.21 on tensors without elements.
        samples = tf.autograph.experimental.do_not_convert(lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays))
        return tf.data.Dataset.from_generator(load, output_signature=specs).flat_map(samples)


class NPZ(_Arrays):
    """One ``.npz`` a shard, with an array (n, ...) for each leaf, named by its key; ``numpy.load`` reads it."""

    suffix = ".npz"

    def commit(self):
        # numpy.savez would take the arrays as keyword arguments, of which "file" is its own.
        with zipfile.ZipFile(self._temporary, "w") as archive:
            for leaf, array in zip(self.leaves, self.concatenated(), strict=True):
                # A new ZipInfo has no time stamp: the same samples give the same file.
                with archive.open(zipfile.ZipInfo(leaf.key + ".npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, _fixed_width(array, leaf), allow_pickle=False)
        atomic_files.commit(self._temporary, self._final)

    def load(self, index):
        path = self.file(index)
        # Arrays are stored uncompressed, so they need no more memory than the file has bytes.
        arrays = npz.load(path, [leaf.key for leaf in self.leaves], max_bytes=path.stat().st_size)
        for leaf, array in zip(self.leaves, arrays.values(), strict=True):
            # NumPy reads types that it does not know, such as bfloat16, as raw bytes of their width.
            yield array.view(tf.as_dtype(leaf.dtype).as_numpy_dtype) if array.dtype.kind == "V" else array


class Zarr(_Arrays):
    """``arrays.zarr``: a Zarr group with one array (samples, ...) for each leaf; a chunk holds one shard."""

    def __init__(self, folder, leaves, shard_size):
        super().__init__(folder, leaves, shard_size)
        self._zarr = _zarr()
        for leaf in leaves:
            if np.dtype(tf.as_dtype(leaf.dtype).as_numpy_dtype).kind not in "biufc":
                raise TypeError(
                    f'Zarr arrays hold numbers, but {leaf.key!r} has the type {leaf.dtype}: write it with format="tfrecord", '
                    "or leave it out with keep=."
                )

    def _group(self, mode):
        return self._zarr.open_group(str(self.folder / ZARR), mode=mode)

    def files(self, index):
        chunks = [self._chunk(leaf, index) for leaf in self.leaves]
        paths = [path for chunk in chunks for path in ([chunk] if chunk.is_file() else chunk.rglob("*"))]
        return sorted(path for path in paths if path.is_file() and path.suffix != ".partial")

    def _chunk(self, leaf, index):
        """The file of one shard of a leaf, or the folder of its files; Zarr writes no file for a chunk of zeros."""
        return self.folder / ZARR / leaf.key / "c" / str(index)

    def missing(self, index):
        return None if (self.folder / ZARR).is_dir() else f"{ZARR} is missing"

    def fault(self, samples):
        if self.missing(0):
            return self.missing(0)
        try:
            group = self._group("r")
            for leaf in self.leaves:
                array, dtype = group[leaf.key], tf.as_dtype(leaf.dtype).as_numpy_dtype
                fits = len(array.shape) == 1 + len(leaf.shape) if leaf.shape is not None else True
                if not fits or array.shape[0] < samples or array.chunks[0] != self.shard_size or array.dtype != dtype:
                    return f"{ZARR}/{leaf.key}/zarr.json was changed"
        except Exception as error:  # damaged files raise many kinds of errors
            return f"{ZARR} cannot be read ({type(error).__name__})"
        return None

    def keep(self, shards):
        _sweep(self.folder, {ZARR} if shards else ())
        if shards:
            for path in (self.folder / ZARR).rglob("*.partial"):  # files that Zarr did not finish
                path.unlink()
            group = self._group("r+")
            for array in (group[leaf.key] for leaf in self.leaves):
                array.resize((min(array.shape[0], shards * self.shard_size), *array.shape[1:]))

    def commit(self):
        group, start = self._group("a"), self._index * self.shard_size
        for leaf, values in zip(self.leaves, self.concatenated(), strict=True):
            if leaf.key not in group:
                chunks = (self.shard_size, *(max(1, d) for d in values.shape[1:]))
                group.create_array(leaf.key, shape=(0, *values.shape[1:]), chunks=chunks, dtype=values.dtype)
            array = group[leaf.key]
            if array.shape[1:] != values.shape[1:]:
                raise _one_shape(leaf, {array.shape[1:], values.shape[1:]})
            if array.shape[0] < start + len(values):
                array.resize((start + len(values), *values.shape[1:]))
            array[start : start + len(values)] = values
        self._sync_chunks()

    def _sync_chunks(self):
        """Zarr renames its finished files, but does not wait until they are on disk."""
        top = self.folder / ZARR
        paths = {self.folder}
        for leaf in self.leaves:
            chunk = self._chunk(leaf, self._index)
            if chunk.exists():  # a chunk of zeros does not exist
                paths.update((chunk, *chunk.rglob("*")))
            above = [p for p in chunk.parents if p.is_relative_to(top) and p.exists()]
            paths.update(above, [p / "zarr.json" for p in above if (p / "zarr.json").exists()])
        for path in sorted(paths, reverse=True):  # the contents of a folder before the folder
            atomic_files.sync(path)

    def load(self, index):
        group, start = self._group("r"), index * self.shard_size
        return [group[leaf.key][start : start + self.shard_size] for leaf in self.leaves]


FORMATS = {"tfrecord": TFRecord, "npz": NPZ, "zarr": Zarr}


def _zarr():
    try:
        import zarr  # an optional dependency
    except ImportError as error:
        raise ImportError('format="zarr" needs the package zarr: pip install tf_lrp[zarr].') from error
    return zarr


def _one_shape(leaf, shapes):
    return ValueError(
        f"Samples in arrays need the same shape, but {leaf.key!r} has {' and '.join(map(str, sorted(shapes)))}: write them "
        'with format="tfrecord".'
    )


def _fixed_width(array, leaf):
    """Strings as NumPy's fixed-width bytes, which need no pickle."""
    if array.dtype != object:
        return array
    fixed = array.astype("S")
    if (fixed.astype(object) != array).any():
        raise ValueError(f'NPZ cannot hold strings that end in a zero byte, as in {leaf.key!r}: use format="tfrecord".')
    return fixed
