"""The model zoo: drawn shapes and the network that knows them, builders, weight files, names."""

import dataclasses
import functools
import json
import pickle
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tf_lrp import model_zoo
from tf_lrp.model_zoo import shapes

PICTURES = 200
MEAN_ACCURACY, LOWEST_ACCURACY, EXACT_MATCH = 0.99, 0.98, 0.96  # measured on these pictures: 0.998, 0.995, 0.99


@pytest.fixture(scope="module")
def held_out():
    """Pictures of a seed that neither training nor its report uses."""
    return shapes.sample(PICTURES, seed=3000)


@pytest.fixture(scope="module")
def small_model():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, name="conv")], name="inner")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="dense")(keras.layers.Flatten()(x)), name="small")


def values(model):
    return [w.value.numpy() for w in model.weights]


# ---- generator ------------------------------------------------------------------------------------------------------


def test_same_seed_same_pixels():
    a, b, longer, other = (shapes.sample(n, seed=s) for n, s in ((6, 1), (6, 1), (9, 1), (6, 2)))
    for x, y, z, o in zip(a, b, longer, other, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(x, z[:6])
        assert not np.array_equal(x, o)


def test_drawing_leaves_the_global_random_state_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    shapes.sample(2, seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_shapes_and_types(held_out):
    assert held_out.images.shape == (PICTURES, 96, 96, 3) and held_out.images.dtype == np.uint8
    assert held_out.labels.shape == (PICTURES, 6) and held_out.labels.dtype == np.float32
    assert held_out.masks.shape == (PICTURES, 6, 96, 96) and held_out.masks.dtype == bool
    assert shapes.sample(0, seed=0).images.shape == (0, 96, 96, 3)
    assert shapes.sample(1, seed=0, size=64).masks.shape == (1, 6, 64, 64)


def test_masks_agree_with_labels_and_never_overlap(held_out):
    np.testing.assert_array_equal(held_out.masks.any(axis=(2, 3)), held_out.labels > 0)
    assert held_out.masks.sum(axis=1).max() == 1
    area = held_out.masks.sum(axis=(2, 3))[held_out.labels > 0]
    assert area.min() > 60, "an object is hidden so far that nobody could name it"


def test_every_class_is_drawn_about_equally_often(held_out):
    share = held_out.labels.mean(axis=0)
    assert share.min() > 0.2 and share.max() < 0.5
    assert 1.5 < held_out.labels.sum(axis=1).mean() < 3


def test_colour_does_not_tell_the_class(held_out):
    colours = [held_out.images[held_out.masks[:, k]].mean(axis=0) for k in range(6)]
    assert np.ptp(colours, axis=0).max() < 40  # of 255: random colours average out


@pytest.mark.parametrize("kind", shapes.CLASSES)
def test_mask_has_the_area_of_the_outline(kind):
    """Where the distance is negative, against the area by geometry."""
    radius, step = 20.0, 0.25
    v, u = np.mgrid[-40:40:step, -40:40:step] + step / 2
    area = (shapes.OUTLINES[kind](u, v, radius) < 0).sum() * step**2
    tip, dent = 1.08 * radius, 0.47 * radius
    expected = {
        "circle": np.pi * (0.88 * radius) ** 2,
        "ring": np.pi * ((0.92 * radius) ** 2 - (0.52 * radius) ** 2),
        "square": (1.52 * radius) ** 2,
        "triangle": 3 * np.sqrt(3) * (0.55 * radius) ** 2,
        "star": 5 * tip * dent * np.sin(np.pi / 5),
        "cross": 4 * 0.6 * 0.95 * radius**2 - (0.6 * radius) ** 2,
    }[kind]
    assert area == pytest.approx(expected, rel=0.01)


def test_mask_lies_on_the_drawn_object():
    """Without clutter in between, the colour changes across a mask's edge more than inside it."""
    pictures = shapes.sample(30, seed=5, present=("circle",))
    steps_inside, steps_across = [], []
    for image, mask in zip(pictures.images.astype(float), pictures.masks[:, 0], strict=True):
        step = np.abs(np.diff(image, axis=1)).sum(axis=-1)
        steps_inside.append(step[mask[:, 1:] & mask[:, :-1]].mean())
        steps_across.append(step[mask[:, 1:] != mask[:, :-1]].mean())
    assert np.mean(steps_across) > 4 * np.mean(steps_inside)


def test_present_draws_exactly_those_classes():
    pictures = shapes.sample(20, seed=0, present=("triangle", "circle"))
    np.testing.assert_array_equal(pictures.labels, np.tile([1, 0, 1, 0, 0, 0], (20, 1)))
    crowded = shapes.sample(5, seed=0, present=shapes.CLASSES)
    assert crowded.labels.all()


def test_number_of_objects():
    assert shapes.sample(20, seed=0, max_objects=1).labels.sum(axis=1).tolist() == [1] * 20
    assert shapes.sample(20, seed=0, min_objects=4).labels.sum(axis=1).mean() > 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"present": ("hexagon",)}, "hexagon"),
        ({"present": ("circle", "circle")}, "different names"),
        ({"size": 10}, "at least 48"),
        ({"min_objects": 3, "max_objects": 2}, "min_objects=3"),
        ({"min_objects": 0}, "min_objects=0"),
        ({"n": -1}, "n=-1"),
    ],
)
def test_generator_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes.sample(**{"n": 1, "seed": 0, **arguments})


