"""Networks trained by others on real pictures: accuracy, where relevance lands, and ten thousand digits in one call."""

import json

import numpy as np
import pytest

import tf_lrp
from tf_lrp import model_zoo
from tf_lrp.evaluation import engine
from tf_lrp.evaluation.datasets import Mosaic
from tf_lrp.evaluation.protocols import localization
from tf_lrp.vision import images

WEIGHTS = {
    "squeezenet": "squeezenet_v1_1.weights.npz",
    "mobilenet_v1_025": "mobilenet_v1_025_224.weights.npz",
    "mobilenet_v2_100": "mobilenet_v2_100_224.weights.npz",
}


@pytest.mark.parametrize("network", WEIGHTS)
def test_photographs_are_recognised(network, shared_data):
    data = shared_data / "imagenet"
    listed = json.loads((data / "images64.json").read_text())["images"]
    known = model_zoo.entry(network)
    model = model_zoo.load(network, weights=data / WEIGHTS[network], output="logits")
    photographs = np.stack([centre(images.read(data / "images" / e["file"]), known.size) for e in listed])
    answers = model.predict(known.preprocess(photographs), verbose=0).argmax(axis=1)
    assert len(answers) == 64
    assert (answers == [e["class"] for e in listed]).all()  # chosen among those that these networks get right


def centre(image, size):
    top, left = ((edge - wanted) // 2 for edge, wanted in zip((image.height, image.width), size, strict=True))
    return np.asarray(image)[top : top + size[0], left : left + size[1]]


@pytest.mark.slow
def test_relevance_lands_on_the_explained_object(shared_data):
    """On mosaics cmp_a1_flat puts at least 0.48 of its positive relevance into the class's quadrant, LRP-z 0.37.

    Of the 200 mosaics (docs/results.md) the first, as many as tell the two apart: a mosaic's mean over its four classes
    deviates by 0.038, so that of 24 by 0.008, while the two presets are 0.13 apart.
    """
    data, size = shared_data / "imagenet", (448, 448)
    model = model_zoo.load("squeezenet", weights=data / WEIGHTS["squeezenet"], input_shape=(*size, 3), output="logits")
    mosaics, found = Mosaic(data / "grid_pointing_200.json"), {}
    for name, count in (("cmp_a1_flat", 24), ("z", 12)):
        measure = localization.task(tf_lrp.Analyzer(model, name), model_zoo.entry("squeezenet").preprocess)
        stream = engine.batches(mosaics, size, 2, limit=count)
        found[name] = np.concatenate([measure(batch)["mu"].ravel() for batch in stream])
    assert len(found["cmp_a1_flat"]) == 96
    assert found["cmp_a1_flat"].mean() >= 0.48
    assert 0.34 <= found["z"].mean() <= 0.41


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
