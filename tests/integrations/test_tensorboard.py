"""What RelevanceCallback writes while a model is trained, read back from the event files."""

import io
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import heatmap
from tf_lrp.callbacks import RelevanceCallback

#: What becomes of the explained output.
SHARES = ("input", "biases", "stabilizers", "zero_denominators", "padding", "stops", "formula")


def events(log_dir):
    """{tag: {step: (plugin, array)}} of all event files in the folder."""
    found = {}
    for path in sorted(log_dir.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                by_step = found.setdefault(value.tag, {})
                assert event.step not in by_step
                by_step[event.step] = value.metadata.plugin_data.plugin_name, tf.make_ndarray(value.tensor)
    return found


def scalars(log_dir):
    """{tag: {step: number}}"""
    found = {t: v for t, v in events(log_dir).items() if {plugin for plugin, _ in v.values()} == {"scalars"}}
    return {tag: {step: float(array) for step, (_, array) in steps.items()} for tag, steps in found.items()}


def images(log_dir):
    """{tag: {step: uint8 (h, w, 3)}}"""
    found = {}
    for tag, steps in events(log_dir).items():
        for step, (plugin, (width, height, *pngs)) in ((n, v) for n, v in steps.items() if v[0] == "images"):
            (image,) = (np.asarray(Image.open(io.BytesIO(png))) for png in pngs)
            assert plugin == "images"
            assert image.shape == (int(height), int(width), 3)
            found.setdefault(tag, {})[step] = image
    return found


def trained(model, x, callback, epochs=3, **more):
    """Fits the model to seeded labels."""
    y = np.random.default_rng(5).integers(0, model.output_shape[-1], len(tf.nest.flatten(x)[0]))
    if not model.compiled:
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=model.layers[-1].name != "softmax"))
    model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=[callback], **more)


def close(a, b, rtol=1e-4):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


# -- pictures and numbers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[None, "softmax"])
def run(request, tmp_path_factory):
    """A training with moving statistics, watched: (model, x, callback, log folder)."""
    log_dir, model, x = tmp_path_factory.mktemp("logs"), convnet(activation=request.param), pictures(12)
    callback = RelevanceCallback(x, log_dir, neuron_selection=1, max_images=3, conservation=3, at_start=True)
    before = model.get_layer("bn2").moving_mean.numpy()
    trained(model, x, callback)
    assert np.abs(model.get_layer("bn2").moving_mean - before).max() > 1e-3
    return model, x, callback, log_dir


def test_each_epoch_has_its_sheet_and_its_numbers(run):
    *_, log_dir = run
    (sheets,) = images(log_dir).values()
    assert list(sheets) == [-1, 0, 1, 2]
    for image in sheets.values():
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100
    assert any((sheets[0] != sheets[2]).ravel())
    shares = [f"relevance/conservation/{what}" for what in SHARES]
    numbers = scalars(log_dir)
    assert set(numbers) == {"relevance/sum", "relevance/output", *shares}
    for step in (-1, 0, 1, 2):
        assert sum(numbers[tag][step] for tag in shares) == pytest.approx(1, abs=1e-4)


def test_the_last_epoch_equals_a_fresh_analyzer(run):
    model, x, callback, log_dir = run
    fresh = tf_lrp.Analyzer(model, "cmp_a2_flat")
    relevance, balance = fresh.analyze(x[:3], 1), fresh.conservation(x[:3], 1)
    close(callback.analyzer.analyze(x[:3], 1), relevance, rtol=1e-6)
    numbers = {tag: steps[2] for tag, steps in scalars(log_dir).items()}
    assert numbers["relevance/sum"] == pytest.approx(relevance.sum() / 3, rel=1e-4)
    assert numbers["relevance/output"] == pytest.approx(balance.output / 3, rel=1e-4)
    assert numbers["relevance/sum"] == pytest.approx(balance.input / 3, rel=1e-4)
    for what, value in (
        ("input", balance.input),
        ("biases", balance.bias),
        ("stabilizers", balance.stabilizer),
        ("zero_denominators", balance.zero_denominator),
        ("padding", balance.padding),
        ("stops", balance.stopped),
        ("formula", balance.formula),
    ):
        assert numbers[f"relevance/conservation/{what}"] == pytest.approx(value / balance.output, rel=1e-4, abs=1e-6)
    # Cells are 12 times as large as the map, without interpolation; the second row of the sheet holds the heatmaps.
    sheet = images(log_dir)["relevance/maps"][2]
    for rgb in heatmap.to_rgb(relevance):
        assert contains(sheet, rgb.repeat(12, axis=0).repeat(12, axis=1))