# ---- the shapes network ---------------------------------------------------------------------------------------------


def test_shapes_network_recognises_held_out_pictures(held_out):
    model = model_zoo.load("shapes")
    right = (model.predict(model_zoo.entry("shapes").preprocess(held_out.images), verbose=0) > 0) == held_out.labels
    per_class = right.mean(axis=0)
    assert per_class.mean() >= MEAN_ACCURACY, dict(zip(shapes.CLASSES, per_class, strict=True))
    assert per_class.min() >= LOWEST_ACCURACY, dict(zip(shapes.CLASSES, per_class, strict=True))
    assert right.all(axis=1).mean() >= EXACT_MATCH


def test_shapes_network_looks_at_the_object_it_names():
    """Painting an object over with its surroundings takes its class away, and hardly another one."""
    pictures = shapes.sample(40, seed=11, present=("triangle", "circle"))
    model, preprocess = model_zoo.load("shapes"), model_zoo.entry("shapes").preprocess
    before = model.predict(preprocess(pictures.images), verbose=0)
    drops = np.empty((2, 2))
    for i, hidden in enumerate(("triangle", "circle")):
        images = pictures.images.copy()
        for image, mask in zip(images, pictures.masks[:, shapes.CLASSES.index(hidden)], strict=True):
            rows, columns = np.nonzero(mask)
            box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            image[box] = np.median(image, axis=(0, 1))  # the whole box, so that the outline goes too
        after = model.predict(preprocess(images), verbose=0)
        drops[i] = [(before - after)[:, shapes.CLASSES.index(c)].mean() for c in ("triangle", "circle")]
    assert drops[0, 0] > 3 * abs(drops[0, 1]) and drops[1, 1] > 3 * abs(drops[1, 0]), drops


def test_committed_weights_are_small_and_only_numbers():
    assert model_zoo.registry.SHAPES_WEIGHTS.stat().st_size < 2_000_000
    with np.load(model_zoo.registry.SHAPES_WEIGHTS, allow_pickle=False) as file:
        assert all(np.isfinite(file[key]).all() and file[key].dtype == np.float16 for key in file.files)
        assert file["conv1_bn/moving_variance"].std() > 0  # statistics of real data, so folding them is worth a test


def test_shapes_outputs():
    x = model_zoo.entry("shapes").preprocess(shapes.sample(2, seed=0).images)
    logits = model_zoo.load("shapes").predict(x, verbose=0)
    sigmoid = model_zoo.load("shapes", output="sigmoid").predict(x, verbose=0)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert np.abs(model_zoo.load("shapes", weights="random").predict(x, verbose=0) - logits).max() > 0.1


def test_training_script_runs(tmp_path, capsys):
    from tf_lrp.model_zoo import train_shapes

    path = tmp_path / "tiny.npz"
    train_shapes.main(["--pictures", "32", "--epochs", "1", "--held-out", "4", "--out", str(path)])
    printed = capsys.readouterr().out
    assert "triangle" in printed and "all six" in printed
    model_zoo.load("shapes", weights=path)


# ---- builders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, kwargs, channels, outputs, parameters",
    [
        ("lenet5", {}, 1, 10, None),
        ("vgg16_like", {}, 3, 10, None),
        ("vgg16_like", {"input_shape": (32, 48, 1), "classes": 4, "width": 2, "output": "logits"}, 1, 4, None),
        ("squeezenet", {"input_shape": (64, 64, 3)}, 3, 1000, 1235496),
        ("mobilenet_v1_025", {"input_shape": (64, 64, 3)}, 3, 1000, 475544),
        ("mobilenet_v2_100", {"input_shape": (64, 64, 3)}, 3, 1000, 3487816),
        ("shapes", {}, 3, 6, None),
        ("MobileNetV2", {"input_shape": (64, 64, 3), "alpha": 0.35, "classes": 5, "output": "logits"}, 3, 5, None),
    ],
)
def test_builds_and_runs(name, kwargs, channels, outputs, parameters):
    model = model_zoo.load(name, **kwargs)
    x = np.random.default_rng(0).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
    assert x.shape[-1] == channels
    y = model.predict(x, verbose=0)
    assert y.shape == (2, outputs) and np.isfinite(y).all()
    assert parameters in (None, model.count_params())


