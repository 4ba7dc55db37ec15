"""The command line: pictures in, files and tables out, errors in one line."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import tf_lrp
from tf_lrp import cli, model_zoo, presets
from tf_lrp.vision import class_names, classifier, demo, images

NAMES = ["red fox, Vulpes vulpes", "crane", "tabby cat", "crane", "grey fox, gray fox"]
SIDES = (16, 24)  # height and width of the small model's pictures


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A small classifier, saved; softmax on top, biases inside."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((*SIDES, 3)),
            keras.layers.Conv2D(6, 3, activation="relu", padding="same", bias_initializer="ones", name="conv"),
            keras.layers.MaxPooling2D(2, name="pool"),
            keras.layers.Conv2D(8, 3, activation="relu", name="conv2"),
            keras.layers.Flatten(),
            keras.layers.Dense(len(NAMES), activation="softmax", name="classes"),
        ],
        name="small",
    )
    kernel, bias = model.get_layer("classes").get_weights()
    model.get_layer("classes").set_weights([kernel / 300, bias])  # or the softmax of 0..255 is 0 and 1
    path = tmp_path_factory.mktemp("model") / "small.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def small(small_file):
    return keras.models.load_model(small_file)


@pytest.fixture
def names_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return path


def picture(path, seed=0, size=(40, 60), mode="RGB", **options):
    """Writes a picture of noise of the given (height, width) and returns its path."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result


