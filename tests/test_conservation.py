"""The balance of a pass: every unit of relevance is found again."""

import keras
import numpy as np
import pytest
from keras import layers as L
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp import presets, select
from tf_lrp.rules import Epsilon, Flat, ZRule


def padded(dtype="float64"):
    inputs = keras.Input((8, 8, 3), dtype=dtype)
    h = L.ZeroPadding2D(2, name="pad", dtype=dtype)(inputs)
    h = L.Conv2D(4, 3, activation="relu", name="conv", dtype=dtype)(h)
    s = L.Conv2D(4, 1, name="short", dtype=dtype)(h)
    h = L.BatchNormalization(name="bn", dtype=dtype)(h + s)
    h = L.GlobalAveragePooling2D(dtype=dtype)(L.ReLU(dtype=dtype)(h))
    return randomize(keras.Model(inputs, L.Dense(4, name="fc", dtype=dtype)(h)))


@pytest.mark.parametrize("preset", presets.names())
@pytest.mark.parametrize("build", [convnet, padded])
def test_every_layer_balances(preset, build):
    model, x = build(dtype="float64"), pictures(dtype="float64")
    analyzer = tf_lrp.Analyzer(model, preset)
    balance = analyzer.conservation(x)
    scale = max(abs(balance.output), *(abs(v) for b in balance.layers for v in (b.received, b.passed, b.bias)))
    np.testing.assert_allclose(balance.input, analyzer.analyze(x).sum(), rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(balance.output, model(x).numpy().max(axis=1).sum(), rtol=1e-12)
    for layer in balance.layers:
        assert abs(layer.rounding) <= 1e-9 * scale, layer
    assert abs(balance.rounding) <= 1e-9 * scale


def test_what_is_kept_is_named():
    model, x = padded(), pictures(dtype="float64")
    plain = tf_lrp.Analyzer(model, ZRule()).conservation(x)
    by_name = {b.name: b for b in plain.layers}
    assert abs(by_name["fc"].bias) > 1e-3
    assert by_name["pad"].padding == pytest.approx(0, abs=1e-9)
    flat = {b.name: b for b in tf_lrp.Analyzer(model, Flat()).conservation(x).layers}
    assert abs(flat["pad"].padding) > 1e-3, "flat sends relevance to padded zeros"
    damped = {b.name: b for b in tf_lrp.Analyzer(model, Epsilon(1.0)).conservation(x).layers}
    assert abs(damped["fc"].stabilizer) > 1e-3
    no_bias = tf_lrp.Analyzer(model, tf_lrp.Preset([(select.all(), ZRule(bias=False))])).conservation(x)
    assert {b.name: b.bias for b in no_bias.layers}["fc"] == 0


def test_the_balance_of_a_dense_layer_by_hand():
    inputs = keras.Input((2,), dtype="float64")
    model = keras.Model(inputs, L.Dense(1, name="fc", dtype="float64")(inputs))
    model.get_layer("fc").set_weights([np.array([[2.0], [3.0]]), np.array([5.0])])
    balance = tf_lrp.Analyzer(model, Epsilon(10.0)).conservation(np.array([[1.0, 1.0]]))
    (layer,) = balance.layers
    # z = 10, R = 10, denominator 20: the inputs get 1 and 1.5, the bias 2.5, epsilon 5
    assert (layer.received, layer.passed, layer.bias, layer.stabilizer) == pytest.approx((10, 2.5, 2.5, 5))
    assert balance.padding == 0


def test_the_table_is_readable_and_targets_are_checked():
    analyzer, x = tf_lrp.Analyzer(convnet(), "cmp_a2_flat"), pictures()
    text = str(analyzer.conservation(x, neuron_selection=2))
    for part in ("scores", "biases kept", "whole model", "Flat()"):
        assert part in text
    with pytest.raises(ValueError, match="one neuron per sample"):
        analyzer.conservation(x, neuron_selection=np.array([[0, 1]] * 3))


def test_repeated_calls_trace_once(caplog):
    analyzer, x = tf_lrp.Analyzer(convnet(), "z"), pictures(1)
    first = analyzer.conservation(x)
    for _ in range(6):
        assert analyzer.conservation(x).input == first.input
    assert not [r for r in caplog.records if "retracing" in r.message]


def test_many_analyzers_do_not_count_as_retracing(caplog):
    for name in ("z", "epsilon", "gamma", "flat", "w2", "zplus", "cmp_a1"):
        tf_lrp.Analyzer(convnet(), name).analyze(pictures(1))
    assert not [r for r in caplog.records if "retracing" in r.message]