@pytest.mark.parametrize("name", ["vgg16_like", "squeezenet", "mobilenet_v1_025", "mobilenet_v2_100"])
def test_softmax_is_the_default_and_logits_the_option(name):
    kwargs = {"input_shape": (64, 64, 3)}
    assert model_zoo.load(name, **kwargs).layers[-1].activation is keras.activations.softmax
    logits = model_zoo.load(name, output="logits", **kwargs)
    assert logits.layers[-1].name in ("predictions", "logits")
    with pytest.raises(ValueError, match="'probability'"):
        model_zoo.load(name, output="probability", **kwargs)


def test_vgg16_like_is_seeded_and_keeps_the_signal_alive():
    first, again, other = (model_zoo.load("vgg16_like", seed=s, width=4) for s in (3, 3, 4))
    for a, b in zip(values(first), values(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(values(first)[0], values(other)[0])
    assert np.any(values(first)[1] != 0), "biases are random too"
    logits = model_zoo.load("vgg16_like", output="logits")
    x = np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3))
    assert logits.predict(x, verbose=0).std() > 0.1


def test_vgg16_like_has_the_convolutions_of_vgg16():
    """Name by name the convolutions of VGG16, with their channels in proportion."""
    small = model_zoo.load("vgg16_like", width=2, input_shape=(32, 32, 3))
    vgg = model_zoo.load("VGG16", input_shape=(32, 32, 3), include_top=False)
    convolutions = [layer for layer in small.layers if isinstance(layer, keras.layers.Conv2D)]
    theirs = [layer for layer in vgg.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.name for layer in convolutions] == [layer.name for layer in theirs]
    assert [layer.filters * 32 for layer in convolutions] == [layer.filters for layer in theirs]


def test_vgg16_like_refuses_small_pictures():
    with pytest.raises(ValueError, match="at least 32"):
        model_zoo.load("vgg16_like", input_shape=(16, 16, 3))


def test_builders_follow_the_dtype_policy():
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("float64")
        model = model_zoo.load("shapes")
    finally:
        keras.config.set_dtype_policy(policy)
    assert {w.dtype for w in model.weights} == {"float64"}
    assert model.compute_dtype == "float64"


# ---- names ----------------------------------------------------------------------------------------------------------


def test_names_and_entries():
    names = model_zoo.names()
    assert {"lenet5", "vgg16_like", "squeezenet", "mobilenet_v1_025", "mobilenet_v2_100", "shapes"} <= set(names)
    assert {"VGG16", "ResNet50", "EfficientNetB0", "ConvNeXtTiny"} <= set(names)
    assert len(names) == len({n.lower() for n in names})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8)
    for name in names:
        found = model_zoo.entry(name)
        before = pictures.copy()
        x = found.preprocess(pictures)
        np.testing.assert_array_equal(pictures, before)
        assert found.name == name and x.dtype == np.float32 and len(x) == 2 and np.isfinite(x).all()
        assert len(found.size) == 2 and found.description
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"


def test_entries_fit_their_networks():
    for name in ("shapes", "lenet5", "vgg16_like", "squeezenet", "mobilenet_v1_025", "mobilenet_v2_100"):
        found = model_zoo.entry(name)
        model = model_zoo.load(name)
        x = found.preprocess(np.zeros((1, *found.size, 3), np.uint8))
        assert x.shape[1:] == model.input_shape[1:], name
        assert found.class_names is None or len(found.class_names) == model.output_shape[-1]


@pytest.mark.parametrize(
    "name",  # MobileNetV3 takes pictures of any size unless told otherwise
    [n for n in model_zoo.names() if hasattr(keras.applications, n) and not n.startswith("MobileNetV3")],
)
def test_sizes_of_keras_applications(name, monkeypatch):
    """Stops each constructor where it asks Keras for its picture size, before anything is built."""

    class AskedError(Exception):
        pass

    def note(input_shape, default_size, **kwargs):
        raise AskedError(default_size)

    module = sys.modules[getattr(keras.applications, name).__module__]
    monkeypatch.setattr(module.imagenet_utils, "obtain_input_shape", note)
    with pytest.raises(AskedError) as asked:
        model_zoo.load(name)
    assert model_zoo.entry(name).size == (asked.value.args[0],) * 2