def fail(code, *arguments):
    """The one line of the error of a command that must fail."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.output
    return result.stderr


def seen(path, sides=SIDES):
    return images.fit(images.read(path), sides)[None].astype(np.float32)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- explaining -----------------------------------------------------------------------------------------------------


def test_files_and_numbers_are_those_of_the_analyzer(tmp_path, small_file, small, names_file):
    paths = [picture(tmp_path / "in" / f"{n}.png", seed=n, size=(30 + 9 * n, 50)) for n in range(3)]
    out = tmp_path / "deep" / "out"
    options = ("--model", small_file, "--classes", names_file, "--preset", "cmp_a1", "--out", out, "--batch-size", 2)
    result = succeed("explain", *paths, *options)

    analyzer = tf_lrp.Analyzer(small, "cmp_a1")
    labels = ["red_fox", "crane_1", "tabby_cat", "crane_3", "grey_fox"]
    expected = []
    for n, path in enumerate(paths):
        x = seen(path)
        winner = int(np.argmax(small(x)[0]))
        base = f"{n}.{labels[winner]}.cmp_a1"
        expected += [f"{base}{ending}" for ending in (".heatmap.png", ".npy", ".overlay.png")]
        relevance = np.load(out / f"{base}.npy")
        assert relevance.shape == (*SIDES, 3) and relevance.dtype == np.float32
        np.testing.assert_allclose(relevance, analyzer.analyze(x, winner)[0], rtol=1e-4, atol=1e-6)
        for kind in ("heatmap", "overlay"):
            with Image.open(out / f"{base}.{kind}.png") as image:
                assert image.size == SIDES[::-1] and image.mode == "RGB"
                assert len(image.getcolors(10_000)) > 10
        score = float(analyzer.twin(x)[0, winner])
        assert f"{score:.3f}" in result.stdout
        assert f"{float(small(x)[0, winner]):.1%}" in result.stdout
        balance = analyzer.conservation(x, winner)
        assert f"score {score:.3f} = relevance {balance.input:.3f}" in result.stdout
    assert files(out) == sorted(expected)
    assert "3 of 3 pictures explained, 9 files in" in result.stdout


def test_shapes_of_the_zoo_needs_no_options_but_its_name(tmp_path):
    drawn = model_zoo.shapes.sample(1, seed=0, present=("triangle", "circle")).images[0]
    Image.fromarray(drawn).save(tmp_path / "two.png")
    result = succeed("explain", tmp_path / "two.png", "-m", "shapes", "-t", "top2", "-o", tmp_path / "out")
    assert {name.split(".")[1] for name in files(tmp_path / "out")} == {"triangle", "circle"}
    model = model_zoo.load("shapes")
    x = model_zoo.entry("shapes").preprocess(drawn[None])
    relevance = tf_lrp.Analyzer(model).analyze(x, model_zoo.shapes.CLASSES.index("circle"))[0]
    np.testing.assert_allclose(
        np.load(tmp_path / "out" / "two.circle.cmp_a2_flat.npy"), relevance, atol=1e-4 * abs(relevance).max()
    )
    assert "probability" in result.stdout and "conservation of circle" in result.stdout


def test_lenet_sees_its_padding(tmp_path):
    path = picture(tmp_path / "digit.png", size=(28, 28))
    succeed("explain", path, "--model", "lenet5", "--weights", "random", "--out", tmp_path / "out", "--target", 7)
    assert np.load(tmp_path / "out" / "digit.7.cmp_a2_flat.npy").shape == (32, 32, 1)
    with Image.open(tmp_path / "out" / "digit.7.cmp_a2_flat.overlay.png") as image:
        assert image.size == (32, 32)


def test_the_five_strongest(tmp_path, small_file, small, names_file):
    path, out = picture(tmp_path / "a.png"), tmp_path / "out"
    succeed("explain", path, "--model", small_file, "--classes", names_file, "--out", out, "--target", "top5")
    assert len(files(out)) == 15
    every = tf_lrp.Analyzer(small).analyze(seen(path), np.arange(5)[None])[0]
    for k, label in enumerate(("red_fox", "crane_1", "tabby_cat", "crane_3", "grey_fox")):
        found = np.load(out / f"a.{label}.cmp_a2_flat.npy")
        np.testing.assert_allclose(found, every[k], rtol=1e-4, atol=1e-6)


def test_targets():
    classes = class_names.Classes(NAMES)
    scores = np.array([[0.0, 3, 1, 2, 1], [9, 8, 7, 6, 5]])
    for text, index in (
        ("2", 2),
        ("tabby cat", 2),
        ("Tabby_Cat", 2),
        ("Vulpes vulpes", 0),
        ("red fox, vulpes vulpes", 0),
        ("gray fox", 4),
    ):
        np.testing.assert_array_equal(class_names.target(text, classes)(scores), [[index], [index]])
    np.testing.assert_array_equal(class_names.target("max", classes)(scores), [[1], [0]])
    np.testing.assert_array_equal(class_names.target("top3", classes)(scores), [[1, 3, 2], [0, 1, 2]])
    assert class_names.target("top99", classes)(scores).shape == (2, 5)  # no more than there are


def test_presets_with_parameters_and_from_json(tmp_path, small_file, small):
    path, out = picture(tmp_path / "a.png"), tmp_path / "out"
    options = ("--model", small_file, "--target", 1, "--out", out)
    succeed("explain", path, *options, "--preset", "cmp_a2_flat:flat_layers=2,epsilon=0.1")
    succeed("explain", path, *options, "--preset", "cmp_a2_flat:flat_layers=all")
    succeed("explain", path, *options, "--preset", "deep_taylor_bounded:low=0,0,0,high=255")
    own = tf_lrp.preset("cmp_a1", epsilon=0.5)
    (tmp_path / "mine.json").write_text(own.to_json(), encoding="utf-8")
    succeed("explain", path, *options, "--preset", tmp_path / "mine.json")
    for label, preset in (
        ("cmp_a2_flat_flat_layers=2_epsilon=0.1", tf_lrp.preset("cmp_a2_flat", flat_layers=2, epsilon=0.1)),
        ("cmp_a2_flat_flat_layers=all", tf_lrp.preset("cmp_a2_flat", flat_layers="all")),
        ("deep_taylor_bounded_low=0_0_0_high=255", tf_lrp.preset("deep_taylor_bounded", low=0, high=255)),
        ("mine", own),
    ):
        relevance = tf_lrp.Analyzer(small, preset).analyze(seen(path), 1)[0]
        np.testing.assert_allclose(np.load(out / f"a.class_1.{label}.npy"), relevance, rtol=1e-4, atol=1e-6)


def test_inner_layers(tmp_path, small_file, small):
    path, out = picture(tmp_path / "a.png"), tmp_path / "out"
    layers = ("--layer", "conv", "--layer", "pool")
    succeed("explain", path, "--model", small_file, "--target", 4, "--out", out, *layers)
    maps = tf_lrp.Analyzer(small).analyze(seen(path), 4, layers=["conv", "pool"])
    for layer in ("conv", "pool"):
        found = np.load(out / f"a.class_4.cmp_a2_flat.{layer}.npy")
        np.testing.assert_allclose(found, maps[layer][0], rtol=1e-4, atol=1e-6)


def test_verbose_shows_every_layer(tmp_path, small_file):
    path = picture(tmp_path / "a.png")
    result = succeed("explain", path, "--model", small_file, "--out", tmp_path / "out", "--verbose")
    assert "conv2" in result.stdout and "passed on" in result.stdout


def test_colours_change_the_pictures_alone(tmp_path, small_file):
    path = picture(tmp_path / "a.png")
    for out, options in (("x", ()), ("y", ("--cmap", "toolbox", "--percentile", 100))):
        succeed("explain", path, "--model", small_file, "--target", 0, "--out", tmp_path / out, *options)
    x, y = (tmp_path / out / "a.class_0.cmp_a2_flat" for out in "xy")
    np.testing.assert_array_equal(np.load(f"{x}.npy"), np.load(f"{y}.npy"))
    assert np.any(np.asarray(Image.open(f"{x}.heatmap.png")) != np.asarray(Image.open(f"{y}.heatmap.png")))


def test_softmax_free_networks_show_no_probability(tmp_path):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="conv")(inputs))
    keras.Model(inputs, keras.layers.Dense(3, name="scores")(x)).save(tmp_path / "grey.keras")
    path = picture(tmp_path / "a.png")
    options = ("--model", tmp_path / "grey.keras", "--out", tmp_path / "out", "--target", 0, "--preprocess", "-1..1")
    result = succeed("explain", path, *options)
    assert "probability" not in result.stdout
    x = seen(path, (8, 8)) @ np.array([[0.299], [0.587], [0.114]], np.float32) / 127.5 - 1
    relevance = tf_lrp.Analyzer(keras.models.load_model(tmp_path / "grey.keras")).analyze(x, 0)[0]
    np.testing.assert_allclose(np.load(tmp_path / "out" / "a.class_0.cmp_a2_flat.npy"), relevance, rtol=1e-4, atol=1e-6)
    message = fail(2, "explain", path, *options[:-1], "caffe")
    assert "grey" in message and "caffe" in message


def test_a_network_of_any_size(tmp_path):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, name="conv")(inputs))
    keras.Model(inputs, keras.layers.Activation("sigmoid")(x)).save(tmp_path / "any.keras")
    path = picture(tmp_path / "a.png")
    options = ("--model", tmp_path / "any.keras", "--target", 1, "--preset", "epsilon")
    succeed("explain", path, *options, "--out", tmp_path / "x")
    succeed("explain", path, *options, "--out", tmp_path / "y", "--size", 20)
    assert np.load(tmp_path / "x" / "a.class_1.epsilon.npy").shape == (224, 224, 3)
    assert np.load(tmp_path / "y" / "a.class_1.epsilon.npy").shape == (20, 20, 3)


def test_weights_from_a_file(tmp_path, small_file, small):
    other = keras.models.clone_model(small)
    model_zoo.save_weights(other, tmp_path / "other.npz")
    other.save_weights(tmp_path / "other.weights.h5")
    path = picture(tmp_path / "a.png")
    relevance = tf_lrp.Analyzer(other).analyze(seen(path), 0)[0]
    for file in ("other.npz", "other.weights.h5"):
        options = ("--weights", tmp_path / file, "--target", 0, "--out", tmp_path / "out")
        succeed("explain", path, "--model", small_file, *options)
        found = np.load(tmp_path / "out" / "a.class_0.cmp_a2_flat.npy")
        np.testing.assert_allclose(found, relevance, rtol=1e-4, atol=1e-6)


# ---- nothing is lost ------------------------------------------------------------------------------------------------


def test_equal_stems_do_not_meet(tmp_path, small_file):
    same = [picture(tmp_path / "in" / f, seed=n) for n, f in enumerate(("a/cat.png", "b/cat.png", "b/cat.bmp"))]
    out = tmp_path / "out"
    options = ("--model", small_file, "--target", 0, "--out", out)

    def found(name):
        return np.load(out / f"{name}.class_0.cmp_a2_flat.npy")

    succeed("explain", *same, same[0], *options)  # the last one again: explained once
    assert len(files(out)) == 9
    kept = [found(name) for name in ("cat", "cat-2", "cat-3")]
    assert not np.array_equal(kept[0], kept[1]) and not np.array_equal(kept[1], kept[2])
    # Later runs, in any order and one by one, find their own files again.
    succeed("explain", *same[::-1], *options)
    succeed("explain", same[1], *options)
    assert len(files(out)) == 9
    for name, before in zip(("cat", "cat-2", "cat-3"), kept, strict=True):
        np.testing.assert_array_equal(found(name), before)
    # A new picture with an old name gets a new one.
    succeed("explain", picture(tmp_path / "c" / "cat.png", seed=9), *options)
    np.testing.assert_array_equal(found("cat"), kept[0])
    assert len(files(out)) == 12 and "cat-4.class_0.cmp_a2_flat.npy" in files(out)


def test_files_of_others_are_kept(tmp_path, small_file):
    path, out = picture(tmp_path / "a.png"), tmp_path / "out"
    out.mkdir()
    (out / "a.class_0.cmp_a2_flat.npy").write_text("mine")
    picture(out / "a-2.class_0.cmp_a2_flat.heatmap.png")
    before = (out / "a-2.class_0.cmp_a2_flat.heatmap.png").read_bytes()
    succeed("explain", path, "--model", small_file, "--target", 0, "--out", out)
    assert (out / "a.class_0.cmp_a2_flat.npy").read_text() == "mine"
    assert (out / "a-2.class_0.cmp_a2_flat.heatmap.png").read_bytes() == before
    assert len([name for name in files(out) if name.startswith("a-3.")]) == 3


def test_the_same_picture_is_replaced(tmp_path, small_file):
    path, out = picture(tmp_path / "a.png", seed=1), tmp_path / "out"
    options = ("--model", small_file, "--target", 0, "--out", out)
    succeed("explain", path, *options)
    before = np.load(out / "a.class_0.cmp_a2_flat.npy")
    succeed("explain", picture(path, seed=2), *options)
    assert len(files(out)) == 3
    assert not np.array_equal(np.load(out / "a.class_0.cmp_a2_flat.npy"), before)


# ---- pictures that cannot be read -----------------------------------------------------------------------------------


def test_unreadable_pictures_are_named_and_the_others_explained(tmp_path, small_file):
    good = [picture(tmp_path / f"good{n}.png", seed=n) for n in range(2)]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    picture(tmp_path / "whole.jpg", size=(300, 300))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    bad = [tmp_path / name for name in ("text.png", "missing.png", "cut.jpg", "empty.png", "folder [x]", "loop", 300 * "x")]
    bad[4].mkdir()
    bad[5].symlink_to(bad[5])
    order = [bad[0], good[0], *bad[1:], good[1]]
    result = run("explain", *order, "--model", small_file, "--out", tmp_path / "out", "--batch-size", 2)
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == len(bad)
    for line, path in zip(lines, bad, strict=True):
        assert line.startswith(f"{path} cannot be read: ")
    assert "no such file" in lines[1] and "truncated" in lines[2] and "folder" in lines[4]
    assert "2 of 9 pictures explained, 6 files" in result.stdout
    assert {name.split(".")[0] for name in files(tmp_path / "out")} == {"good0", "good1"}


def test_nothing_readable(tmp_path, small_file):
    result = run("explain", tmp_path / "a.png", tmp_path / "b.png", "--model", small_file, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "0 of 2 pictures explained" in result.stdout and files(tmp_path / "out") == []


def test_debug_shows_the_traceback(tmp_path, small_file):
    result = run("explain", tmp_path / "a.png", "--model", small_file, "--out", tmp_path / "out", "--debug")
    assert result.exit_code == 1 and "Traceback" in result.stderr
    result = run("explain", tmp_path / "a.png", "--model", "shap", "--debug")
    assert result.exit_code == 2 and "Traceback" in result.stderr


def test_a_network_that_gives_nan(tmp_path, small_file, small):
    broken = keras.models.clone_model(small)
    broken.set_weights([np.full(w.shape, np.nan, np.float32) for w in small.get_weights()])
    broken.save(tmp_path / "broken.keras")
    path = picture(tmp_path / "a.png")
    message = fail(1, "explain", path, "--model", tmp_path / "broken.keras", "--out", tmp_path / "out")
    assert str(path) in message and "NaN" in message


# ---- wrong commands -------------------------------------------------------------------------------------------------


def test_near_names_are_suggested(tmp_path, small_file, names_file):
    path = picture(tmp_path / "a.png")
    known = ("explain", path, "--model", small_file, "--classes", names_file, "--out", tmp_path / "out")
    assert "'shapes'" in fail(2, "explain", path, "--model", "shape")
    assert "'cmp_a2_flat'" in fail(2, *known, "--preset", "cmp_a2_flot")
    assert "'red fox'" in fail(2, *known, "--target", "red focks")
    message = fail(2, *known, "--target", "fox")
    assert "'red fox'" in message and "'grey fox'" in message
    assert "'conv2'" in fail(2, *known, "--layer", "conv22")
    assert "1 or 3" in fail(2, *known, "--target", "crane")
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "5"), ("5", "0 to 4")),
        (("--target", "-1"), ("-1", "0 to 4")),
        (("--target", "top0"), ("top0", "top5")),
        (("--preset", "epsilon:gamma=1"), ("epsilon", "gamma")),
        (("--preset", "epsilon:0.1"), ("NAME:PARAMETER=VALUE", "epsilon:0.1")),
        (("--preset", "epsilon:epsilon=much"), ("much",)),
        (("--preset", "absent.json"), ("absent.json",)),
        (("--cmap", "viridis"), ("viridis",)),
        (("--percentile", "0"), ("percentile",)),
        (("--preprocess", "mean"), ("mean", "caffe")),
        (("--size", "99"), ("99", "16 x 24")),
        (("--weights", "absent.npz"), ("absent.npz",)),
        (("--classes", "absent.txt"), ("absent.txt",)),
    ],
)
def test_wrong_options(tmp_path, small_file, options, words):
    path = picture(tmp_path / "a.png")
    message = fail(2, "explain", path, "--model", small_file, "--out", tmp_path / "out", *options)
    for word in words:
        assert word in message


def test_the_folder_of_a_saved_model(tmp_path, small, names_file):
    small.export(tmp_path / "saved", verbose=False)
    (tmp_path / "saved" / "assets").mkdir(exist_ok=True)
    (tmp_path / "saved" / "assets" / "labels.txt").write_text("fox\ncrane\ncat\nowl\nelk\n", encoding="utf-8")
    path = picture(tmp_path / "a.png")
    x = seen(path)
    winner = int(np.argmax(small(x)[0]))
    for names, options in (
        (["fox", "crane", "cat", "owl", "elk"], ()),
        (["red_fox"], ("--classes", names_file, "--target", 0)),
    ):
        succeed("explain", path, "--model", tmp_path / "saved", "--preset", "cmp_a1", "--out", tmp_path / "out", *options)
        chosen = 0 if options else winner
        relevance = np.load(tmp_path / "out" / f"a.{names[chosen]}.cmp_a1.npy")
        np.testing.assert_allclose(relevance, tf_lrp.Analyzer(small, "cmp_a1").analyze(x, chosen)[0], rtol=1e-4, atol=1e-6)
    assert "brings its own" in fail(2, "explain", path, "--model", tmp_path / "saved", "--weights", "random", "--out", tmp_path)
    assert "no SavedModel" in fail(2, "explain", path, "--model", tmp_path / "out", "--out", tmp_path / "b")


def test_wrong_models(tmp_path):
    path = picture(tmp_path / "a.png")
    (tmp_path / "text.keras").write_text("no model")
    two = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    keras.Model(two, keras.layers.Flatten()(keras.layers.Add()(two))).save(tmp_path / "two.keras")
    keras.Model(two[0], keras.layers.ReLU()(two[0])).save(tmp_path / "map.keras")
    for model, words in (
        (tmp_path / "absent.keras", ("no model file", "absent.keras")),
        (tmp_path / "text.keras", ("text.keras", "loaded")),
        (tmp_path / "two.keras", ("one picture",)),
        (tmp_path / "map.keras", ("classifier", "(None, 4, 4, 3)")),
        ("squeezenet", ("--weights",)),
    ):
        message = fail(2, "explain", path, "--model", model, "--out", tmp_path / "out")
        for word in words:
            assert word in message
    assert "--preprocess" in fail(2, "explain", path, "--model", "shapes", "--preprocess", "none")
    assert "--size" in fail(2, "explain", path, "--model", "shapes", "--size", "64")


def test_out_that_is_a_file(tmp_path, small_file):
    path = picture(tmp_path / "a.png")
    assert str(path) in fail(2, "explain", path, "--model", small_file, "--out", path)


def test_an_unexpected_error_is_one_line_too(tmp_path, small_file, monkeypatch):
    def explode(*args, **kwargs):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(tf_lrp.Analyzer, "analyze", explode)
    path = picture(tmp_path / "a.png")
    message = fail(1, "explain", path, "--model", small_file, "--out", tmp_path / "out")
    assert "RuntimeError: first second" in message and "--debug" in message


# ---- class names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "one\ntwo words\n"),
        ("a.txt", "\ufeffone\r\ntwo words\r\n\r\n"),
        ("a.json", '["one", "two words"]'),
        ("a.txt", '["one", "two words"]'),
        ("a.json", '{"1": "two words", "0": "one"}'),
        ("a.json", '{"0": ["n1", "one"], "1": ["n2", "two words"]}'),
    ],
)
def test_class_names(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert class_names.read_class_names(tmp_path / name) == ["one", "two words"]


@pytest.mark.parametrize("text", ["", "one\n\ntwo", "[]", "[1, 2]", '{"1": "one"}', '{"0": ["n1"]}', "[1,", '{"0": null}'])
def test_no_class_names(tmp_path, text):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt"):
        class_names.read_class_names(tmp_path / "a.txt")


def test_a_wrong_number_of_class_names(tmp_path, small_file):
    path = picture(tmp_path / "a.png")
    (tmp_path / "names.json").write_text(json.dumps(NAMES[:3]))
    message = fail(2, "explain", path, "--model", small_file, "--classes", tmp_path / "names.json")
    assert "3 class names" in message and "5 classes" in message


def test_downloaded_imagenet_weights_come_with_names(monkeypatch):
    decode = keras.applications.imagenet_utils
    names = [[(f"n{k}", f"name {k}", 1.0)] for k in range(1000)]
    monkeypatch.setattr(decode, "decode_predictions", lambda eye, top: names)
    small_net = model_zoo.load("mobilenet_v1_025")
    monkeypatch.setattr(model_zoo, "load", lambda *args, **kwargs: small_net)
    assert classifier.load("MobileNet", "imagenet").classes.names[7] == "name 7"

    def offline(eye, top):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(decode, "decode_predictions", offline)
    assert classifier.load("MobileNet", "imagenet").classes.names[7] == "class_7"


# ---- reading pictures -----------------------------------------------------------------------------------------------


def test_exif_rotation_is_applied(tmp_path):
    upright = Image.open(picture(tmp_path / "upright.png", size=(20, 50)))
    for orientation, operation in ((6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(operation).save(tmp_path / "turned.png", exif=exif)
        np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "turned.png")), np.asarray(upright))


def test_transparency_shows_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[0, 1] = (0, 0, 0, 128)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = np.asarray(images.read(tmp_path / "a.png"))
    assert read.shape == (2, 2, 3)
    np.testing.assert_array_equal(read[0, 0], (10, 20, 30))
    np.testing.assert_allclose(read[0, 1], 127, atol=1)
    np.testing.assert_array_equal(read[1], 255)
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "b.png", transparency=0)
    np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "b.png"))[0, 0], 255)


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("P", "gif"), ("1", "png"), ("CMYK", "jpg"), ("LA", "png")])
def test_every_mode_becomes_rgb(tmp_path, mode, ending):
    read = images.read(picture(tmp_path / f"a.{ending}", mode=mode))
    assert read.mode == "RGB" and read.size == (60, 40)


def test_more_than_eight_bits(tmp_path):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(3, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "a.tif")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "b.tif")
    for name in ("a.png", "a.tif", "b.tif"):
        read = np.asarray(images.read(tmp_path / name))
        np.testing.assert_array_equal(read[0, :, 0], np.arange(256), err_msg=name)
    Image.fromarray(np.full((3, 3), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(images.UnreadablePictureError, match="NaN"):
        images.read(tmp_path / "nan.tif")


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.read(tmp_path / "a.gif").getpixel((4, 4)) == (255, 0, 0)


def test_the_middle_is_kept():
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200
    assert images.fit(Image.fromarray(pixels), (20, 20)).min() == 200
    assert images.fit(Image.fromarray(pixels), (10, 30)).shape == (10, 30, 3)
    assert images.fit(Image.new("RGB", (30000, 1), "red"), (96, 96)).shape == (96, 96, 3)


def test_preparations_are_those_of_keras():
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    for ours, theirs in (("caffe", "caffe"), ("torch", "torch"), ("-1..1", "tf")):
        expected = keras.applications.imagenet_utils.preprocess_input(x.astype(np.float32), mode=theirs)
        np.testing.assert_allclose(images.prepare(x, ours), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(images.prepare(x, "0..1"), x / 255, rtol=1e-6)
    np.testing.assert_array_equal(images.prepare(x, "none"), x)


# ---- the other commands ---------------------------------------------------------------------------------------------


def test_presets_lists_all():
    result = succeed("presets")
    for name in presets.names():
        parameters, _ = presets.describe(name)
        assert name in result.stdout
        assert all(f"{key}={value}" in result.stdout for key, value in parameters.items())
    assert "Kohlbrenner" in result.stdout


def test_version_and_help():
    assert succeed("--version").stdout.strip() == f"tf-lrp {tf_lrp.__version__}"
    assert all(command in succeed("--help").stdout for command in ("explain", "presets", "demo"))
    assert "--preset" in succeed("explain", "--help").stdout


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_what_computes_nothing_waits_for_no_tensorflow():
    names = typer.main.get_command(cli.app).commands
    commands = [["--help"], ["--version"], ["presets"], ["methods"], *([name, "--help"] for name in names)]
    ran = run_python(
        "import sys; from typer.testing import CliRunner; from tf_lrp.cli import app\n"
        f"for command in {commands}:\n"
        "    result = CliRunner().invoke(app, command)\n"
        "    loaded = [name for name in ('tensorflow', 'keras') if name in sys.modules]\n"
        "    print(*command, result.exit_code, len(result.output) > 10, *loaded, sep='|')"
    )
    assert ran.stdout.splitlines() == ["|".join([*command, "0", "True"]) for command in commands], ran.stderr


def test_tensorflow_is_imported_without_its_chatter():
    ran = run_python(
        "from tf_lrp.cli.terminal import import_tensorflow; import_tensorflow(); import tensorflow; print(tensorflow.version)"
    )
    assert ran.returncode == 0 and "tensorflow" in ran.stdout
    assert ran.stderr == ""


def test_demo_writes_one_picture(tmp_path):
    succeed("demo", "--out", tmp_path / "out" / "demo.png")
    with Image.open(tmp_path / "out" / "demo.png") as image:
        assert image.mode == "RGB" and image.width > image.height > 500
        pixels = np.asarray(image).astype(int)
    assert pixels.std() > 20
    red, blue = (pixels[..., 0] - pixels[..., 2] > 150), (pixels[..., 2] - pixels[..., 0] > 150)
    assert red.sum() > 2000 and blue.sum() > 500
    assert ".png" in fail(2, "demo", "--out", tmp_path / "demo.unknown")


def test_demo_heatmaps_lie_on_their_objects():
    for (both, seed, number), explanation in zip(demo.SCENES, demo.explain(), strict=True):
        masks = model_zoo.shapes.sample(number + 1, seed, present=both).masks[number]
        own, other = (masks[model_zoo.shapes.CLASSES.index(name)] for name in both)
        assert min(explanation.scores) > 5
        assert set(explanation.relevance) == set(demo.PRESETS)
        for maps in explanation.relevance.values():
            positive = np.maximum(maps.sum(-1), 0)
            assert positive[0][own].sum() > 3 * positive[0][other].sum()
            assert positive[1][other].sum() > 3 * positive[1][own].sum()
