"""The search for presets: its space, its metrics, its memory, what it finds and what it writes."""

import csv
import json
import math
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import tf_lrp
from tf_lrp import presets, rules, select
from tf_lrp.cli import app
from tf_lrp.cli import tune as tune_command
from tf_lrp.explain import stepwise
from tf_lrp.graph import canonize, unroll
from tf_lrp.graph.facts import infer_facts
from tf_lrp.tuning import METRICS, Data, Space, measure, metrics, search, tune
from tf_lrp.tuning import data as tuning_data
from tf_lrp.tuning import figure as tuning_figure
from tf_lrp.tuning.result import Tuned, non_dominated

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.eager  # every trial has a new analyzer, which would be traced
SIDE, CLASSES = 16, 3


def network(seed=1, bias=True, activation="relu", head="dense"):
    keras.utils.set_random_seed(seed)
    how = {"activation": activation, "use_bias": bias, "padding": "same"}
    x = inputs = keras.Input((SIDE, SIDE, 3))
    for filters in (4, 6, 6):
        x = keras.layers.Conv2D(filters, 3, **how)(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(8, 3, **how)(x)
    if head == "dense":
        x = keras.layers.Dense(CLASSES, use_bias=bias)(keras.layers.Flatten()(x))
    else:
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(CLASSES, 1, use_bias=bias)(x))
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def model():
    return network()


