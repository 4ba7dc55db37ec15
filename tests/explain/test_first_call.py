"""Sequential models without an Input: the shape of the first batch is no contract, that of an Input is."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lrp
from tf_lrp.methods import catalog


def _fitted(layers, x, batch=8):
    """Built by Keras from full batches."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(layers)
    y = np.zeros(model(x[:batch]).shape)
    model.compile("sgd", "mse")
    model.fit(x[:batch], y, batch_size=batch, verbose=0)
    return model


def _draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _reloaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def _dense():
    x = _draw(12, 6)
    return _fitted([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3, activation="softmax")], x), x


@pytest.mark.parametrize("name", ["epsilon", "gradient", "integrated_gradients", "smoothgrad", "deep_taylor_decomposition"])
def test_any_number_of_samples(name):
    model, x = _dense()
    free = catalog.explainer(name, model, inputs=keras.Input((6,))) if name != "smoothgrad" else catalog.explainer(name, model)
    expected = free.analyze(x, 0)
    np.testing.assert_allclose(catalog.explainer(name, model).analyze(x[:1], 0), expected[:1], rtol=1e-4, atol=1e-6)
    assert catalog.explainer(name, model).analyze(x, 0).shape == x.shape


def test_in_pipelines_files_and_by_innvestigates_names(tmp_path):
    model, x = _dense()
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    expected = analyzer.analyze(x)
    given = tf_lrp.create_analyzer("lrp.epsilon", keras.Sequential([keras.Input((6,)), *model.layers]))
    np.testing.assert_allclose(tf_lrp.create_analyzer("lrp.epsilon", model).analyze(x[:1]), given.analyze(x[:1]), rtol=1e-5)
    scores = tf_lrp.innvestigate.model_wo_softmax(model)
    np.testing.assert_allclose(tf_lrp.Analyzer(scores, "epsilon").analyze(x[:5]), expected[:5], rtol=1e-5)
    mapped = np.concatenate(list(tf.data.Dataset.from_tensor_slices(x).batch(5).map(analyzer).as_numpy_iterator()))
    np.testing.assert_allclose(mapped, expected, rtol=1e-5)
    loaded = tf_lrp.Analyzer(_reloaded(model, tmp_path), "epsilon")
    np.testing.assert_allclose(loaded.analyze(x[:1]), expected[:1], rtol=1e-5)
    served = tf.saved_model.load(str(analyzer.export(tmp_path / "served"))).signatures["serving_default"]
    (name,) = served.structured_input_signature[1]
    np.testing.assert_allclose(served(**{name: x[:3]})["relevance"], expected[:3], rtol=1e-5)


def test_the_softmax_goes_as_a_layer_of_its_own():
    x = _draw(8, 6)
    model = _fitted([keras.layers.Dense(4), keras.layers.Softmax()], x)
    scores = tf_lrp.innvestigate.model_wo_softmax(model)
    np.testing.assert_allclose(tf.nn.softmax(scores(x[:3])), model(x[:3]), rtol=1e-5)


_ANY_LENGTH = {
    "convolution": [lambda: keras.layers.Conv1D(4, 3, strides=2), keras.layers.GlobalAveragePooling1D],
    "LSTM": [lambda: keras.layers.LSTM(4)],
    "nested": [lambda: keras.Sequential([keras.layers.Conv1D(4, 3), keras.layers.ReLU()]), keras.layers.GlobalMaxPooling1D],
}
_ONE_LENGTH = {
    "Flatten": [lambda: keras.layers.Conv1D(4, 3, strides=2), keras.layers.Flatten],
    "weights for each step": [lambda: keras.layers.LayerNormalization(axis=(1, 2)), keras.layers.GlobalAveragePooling1D],
    "adaptive pooling": [lambda: keras.layers.AdaptiveAveragePooling1D(2), keras.layers.Flatten],
}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", [*_ANY_LENGTH, *_ONE_LENGTH])
def test_lengths_are_free_where_the_layers_allow_it(name, loaded, tmp_path):
    x = _draw(9, 20, 3)
    make = (_ANY_LENGTH | _ONE_LENGTH)[name]
    model = _fitted([*(layer() for layer in make), keras.layers.Dense(2)], x)
    analyzer = tf_lrp.Analyzer(_reloaded(model, tmp_path) if loaded else model, "epsilon")
    given = tf_lrp.Analyzer(model, "epsilon", inputs=keras.Input((20, 3))).analyze(x[:1])
    np.testing.assert_allclose(analyzer.analyze(x[:1]), given, rtol=1e-4, atol=1e-6)
    if name in _ANY_LENGTH:
        longer = np.concatenate([x, x], 1)[:2]
        given = tf_lrp.Analyzer(model, "epsilon", inputs=keras.Input((40, 3))).analyze(longer)
        np.testing.assert_allclose(analyzer.analyze(longer), given, rtol=1e-4, atol=1e-6)
    else:
        assert analyzer.twin.inputs[0].shape == (None, 20, 3)


