"""Networks trained by others on real pictures: accuracy, where relevance lands, and ten thousand digits in one call."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import tf_lrp
from tf_lrp import model_zoo

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "grid_pointing.py"))


@pytest.mark.parametrize("network", ["squeezenet", "mobilenet_v1_025", "mobilenet_v2_100"])
def test_photographs_are_recognised(network, shared_data):
    top1, pictures = BENCHMARK["accuracy"](network, shared_data / "imagenet")
    assert pictures == 64
    assert top1 == 1.0  # the photographs were chosen among those that these networks get right


@pytest.mark.slow
def test_relevance_lands_on_the_explained_object(shared_data):
    """Over 200 mosaics: cmp_a1_flat puts at least 0.48 of its positive relevance into the class's quadrant, LRP-z 0.37."""
    data = shared_data / "imagenet"
    weights = data / BENCHMARK["WEIGHTS"]["squeezenet"]
    model = model_zoo.load("squeezenet", weights=weights, input_shape=(448, 448, 3), output="logits")
    mosaics = json.loads((data / "grid_pointing_200.json").read_text())["mosaics"]
    preprocess = model_zoo.entry("squeezenet").preprocess
    found = {}
    for name, count in (("cmp_a1_flat", 200), ("z", 50)):
        analyzer = tf_lrp.Analyzer(model, name)
        inside = []
        for entry in mosaics[:count]:
            x = preprocess(BENCHMARK["mosaic"](data, entry["files"])[None])
            relevance = analyzer.analyze(x, neuron_selection=np.array([entry["classes"]]))[0].sum(axis=-1)
            inside.append(np.diag(BENCHMARK["shares"](relevance)[0]).mean())
        found[name] = np.mean(inside)
    assert found["cmp_a1_flat"] >= 0.48
    assert 0.34 <= found["z"] <= 0.41


@pytest.mark.slow
def test_ten_thousand_digits_in_one_call(shared_data):
    digits = np.load(shared_data / "toolbox" / "mnist" / "mnist_test.npz")
    model = model_zoo.load("lenet5", weights=shared_data / "toolbox" / "models" / "lenet5_weights.npz")
    x = model_zoo.entry("lenet5").preprocess(digits["images"][..., None])
    logits = model.predict(x, batch_size=500, verbose=0)
    assert (logits.argmax(axis=1) == digits["labels"]).mean() == pytest.approx(0.9924, abs=1e-9)
    relevance = tf_lrp.Analyzer(model, "cmp_a1_flat", batch_size=250).analyze(x)
    assert relevance.shape == (10000, 32, 32, 1)
    assert np.isfinite(relevance).all()
    # positive rules keep what biases do not take
    kept = relevance.sum(axis=(1, 2, 3)) / logits.max(axis=1)
    assert 0.5 < np.median(kept) <= 1.001
