"""Which rule each layer gets: selectors, presets, their JSON."""

import json

import keras
import pytest
from small_models import convnet, randomize

import tf_lrp
from tf_lrp import presets, select
from tf_lrp.graph import canonize, unroll
from tf_lrp.graph.facts import infer_facts
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Unified, WinnerTakesAll, WSquare, ZBox, ZPlus, ZRule


def branching():
    """Two inputs, two stems, a nested model, three more layers with weights."""
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, padding="same", name="conv")], name="block")
    h = keras.layers.Add(name="sum")(
        [keras.layers.Conv2D(4, 1, name="stem_a")(a), inner(keras.layers.Conv2D(4, 1, name="stem_b")(b))]
    )
    h = keras.layers.AveragePooling2D(2, name="pool")(keras.layers.ReLU(name="relu")(h))
    h = keras.layers.Dense(4, name="fc1")(keras.layers.Flatten(name="flat")(h))
    return randomize(keras.Model([a, b], keras.layers.Dense(3, name="fc2")(h)))


FACTS = {f.name: f for f in infer_facts(canonize(unroll(branching())))}


def selected(selector):
    return {name for name, facts in FACTS.items() if selector.selects(facts)}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        (select.all(), "stem_a stem_b conv fc1 fc2"),
        (select.kind("conv"), "stem_a stem_b conv"),
        (select.kind("pooling", "merge"), "pool sum"),
        (select.kind("dense") | select.kind("pooling"), "fc1 fc2 pool"),
        (select.all() & ~select.kind("conv"), "fc1 fc2"),
        (~select.kind("conv"), "fc1 fc2"),
        (select.name("stem_*"), "stem_a stem_b"),
        (select.name("block.*"), "conv"),
        (select.name("p*"), ""),
        (select.name("pool"), "pool"),
        (select.first(), "stem_a stem_b"),
        (select.first(2), "stem_a stem_b conv"),
        (select.first(1, kind="dense"), "fc1"),
        (select.last(), "fc2"),
        (select.last(1, kind="conv"), "stem_a conv"),
        (select.index(0), "stem_b"),
        (select.index(3, 4), "fc1 fc2"),
        (select.index(-1), "fc2"),
        (select.fraction(0.5, 1), "fc1 fc2"),
        (select.first(0), ""),
    ],
    ids=str,
)
def test_selectors(selector, names):
    assert selected(selector) == set(names.split())


def test_selectors_round_trip_and_refuse_nonsense():
    for selector in (
        select.all(),
        select.name("a*"),
        select.kind("conv", "dense") & ~select.first(2, kind="conv"),
        select.index(0, -1) | select.fraction(0.1, 0.5),
        select.last(3),
    ):
        assert select.from_dict(json.loads(json.dumps(select.to_dict(selector)))) == selector
    for wrong, message in (
        (lambda: select.kind("convolution"), "select.kind needs one or more of conv"),
        (lambda: select.kind(), "select.kind needs"),
        (lambda: select.fraction(0.5, 0.2), "start < stop"),
        (lambda: select.first(-1), "n >= 0"),
        (lambda: select.from_dict({"select": "colour"}), "Expected a selector"),
        (lambda: select.from_dict({"select": "name", "glob": "a"}), "does not take"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def rules_of(model, preset):
    return {name: rule for name, _, rule, _ in tf_lrp.Analyzer(model, preset).rules()}


def test_the_first_match_wins():
    preset = tf_lrp.Preset([(select.name("conv2"), Flat()), (select.kind("conv"), ZPlus()), (select.all(), Epsilon(0.5))])
    rules = rules_of(convnet(), preset)
    assert (rules["conv1"], rules["conv2"], rules["scores"]) == ("ZPlus()", "Flat()", "Epsilon(epsilon=0.5)")


def test_layers_without_weights_keep_their_rules_unless_addressed():
    assert rules_of(convnet(), Flat())["pool2"] == "ZRule()"
    assert rules_of(convnet(), "cmp_a1_flat")["pool1"] == "WinnerTakesAll()"
    share = tf_lrp.Preset([(select.kind("max_pooling"), WinnerTakesAll("share")), (select.all(), Epsilon())])
    assert rules_of(convnet(), share)["pool1"] == "WinnerTakesAll(ties='share')"
    assert rules_of(convnet(), tf_lrp.preset("cmp_a1_flat", flat_layers="all"))["pool1"] == "Flat()"


def test_flat_layers_extends_the_flat_rule():
    for layers, flat in ((0, set()), (1, {"conv1"}), (2, {"conv1", "conv2"}), ("all", {"conv1", "conv2", "pool1", "pool2"})):
        rules = rules_of(convnet(), tf_lrp.preset("cmp_a2_flat", flat_layers=layers))
        assert {name for name, rule in rules.items() if rule == "Flat()"} == flat
    with pytest.raises(ValueError, match="flat_layers needs"):
        tf_lrp.preset("cmp_a2_flat", flat_layers="some")


def test_flat_reaches_the_first_convolution_behind_padding_and_rescaling():
    inputs = keras.Input((8, 8, 3))
    h = keras.layers.ZeroPadding2D(1)(
        keras.layers.Normalization(mean=0.5, variance=2.0)(keras.layers.Rescaling(1 / 255)(inputs))
    )
    model = randomize(
        keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="conv")(h))))
    )
    assert rules_of(model, "cmp_a2_flat")["conv"] == "Flat()"


