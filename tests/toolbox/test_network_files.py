"""Networks in files: what is written is read again, the toolbox can read it, and bad files are refused."""

import os
import pickle
import sys
import types

import keras
import numpy as np
import pytest

from tf_lrp.toolbox import model_io, modules
from tf_lrp.toolbox.records import SIZES, Record

pytestmark = pytest.mark.eager

X = np.random.default_rng(0).normal(size=(3, 8, 8, 2))

LEGACY = """Linear 2 3
1 2 3
4 5 6
7 8 9
Tanh
Linear 3 1
1
0.5
-1e-1
2
SoftMax
"""


def convolutional():
    keras.utils.set_random_seed(0)
    return modules.Sequential(
        [modules.Convolution((3, 2, 2, 4), (1, 2)), modules.Rect(), modules.SumPool((3, 2), (1, 2)), modules.Tanh(),
         modules.MaxPool((2, 1), (2, 1)), modules.Flatten(), modules.Linear(16, 3), modules.SoftMax()]
    )  # fmt: skip


@pytest.mark.parametrize("ending", [".txt", ".nn", ".pickle", "", ".keras", ".h5"])
def test_what_is_written_is_read_again(ending, tmp_path):
    nn = convolutional()
    nn.modules[0].set_lrp_parameters("ww")
    output = nn.forward(X)
    path = tmp_path / f"made/network{ending}"
    model_io.write(nn, path)
    again = model_io.read(path)
    np.testing.assert_array_equal(again.forward(X), output)
    np.testing.assert_allclose(again.lrp(output, "epsilon", 0.5), nn.lrp(output, "epsilon", 0.5), rtol=1e-12, atol=1e-15)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if ending in (".nn", ".pickle", ""):
        assert [m.lrp_var for m in again.modules] == ["ww", *[None] * 7]


def test_both_layouts_of_the_text(tmp_path):
    path = tmp_path / "network.txt"
    path.write_text(LEGACY)
    nn = model_io.read(path)
    assert [type(m).__name__ for m in nn.modules] == ["Linear", "Tanh", "Linear", "SoftMax"]
    np.testing.assert_array_equal(nn.modules[0].W, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(nn.modules[2].W, [[1], [0.5], [-0.1]])
    model_io.write(nn, path)
    assert path.read_text().splitlines()[:3] == ["Linear 2 3", "1.0 2.0 3.0 4.0 5.0 6.0", "7.0 8.0 9.0"]
    model_io.write(nn, path, "legacy")
    assert path.read_text().splitlines()[:3] == ["Linear 2 3", "1.0 2.0 3.0", "4.0 5.0 6.0"]
    np.testing.assert_array_equal(model_io.read(path).forward([[1, 2]]), nn.forward([[1, 2]]))
    path.write_bytes(LEGACY.replace("\n", "\r\n").encode("utf-8-sig"))  # as Windows writes it
    np.testing.assert_array_equal(model_io.read(path, "TXT").forward([[1, 2]]), nn.forward([[1, 2]]))
    with pytest.raises(ValueError, match="legacy layout has the modules Linear, Rect, Tanh, SoftMax only"):
        model_io.write(convolutional(), path, "legacy")


@pytest.fixture
def classes_of_the_toolbox(monkeypatch):
    """Empty classes where the toolbox has its own: package `modules`, one file for each class."""
    monkeypatch.setitem(sys.modules, "modules", types.ModuleType("modules"))
    for name in ("Sequential", *SIZES):
        place = types.ModuleType(f"modules.{name.lower()}")
        setattr(place, name, type(name, (), {"__module__": place.__name__}))
        monkeypatch.setitem(sys.modules, place.__name__, place)


def test_the_toolbox_reads_our_pickles_and_we_read_its(classes_of_the_toolbox, tmp_path):
    nn, path = convolutional(), tmp_path / "network.nn"
    nn.set_lrp_parameters("alpha", 2.0)
    model_io.write(nn, path)
    theirs = pickle.loads(path.read_bytes())
    convolution, _, pooling, *_, linear, _ = theirs.modules
    assert (convolution.fh, convolution.fw, convolution.fd, convolution.n, convolution.stride) == (3, 2, 2, 4, (1, 2))
    assert (pooling.pool, pooling.stride) == ((3, 2), (1, 2))
    assert (linear.m, linear.n, linear.lrp_var, linear.lrp_param) == (16, 3, "alpha", 2)
    np.testing.assert_array_equal(linear.W, nn.modules[6].W)
    output = nn.forward(X)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(theirs, protocol))
        again = model_io.read(path)
        np.testing.assert_array_equal(again.forward(X), output)
        assert again.modules[-1].lrp_var == "alpha"
    pooling.pool, linear.W, linear.B = [np.int64(3), 2], np.asfortranarray(linear.W).astype(">f4"), linear.B[None]
    path.write_bytes(pickle.dumps(theirs))
    np.testing.assert_allclose(model_io.read(path).forward(X), output, rtol=1e-5)