def some_data(n=5, targets=2, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((n, targets, SIDE, SIDE)) < 0.3
    chosen = np.stack([rng.permutation(CLASSES)[:targets] for _ in range(n)])
    return Data(rng.random((n, SIDE, SIDE, 3)).astype("float32"), chosen, masks)


@pytest.fixture(scope="module")
def data():
    return some_data()


def flat_layers(explainer, data):
    """A metric that needs no pass: the number of layers with the rule Flat."""
    return sum(rule.startswith("Flat") for _, _, rule, _ in explainer.rules())


def few(explainer, data):
    return -flat_layers(explainer, data)


class Drawn:
    """A trial whose parameters Hypothesis draws."""

    def __init__(self, draw):
        self.draw = draw

    def suggest_categorical(self, name, choices):
        return self.draw(st.sampled_from(choices))

    def suggest_int(self, name, low, high):
        return self.draw(st.integers(low, high))

    def suggest_float(self, name, low, high, *, log=False):
        return self.draw(st.floats(low, high))


# ---- the space ------------------------------------------------------------------------------------------------------

EVERYTHING = {
    "epsilon": (1e-9, 10), "relative_epsilon": (1e-6, 1), "gamma": (0.01, 100), "alpha_beta": (1, 4), "zplus": (), "z": (),
    "flat": (), "wsquare": (),
}  # fmt: skip
WIDE = Space(
    top=EVERYTHING, upper=EVERYTHING, lower=EVERYTHING, input_layers=(1, 3), lower_layers=(0, 4), top_layers=(0, 2),
    fold_batchnorm=(True, False), low=0.0, high=1.0,
)  # fmt: skip


def expected_rule(segment, p):
    rule = p[segment]
    if rule == "epsilon":
        return rules.Epsilon(p[f"{segment}_epsilon"])
    if rule == "relative_epsilon":
        return rules.Epsilon(p[f"{segment}_relative_epsilon"], norm_scale=True)
    if rule == "gamma":
        return rules.Gamma(p[f"{segment}_gamma"])
    if rule == "alpha_beta":
        return rules.AlphaBeta(p[f"{segment}_alpha"], p[f"{segment}_alpha"] - 1)
    return {"zplus": rules.ZPlus(), "z": rules.ZRule(), "flat": rules.Flat(), "wsquare": rules.WSquare()}[rule]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_every_point_is_a_preset_that_gives_each_layer_the_rule_of_its_segment(drawn):
    p = WIDE.suggest(Drawn(drawn.draw))
    preset = WIDE.preset(json.loads(json.dumps(p)))
    assert preset == WIDE.preset(p)
    assert presets.Preset.from_json(preset.to_json()) == preset
    assert WIDE.options(p) == ({} if p["fold_batchnorm"] else {"fold_batchnorm": False})

    below = {"none": 0, "zbox": 1}.get(p["input"], p.get("input_layers"))
    first = {"flat": rules.Flat(), "wsquare": rules.WSquare(), "zbox": rules.ZBox(0.0, 1.0)}
    weighted = [f for f in FACTS if "weights" in f.kinds]
    assert len(weighted) == 5
    for place, facts in enumerate(weighted):
        if place < 4 and place < below:
            rule = first[p["input"]]
        elif place >= 5 - p["top_layers"] or place == 4:
            rule = expected_rule("top", p)
        elif place < below + p["lower_layers"]:
            rule = expected_rule("lower", p)
        else:
            rule = expected_rule("upper", p)
        assert preset.choose(facts).rule == rule, place


FACTS = infer_facts(canonize(unroll(network())))
CONSERVING = Space(
    top={"epsilon": (1e-9, 1e-7), "z": ()}, upper={"gamma": (0.01, 10), "zplus": ()}, lower={"gamma": (0.1, 1), "zplus": ()},
    input_layers=(1, 3), lower_layers=(0, 3), low=-1.0, high=2.0,
)  # fmt: skip
WITHOUT_BIAS = network(bias=False)


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_without_biases_relevance_sums_to_the_score_where_every_rule_conserves_it(drawn):
    p = CONSERVING.suggest(Drawn(drawn.draw))
    analyzer = tf_lrp.Analyzer(WITHOUT_BIAS, CONSERVING.preset(p))
    sample = some_data(3, 1)
    scores, relevance = analyzer.with_output(sample.x, sample.targets[:, 0])
    wanted = scores[np.arange(3), sample.targets[:, 0]]
    np.testing.assert_allclose(relevance.sum(axis=(1, 2, 3)), wanted, rtol=2e-3, atol=1e-5)


def test_known_presets_are_points_of_the_default_space_and_explain_alike(model):
    space, x = Space.for_model(model), some_data(2).x
    assert set(space.known()) == set(search.REFERENCES)
    for name, p in space.known().items():
        ours = tf_lrp.Analyzer(model, space.preset(p)).analyze(x, 1)
        named = tf_lrp.Analyzer(model, name).analyze(x, 1)
        # epsilon_gamma_box has stabilizers of its own.
        tolerance = 1e-4 if name == "epsilon_gamma_box" else 0
        np.testing.assert_allclose(ours, named, rtol=0, atol=tolerance * np.abs(named).max())
    assert set(Space(input=("flat",)).known()) == {"cmp_a2_flat", "cmp_a1_flat"}
    assert Space(kind="weights").known() == {}


def test_the_default_space_has_the_layers_of_the_model(model):
    ours = Space.for_model(model)
    assert (ours.kind, ours.lower_layers, ours.top_layers, ours.input_layers) == ("conv", (0, 3), (0, 0), (1, 1))
    assert Space.for_model(network(head="conv")).top_layers == (0, 2)
    dense = keras.Sequential([keras.Input((5,)), *(keras.layers.Dense(4, activation="relu") for _ in range(4))])
    changed = Space.for_model(dense, upper={"zplus": ()})
    assert (changed.kind, changed.top_layers, list(changed.upper)) == ("weights", (1, 1), ["zplus"])
    p = {"input": "none", "lower_layers": 1, "lower": "zplus", "upper": "zplus", "top": "epsilon", "top_epsilon": 0.5}
    chosen = [r for _, c, r, _ in tf_lrp.Analyzer(dense, changed.preset({**p, "top_layers": 1, "fold_batchnorm": True})).rules()
             if c == "Dense"]  # fmt: skip
    assert chosen == ["ZPlus()"] * 3 + ["Epsilon(epsilon=0.5)"]


def test_the_space_goes_to_json_and_back():
    assert Space(**json.loads(json.dumps(WIDE.to_dict()))) == WIDE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upper": {"gama": (1, 2)}}, "rules out of epsilon"),
        ({"upper": {}}, "needs candidates"),
        ({"upper": {"gamma": (2, 1)}}, "range"),
        ({"upper": {"gamma": (0, 1)}}, "> 0"),
        ({"upper": {"alpha_beta": (0.5, 2)}}, ">= 1"),
        ({"upper": {"zplus": (1, 2)}}, "no parameter"),
        ({"input": ("box",)}, "input needs"),
        ({"input": ()}, "input needs"),
        ({"input_layers": (0, 2)}, "from 1 on"),
        ({"lower_layers": (3, 2)}, "lower_layers"),
        ({"kind": "convolution"}, "kind needs"),
        ({"low": 1.0, "high": 0.0}, "low < high"),
    ],
)
def test_spaces_that_are_none_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Space(**changes)


def test_points_outside_are_refused():
    p = Space().known()["cmp_a2_flat"]
    for changes, message in [
        ({"upper_alpha": 9.0}, "from 1.0 to 4.0"),
        ({"lower_layers": 1.5}, "is an integer"),
        ({"upper": "flat"}, "one of"),
        ({"lower": "zplus"}, "have no effect"),
        ({"upper": "gamma"}, "'upper_gamma' is missing"),
    ]:
        with pytest.raises(ValueError, match=message):
            Space().preset({**p, **changes})