@pytest.mark.parametrize("name", presets.names())
def test_named_presets_fit_a_network_and_round_trip(name):
    preset = tf_lrp.preset(name)
    assert preset.name == name
    again = tf_lrp.Preset.from_json(preset.to_json())
    assert again == preset
    assert rules_of(convnet(), again) == rules_of(convnet(), name)
    _, description = presets.describe(name)
    assert description


def test_any_preset_round_trips():
    preset = tf_lrp.Preset(
        [
            (select.first(1), ZBox([-1.0, -2.0, -3.0], 4.0)),
            (select.kind("max_pooling"), WinnerTakesAll("share")),
            (select.kind("activation"), Pass()),
            (select.kind("conv") & select.first(2), Gamma(0.1, stabilizer=tf_lrp.Stabilizer(0.25, norm_scale=True))),
            (select.index(3), Unified(gamma1=1, gamma1p=0.5, m=(0, 0, 0, 1, 0))),
            (select.kind("dense"), AlphaBeta(1.5, 0.5, bias=False)),
            (select.all(), WSquare()),
        ],
        name="mine",
    )
    assert tf_lrp.Preset.from_json(preset.to_json()) == preset
    assert json.loads(preset.to_json())["name"] == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "could not be read"),
        ("[]", "A preset's JSON is an object"),
        ('{"rules": [{"select": "all", "rule": {"class": "Magic"}}]}', "Expected a rule"),
        ('{"rules": [{"select": "all", "rule": {"class": "Epsilon", "eps": 1}}]}', "does not take"),
        ('{"rules": [{"select": "all"}]}', "Expected a rule"),
    ],
)
def test_broken_json_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        tf_lrp.Preset.from_json(text)


def test_wrong_presets_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"no preset 'epsilonplus'.*Did you mean 'epsilon_plus'"):
        tf_lrp.preset("epsilonplus")
    with pytest.raises(ValueError, match=r"'cmp_a1' takes epsilon; got gamma"):
        tf_lrp.preset("cmp_a1", gamma=1)
    with pytest.raises(TypeError, match=r"\(selector, rule\) pairs"):
        tf_lrp.Preset([Flat()])
    with pytest.raises(TypeError, match=r"\(selector, rule\) pairs"):
        tf_lrp.Preset([("conv", Flat())])
    with pytest.raises(ValueError, match=r"no rule for the layer 'scores' \(Dense"):
        tf_lrp.Analyzer(convnet(), tf_lrp.Preset([(select.kind("conv"), Flat())]))


def test_pools_and_sums_are_stabilized_only_where_everything_is_epsilon():
    assert rules_of(convnet(), Epsilon(0.25))["pool2"] == "ZRule(stabilizer=1e-06)"
    assert rules_of(convnet(), Epsilon(1e-9))["pool2"] == "ZRule(stabilizer=1e-09)"
    assert rules_of(convnet(), "cmp_a2")["pool2"] == "ZRule()"
    assert rules_of(convnet(), ZRule())["pool2"] == "ZRule()"