def test_pickles_of_python_2(tmp_path):
    """An instance of a class of the old style, with its array's bytes as a string of Python 2."""
    values = np.array([[1.5, -2.0]])

    def pickled(array):
        shape = b"".join(b"I%d\n" % size for size in array.shape)
        content = repr(array.tobytes())[1:].encode()
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(" + shape + b"tcnumpy\ndtype\n"
            b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS" + content + b"\ntb"
        )

    weights, biases = pickled(values), pickled(np.zeros(2))
    linear = b"(imodules.linear\nLinear\n(dS'm'\nI1\nsS'n'\nI2\nsS'W'\n" + weights + b"sS'B'\n" + biases + b"sb"
    path = tmp_path / "old.nn"
    path.write_bytes(b"(imodules.sequential\nSequential\n(dS'modules'\n(l" + linear + b"asb.")
    np.testing.assert_array_equal(model_io.read(path).forward([[2.0]]), 2 * values)


class _Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("ending", [".nn", ".pickle"])
def test_pickles_run_nothing(protocol, ending, tmp_path):
    path, mark = tmp_path / f"hostile{ending}", tmp_path / "was_here"
    for function, argument in ((os.system, f"touch {mark}"), (eval, f"open({str(mark)!r}, 'w')"), (os.mkdir, str(mark))):
        path.write_bytes(pickle.dumps(_Hostile(function, argument), protocol))
        with pytest.raises(ValueError, match="is no part of a network of the toolbox"):
            model_io.read(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pickle exhausted"),
        (b"cmodules.linear\nLinear.__init__.__globals__\n.", "no part of a network"),
        (b"\x80\x02U\x01xQ.", "BINPERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Nr\xff\xff\xff\xff.", "numbers more objects than it can hold"),
        (b"N" + b"\x85" * 20_000 + b".", "more than 10000 tuples"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fx.", "expected|exhausted"),
        (pickle.dumps({"modules": []}), "holds no Sequential"),
        (b"cmodules\nSequential\n)\x81}X\x07\x00\x00\x00modules](K\x01esb.", "something that is no module"),
        (b"cmodules\nLinear\n}b.", "positional argument|holds no Sequential"),
    ],
)
def test_other_pickles_are_refused(content, message, tmp_path):
    path = tmp_path / "network.nn"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"network\.nn' cannot be read as a network: .*({message})"):
        model_io.read(path)


def test_the_size_of_an_array_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "network.nn"
    model_io.write(modules.Sequential([modules.Linear(2, 3)]), path)
    content = path.read_bytes()
    assert content.count(b"K\x02K\x03\x86") == 1
    path.write_bytes(content.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"))
    with pytest.raises(ValueError, match=r"do not have the size of its shape \(2147483647, 2147483647\)"):
        model_io.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it names no module"),
        ("Linear 2 3\n1 2 3", "line 2: the file ends within the weights of Linear 2 3: 6 numbers are needed, 3 were found"),
        ("Linear 2 3\n1 2 3 4 5 6\n1 2", "line 3: the biases of Linear 2 3 are 3 numbers; got 2"),
        ("Linear 2 3\n1 2 3 4", "line 2: the weights of Linear 2 3 are 6 numbers on one line, or 3 on each; got 4"),
        ("Tanh\nLinear 1 1\none", "line 3: the weights of Linear 1 1 are numbers; got 'one'"),
        ("Linear 1 1\nnan\n1", "W holds NaN or infinite values"),
        ("Linear 1 1\n1\n1e999", "B holds NaN or infinite values"),
        ("Linear 2", r"line 1: Linear takes 2 numbers \(m, n\); got 1"),
        ("Linear 2 x", "line 1: Linear is followed by whole numbers; got '2 x'"),
        ("Linear 0 3", "line 1: Linear needs m >= 1"),
        ("Linear 99999999999999999999999999 1", "more than twenty digits"),
        ("Linear 2000000000 2000000000\n1 2", "line 2"),
        ("Rect 3", "line 1: Rect takes no numbers; got 1"),
        ("Rectt", "line 1: There is no module 'Rectt'. Did you mean 'Rect'"),
        ("Tanh\0", "it is no text"),
        ("Tanh\n\xff", "decode"),
    ],
)
def test_bad_text_is_refused(text, message, tmp_path):
    path = tmp_path / "network.txt"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"network.txt' cannot be read as a network: .*{message}"):
        model_io.read(path)