# ---- metrics --------------------------------------------------------------------------------------------------------


def naive_metrics(model, preset, data):
    """Every metric by its formula, one pair of sample and target after the other."""
    analyzer, found = tf_lrp.Analyzer(model, preset), {name: [] for name in METRICS}
    for x, targets, masks in zip(*data, strict=True):
        row = {name: [] for name in METRICS}
        for target, mask in zip(targets, masks, strict=True):
            r = analyzer.analyze(x[np.newaxis], int(target))[0].sum(axis=-1).astype(float)
            positive = r.clip(0)
            mu = positive[mask].sum() / positive.sum() if positive.sum() else 0.0
            row["localization"].append(mu)
            row["weighted_localization"].append(mu * mask.size / mask.sum())
            strongest = np.argsort(-r, axis=None)[: mask.sum()]
            row["rank_accuracy"].append(mask.ravel()[strongest].mean())
            row["pointing"].append(float(mask.ravel()[strongest[0]]))
            score = float(model(x[np.newaxis])[0, target])
            row["completeness"].append(-abs(r.sum() - score) / (abs(r.sum()) + abs(score)))
            row["faithfulness"].append(naive_aopc(model, x, target, r))
        for name, values in row.items():
            found[name].append(np.mean(values))
    return found


def naive_aopc(model, x, target, r):
    edge = SIDE // 8
    places = [(i * edge, j * edge) for i in range(8) for j in range(8)]
    places.sort(key=lambda place: -r[place[0] : place[0] + edge, place[1] : place[1] + edge].sum())
    changed, scores = x.copy(), [float(model(x[np.newaxis])[0, target])]
    for start in range(0, 64, 4):
        for i, j in places[start : start + 4]:
            changed[i : i + edge, j : j + edge] = x.mean(axis=(0, 1))
        scores.append(float(model(changed[np.newaxis])[0, target]))
    return np.mean([scores[0] - score for score in scores])


@pytest.mark.compiled
@pytest.mark.parametrize("preset", ["cmp_a2_flat", "epsilon"])
def test_metrics_are_what_loops_find_whatever_the_batch(model, preset):
    data = some_data(3)
    expected = naive_metrics(model, preset, data)
    for batch_size in (2, 32):
        found = measure(model, preset, data, list(METRICS), batch_size=batch_size)
        for name, samples in expected.items():
            np.testing.assert_allclose(found[name].samples, samples, rtol=1e-3, atol=2e-5, err_msg=name)
            assert found[name].value == pytest.approx(np.mean(samples), rel=1e-3, abs=1e-5)
            assert found[name].error == pytest.approx(np.std(samples, ddof=1) / math.sqrt(len(samples)), rel=1e-2, abs=1e-5)


def test_one_target_per_sample_is_an_axis_of_one(model, data):
    one = Data(data.x, data.targets[:, 0], data.masks[:, 0])
    same = Data(data.x, data.targets[:, :1], data.masks[:, :1])
    first, second = (measure(model, "epsilon", d)["localization"] for d in (one, same))
    np.testing.assert_array_equal(first.samples, second.samples)


def test_a_map_without_positive_relevance_counts_zero(data):
    model = network()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([-np.abs(kernel), bias - 1])
    found = measure(model, "zplus", data, ["localization", "weighted_localization"])
    assert found["localization"].value == found["weighted_localization"].value == 0


def test_features_and_a_single_sample_have_completeness_and_no_error():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, use_bias=False)])
    found = measure(model, "z", (np.ones((1, 4), "float32"), np.array([1])), "completeness")["completeness"]
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.error is None


def test_a_function_is_called_with_the_data_as_given(model, data):
    seen = []

    def first(explainer, given):
        seen.append(given)
        return explainer.analyze(given.x, given.targets).shape[0]

    one = Data(data.x, data.targets[:, 0])
    found = measure(model, "epsilon", one, first)["first"]
    assert (found.value, found.error, found.samples) == (5, None, None)
    assert seen[0].targets.shape == (5,)
    assert seen[0].masks is None