def test_tokens_and_pictures():
    tokens = np.random.default_rng(0).integers(0, 9, (8, 20))
    of_tokens = tf_lrp.Analyzer(
        _fitted([keras.layers.Embedding(9, 4), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)], tokens), "epsilon"
    )
    assert of_tokens.analyze(tokens[:3, :7]).shape == (3, 7)
    x = _draw(8, 10, 10, 3)
    of_pictures = tf_lrp.Analyzer(
        _fitted([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)], x), "epsilon"
    )
    assert of_pictures.analyze(x[:1, :6, :7]).shape == (1, 6, 7, 3)


def test_an_input_is_a_contract():
    for given in (
        keras.Input(batch_shape=(2, 6)),
        keras.Input((6,), batch_size=2, dtype="float32"),
        keras.Input(batch_shape=(2, 6), dtype="float32", name="features"),
    ):
        model = keras.Sequential([given, keras.layers.Dense(3)])
        for whole in (model, keras.Sequential([model, keras.layers.Dense(2)])):
            with pytest.raises(ValueError, match="batches of 2"):
                tf_lrp.Analyzer(whole, "z").analyze(_draw(1, 6))
    fixed = keras.Sequential([keras.Input((20, 3)), keras.layers.Conv1D(2, 3), keras.layers.GlobalMaxPooling1D()])
    with pytest.raises(ValueError, match="needs shape"):
        tf_lrp.Analyzer(fixed, "z").analyze(_draw(1, 21, 3))


def test_layers_that_keep_a_state_keep_the_batch():
    model = keras.Sequential([keras.layers.LSTM(3, stateful=True), keras.layers.Dense(2)])
    model(_draw(4, 5, 2))
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert analyzer.twin.inputs[0].shape[0] == 4
    assert analyzer.analyze(_draw(4, 5, 2)).shape == (4, 5, 2)


def test_inside_other_models():
    x = _draw(8, 20, 3)
    inner = keras.Sequential([keras.layers.Conv1D(4, 3), keras.layers.GlobalMaxPooling1D()])
    inner(x)
    inputs = keras.Input((None, 3))
    assert tf_lrp.Analyzer(keras.Model(inputs, keras.layers.Dense(2)(inner(inputs))), "epsilon").analyze(x[:1, :9]).shape == (
        1,
        9,
        3,
    )

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    model = Subclassed()
    model(x)
    assert tf_lrp.Analyzer(model, "epsilon").analyze(x[:1]).shape == (1, 20, 3)


def test_on_the_command_line(tmp_path):
    """Pictures get the size that the file says, one at a time."""
    from PIL import Image
    from typer.testing import CliRunner

    from tf_lrp import cli

    model = _fitted(
        [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")],
        _draw(8, 16, 16, 3),
    )
    model.save(tmp_path / "model.keras")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), "uint8")).save(tmp_path / "picture.png")
    command = ["explain", str(tmp_path / "picture.png"), "--model", str(tmp_path / "model.keras"), "--preset", "epsilon"]
    result = CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (written,) = (tmp_path / "out").glob("*.npy")
    assert np.load(written).shape[-3:-1] == (16, 16)


def test_a_saved_input_keeps_its_lengths(tmp_path):
    model = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(2, 1)])
    for of_model in (model, _reloaded(model, tmp_path)):
        analyzer = tf_lrp.Analyzer(of_model, "epsilon")
        assert analyzer.twin.inputs[0].shape == (None, 8, 12, 3)
        with pytest.raises(ValueError, match="needs shape"):
            analyzer.analyze(_draw(2, 8, 13, 3))