def test_files_that_are_not_there_and_formats_that_there_are_not(tmp_path):
    nn = modules.Sequential([modules.Tanh()])
    with pytest.raises(FileNotFoundError, match=r"no file '.*none.nn'"):
        model_io.read(tmp_path / "none.nn")
    with pytest.raises(ValueError, match="ends in none of txt"):
        model_io.read(tmp_path / "network.onnx")
    with pytest.raises(ValueError, match=r"fmt is one of txt.* Did you mean 'pickle'"):
        model_io.write(nn, tmp_path / "network", "pikle")
    (tmp_path / "network.mat").write_bytes(b"")
    with pytest.raises(ValueError, match="only MATLAB reads: there, write the network as text"):
        model_io.read(tmp_path / "network.mat")
    with pytest.raises(ValueError, match="Only MATLAB writes networks"):
        model_io.write(nn, tmp_path / "network.mat")
    with pytest.raises(TypeError, match="got int"):
        model_io.write(3, tmp_path / "network.txt")
    (tmp_path / "network.keras").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="no model that Keras loads"):
        model_io.read(tmp_path / "network.keras")


# ---- Keras models in the toolbox's files ------------------------------------------------------------------------------


def keras_model(*layers):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 2)), *layers])


def test_a_keras_model_is_written_as_modules(tmp_path):
    layers = keras.layers
    model = keras_model(
        layers.Conv2D(4, 3, activation="relu"), layers.AveragePooling2D((3, 2)), layers.Dropout(0.5), layers.ReLU(),
        layers.Conv2D(3, (1, 2), activation="tanh", use_bias=False), layers.Flatten(), layers.Dense(4, activation="softmax"),
    )  # fmt: skip
    nn = modules.Sequential(model)
    output = nn.forward(X)
    for ending in (".txt", ".nn"):
        model_io.write(model, tmp_path / f"network{ending}")
        again = model_io.read(tmp_path / f"network{ending}")
        names = "Convolution Rect SumPool Rect Convolution Tanh Flatten Linear SoftMax"
        assert [type(m).__name__ for m in again.modules] == names.split()
        np.testing.assert_allclose(again.forward(X), output, rtol=1e-5)
        for method in (("simple",), ("epsilon", 0.1), ("alpha", 2.0)):
            found, expected = again.lrp(output, *method), nn.lrp(output, *method)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([keras.layers.Conv2D(2, 3, padding="same")], "has no padding, groups or dilation"),
        ([keras.layers.Dense(3)], "Linear takes .N, m."),
        ([keras.layers.Conv2D(2, 3, activation="elu")], "no module for the activation 'elu'"),
        ([keras.layers.LayerNormalization()], "no module for the layer .*LayerNormalization"),
        ([keras.layers.ReLU(max_value=6)], "no module for the layer .*ReLU"),
        ([keras.layers.AveragePooling2D(2)], "ends in an average"),
        ([keras.layers.AveragePooling2D(2), keras.layers.Activation("tanh")], "follows an average pooling"),
        ([keras.layers.Dropout(0.5)], "no layer that the toolbox has a module for"),
    ],
)
def test_keras_models_that_the_toolbox_cannot_hold(layers, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model_io.write(keras_model(*layers), tmp_path / "network.txt")
    assert not list(tmp_path.iterdir())


def test_branches_are_no_chain(tmp_path):
    inputs = keras.Input((4,))
    h = keras.layers.Dense(4)(inputs)
    with pytest.raises(ValueError, match="The toolbox has no branches"):
        model_io.write(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()([h, inputs]))), tmp_path / "network.txt")


def test_records_hold_what_fits():
    with pytest.raises(ValueError, match=r"Linear 2 3: W has the shape \(2, 3\); got \(3, 2\)"):
        Record("Linear", (2, 3), np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="Rect : W has the shape None"):
        Record("Rect", (), np.zeros(3))