def test_a_registered_metric_is_known_by_its_name(model, data, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(METRICS))

    @metrics.register_metric("inside", needs_masks=True)
    def inside(explanations):
        return np.where(explanations.masks, explanations.maps, 0).sum(axis=(2, 3))

    maps = tf_lrp.Analyzer(model, "epsilon").analyze(data.x, data.targets).sum(axis=-1)
    expected = np.where(data.masks, maps, 0).sum(axis=(2, 3)).mean(axis=1)
    np.testing.assert_allclose(measure(model, "epsilon", data, "inside")["inside"].samples, expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="need masks"):
        measure(model, "epsilon", data[:2], "inside")
    # Resuming a search tells metrics of one name apart by their functions; the library's own keep their names.
    own, other = metrics.metrics_of(["inside", "pointing"])
    assert own.identity.endswith("inside") and own.identity != "inside" and other.identity == "pointing"


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        ("localisation", ValueError, "Did you mean 'localization'"),
        ([], ValueError, "one or more"),
        (["pointing", "pointing"], ValueError, "different"),
        (3, TypeError, "name or a function"),
        (lambda explainer, data: math.nan, ValueError, "finite"),
    ],
)
def test_metrics_that_are_none_are_refused(model, data, metric, error, message):
    with pytest.raises(error, match=message):
        measure(model, "epsilon", data, metric)