def contains(sheet, part):
    """Whether a picture lies somewhere on a sheet."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, part.shape)
    corners = (windows[..., 0, 0, 0, :] == part[0, 0]).all(-1) & (windows[..., 0, -1, -1, :] == part[-1, -1]).all(-1)
    return any((windows[tuple(place)] == part).all() for place in np.argwhere(corners))


def test_nothing_is_built_or_traced_again(tmp_path, monkeypatch):
    built = []
    real = tf_lrp.Analyzer.__init__
    monkeypatch.setattr(tf_lrp.Analyzer, "__init__", lambda self, *a, **k: (built.append(1), real(self, *a, **k))[1])
    model, x = convnet(), pictures(8)
    callback = RelevanceCallback(x, tmp_path)
    trained(model, x, callback, epochs=2)
    trained(model, x, callback, epochs=4, initial_epoch=2)  # fit goes on
    assert len(built) == 1
    traces = [run.experimental_get_tracing_count() for run in callback.analyzer.compiled_passes.values()]
    assert traces == [1]
    assert list(scalars(tmp_path)["relevance/sum"]) == [0, 1, 2, 3]
    other = convnet()
    callback.set_model(other)
    callback.snapshot()
    assert len(built) == 2


def test_an_epoch_costs_one_pass(tmp_path, monkeypatch):
    model, x = convnet(), pictures(8)
    callback = RelevanceCallback(x, tmp_path, trace="always")
    callback.set_model(model)
    callback.log(0)
    (compiled,) = callback.analyzer.compiled_passes.values()
    passes = []
    (key,) = callback.analyzer.compiled_passes
    monkeypatch.setitem(callback.analyzer.compiled_passes, key, lambda *a: (passes.append(1), compiled(*a))[1])

    def unexpected(*args, **kwargs):
        raise AssertionError("a pass of its own")

    monkeypatch.setattr(type(callback.analyzer.twin), "__call__", unexpected)
    callback.log(1)
    assert passes == [1]


def test_which_epochs(tmp_path):
    model, x = convnet(), pictures(4)
    trained(model, x, RelevanceCallback(x, tmp_path, every=2), epochs=5)
    assert {tag: list(steps) for tag, steps in scalars(tmp_path).items()} == {
        "relevance/sum": [1, 3],
        "relevance/output": [1, 3],
        "relevance/conservation/input": [1, 3],
    }


def test_several_neurons_have_a_heatmap_each(tmp_path):
    model, x = convnet(), pictures(4)
    targets = np.array([[0, 3], [1, 1], [4, 2], [2, 0]])
    callback = RelevanceCallback(x, tmp_path, "epsilon", targets, max_images=3, conservation=1)
    callback.set_model(model)
    snapshot = callback.log(0)
    logits = model(x).numpy()
    assert snapshot.relevance.shape == (3, 2, 8, 8, 3)
    close(snapshot.output, np.take_along_axis(logits, targets, 1)[:3])
    np.testing.assert_array_equal(snapshot.neurons, targets[:3])
    # 3 rows of 96 pixels, and titles of two lines
    assert images(tmp_path)["relevance/maps"][0].shape[0] > 3 * 96
    assert scalars(tmp_path)["relevance/output"][0] == pytest.approx(snapshot.output.mean(), rel=1e-5)
    assert snapshot.conservation.output == pytest.approx(logits[0, 0], rel=1e-4)


@pytest.mark.parametrize("selection", [None, "all", 2, np.arange(4), np.ones((4, 5))])
def test_the_explained_output(tmp_path, selection):
    model, x = convnet(), pictures(4)
    callback = RelevanceCallback(x, tmp_path, "z", selection, conservation=4, batch_size=3)
    callback.set_model(model)
    snapshot = callback.snapshot()
    assert snapshot.output.sum() == pytest.approx(snapshot.conservation.output, rel=1e-4)
    assert snapshot.relevance.sum() == pytest.approx(snapshot.conservation.input, rel=1e-3)


def test_more_pictures_than_fit_one_line_and_pictures_of_ones_own(tmp_path):
    model, x = convnet(), pictures(20)
    shown = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), dtype="uint8")
    callback = RelevanceCallback(x, tmp_path, "epsilon", pictures=shown, max_images=10, cmap="bwr", percentile=99)
    callback.set_model(model)
    snapshot = callback.log(0)
    sheet = images(tmp_path)["relevance/maps"][0]
    assert sheet.shape[1] > 8 * 96
    assert sheet.shape[0] > 4 * 96
    assert contains(sheet, heatmap.to_rgb(snapshot.relevance, cmap="bwr", percentile=99)[9].repeat(12, 0).repeat(12, 1))
    assert contains(sheet, shown[9].repeat(4, 0).repeat(4, 1))


# -- kinds of models ----------------------------------------------------------------------------------------------------


def two_inputs():
    picture, table = keras.Input((8, 8, 3), name="picture"), keras.Input((6,), name="table")
    h = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(picture))
    h = keras.layers.Concatenate()([h, keras.layers.Dense(3, activation="relu")(table)])
    return randomize(keras.Model([picture, table], keras.layers.Dense(2, name="scores")(h)))


@pytest.mark.parametrize("kind", [list, dict])
def test_several_inputs(tmp_path, kind):
    model, x = two_inputs(), [pictures(4), pictures(4).reshape(4, -1)[:, :6]]
    x = dict(zip(("picture", "table"), x, strict=True)) if kind is dict else x
    trained(model, x, RelevanceCallback(x, tmp_path, "epsilon", conservation=4), epochs=2)
    assert list(images(tmp_path)["relevance/maps"]) == [0, 1]
    fresh = tf_lrp.Analyzer(model, "epsilon")
    total = sum(leaf.sum() for leaf in tf.nest.flatten(fresh.analyze(x)))
    assert scalars(tmp_path)["relevance/sum"][1] == pytest.approx(total / 4, rel=1e-3)
    share = fresh.conservation(x)
    assert scalars(tmp_path)["relevance/conservation/biases"][1] == pytest.approx(share.bias / share.output, rel=1e-3)


def test_two_pictures_have_a_sheet_each(tmp_path):
    inputs = {"left": keras.Input((8, 8, 3), name="a"), "right": keras.Input((8, 8, 1), name="b")}
    h = [keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(i)) for i in inputs.values()]
    model = randomize(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(h))))
    x = {"left": pictures(2), "right": pictures(2)[..., :1]}
    callback = RelevanceCallback(x, tmp_path, "z", pictures={"left": np.zeros((2, 8, 8), "uint8")}, name="two")
    callback.set_model(model)
    callback.log(7)
    assert {tag: list(steps) for tag, steps in images(tmp_path).items()} == {"two/maps/left": [7], "two/maps/right": [7]}


def test_signals_and_tables_have_numbers_only(tmp_path):
    inputs = keras.Input((20, 2))
    h = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(4, 3, activation="relu")(inputs))
    model, x = randomize(keras.Model(inputs, keras.layers.Dense(3)(h))), pictures(4, size=20)[:, :, 0, :2]
    trained(model, x, RelevanceCallback(x, tmp_path), epochs=2)
    assert images(tmp_path) == {}
    assert list(scalars(tmp_path)["relevance/sum"]) == [0, 1]


def test_grey_pictures_without_channels_are_drawn_when_pictures_are_given(tmp_path):
    model = randomize(
        keras.Sequential(
            [
                keras.Input((8, 8)),
                keras.layers.Reshape((8, 8, 1)),
                keras.layers.Conv2D(2, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
    )
    x = pictures(3)[..., 0]
    for given, drawn in ((None, set()), (np.abs(x) / np.abs(x).max(), {"relevance/maps"})):
        callback = RelevanceCallback(x, tmp_path / str(given is None), "epsilon", pictures=given)
        callback.set_model(model)
        callback.log(0)
        assert set(images(tmp_path / str(given is None))) == drawn


def test_mixed_precision(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layers = [
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
        model = randomize(
            keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Activation("softmax", name="softmax")])
        )
        x = pictures(4)
        callback = RelevanceCallback(x, tmp_path)
        trained(model, x, callback, epochs=2)
        fresh = tf_lrp.Analyzer(model).analyze(x)
    finally:
        keras.config.set_dtype_policy(before)
    close(callback.analyzer.analyze(x), fresh, rtol=1e-6)
    close(fresh, tf_lrp.Analyzer(model).analyze(x), rtol=1e-6)  # opened, and explained, under another policy
    assert scalars(tmp_path)["relevance/sum"][1] == pytest.approx(fresh.sum() / 4, rel=1e-4)
    assert list(images(tmp_path)["relevance/maps"]) == [0, 1]


class Late(keras.Model):
    """Built by its first batch; ``plain`` transforms a weight by keras.ops alone."""

    def __init__(self, plain=False):
        super().__init__()
        self.flat, self.hidden, self.out, self.plain = (
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(3),
            plain,
        )

    def call(self, x):
        h = self.hidden(self.flat(x))
        return keras.ops.matmul(h, keras.ops.multiply(self.out.kernel, 2.0)) if self.plain else self.out(h)

    def build(self, shape):
        self.hidden.build((None, 192))
        self.out.build((None, 4))
        self.built = True


@pytest.mark.parametrize("plain", [False, True])
def test_models_that_the_first_batch_builds(tmp_path, plain):
    keras.utils.set_random_seed(0)
    model, x = Late(plain), pictures(8)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = RelevanceCallback(x, tmp_path, "epsilon", 0, rebuild=plain)
    model.fit(x, np.arange(8) % 3, epochs=2, verbose=0, callbacks=[callback])
    close(callback.analyzer.analyze(x, 0), tf_lrp.Analyzer(model, "epsilon").analyze(x, 0), rtol=1e-6)
    assert list(images(tmp_path)["relevance/maps"]) == [0, 1]
    assert contains(
        images(tmp_path)["relevance/maps"][1],
        heatmap.to_rgb(callback.analyzer.analyze(x, 0))[0].repeat(12, 0).repeat(12, 1),
    )


def test_a_fixed_batch_is_explained_whole_and_drawn_in_part(tmp_path):
    model = randomize(
        keras.Sequential(
            [keras.Input(batch_shape=(6, 8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        )
    )
    callback = RelevanceCallback(pictures(6), tmp_path, "epsilon", max_images=2, conservation=2)
    callback.set_model(model)
    snapshot = callback.log(0)
    assert len(snapshot.output) == 6
    assert snapshot.conservation.output == pytest.approx(snapshot.output.sum(), rel=1e-4)
    assert images(tmp_path)["relevance/maps"][0].shape[1] < 3 * 96 + 40


# -- what goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros((4, 8, 8, 1))}, ValueError, r"needs shape \(N, 8, 8, 3\), got \(4, 8, 8, 1\)"),
        ({"x": np.zeros((8, 8, 3))}, ValueError, r"needs a batch axis, x\[None\]"),
        ({"x": np.full((4, 8, 8, 3), np.nan)}, ValueError, "NaN or infinite values"),
        ({"neuron_selection": 5}, ValueError, "no neuron 5"),
        ({"neuron_selection": [0, 1]}, ValueError, r"one per sample, shape \(4,\)"),
        ({"output": "other"}, ValueError, "Say which one is explained"),
        ({"pictures": np.zeros((3, 8, 8), "uint8")}, ValueError, "x has 4 samples of 'picture'; got pictures of shape"),
        ({"pictures": np.full((4, 8, 8), -1.0)}, ValueError, "Expected picture values"),
        (
            {"pictures": {"image": np.zeros((4, 8, 8))}},
            ValueError,
            "pictures for 'image', but the model's inputs are 'picture'",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_said_before_the_first_epoch(tmp_path, arguments, error, message):
    model, x = convnet(), pictures(4)
    callback = RelevanceCallback(**{"x": x, "log_dir": tmp_path / "logs", **arguments})
    epochs = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: pytest.fail("an epoch began"))
    model.compile("sgd", "mse")
    with pytest.raises(error, match=message):
        model.fit(x, np.zeros((4, 5)), verbose=0, callbacks=[epochs, callback])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "cmp_a2_flt"}, ValueError, "Did you mean 'cmp_a2_flat'"),
        ({"cmap": "viridis"}, ValueError, "Not a diverging colour map"),
        ({"every": 0}, ValueError, "every needs an integer >= 1, got 0"),
        ({"max_images": True}, ValueError, "max_images needs an integer"),
        ({"conservation": -1}, ValueError, "conservation needs an integer >= 0"),
        ({"percentile": 0}, ValueError, "percentile must be"),
        ({"colormap": "bwr"}, TypeError, "no argument 'colormap'"),
    ],
)
def test_wrong_arguments_are_said_at_once(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        RelevanceCallback(pictures(1), tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_weights_that_became_nan_do_not_end_the_training(tmp_path, caplog):
    model, x = convnet(), pictures(4)
    callback = RelevanceCallback(x, tmp_path)
    ruin = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch and model.get_layer("scores").bias.assign([np.nan] * 5)
    )
    model.compile("sgd", "mse")
    with caplog.at_level(logging.WARNING, "tf_lrp"):
        model.fit(x, np.zeros((4, 5)), epochs=3, verbose=0, callbacks=[ruin, callback])
    assert list(images(tmp_path)["relevance/maps"]) == [0]
    assert [np.isnan(v) for v in scalars(tmp_path)["relevance/sum"].values()] == [False, True, True]
    assert caplog.text.count("NaN or infinite at step 1") == 1


def test_without_a_model():
    with pytest.raises(ValueError, match="no model yet"):
        RelevanceCallback(pictures(1), "unused").snapshot()
