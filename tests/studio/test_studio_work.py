"""What is computed in the model: every number is that of the library, or of the model asked directly."""

import base64
import io
import subprocess
import sys

import keras
import numpy as np
import pytest
from askable import encoded, numbers, segments
from PIL import Image

import tf_lrp
from tf_lrp import model_zoo, presets, select
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def model():
    return model_zoo.load("shapes", output="sigmoid")


@pytest.fixture(scope="module")
def x(client, picture):
    """The network's input, from the image that the page gets."""
    with Image.open(io.BytesIO(client.get(f"/api/pictures/{picture}/image").content)) as image:
        return model_zoo.entry("shapes").preprocess(np.asarray(image)[None])


def explained(client, picture, source, **more):
    answer = client.post("/api/explain", json={"picture": picture, "source": source, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def test_a_named_preset_gives_the_analyzers_relevance(client, picture, model, x):
    answer = explained(client, picture, {"named": "cmp_a2_flat"}, target=2, layers=["conv3", "logits"])
    maps = tf_lrp.Analyzer(model, "cmp_a2_flat").analyze(x, 2, layers=["conv3", "logits"])
    close(numbers(answer["input"]), maps["input"][0].sum(axis=-1))
    close(numbers(answer["layers"]["conv3"]), maps["conv3"][0].sum(axis=-1))
    close(numbers(answer["layers"]["logits"]), maps["logits"])
    shown = numbers(answer["input"])
    close([answer["input"][key] for key in ("sum", "min", "max")], [shown.sum(dtype=float), shown.min(), shown.max()])


def test_segments_are_the_preset_of_their_ranges(client, picture, model, x):
    chosen = segments(
        (0, {"class": "Flat"}),
        (3, {"class": "AlphaBeta", "alpha": 2.0, "beta": 1.0}),
        (4, {"class": "Gamma", "gamma": 0.1}),
        (5, {"class": "Epsilon", "epsilon": 0.25}),
    )
    answer = explained(client, picture, {"segments": chosen}, target=0)
    ranges = [(0, 0, Flat()), (1, 3, AlphaBeta(2.0, 1.0)), (4, 4, Gamma(0.1)), (5, 5, Epsilon(0.25))]
    preset = tf_lrp.Preset([(select.index(first, last), rule) for first, last, rule in ranges])
    close(numbers(answer["input"]), tf_lrp.Analyzer(model, preset).analyze(x, 0)[0].sum(axis=-1))


def test_entries_for_other_layers_go_before_the_segments(client, picture, model, x):
    entry = {"select": "kind", "kinds": ["max_pooling"], "rule": {"class": "WinnerTakesAll", "ties": "share"}}
    source = {"segments": segments((5, {"class": "Epsilon", "epsilon": 0.1})), "others": [entry]}
    answer = explained(client, picture, source, target=1)
    rules = [(select.kind("max_pooling"), tf_lrp.rules.WinnerTakesAll("share")), (select.all(), Epsilon(0.1))]
    close(numbers(answer["input"]), tf_lrp.Analyzer(model, tf_lrp.Preset(rules)).analyze(x, 1)[0].sum(axis=-1))


def test_the_strongest_class_is_explained_and_predicted(client, picture, model, x):
    probabilities = np.asarray(model(x))[0]
    predictions = client.get(f"/api/pictures/{picture}/predictions?top=3&classes=5&classes=0").json()["classes"]
    strongest = list(np.argsort(-np.asarray(model_zoo.load("shapes")(x))[0])[:3])
    assert [c["index"] for c in predictions] == list(dict.fromkeys([*strongest, 5, 0]))
    close([c["probability"] for c in predictions], probabilities[[c["index"] for c in predictions]])
    answer = explained(client, picture, {"named": "epsilon"})
    assert answer["target"] == strongest[0] and answer["score"] == predictions[0]["score"]


def test_every_template_equals_its_unified_form_where_inputs_are_not_negative(client, picture):
    for template in client.get("/api/rules").json()["templates"]:
        if template["unified"] is None:
            continue
        bottom = (0, {"class": "Flat"})  # below it inputs have signs, above it they have none
        named = explained(client, picture, {"segments": segments(bottom, (5, template["rule"]))}, layers=["pool1"])
        as_unified = {"class": "Unified", **template["unified"]}
        unified = explained(client, picture, {"segments": segments(bottom, (5, as_unified))}, layers=["pool1"])
        ours, theirs = numbers(named["layers"]["pool1"]), numbers(unified["layers"]["pool1"])
        # LRP-gamma of an output with a negative pre-activation favours the other sign: there the two differ.
        if template["name"] != "gamma":
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


def test_a_rule_that_does_not_fit_leaves_the_picture_as_it_was(client, picture):
    before = explained(client, picture, {"named": "gamma"})
    source = {"preset": {"name": "gaps", "rules": [{"select": "first", "n": 1, "kind": None, "rule": {"class": "Flat"}}]}}
    refused = client.post("/api/explain", json={"picture": picture, "source": source})
    assert refused.status_code == 400 and "no rule for the layer" in refused.json()["detail"]
    assert numbers(explained(client, picture, {"named": "gamma"})["input"]).tolist() == numbers(before["input"]).tolist()


def test_relevance_beyond_all_bounds_is_refused(client, picture):
    huge = {"class": "Unified", "gamma1": 1.0, "alpha": 1e30}
    answer = client.post("/api/explain", json={"picture": picture, "source": {"segments": segments((5, huge))}})
    assert answer.status_code == 400 and "finite" in answer.json()["detail"]


@pytest.mark.parametrize("how", ["negate", "mean", "blur", "noise"])
def test_flipped_pixels_change_the_prediction_as_in_the_model(client, picture, model, x, how):
    mask = np.zeros((96, 96), bool)
    mask[10:60, 20:70] = True
    answer = client.post("/api/flip", json={"picture": picture, "mask": encoded(mask), "how": how, "seed": 3}).json()
    after = {c["index"]: c for c in answer["after"]}
    before = {c["index"]: c["probability"] for c in answer["before"]}
    if how in ("negate", "mean"):
        other = -x if how == "negate" else np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)
        expected = np.asarray(model(np.where(mask[None, ..., None], other, x)))[0]
        close([after[k]["probability"] for k in range(6)], expected)
    assert all(c["probability_before"] == before[c["index"]] for c in after.values())
    assert max(abs(c["change"]) for c in after.values()) > 0.1
    assert all(c["change"] == pytest.approx(c["score"] - c["before"]) for c in after.values())
    assert answer["pixels"] == mask.sum()
    with Image.open(io.BytesIO(base64.b64decode(answer["image"]))) as image:
        flipped = model_zoo.entry("shapes").preprocess(np.asarray(image)[None])
    close(flipped[0][~mask], x[0][~mask])
    if how == "negate":
        close(flipped[0][mask], -x[0][mask])


def test_an_empty_mask_changes_nothing(client, picture):
    answer = client.post("/api/flip", json={"picture": picture, "mask": encoded(np.zeros((96, 96)))}).json()
    assert answer["pixels"] == 0 and max(abs(c["change"]) for c in answer["after"]) < 1e-4


def test_the_curve_begins_at_the_score_and_falls_faster_by_relevance_than_at_random(client, picture):
    body = {"picture": picture, "source": {"named": "cmp_a1_flat"}, "how": "mean", "points": 6, "percent": 30, "draws": 2}
    answer = client.post("/api/flip/curve", json=body).json()
    score = explained(client, picture, {"named": "cmp_a1_flat"})["score"]
    for name in ("most_relevant_first", "least_relevant_first", "random"):
        assert answer[name][0] == pytest.approx(score, rel=1e-4) and len(answer[name]) == len(answer["fraction"]) == 7
    assert answer["fraction"][-1] == pytest.approx(0.3, abs=0.03)
    assert answer["aopc"]["most_relevant_first"] > answer["aopc"]["random"] > answer["aopc"]["least_relevant_first"]


def test_neurons_are_sums_of_relevance_and_activation(client, picture, model, x):
    body = {"picture": picture, "source": {"named": "epsilon"}, "target": 4, "layer": "conv4_relu"}
    answer = client.post("/api/neurons", json=body).json()
    relevance = tf_lrp.Analyzer(model, "epsilon").analyze(x, 4, layers=["conv4_relu"])["conv4_relu"][0]
    activation = np.asarray(keras.Model(model.inputs, model.get_layer("conv4_relu").output)(x))[0]
    close(answer["activation"], activation.sum(axis=(0, 1)))
    close(answer["positive"], np.maximum(relevance, 0).sum(axis=(0, 1)))
    close(answer["negative"], np.minimum(relevance, 0).sum(axis=(0, 1)))
    for name in ("positive", "negative", "activation"):
        order = np.abs(answer[name])[answer[f"by_{name}"]]
        assert (np.diff(order) <= 0).all() and sorted(answer[f"by_{name}"]) == list(range(96))
    channels = answer["by_positive"][:2]
    maps = client.post("/api/neurons/maps", json={**body, "channels": channels}).json()["neurons"]
    for shown, channel in zip(maps, channels, strict=True):
        assert shown["channel"] == channel
        close(numbers(shown["relevance"]), relevance[..., channel])
        assert shown["activation"]["sum"] == pytest.approx(answer["activation"][channel], rel=1e-5)


def test_ablated_neurons_are_zero_in_the_model(client, picture, model, x):
    channels = [0, 7, 40]
    answer = client.post("/api/ablate", json={"picture": picture, "layer": "conv4_relu", "channels": channels}).json()
    kept = np.ones(96, "float32")
    kept[channels] = 0

    def copy(layer):
        copied = layer.__class__.from_config(layer.get_config())
        if layer.name != "conv4_relu":
            return copied
        return keras.Sequential([copied, keras.layers.Lambda(lambda t: t * kept)], name=layer.name)

    changed = keras.models.clone_model(model, clone_function=copy)
    changed.set_weights(model.get_weights())
    expected = np.asarray(changed(x))[0]
    close([c["probability"] for c in sorted(answer["after"], key=lambda c: c["index"])], expected)
    assert max(abs(c["change"]) for c in answer["after"]) > 0.01
    none = client.post("/api/ablate", json={"picture": picture, "layer": "conv4_relu", "channels": []}).json()
    assert max(abs(c["change"]) for c in none["after"]) < 1e-4


def test_the_account_is_the_librarys(client, picture, model, x):
    answer = client.post("/api/conservation", json={"picture": picture, "source": {"named": "cmp_a2"}, "target": 3}).json()
    account = tf_lrp.Analyzer(model, "cmp_a2").conservation(x, 3)
    assert answer["output"] == pytest.approx(account.output, rel=1e-5)
    assert answer["input"] == pytest.approx(account.input, rel=1e-4)
    assert [layer["name"] for layer in answer["layers"]] == [layer.name for layer in account.layers]
    assert answer["output"] == pytest.approx(answer["input"] + sum(answer["kept"].values()) + answer["rounding"], rel=1e-6)


def test_numbers_of_a_map(client, picture):
    body = {"picture": picture, "source": {"named": "cmp_a1_flat"}, "target": 3}
    map_of = numbers(explained(client, picture, body["source"], target=3)["input"])
    box = [10, 20, 60, 90]

    def evaluated(**more):
        return {n["name"]: n["value"] for n in client.post("/api/evaluate", json={**body, **more}).json()["numbers"]}

    answer = evaluated(box=box)
    inside = np.zeros((96, 96), bool)
    inside[20:90, 10:60] = True
    positive = np.maximum(map_of, 0)
    assert answer["inside_total_ratio"] == pytest.approx(positive[inside].sum() / positive.sum(), rel=1e-4)
    assert answer["area"] == pytest.approx(inside.mean(), rel=1e-5)
    assert evaluated(mask=encoded(inside)) == answer
    assert evaluated(own=True)["weighted_inside_total_ratio"] > 2  # the star, which the network knows
    assert set(evaluated()) == {"sparseness", "complexity"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"box": [0, 0, 1, 1], "own": True}, "one of box, mask and own"),
        ({"box": [5, 5, 5, 9]}, "inside 96 x 96"),
        ({"box": [0, 0, 97, 9]}, "inside 96 x 96"),
        ({"mask": "AAAA"}, "96 x 96 = 9216; got 3"),
        ({"mask": "%%%"}, "base64"),
    ],
)
def test_masks_that_do_not_fit_are_refused(client, picture, more, words):
    answer = client.post("/api/evaluate", json={"picture": picture, "source": {"named": "z"}, **more})
    assert answer.status_code == 400 and words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("route", "more", "words"),
    [
        ("explain", {"target": 6}, "classes 0 to 5"),
        ("explain", {"target": -1}, "classes 0 to 5"),
        ("explain", {"layers": ["conv9"]}, "no layer 'conv9'"),
        ("explain", {"picture": "nobody"}, "no picture 'nobody'"),
        ("explain", {"source": {}}, "got 0 of them"),
        ("explain", {"source": {"named": "z", "design": "new"}}, "got 2 of them"),
        ("explain", {"source": {"named": "cmp_a3"}}, "no preset 'cmp_a3'"),
        ("explain", {"source": {"named": "epsilon:epsilon=x"}}, "needs"),
        ("explain", {"source": {"named": "/etc/passwd.json"}}, "not by a file"),
        ("explain", {"source": {"design": "nothing"}}, "no model 'nothing'"),
        ("explain", {"source": {"segments": []}}, "0 to 5"),
        ("explain", {"source": {"segments": segments((4, {"class": "Flat"}))}}, "these end at 4"),
        ("explain", {"source": {"segments": segments((5, {"class": "Flatter"}))}}, "'Flatter'"),
        ("neurons", {"layer": "conv9"}, "no layer 'conv9'"),
        ("neurons/maps", {"layer": "conv1", "channels": [16]}, "no channel 16"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(client, picture, route, more, words):
    answer = client.post(f"/api/{route}", json={"picture": picture, "source": {"named": "z"}, **more})
    assert answer.status_code in (400, 404) and words in answer.json()["detail"]


def test_the_code_reproduces_the_view(client, picture, tmp_path):
    source = {"segments": segments((2, {"class": "Gamma", "gamma": 0.3}), (5, {"class": "Epsilon", "epsilon": 0.1}))}
    shown = numbers(explained(client, picture, source, target=3)["input"])
    answer = client.post("/api/code", json={"picture": picture, "source": source, "target": 3}).json()
    found = {}
    exec(answer["python"], found)
    close(found["heatmap"], shown)
    words = answer["command"].split()
    assert words[:2] == ["tf-lrp", "explain"]
    command = [sys.executable, "-m", "tf_lrp.cli", *words[1:], "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (written,) = tmp_path.glob("*.npy")
    close(np.load(written).sum(axis=-1), shown)


def test_the_layers_are_in_order_and_joined(client):
    found = client.get("/api/model/layers").json()
    seen = set()
    for layer in found["layers"]:
        assert set(layer["inputs"]) <= seen
        seen.add(layer["name"])
    weighted = [layer["index"] for layer in found["layers"] if layer["weighted"]]
    assert weighted == list(range(6)) == list(range(client.get("/api/session").json()["model"]["weighted_layers"]))
    assert found["outputs"] == ["logits"] and found["layers"][0]["kind"] == "input"
    assert [c["segment_position"] for c in found["layers"]][:5] == [-1, 0, 0, 0, 1]


def test_all_named_presets_are_offered(client):
    assert [p["name"] for p in client.get("/api/session").json()["presets"]] == list(presets.names())
