"""Arrays from files of others: known by their headers before they are read."""

import io
import pickle
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

from tf_lrp import methods, model_zoo
from tf_lrp.files import npz


def written(path, arrays, compressed=True):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def bomb(path, key, shape):
    """A small file that says truly that it holds a huge array of zeros."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{key}.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        zeros, left = bytes(1 << 24), 4 * int(np.prod(shape))
        while left:
            left -= member.write(zeros[:left])
    return path


def refused(call, message, limit=1 << 26):
    """A ValueError for which no more memory is taken than ``limit`` bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            call()
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    return bomb(tmp_path_factory.mktemp("bomb") / "bomb.npz", "dense/kernel", (19000, 19000))


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])


def test_arrays_come_back(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 4)), "text": np.array([b"x", b"yz"]), "n": np.int8(3)}
    arrays["columns"] = np.asfortranarray(arrays["a/b"])
    for compressed in (False, True):
        path = written(tmp_path / "a.npz", arrays, compressed)
        assert npz.headers(path) == {k: (np.shape(v), np.asarray(v).dtype) for k, v in arrays.items()}
        for names in (None, ["n", "a/b"]):
            loaded = npz.load(path, names)
            assert list(loaded) == (names or list(arrays))
            for name, array in loaded.items():
                np.testing.assert_array_equal(array, arrays[name])
                assert array.dtype == np.asarray(arrays[name]).dtype


def test_a_bomb_is_refused_before_it_is_read(tmp_path, huge, model):
    assert huge.stat().st_size < 2 << 20
    assert npz.headers(huge) == {"dense/kernel": ((19000, 19000), np.dtype("float32"))}
    refused(lambda: npz.load(huge), r"would take 1,444,000,000 bytes of memory.*max_bytes")
    refused(lambda: methods.Patterns.load(huge), "would take 1,444,000,000 bytes")
    refused(lambda: model_zoo.load_weights(model, huge), r"of another shape .*\(19000, 19000\) in the file, \(4, 3\)")
    small = written(tmp_path / "small.npz", {"zeros": np.zeros((1000, 1000))})
    refused(
        lambda: npz.load(small, max_bytes=7_999_999), "8,000,000 bytes of memory, which is more than the 7,999,999", 1 << 20
    )
    assert npz.load(small, max_bytes=8_000_000)["zeros"].shape == (1000, 1000)


def test_a_bomb_beside_the_weights(tmp_path, model):
    weights = {"dense/kernel": np.ones((4, 3)), "dense/bias": np.zeros(3), "more": np.zeros((3000, 3000))}
    path = written(tmp_path / "w.npz", weights)
    refused(lambda: model_zoo.load_weights(model, path), "unknown to the model .1.: more", 1 << 22)
    lenet = bomb(tmp_path / "lenet.npz", "conv1_W", (19000, 19000))
    refused(lambda: model_zoo.load("lenet5", weights=lenet), "would take 1,444,000,000 bytes")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def archive_of(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def array_bytes(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def test_what_is_no_file_of_plain_arrays(tmp_path, capsys):
    good = array_bytes(np.arange(10.0))
    path = tmp_path / "x.npz"

    def fails(message, **members):
        refused(lambda: npz.load(archive_of(path, **members)), message)
        refused(lambda: npz.headers(path), message)

    fails("pickled objects, which are refused", a__npy=array_bytes(np.array([Evil()], object), allow_pickle=True))
    fails("is not an array with a unique name", a__txt=b"text")
    fails("does not match its shape", a__npy=good[:-8])
    fails("does not match its shape", a__npy=good + b"more")
    fails("not an npz file", a__npy=b"")
    fails("not an npz file", a__npy=b"\x93NUMPY\x09\x00" + good[8:])
    fails("not an npz file", a__npy=good.replace(b"(10,)", b"(-9,)"))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", good)
        archive.writestr("a.npy", good)
    refused(lambda: npz.load(path), "unique name")
    for data in (b"", b"\x93NUMPY", pickle.dumps(Evil()), good):
        path.write_bytes(data)
        refused(lambda: npz.load(path), "not an npz file")
    written(path, {"a": np.arange(1000.0)}, compressed=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(np.float64(500).tobytes(), np.float64(501).tobytes()))
    refused(lambda: npz.load(path), "CRC")
    with pytest.raises(ValueError, match="holds no array 'b'"):
        npz.load(written(path, {"a": np.zeros(3)}), ["b"])
    with pytest.raises(FileNotFoundError):
        npz.load(tmp_path / "nowhere.npz")
    assert "run" not in capsys.readouterr().out