def test_preprocessing_of_keras_applications_is_their_own():
    pictures = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(
        model_zoo.entry("vgg16").preprocess(pictures),
        keras.applications.vgg16.preprocess_input(pictures.astype(np.float32)),
    )
    np.testing.assert_allclose(model_zoo.entry("resnet50v2").preprocess(pictures), pictures / 127.5 - 1, atol=1e-6)


def test_upper_and_lower_case_are_the_same():
    assert model_zoo.entry("vgg16").name == model_zoo.entry("VGG16").name == "VGG16"
    assert model_zoo.entry("SqueezeNet").name == "squeezenet"


def test_unknown_names():
    with pytest.raises(ValueError, match=r"'sqeezenet'.*'squeezenet'"):
        model_zoo.load("sqeezenet")
    with pytest.raises(ValueError, match="'ResNet50'"):
        model_zoo.entry("resnet_50")
    with pytest.raises(ValueError, match="names\\(\\)"):
        model_zoo.load("zzzzzzzzzz")
    with pytest.raises(ValueError, match="a str; got int"):
        model_zoo.load(5)


def test_preprocess_refuses_what_is_not_a_batch_of_pictures():
    for name in ("shapes", "lenet5", "squeezenet", "VGG16"):
        preprocess = model_zoo.entry(name).preprocess
        with pytest.raises(ValueError, match=r"uint8 \(N, .*float64"):
            preprocess(np.zeros((1, 28, 28, 3)))
        with pytest.raises(ValueError, match="picture\\[None"):
            preprocess(np.zeros((28, 28, 3), np.uint8))


# ---- weight files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, "float16", "float64"])
def test_round_trip(small_model, tmp_path, dtype):
    path = model_zoo.save_weights(small_model, tmp_path / "w", dtype=dtype)
    assert path.endswith("w.npz")
    with np.load(path) as file:
        assert {"depthwise/kernel", "norm/moving_mean", "inner/conv/kernel", "dense/bias"} <= set(file.files)
        assert file["dense/kernel"].dtype == (dtype or "float32")
    other = keras.models.clone_model(small_model)
    model_zoo.load_weights(other, path)
    for a, b in zip(values(small_model), values(other), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3 if dtype == "float16" else 0)


