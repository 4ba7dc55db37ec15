"""Networks of keras.applications at small sizes, random weights: values kept, relevance accounted for, nothing undefined."""

import keras
import numpy as np
import pytest

import tf_lrp

#: Explained eagerly but for two of them: to trace a network takes longer than ten eager passes.
pytestmark = pytest.mark.eager

NETWORKS = [
    ("VGG16", 32),
    pytest.param("ResNet50V2", 64, marks=pytest.mark.compiled),
    ("MobileNetV2", 64),
    pytest.param("MobileNetV3Small", 64, marks=pytest.mark.compiled),
    ("EfficientNetB0", 64),
    ("EfficientNetV2B0", 64),
    ("ConvNeXtTiny", 64),
    pytest.param("DenseNet121", 32, marks=pytest.mark.slow),
    pytest.param("InceptionResNetV2", 96, marks=pytest.mark.slow),
    pytest.param("NASNetMobile", 64, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_networks_are_explained_soundly(name, size, coverage):
    model = coverage.randomize(coverage.build_application(name, size))
    x = coverage.random_inputs(model)
    coverage.calibrate(model, x)
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    opened = tf_lrp.Analyzer(model, "z")
    for preset in ("z", "cmp_a1_flat"):
        analyzer = opened.with_preset(preset)
        found = keras.ops.convert_to_numpy(analyzer.twin(x, training=False))
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), preset
        relevance = analyzer.analyze(x)
        assert np.isfinite(relevance).all() and relevance.any(), preset
        balance = analyzer.conservation(x)
        assert abs(balance.output - expected.max()) <= 1e-4 * np.abs(expected).max(), preset
        assert abs(balance.input - relevance.sum(dtype="float64")) <= 1e-3 * abs(balance.output), preset
        assert abs(balance.rounding) <= 1e-3 * abs(balance.output), preset
