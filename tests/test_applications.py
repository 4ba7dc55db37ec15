"""Networks of keras.applications at small sizes, random weights: values kept, relevance accounted for, nothing undefined."""

import keras
import numpy as np
import pytest
from keras import applications

import tf_lrp

SEED = 7
NETWORKS = [
    ("VGG16", 32),
    ("ResNet50V2", 64),
    ("MobileNetV2", 64),
    ("MobileNetV3Small", 64),
    ("EfficientNetB0", 64),
    ("EfficientNetV2B0", 64),
    ("ConvNeXtTiny", 64),
    pytest.param("DenseNet121", 32, marks=pytest.mark.slow),
    pytest.param("InceptionResNetV2", 96, marks=pytest.mark.slow),
    pytest.param("NASNetMobile", 64, marks=pytest.mark.slow),
]


def network(name, size):
    """The network for 10 classes with seeded weights; normalizations, biases and scales are not at their defaults."""
    keras.utils.set_random_seed(SEED)
    build = getattr(applications, name)
    model = build(weights=None, classes=10, classifier_activation=None, input_shape=(size, size, 3))
    rng = np.random.default_rng(SEED)
    for v in (v for v in model.variables if "float" in v.dtype and v.name not in ("mean", "variance")):
        shape = tuple(v.shape)
        if v.name in ("gamma", "moving_variance"):
            v.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) < 2:
            v.assign(0.1 * rng.normal(size=shape))
        else:  # He-normal; a depthwise kernel has one input a channel
            inputs = shape[:-2] if shape[-1] == 1 or "depthwise" in v.path else shape[:-1]
            v.assign(rng.normal(size=shape) * np.sqrt(2 / np.prod(inputs)))
    return model


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_networks_are_explained_soundly(name, size):
    model = network(name, size)
    preprocessing = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)
    x = np.random.default_rng(SEED + 1).normal(size=(1, size, size, 3)).astype("float32")
    x = 128 + 50 * x if preprocessing else x
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    for preset in ("z", "cmp_a1_flat"):
        analyzer = tf_lrp.Analyzer(model, preset)
        found = keras.ops.convert_to_numpy(analyzer.twin(x, training=False))
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), preset
        relevance = analyzer.analyze(x)
        assert np.isfinite(relevance).all() and relevance.any(), preset
        balance = analyzer.conservation(x)
        assert abs(balance.output - expected.max()) <= 1e-4 * np.abs(expected).max(), preset
        assert abs(balance.input - relevance.sum(dtype="float64")) <= 1e-3 * abs(balance.output), preset
        assert abs(balance.rounding) <= 1e-3 * abs(balance.output), preset
