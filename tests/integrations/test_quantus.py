"""Quantus's metrics ask for explanations of pictures, and find what they find on explanations that are given to them."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import tf_lrp
import tf_lrp.quantus

quantus = pytest.importorskip("quantus")

QUIET = {"disable_warnings": True, "display_progressbar": False}
#: Metric -> its arguments. All of Quantus 0.6 that its own code lets run on RGB pictures and a model with channels last.
METRICS = {
    "AUC": {},
    "AttributionLocalisation": {},
    "AvgSensitivity": {"nr_samples": 2},
    "Completeness": {},
    "Complexity": {},
    "Consistency": {"discretise_func": "top_n_sign"},
    "EffectiveComplexity": {},
    "FaithfulnessCorrelation": {"nr_runs": 4, "subset_size": 8},
    "FaithfulnessEstimate": {"features_in_step": 16},
    "Infidelity": {"perturb_patch_sizes": [2], "n_perturb_samples": 2},
    "LocalLipschitzEstimate": {"nr_samples": 2},
    "MPRT": {},
    "MaxSensitivity": {"nr_samples": 2},
    "Monotonicity": {"features_in_step": 16},
    "MonotonicityCorrelation": {"nr_samples": 2, "features_in_step": 16},
    "NonSensitivity": {},
    "PixelFlipping": {"features_in_step": 16},
    "PointingGame": {},
    "RandomLogit": {"num_classes": 3},
    "RegionPerturbation": {"patch_size": 2, "regions_evaluation": 2},
    "RelevanceMassAccuracy": {},
    "RelevanceRankAccuracy": {},
    "Selectivity": {"patch_size": 2},
    "SensitivityN": {"features_in_step": 4},
    "Sparseness": {},
    "Sufficiency": {},
    "TopKIntersection": {"k": 4},
}
#: They perturb what they explain by their own means as well, so that explanations alone do not say what they find.
ASKS_AGAIN = {
    "AvgSensitivity", "LocalLipschitzEstimate", "MPRT", "MaxSensitivity",
    "RandomLogit",
}  # fmt: skip


def network():
    keras.utils.set_random_seed(3)
    convolution = layers.Conv2D(4, 2, activation="relu", bias_initializer="normal")
    model = keras.Sequential([keras.Input((4, 4, 3)), convolution, layers.Flatten(), layers.Dense(3)])
    model.predict = lambda x, **_: np.asarray(model(x))  # Keras's takes 50 ms for a few small pictures
    return model


@pytest.fixture(scope="module")
def given():
    """(model, arguments of a metric but for explanations, relevance (N, 1, H, W) of the labels)."""
    model, rng = network(), np.random.default_rng(0)
    x, y = rng.uniform(size=(4, 4, 4, 3)).astype("float32"), np.array([0, 1, 2, 1])
    masks = np.zeros((4, 1, 4, 4))
    masks[:, :, 1:3, 1:3] = 1
    relevance = tf_lrp.Analyzer(model, "cmp_a2_flat", verbose=False).analyze(x, y).sum(axis=-1)[:, np.newaxis]
    return model, {"x_batch": x, "y_batch": y, "s_batch": masks, "channel_first": False, "softmax": False}, relevance


def measured(name, given, **explanations):
    model, data, _ = given
    arguments = dict(METRICS[name])
    if "discretise_func" in arguments:
        arguments["discretise_func"] = getattr(quantus.discretise_func, arguments["discretise_func"])
    np.random.seed(0)
    keras.utils.set_random_seed(0)
    return getattr(quantus, name)(**arguments, **QUIET)(model=model, **data, **explanations)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_quantus(given, name):
    found = measured(name, given, explain_func=tf_lrp.quantus.explain, explain_func_kwargs={"method": "cmp_a2_flat"})
    numbers = np.concatenate([np.ravel(v) for v in (found.values() if isinstance(found, dict) else found)]).astype(float)
    assert len(numbers) and not np.isnan(numbers).all()
    if name not in ASKS_AGAIN:
        np.testing.assert_allclose(
            np.asarray(found, float), np.asarray(measured(name, given, a_batch=given[2]), float), rtol=1e-4
        )


def test_layouts(given):
    """Channels last and first, any type: relevance summed over the channels, of which one is left, first."""
    model, data, expected = given
    x, y = data["x_batch"], data["y_batch"]
    explain = functools.partial(tf_lrp.quantus.explain, method="cmp_a2_flat")
    scale = 1e-5 * abs(expected).max()
    for inputs in (x, np.moveaxis(x, -1, 1), x.astype(np.float64), np.moveaxis(x, -1, 1).astype(np.float64)):
        np.testing.assert_allclose(explain(model, inputs, y), expected, atol=scale)
        kept = explain(model, inputs, y.astype(float), channel_sum=False)
        assert kept.shape == inputs.shape
        np.testing.assert_allclose(kept.sum(axis=inputs.shape.index(3)), expected[:, 0], atol=scale)
    strongest = explain(model, np.moveaxis(x, -1, 1), None)
    np.testing.assert_allclose(strongest, explain(model, x, np.argmax(model(x), axis=1)), atol=scale)


def test_sequences_and_tables():
    keras.utils.set_random_seed(3)
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    sequences = keras.Sequential(
        [keras.Input((6, 4)), layers.Conv1D(3, 2, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    expected = tf_lrp.Analyzer(sequences, "epsilon", verbose=False).analyze(x, [0, 1]).sum(axis=-1)
    for inputs in (x, np.moveaxis(x, -1, 1)):
        found = tf_lrp.quantus.explain(sequences, inputs, [0, 1], "epsilon")
        assert found.shape == (2, 1, 6)
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)
    table = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    assert tf_lrp.quantus.explain(table, x[:, 0], [0, 2], "epsilon").shape == (2, 4)
