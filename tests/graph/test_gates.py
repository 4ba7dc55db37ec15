"""A gate is a gate whatever lies between it and the product that only moves values."""

import keras
import numpy as np
import pytest
from keras import ops

import tf_lrp
from tf_lrp.operations.routing_table import TRAINING_CLASSES, is_identity, only_in_training


def rules_behind(between):
    inputs = keras.Input((6, 6, 3))
    signal = keras.layers.Conv2D(4, 1, use_bias=False, name="signal")(inputs)
    g = keras.layers.Conv2D(4, 1, activation="sigmoid", name="gate")(inputs)
    model = keras.Model(
        inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(keras.layers.Multiply()([signal, between(g)])))
    )
    return {name: rule for name, _, rule, _ in tf_lrp.Analyzer(model, "z").rules()}


@pytest.mark.parametrize(
    "between",
    [
        keras.layers.Identity(), keras.layers.Dropout(0.3), keras.layers.SpatialDropout2D(0.3),
        keras.layers.GaussianDropout(0.3), keras.layers.GaussianNoise(0.3),
        keras.layers.AlphaDropout(0.3), keras.layers.ActivityRegularization(), keras.layers.ZeroPadding2D(0),
        keras.layers.Cropping2D(0), keras.layers.UpSampling2D(1),
        keras.layers.MaxPooling2D(1), keras.layers.AveragePooling2D(1), keras.layers.Activation("linear"),
        keras.layers.RandomFlip(), keras.layers.Rescaling(2.0), ops.stop_gradient,
        lambda g: keras.layers.Cropping2D(1)(keras.layers.ZeroPadding2D(1)(g)), lambda g: ops.roll(g, 1, axis=1),
        lambda g: ops.flip(g, axis=1),
        lambda g: keras.layers.Concatenate()([g[..., :2], g[..., 2:]]),
        lambda g: keras.layers.Permute((2, 1, 3))(keras.layers.Permute((2, 1, 3))(g)),
        lambda g: keras.layers.TimeDistributed(keras.layers.Activation("linear"))(g),
        lambda g: ops.where(g > 0.5, g, ops.zeros_like(g)),
        lambda g: ops.stack(ops.unstack(g, axis=1), axis=1),
    ],
)  # fmt: skip
def test_the_gate_takes_nothing(between):
    rules = rules_behind(between)
    assert rules["gate"] == "Stop()"
    assert rules["signal"] == "ZRule()"


def test_a_join_with_something_else_is_no_gate():
    assert (
        rules_behind(lambda g: keras.layers.Concatenate()([g[..., :2], 0.5 * keras.layers.Conv2D(2, 1)(g)]))["gate"]
        == "ZRule()"
    )


def test_x_times_a_function_of_x_is_an_activation_through_what_does_nothing():
    inputs = keras.Input((4,))
    h = keras.layers.Dense(4, name="h")(inputs)
    swish = h * ops.sigmoid(keras.layers.GaussianNoise(0.1)(keras.layers.Activation("linear")(h)))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(swish))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    maps = tf_lrp.Analyzer(model, "z").analyze(x, 0, layers=["h"])
    beyond = np.asarray(keras.Model(inputs, swish)(x)) * np.asarray(model.get_layer("out").kernel)[:, 0]
    np.testing.assert_allclose(maps["h"], beyond, rtol=1e-4, atol=1e-5)


def test_the_table_of_what_does_nothing_is_true():
    x = np.random.default_rng(0).uniform(-300, 300, (2, 8, 8, 3)).astype("float32")
    checked = 0
    for layer_class in TRAINING_CLASSES:
        for arguments in ((), (0.1,), (0.1, 0.1), (4,)):
            try:
                layer = layer_class(*arguments)
            except (TypeError, ValueError):
                continue
            break
        value = x[:, 0] if "1D" in layer_class.__name__ else x[:, None] if "3D" in layer_class.__name__ else x
        assert is_identity(layer)
        assert only_in_training(layer)
        how = {} if layer_class is keras.layers.ActivityRegularization else {"training": False}
        np.testing.assert_array_equal(layer(value, **how), value)
        checked += 1
    assert checked == len(TRAINING_CLASSES)
    others = [
        keras.layers.ZeroPadding2D(1),
        keras.layers.Cropping2D(1),
        keras.layers.UpSampling2D(2),
        keras.layers.MaxPooling2D(2),
        keras.layers.MaxPooling2D(1, 2),
        keras.layers.Activation("relu"),
    ]
    assert not any(map(is_identity, others))


def test_a_subclass_with_its_own_call_may_do_anything():
    class Doubling(keras.layers.Dropout):
        def call(self, inputs, training=False):
            return 2 * inputs

    assert not is_identity(Doubling(0.1))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Doubling(0.1)(inputs)))
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(x), model(x), rtol=1e-5)