def test_data_that_do_not_fit_are_refused(model, data):
    x, targets, masks = data
    empty = masks.copy()
    empty[3, 1] = False
    for wrong, message in [
        ((x[:0], targets[:0]), "N >= 1"),
        ((x, targets.astype(float)), "needs to be ints"),
        ((x, targets[:3]), "5 samples"),
        ((x, targets + 2), "neurons 0 to 2"),
        ((x, targets), "need masks"),
        ((x, targets, masks[:, 0]), "needs shape"),
        ((x, targets, masks[..., :-1]), "needs shape"),
        ((x, targets, masks * 2), "bool"),
        ((x, targets, empty), r"1 masks are empty, the first at \[3, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            measure(model, "epsilon", wrong)
    with pytest.raises(TypeError, match="Data"):
        measure(model, "epsilon", x)
    assert measure(model, "epsilon", (x, targets, masks.astype(int)))["localization"].value > 0


# ---- the search -----------------------------------------------------------------------------------------------------


def nearness(explainer, data):
    """Largest, 3, for flat on three layers and an epsilon of 1e-3 at the top."""
    epsilon = explainer.preset.rules[-1][1].epsilon
    return flat_layers(explainer, data) - abs(math.log10(epsilon) + 3)


def test_finds_a_best_preset_that_is_known(model, data):
    tuned = tune(model, data, nearness, Space(input_layers=(1, 3), lower_layers=(0, 3)), budget=30, progress=False)
    assert tuned.value > 2.5
    assert tuned.preset.rules[0] == (select.first(3, kind="conv"), rules.Flat())
    assert tuned.value == max(r["values"]["nearness"] for r in tuned.records)
    assert flat_layers(tuned.analyzer(model), None) == 3
    assert tuned.gains["epsilon"]["nearness"] == pytest.approx(tuned.value + 3)


def test_references_are_measured_first_and_may_win(model, data):
    mine = presets.Preset(((select.all(), rules.Flat()),), "all flat")
    tuned = tune(model, data, flat_layers, Space(input=("none",)), budget=2, references=["epsilon", mine], progress=False)
    assert [r["reference"] for r in tuned.references] == ["epsilon", "all flat"]
    assert [r["values"]["flat_layers"] for r in tuned.references] == [0, 5]
    assert tuned.best["reference"] == "all flat"
    assert tuned.preset == mine
    assert tuned.references[0]["parameters"]["upper"] == "epsilon"
    assert tuned.references[1]["parameters"] is None
    for record in tuned.trials:
        again = Space(input=("none",)).preset(record["parameters"], f"tuned_{record['number']}")
        assert json.loads(again.to_json()) == record["preset"]


def test_a_preset_of_a_known_name_with_other_parameters_is_no_point_of_the_space(model, data):
    other = presets.preset("cmp_a2_flat", epsilon=0.1)
    tuned = tune(model, data, few, budget=0, references=[other], progress=False)
    assert tuned.references[0]["parameters"] is None
    assert tuned.references[0]["preset"] == json.loads(other.to_json())


def test_a_trial_that_fails_is_kept_with_its_error(model, data):
    def moody(explainer, data):
        rules = str(explainer.preset)
        if "ZBox" in rules:
            raise RuntimeError("no boxes")
        return math.inf if "WSquare" in rules else 1.0

    tuned = tune(model, data, moody, Space(), budget=12, references=["epsilon_gamma_box", "epsilon"], progress=False)
    kinds = [record["parameters"]["input"] for record in tuned.trials]
    assert {"zbox", "wsquare"} < set(kinds)
    for kind, record in zip(kinds, tuned.trials, strict=True):
        wanted = {"zbox": "RuntimeError: no boxes", "wsquare": "ValueError: The metric moody needs"}.get(kind)
        assert (record["error"] is None) == (wanted is None)
        assert wanted is None or record["error"].startswith(wanted)
        assert (record["values"] is None) == (wanted is not None)
    assert tuned.references[0]["error"] == "RuntimeError: no boxes"
    assert list(tuned.gains) == ["epsilon"]


def test_where_everything_fails_the_first_error_is_told(model, data):
    def broken(explainer, data):
        raise KeyError("nothing here")

    with pytest.raises(RuntimeError, match=r"None of 2 presets.*nothing here"):
        tune(model, data, broken, budget=2, references=["epsilon"], progress=False)


def test_folding_is_searched_where_it_may_be(data):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(CLASSES)])

    def left(explainer, data):
        return sum(c == "BatchNormalization" for _, c, _, _ in explainer.rules())

    space = Space.for_model(model, fold_batchnorm=(False,))
    tuned = tune(model, data, left, space, budget=1, references=["epsilon"], progress=False)
    assert (tuned.value, tuned.options) == (1, {"fold_batchnorm": False})
    assert tuned.references[0]["values"] == {"left": 0}
    assert left(tuned.analyzer(model), None) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": -1}, ValueError, "budget"),
        ({"budget": 2.0}, ValueError, "budget"),
        ({"seed": -1}, ValueError, "seed"),
        ({"timeout": "1"}, ValueError, "timeout"),
        ({"progress": "yes"}, ValueError, "progress"),
        ({"space": {}}, TypeError, "Space"),
        ({"references": ["epsilon", "epsilon"]}, ValueError, "different names"),
        ({"references": ["epsylon"]}, ValueError, "Did you mean"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(model, data, arguments, error, message):
    with pytest.raises(error, match=message):
        tune(model, data, few, **{"progress": False, **arguments})


def test_without_optuna_the_error_says_how_to_install_it(model, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "tf_lrp\[tune\]"'):
        tune(model, data, few)


# ---- several metrics ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_no_other_dominates(points):
    kept = non_dominated(np.array(points, float))
    for i, a in enumerate(points):
        beaten = any(all(q >= p for p, q in zip(a, b, strict=True)) and a != b for b in points)
        repeated = a in points[:i]
        assert kept[i] == (not beaten and not repeated), (points, i)


def made_up(values, references=()):
    records = [
        {"number": n, "reference": None, "parameters": {}, "values": dict(zip("ab", v, strict=True)), "seconds": 0.0,
         "preset": json.loads(presets.preset("epsilon").to_json()), "options": {}, "error": None}
        for n, v in enumerate(values)
    ]  # fmt: skip
    named = [{**records[0], "number": None, "reference": n, "values": dict(zip("ab", v, strict=True))} for n, v in references]
    return Tuned(("a", "b"), tuple(named), tuple(records), {})


def test_the_knee_is_the_nearest_to_both_best_values():
    # Scaled: (1, 0), (0.8, 0.9), (0, 1); their squared distances to (1, 1) are 1, 0.05, 1.
    tuned = made_up([(10, 0), (8, 90), (0, 100), (7, 80), (8, 90)])
    assert [r["number"] for r in tuned.front_records] == [0, 1, 2]
    assert tuned.values == {"a": 8, "b": 90}
    assert made_up([(1, 5), (1, 5)]).best["number"] == 0


def test_two_metrics_give_a_front(model, data):
    tuned = tune(model, data, ["localization", flat_layers], Space(input_layers=(1, 3)), budget=5, progress=False)
    assert tuned.metrics == ("localization", "flat_layers")
    values = [(r["values"]["localization"], r["values"]["flat_layers"]) for r in tuned.records]
    assert len(values) == 9
    free = {a for a in values if not any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in values)}
    assert {(v["localization"], v["flat_layers"]) for _, v in tuned.front} == free
    assert len(tuned.front) == len(free)
    assert isinstance(tuned.front[0][0], tf_lrp.Preset)


# ---- a search that goes on ------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import keras, numpy as np
from tf_lrp.tuning import Data, search
folder = sys.argv[1]
sys.path.insert(0, folder)
from metric_of_tuning import strength
measured, calls = search.Measurer.__call__, []
def killing(self, *arguments):
    calls.append(1)
    if len(calls) == 12:  # two references, nine trials
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(self, *arguments)
search.Measurer.__call__ = killing
arrays = np.load(f"{folder}/data.npz")
search.tune(keras.models.load_model(f"{folder}/model.keras"), Data(arrays["x"], arrays["targets"]), strength, budget=12,
            out=f"{folder}/out", references=["cmp_a1_flat", "epsilon"], progress=False)
"""


METRIC = """
import math
def strength(explainer, data):
    rules = [rule for _, rule in explainer.preset.rules]
    gamma = getattr(rules[-2:][0], "gamma", 0)
    return sum(type(rule).__name__ == "ZPlus" for rule in rules) + math.exp(-((gamma - 0.3) ** 2)) / rules[-1].epsilon
"""


def without_times(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def test_a_killed_search_goes_on_to_what_an_uninterrupted_one_finds(tmp_path, monkeypatch):
    (tmp_path / "metric_of_tuning.py").write_text(METRIC)
    monkeypatch.syspath_prepend(tmp_path)
    from metric_of_tuning import strength

    model, data = network(seed=3), some_data(2, 1)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=data.x, targets=data.targets)
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr[-2000:]
    url = f"sqlite:///{tmp_path / 'out' / 'study.sqlite3'}"
    (study,) = optuna.get_all_study_summaries(url)
    states = [t.state.name for t in optuna.load_study(study_name=study.study_name, storage=url).trials]
    assert states == ["COMPLETE"] * 11 + ["RUNNING"]

    how = {"references": ["cmp_a1_flat", "epsilon"], "progress": False}
    plain = Data(data.x, data.targets)
    whole = tune(model, plain, strength, budget=12, **how)
    calls, measured = [], search.Measurer.__call__
    monkeypatch.setattr(search.Measurer, "__call__", lambda *a: (calls.append(1), measured(*a))[1])
    went_on = tune(model, plain, strength, budget=12, out=tmp_path / "out", **how)
    assert len(calls) == 3
    assert without_times(went_on.trials) == without_times(whole.trials)
    assert without_times(went_on.references) == without_times(whole.references)
    # What was found is what the sampler learns from: with other values it would have tried something else.
    other = tune(model, plain, few, budget=12, **how)
    assert [r["parameters"] for r in other.trials][-1] != [r["parameters"] for r in whole.trials][-1]

    calls.clear()
    tune(model, plain, strength, budget=12, out=tmp_path / "out", **how)
    assert not calls
    more = tune(model, plain, strength, budget=13, out=tmp_path / "out", **how)
    assert len(calls) == 1
    assert [r["number"] for r in more.trials] == list(range(13))
    late = tune(model, plain, strength, budget=99, out=tmp_path / "out", timeout=0, **how)
    assert len(late.trials) == 13


def test_a_search_of_something_else_is_refused(tmp_path, model, data):
    space = Space(input=("flat",))
    first = {"model": model, "data": data, "metric": few, "space": space, "seed": 0, "references": ["epsilon"]}
    tune(**first, budget=1, out=tmp_path, progress=False)
    pixel = data.x.copy()
    pixel[0, 0, 0, 0] += 0.5
    for change, named in [
        ({"metric": flat_layers}, "metric"),
        ({"space": Space(input=("zbox",))}, "space"),
        ({"seed": 1}, "seed"),
        ({"references": ["cmp_a1"]}, "references"),
        ({"data": data._replace(x=pixel)}, "data"),
        ({"data": data._replace(masks=~data.masks)}, "data"),
        ({"model": network(seed=2)}, "model"),
        ({"model": network(activation="elu")}, "model"),
        ({"seed": 1, "metric": ["pointing", few]}, "metric was .*; seed"),
    ]:
        with pytest.raises(ValueError, match=rf"started with other settings.*: {named} was [^;]* and is [^;]*\. Continue"):
            tune(**{**first, **change}, budget=1, out=tmp_path, progress=False)
    again = tune(**{**first, "model": network()}, budget=1, out=tmp_path, progress=False)  # the same weights, other names
    assert len(again.trials) == 1


def test_a_folder_belongs_to_one_search_at_a_time(tmp_path, model, data):
    def meanwhile(explainer, inner):
        with pytest.raises(BlockingIOError, match="Another process"):
            tune(model, data, few, out=tmp_path, progress=False)
        return 1.0

    assert tune(model, data, meanwhile, budget=1, out=tmp_path, references=[], progress=False).value == 1


def test_a_file_that_is_no_study_is_refused(tmp_path, model, data):
    (tmp_path / "study.sqlite3").write_text("something else entirely, " * 100)
    with pytest.raises(ValueError, match="no study can be read"):
        tune(model, data, few, out=tmp_path, progress=False)


def test_a_study_that_was_damaged_or_edited_is_refused(tmp_path):
    from tf_lrp.tuning import Space, trials

    def opened():
        return trials.open_search(tmp_path, ["m"], {"seed": 0}, 0, Space())

    with opened() as begun:
        pass
    database = tmp_path / trials.DATABASE
    whole = database.read_bytes()
    with opened() as begun:
        begun._study.add_trial(begun._optuna.trial.create_trial(value=1.0, user_attrs={"record": '{"number": 0}'}))
    for message in ("a record lacks 'reference'", "no study can be read"):
        with pytest.raises(ValueError, match=f"no study can be read.*{message}|{message}"), opened():
            pass
        database.write_bytes(whole[:500])
    database.write_bytes(whole[:9000] + b"x" * (len(whole) - 9000))
    with pytest.raises(ValueError, match="no study can be read"), opened():
        pass


def test_what_a_model_is_does_not_depend_on_names():
    first, second = network(), network()
    assert first.layers[1].name != second.layers[1].name
    assert tuning_data.model_fingerprint(first) == tuning_data.model_fingerprint(second)


# ---- files ----------------------------------------------------------------------------------------------------------


def test_saved_files_hold_what_was_found(tmp_path, model, data):
    (tmp_path / "front-9.json").write_text("of an earlier search")
    tuned = tune(model, data, ["localization", "completeness"], budget=2, references=["epsilon"], progress=False)
    held_out = some_data(4, 2, seed=9)
    validation = tuned.validate(model, held_out)
    problem = {"name": "a.jpg", "what": "empty box", "detail": "no width"}
    tuned.save(tmp_path, validation, title="A search", problems=[problem])

    assert presets.Preset.from_json((tmp_path / "preset.json").read_text()) == tuned.preset
    fronts = [presets.Preset.from_json((tmp_path / f"front-{n + 1}.json").read_text()) for n in range(len(tuned.front))]
    assert fronts == [preset for preset, _ in tuned.front]
    assert len(list(tmp_path.glob("front-*"))) == len(fronts)
    assert json.loads((tmp_path / "trials.json").read_text()) == [*tuned.references, *tuned.trials]
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["reference"] for row in rows] == ["epsilon", "", ""]
    for row, record in zip(rows, [*tuned.references, *tuned.trials], strict=True):
        assert float(row["localization"]) == record["values"]["localization"]
        assert row["upper"] == record["parameters"]["upper"]

    summary = json.loads((tmp_path / "tuning.json").read_text())
    assert (summary["kind"], summary["title"]) == ("tuning", "A search")
    assert set(summary["versions"]) == {"tf_lrp", "tensorflow", "keras"}
    assert summary["configuration"]["trials"] == 2
    assert summary["problems"] == [problem]
    assert (tmp_path / summary["figures"][0]["file"]).read_bytes().startswith(b"\x89PNG")
    for table in summary["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}

    shown = next(t for t in summary["tables"] if "4 samples" in t["title"])
    assert [row[0] for row in shown["rows"]] == ["tuned", "epsilon"]
    ours = measure(model, tuned.preset, held_out, "localization")["localization"]
    theirs = measure(model, "epsilon", held_out, "localization")["localization"]
    difference = ours.samples - theirs.samples
    row = next(row for row in shown["rows"] if row[0] == "epsilon")
    assert row[1] == pytest.approx([theirs.value, theirs.error], rel=1e-5)
    assert row[3] == pytest.approx([difference.mean(), difference.std(ddof=1) / 2], rel=1e-5, abs=1e-9)


def test_failures_and_what_json_cannot_hold_are_noted(tmp_path):
    tuned = made_up([(1, 2), (0, 0)])
    failed = {**tuned.trials[1], "values": None, "error": "ValueError: oh"}
    unfolded = {**tuned.trials[0], "options": {"fold_batchnorm": False}}
    Tuned(("a", "b"), (), (unfolded, failed), {}).save(tmp_path)
    notes = json.loads((tmp_path / "tuning.json").read_text())["notes"]
    assert "trial 1 failed: ValueError: oh" in notes
    assert any("fold_batchnorm=False" in note for note in notes)
    assert any("chosen by these data" in note for note in notes)


def test_figures_show_the_trials_the_references_and_the_best():
    tuned = made_up([(1, 9), (3, 1), (2, 5), (2, 4)], references=[("epsilon", (0, 3))])
    (axes,) = tuning_figure.draw(tuned)[0].axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["a trial"] == [[1, 9], [3, 1], [2, 5], [2, 4]]
    assert sorted(drawn["Pareto front"]) == [[1, 9], [2, 5], [3, 1]]
    assert drawn["epsilon"] == [[0, 3]]
    assert drawn["chosen: the knee"] == [[2, 5]]

    one = Tuned(("a",), tuned.references, tuned.trials, {})
    (axes,) = tuning_figure.draw(one)[0].axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["a trial"] == [[0, 1], [1, 3], [2, 2], [3, 2]]
    assert drawn["best so far"] == [[0, 1], [1, 3], [2, 3], [3, 3]]
    assert [y for _, y in drawn["epsilon  0"]] == [0, 0]


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A network that takes the drawn shapes."""
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(4, 3, strides=4, activation="relu")
    layers = [keras.Input((96, 96, 3)), keras.layers.Rescaling(1 / 255), conv, keras.layers.Conv2D(6, 3, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(6, activation="sigmoid")])
    path = tmp_path_factory.mktemp("model") / "small.keras"
    model.save(path)
    return path


def command(*arguments):
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


@pytest.mark.compiled
def test_command(tmp_path, model_file):
    space = tmp_path / "space.json"
    space.write_text('{"input": ["flat"], "upper": {"zplus": []}}')
    out = tmp_path / "out"
    arguments = ["-m", model_file, "-d", "shapes:9", "--limit", 5, "--hold-out", 4, "--budget", 2, "-o", out, "--space", space]
    result = command(*arguments, "-p", "epsilon", "-p", "cmp_a2:epsilon=0.1")
    assert result.exit_code == 0, result.output
    assert "on 4 pictures that the search did not see" in result.stdout
    summary = json.loads((out / "tuning.json").read_text())
    assert [row[0] for row in summary["tables"][0]["rows"][1:]] == ["epsilon", "cmp_a2_epsilon=0.1"]
    assert [r["parameters"]["input"] for r in json.loads((out / "trials.json").read_text())[2:]] == ["flat", "flat"]
    written = presets.Preset.from_json((out / "preset.json").read_text())
    assert len(tf_lrp.Analyzer(keras.models.load_model(model_file), written).rules()) > 3

    other = command(*arguments, "-p", "epsilon")
    assert other.exit_code == 2
    assert "references was" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "pointin"], "Did you mean 'pointing'"),
        (["--limit", "5"], "few for --limit"),
        (["-d", "shape:3"], "KIND"),
        (["--reference", "epsylon"], "Did you mean"),
    ],
)
def test_command_says_what_is_wrong(tmp_path, model_file, arguments, message):
    few_pictures = ["-d", "shapes:3", "--limit", 2, "--hold-out", 1] if "-d" not in arguments else []
    result = command("-m", model_file, *few_pictures, "--budget", 1, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_pictures_with_different_numbers_of_classes_become_pairs(model_file):
    from types import SimpleNamespace

    pictures = [
        SimpleNamespace(image=np.full((4, 4, 3), n), labels=np.arange(n), masks=np.full((n, 4, 4), n == 1)) for n in (1, 2)
    ]
    pairs = tune_command._data(pictures, SimpleNamespace(prepare=lambda x: x / 2))
    np.testing.assert_array_equal(pairs.x[:, 0, 0, 0], [0.5, 1, 1])
    np.testing.assert_array_equal(pairs.targets, [0, 0, 1])
    np.testing.assert_array_equal(pairs.masks[:, 0, 0], [True, False, False])
    same = tune_command._data(pictures[1:] * 2, SimpleNamespace(prepare=lambda x: x / 2))
    assert same.targets.shape == (2, 2)


def test_trials_share_the_forward_passes_of_few_batches(model, monkeypatch):
    passes = []
    real = stepwise.StepwisePass.__init__
    monkeypatch.setattr(stepwise.StepwisePass, "__init__", lambda self, *a: (passes.append(1), real(self, *a))[1])
    names, kinds = ("epsilon", "cmp_a2_flat", "zplus", "epsilon"), ["completeness", "localization", "faithfulness"]
    shared = metrics.Measurer(model, some_data(), metrics.metrics_of(kinds), 3)
    ours = [shared(name, {}) for name in names]
    assert len(passes) == 2  # one for each batch
    assert ours[0]["completeness"].value == ours[3]["completeness"].value
    monkeypatch.setattr(metrics, "_SESSION_BYTES", 0)
    for name, measured in zip(names, ours, strict=True):
        alone = metrics.Measurer(model, some_data(), metrics.metrics_of(kinds), 3)(name, {})
        for kind in kinds:
            np.testing.assert_allclose(measured[kind].samples, alone[kind].samples, rtol=1e-4, atol=1e-5)


def test_a_loaded_saved_model_is_tuned_like_the_model_that_it_was(model, data, tmp_path):
    tf.config.run_functions_eagerly(False)  # to export is to trace
    model.export(tmp_path / "model", verbose=False)
    tf.config.run_functions_eagerly(True)
    loaded = tf_lrp.load(tmp_path / "model")
    own, found = (tune(m, data, budget=4, references=["epsilon", "cmp_a1_flat"], progress=False) for m in (model, loaded))
    assert len(own.records) == 6
    for mine, its in zip(own.records, found.records, strict=True):
        assert its["preset"] == mine["preset"]
        assert its["values"]["localization"] == pytest.approx(mine["values"]["localization"], rel=1e-4)
