"""Damaged files of every format: they are read, or refused by one sentence. (10,000 of each were read once.)"""

import io
import pickle

import numpy as np
import pytest
import scipy.io
from damage import damaged_files

from tf_lrp.toolbox import data_io, text_format
from tf_lrp.toolbox.records import Record

DATA = np.random.default_rng(0).normal(size=(4, 3))
COUNT = 200


def content_of(save, *arguments, **options):
    buffer = io.BytesIO()
    save(buffer, *arguments, **options)
    return buffer.getvalue()


def matlab(**options):
    return content_of(scipy.io.savemat, {"x": DATA[:2], "data": DATA, "text": "word"}, **options)


def text():
    return " ".join(map(repr, DATA.ravel().tolist())).encode()


DATA_FILES = {
    ".txt": [b"\n".join([text(), text()])],
    ".npy": [content_of(np.save, DATA), content_of(np.save, DATA.astype("f4"))],
    ".npz": [content_of(np.savez, data=DATA), content_of(np.savez_compressed, data=DATA, other=DATA)],
    ".mat": [matlab(), matlab(do_compression=True), content_of(scipy.io.savemat, {"x": DATA, "data": DATA}, format="4")],
}
RECORDS = [
    Record("Convolution", (1, 2, 2, 3, 1, 1), DATA.reshape(1, 2, 2, 3), DATA[0]), Record("Rect"),
    Record("SumPool", (2, 1, 1, 1)), Record("Flatten"), Record("Linear", (4, 3), DATA, DATA[0], "eps", 0.1), Record("SoftMax"),
]  # fmt: skip


def assert_read_or_refused(read, paths):
    outcomes = {"read": 0, "refused": 0}
    for path in paths:
        try:
            read(path)
            outcomes["read"] += 1
        except ValueError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 700
            outcomes["refused"] += 1
    assert outcomes["refused"] > COUNT / 4


@pytest.mark.parametrize("ending", DATA_FILES)
def test_data(ending, tmp_path):
    assert_read_or_refused(data_io.read, damaged_files(DATA_FILES[ending], tmp_path, ending, COUNT))


@pytest.mark.eager
@pytest.mark.parametrize("ending", [".txt", ".nn", ".keras"])
def test_networks(ending, tmp_path):
    from tf_lrp.toolbox import model_io, modules, pickle_format

    linear = [record for record in RECORDS if record.name in ("Linear", "SoftMax")]
    if ending == ".txt":
        originals = [text_format.write(RECORDS).encode(), text_format.write(linear, legacy=True).encode()]
    elif ending == ".nn":
        originals = [pickle_format.write(RECORDS), pickle_format.write(linear), pickle.dumps(DATA)]
    else:
        path = tmp_path / "network.keras"
        model_io.write(modules.Sequential([modules.Linear(4, 3), modules.SoftMax()]), path)
        originals = [path.read_bytes()]
    assert_read_or_refused(model_io.read, damaged_files(originals, tmp_path, ending, COUNT))
