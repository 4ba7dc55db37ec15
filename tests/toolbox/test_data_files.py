"""Data matrices in files: what is written is read again, by NumPy and SciPy too, and bad files are refused."""

import io
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from tf_lrp.toolbox import data_io

DATA = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize("ending", ["txt", "npy", "npz", "mat", ""])
def test_what_is_written_is_read_again(ending, tmp_path):
    path = tmp_path / "made" / f"data.{ending}".rstrip(".")
    data_io.write(DATA, str(path))
    np.testing.assert_array_equal(data_io.read(str(path)), DATA)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    data_io.write(DATA, tmp_path / "other", fmt=ending or "npy")
    np.testing.assert_array_equal(data_io.read(tmp_path / "other", ending.upper() or None), DATA)


def test_others_read_what_is_written(tmp_path):
    for ending, load in (
        ("txt", np.loadtxt),
        ("npy", np.load),
        ("npz", lambda path: np.load(path)["data"]),
        ("mat", lambda path: scipy.io.loadmat(path)["data"]),
    ):
        data_io.write(DATA, tmp_path / f"data.{ending}")
        np.testing.assert_array_equal(load(tmp_path / f"data.{ending}"), DATA)


def test_what_others_write_is_read(tmp_path):
    np.savetxt(tmp_path / "data.txt", DATA, header="rows", delimiter=",")  # MATLAB's dlmwrite has commas, too
    np.testing.assert_allclose(data_io.read(tmp_path / "data.txt"), DATA)
    (tmp_path / "one.txt").write_bytes("\ufeff1 2\r\n\r\n3 4\r\n".encode())
    np.testing.assert_array_equal(data_io.read(tmp_path / "one.txt"), [[1, 2], [3, 4]])
    np.savez(tmp_path / "several.npz", labels=[1], data=DATA)
    np.testing.assert_array_equal(data_io.read(tmp_path / "several.npz"), DATA)
    np.savez(tmp_path / "one.npz", DATA)
    np.testing.assert_array_equal(data_io.read(tmp_path / "one.npz"), DATA)
    np.save(tmp_path / "colour.npy", np.zeros((2, 3, 4, 3), "uint8"))
    assert data_io.read(tmp_path / "colour.npy").shape == (2, 3, 4, 3)


ARRAYS = (DATA, DATA.astype("f4"), np.arange(12, dtype="u1").reshape(3, 4), np.arange(-3.0, 3).reshape(2, 3), DATA > 0,
          np.arange(24, dtype="i8").reshape(2, 3, 4), np.arange(5.0), np.zeros((0, 3)))  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}], ids=["plain", "compressed", "version 4"])
def test_matrices_of_matlab(options, tmp_path):
    path = tmp_path / "data.mat"
    for array in ARRAYS[: 5 if "format" in options else None]:
        scipy.io.savemat(path, {"x": np.arange(3), "label": "text", "data": array}, **options)
        found, expected = data_io.read(path), scipy.io.loadmat(path)["data"]
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_files_of_a_processor_of_the_other_order_of_bytes(tmp_path):
    def element(kind, content):
        return struct.pack(">2I", kind, len(content)) + content + b"\0" * (-len(content) % 8)

    parts = (
        element(6, struct.pack(">2I", 6, 0)),
        element(5, struct.pack(">2i", 1, 2)),
        element(1, b"data"),
        element(9, struct.pack(">2d", 1.5, 2)),
    )
    path = tmp_path / "data.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, b"".join(parts)))
    np.testing.assert_array_equal(data_io.read(path), [[1.5, 2]])
    np.testing.assert_array_equal(scipy.io.loadmat(path)["data"], [[1.5, 2]])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"data": "text"}, "but a char array"),
        ({"data": np.array([1, "a"], object)}, "but a cell array"),
        ({"data": np.array([1j])}, "but complex numbers"),
        ({"data": {"a": 1}}, "but a struct array"),
        ({"images": DATA, "labels": DATA}, "holds no matrix 'data', but 'images', 'labels'"),
    ],
)
def test_other_variables_of_matlab(variables, message, tmp_path):
    scipy.io.savemat(tmp_path / "data.mat", variables)
    with pytest.raises(ValueError, match=f"data.mat' cannot be read as data: .*{message}"):
        data_io.read(tmp_path / "data.mat")


def compressed_bomb():
    """The beginning of a matrix of 2 GiB of zeros, which would take two megabytes."""
    content = zlib.compress(struct.pack("<2I", 14, 2**31) + bytes(2**20))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 15, len(content)) + content


class _Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_bad_files_are_refused(tmp_path):
    mark = str(tmp_path / "was_here")
    whole = npy(DATA)
    contents = {
        "a.txt": (b"1 2\n3 four", "line 2: .*'four'"),
        "b.txt": (b"1 2\n3", "line 2 holds 1 numbers, and the first 2"),
        "c.txt": (b"\n", "holds no numbers"),
        "d.txt": (b"\xff\xfe", "decode"),
        "a.npy": (b"", "read"),
        "b.npy": (whole[:-1], r"size of its array does not match its shape \(4, 3\)"),
        "c.npy": (whole.replace(b"(4, 3)", b"(9999999999, 3)"), "does not match its shape"),
        "d.npy": (npy(np.array([_Hostile(mark)], object)), "pickled objects, which are refused"),
        "e.npy": (npy(np.array(["text"])), "and no numbers"),
        "f.npy": (pickle.dumps(_Hostile(mark)), "magic"),
        "g.npy": (whole.replace(b"}", b"("), "header|EOF|statement"),
        "a.npz": (b"PK\x05\x06", "is not an npz file"),
        "a.mat": (b"", "holds no matrix 'data'"),
        "b.mat": (b"MATLAB 7.3 MAT-file".ljust(512), "version 7.3, which is HDF5: save it with"),
        "c.mat": (b"x" * 200, "it is no .mat file"),
        "d.mat": (struct.pack("<5i", 0, -1, 2, 0, 2) + b"x\0", "it is no .mat file"),
        "e.mat": (struct.pack("<5i", 0, 2**31 - 1, 2**31 - 1, 0, 5) + b"data\0", "it ends within a matrix"),
        "f.mat": (compressed_bomb(), "2,147,483,648 bytes, more than is allowed"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as raised:
            data_io.read(tmp_path / name)
        assert "\n" not in str(raised.value)
        assert str(tmp_path / name) in str(raised.value)
    assert not os.path.exists(mark)
    np.savez(tmp_path / "two.npz", a=DATA, b=DATA)
    with pytest.raises(ValueError, match="holds 2 arrays, a, b, and none is called 'data'"):
        data_io.read(tmp_path / "two.npz")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ValueError, match="writes numbers"):
        data_io.write(["a"], tmp_path / "data.npy")
    with pytest.raises(ValueError, match="reshape it, or write npy"):
        data_io.write(np.zeros((2, 3, 4)), tmp_path / "data.txt")
    with pytest.raises(ValueError, match="ends in none of txt, npy, npz, mat; got 'csv'"):
        data_io.write(DATA, tmp_path / "data.csv")
    with pytest.raises(FileNotFoundError):
        data_io.read(tmp_path / "data.npy")