def test_round_trip_of_a_keras_application(tmp_path):
    kwargs = {"input_shape": (32, 32, 3), "alpha": 0.35, "classes": 3}
    model = model_zoo.load("MobileNetV2", **kwargs)
    path = model_zoo.save_weights(model, tmp_path / "w.npz")
    again = model_zoo.load("mobilenetv2", weights=path, **kwargs)
    model.save_weights(tmp_path / "w.weights.h5")
    third = model_zoo.load("MobileNetV2", weights=tmp_path / "w.weights.h5", **kwargs)
    for a, b, c in zip(values(model), values(again), values(third), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_older_name_of_depthwise_kernels_is_read(small_model, tmp_path):
    with np.load(model_zoo.save_weights(small_model, tmp_path / "w.npz")) as file:
        arrays = {key.replace("depthwise/kernel", "depthwise/depthwise_kernel"): file[key] for key in file.files}
    np.savez(tmp_path / "old.npz", **arrays)
    model_zoo.load_weights(keras.models.clone_model(small_model), tmp_path / "old.npz")


def test_files_that_do_not_fit_are_refused_and_change_nothing(small_model, tmp_path):
    with np.load(model_zoo.save_weights(small_model, tmp_path / "w.npz")) as file:
        arrays = {key: file[key] for key in file.files}
    model = keras.models.clone_model(small_model)
    before = values(model)
    spoiled = {
        "missing": ({k: v for k, v in arrays.items() if k != "dense/bias"}, r"missing in the file \(1\): dense/bias"),
        "extra": ({**arrays, "conv9/kernel": np.zeros(3)}, r"unknown to the model \(1\): conv9/kernel"),
        "shape": ({**arrays, "dense/bias": np.zeros(5)}, r"dense/bias: \(5,\) in the file, \(4,\) in the model"),
        "text": ({**arrays, "dense/bias": np.array(["a"] * 4)}, "not numeric"),
        "pickled": ({**arrays, "dense/bias": np.array([{}] * 4, dtype=object)}, "pickled objects, which are refused"),
    }
    for name, (content, message) in spoiled.items():
        np.savez(tmp_path / f"{name}.npz", **content)
        with pytest.raises(ValueError, match=message):
            model_zoo.load_weights(model, tmp_path / f"{name}.npz")
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("content", [pickle.dumps({"dense/bias": 1}), b"", b"text", b"PK\x03\x04broken"])
def test_files_that_are_no_npz_are_refused(small_model, tmp_path, content):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an npz file"):
        model_zoo.load_weights(small_model, path)


def test_a_single_array_is_no_npz(small_model, tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(3))
    with pytest.raises(ValueError, match="is not an npz file"):
        model_zoo.load_weights(small_model, tmp_path / "w.npy")


def test_missing_files():
    for path in ("no/such.npz", "no/such.weights.h5"):
        with pytest.raises(FileNotFoundError, match="no/such"):
            model_zoo.load("squeezenet", weights=path)


def test_float16_refuses_what_it_cannot_hold(small_model, tmp_path):
    model = keras.models.clone_model(small_model)
    model.get_layer("dense").bias.assign(np.full(4, 1e6))
    with pytest.raises(ValueError, match="dense/bias holds values up to 1e"):
        model_zoo.save_weights(model, tmp_path / "w.npz", dtype="float16")


def test_weights_of_another_width_are_refused(tmp_path):
    path = model_zoo.save_weights(model_zoo.load("vgg16_like", width=2), tmp_path / "w.npz")
    with pytest.raises(ValueError, match="of another shape"):
        model_zoo.load("vgg16_like", width=4, weights=path)


def test_download_that_fails_names_the_way_out(monkeypatch):
    @functools.wraps(keras.applications.VGG16)
    def no_network(weights=None, **kwargs):
        raise Exception("URL fetch failure on https://example.org/vgg16.h5: None -- no route to host")

    monkeypatch.setattr(keras.applications, "VGG16", no_network)
    with pytest.raises(ConnectionError, match=r"VGG16.*example.org/vgg16.h5.*weights=path"):
        model_zoo.load("VGG16", weights="imagenet")


def test_wrong_arguments_are_no_failed_download():
    with pytest.raises(TypeError, match="colour"):
        model_zoo.load("VGG16", weights="imagenet", colour="red")
    with pytest.raises(ValueError, match="no download for 'squeezenet'"):
        model_zoo.load("squeezenet", weights="imagenet")


# ---- against data that belongs to others ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, file",
    [
        ("squeezenet", "squeezenet_v1_1"),
        ("mobilenet_v1_025", "mobilenet_v1_025_224"),
        ("mobilenet_v2_100", "mobilenet_v2_100_224"),
    ],
)
def test_imagenet_networks_know_their_pictures(shared_data, name, file):
    folder = shared_data / "imagenet"
    listed = json.loads((folder / "images64.json").read_text())["images"][::8]
    pictures = []
    for item in listed:
        with Image.open(folder / "images" / item["file"]) as picture:
            left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
            pictures.append(np.asarray(picture.convert("RGB").crop((left, top, left + 224, top + 224))))
    model = model_zoo.load(name, weights=folder / f"{file}.weights.npz")
    p = model.predict(model_zoo.entry(name).preprocess(np.stack(pictures)), verbose=0)
    np.testing.assert_array_equal(p.argmax(axis=1), [item["class"] for item in listed])
    if file in listed[0]:
        p_listed = [item[file]["p"] for item in listed]
        np.testing.assert_allclose(p.max(axis=1), p_listed, atol=1e-3)


def test_lenet5_agrees_with_the_toolbox(shared_data, shared_golden):
    with np.load(shared_golden / "toolbox_lenet5.npz") as golden:
        x, logits, digits = golden["x"], golden["logits"], golden["images_uint8"]
    model = model_zoo.load("lenet5", weights=shared_data / "toolbox" / "models" / "lenet5_weights.npz")
    np.testing.assert_allclose(model.predict(x, verbose=0), logits, atol=1e-5)
    preprocess = model_zoo.entry("lenet5").preprocess
    np.testing.assert_allclose(preprocess(digits[..., None]), x, atol=1e-6)
    np.testing.assert_allclose(preprocess(np.repeat(digits[..., None], 3, axis=-1)), x, atol=1e-6)


def test_lenet5_names_what_a_toolbox_file_lacks(shared_data, tmp_path):
    with np.load(shared_data / "toolbox" / "models" / "lenet5_weights.npz", allow_pickle=False) as file:
        np.savez(tmp_path / "w.npz", **{key: file[key] for key in file.files if key != "conv3_b"})
    with pytest.raises(ValueError, match=r"missing in the file \(1\): conv3/bias"):
        model_zoo.load("lenet5", weights=tmp_path / "w.npz")
