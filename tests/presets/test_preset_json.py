"""Presets as JSON: rules of one's own, and texts that hold anything but a preset."""

import json
import random
from dataclasses import dataclass

import pytest
import tensorflow as tf

import tf_lrp
from tf_lrp import presets, rules, select


@tf_lrp.register_rule
@dataclass(frozen=True)
class Strength(rules.Rule):
    """R_i = sum_j |a_i w_ij| / sum_i |a_i w_ij| R_j, with what a user may want to set."""

    power: float = 1.0
    only: tuple = ()

    def terms(self, nonnegative):
        return (rules.Term(((tf.abs, tf.abs),)),)


@dataclass(frozen=True)
class Unregistered(rules.Rule):
    def terms(self, nonnegative):
        return (rules.Term(((tf.abs, tf.abs),)),)


# -- rules of one's own ---------------------------------------------------------------------------------------------------


def test_a_registered_rule_goes_to_json_and_back():
    preset = tf_lrp.Preset([(select.first(1), Strength(2.0, ((1, 2), "a"))), (select.all(), rules.Epsilon())], "mine")
    again = tf_lrp.Preset.from_json(preset.to_json())
    assert again == preset and again.rules[0][1] == Strength(2.0, ((1, 2), "a"))
    assert hash(again) == hash(preset)


def test_a_rule_that_could_not_be_read_back_is_not_written():
    with pytest.raises(ValueError, match=r"register_rule on Unregistered"):
        tf_lrp.Preset([(select.all(), Unregistered())]).to_json()
    with pytest.raises(ValueError, match="JSON does not hold"):
        tf_lrp.Preset([(select.all(), Strength(only=(tf.abs,)))]).to_json()
    deep = select.name("a")
    for _ in range(250):
        deep = ~deep
    with pytest.raises(ValueError, match="more than 200 deep"):
        tf_lrp.Preset([(deep, rules.Epsilon())]).to_json()


def test_a_rule_of_ones_own_is_explained_and_described_all_the_same():
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    analyzer = tf_lrp.Analyzer(model, Unregistered())
    assert analyzer.configuration()["preset"]["rules"][0]["rule"] == {"class": "Unregistered"}


def test_names_of_rules_do_not_clash():
    def defined(name, module=__name__):
        cls = dataclass(frozen=True)(type(name, (rules.Rule,), {"__module__": module, "__qualname__": name}))
        return tf_lrp.register_rule(cls)

    with pytest.raises(ValueError, match=r"a rule called 'Epsilon' already, tf_lrp\.rules\.Epsilon"):
        defined("Epsilon")
    first = defined("OfANotebook")
    assert defined("OfANotebook") is not first  # the cell was run once more
    with pytest.raises(ValueError, match="a rule called 'OfANotebook' already"):
        defined("OfANotebook", "elsewhere")
    for wrong in (int, rules.Rule, rules.Epsilon(), "Epsilon"):
        with pytest.raises(TypeError, match="register_rule takes a class"):
            tf_lrp.register_rule(wrong)


def test_an_unknown_rule_says_what_can_be_done():
    with pytest.raises(ValueError, match=r"Entry 2 .*'Magic'.*register_rule.*command line"):
        tf_lrp.Preset.from_json(
            '{"rules": [{"select": "all", "rule": {"class": "Epsilon"}}, {"select": "all", "rule": {"class": "Magic"}}]}'
        )


# -- anything else --------------------------------------------------------------------------------------------------------

ENTRY = '{"rules": [{"select": "all", "rule": %s}]}'
NESTED = "[" * 500 + "]" * 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Expected a text; got NoneType"),
        (7, "Expected a text; got int"),
        ({"rules": []}, "Expected a text; got dict"),
        (b"\xff\xfe{", "could not be read"),
        ("", "could not be read"),
        ("null", "is an object"),
        ('"rules"', "is an object"),
        ('{"rules": {}}', "is an object"),
        ('{"rules": [], "name": 3}', "name is a text; got 3"),
        ('{"rules": [], "author": "x"}', r"got \['author'\] as well"),
        ('{"rules": [], "rules": []}', "'rules' more than once"),
        ('{"rules": ["all"]}', "Entry 1 .*got 'all'"),
        ('{"rules": [[]]}', r"got \[\]"),
        ('{"rules": [null]}', "got None"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (ENTRY % ('{"class": "ZBox", "high": 1, "low": ' + NESTED + "}"), "could not be read"),
        (ENTRY % '{"class": "Epsilon", "bias": "no"}', "needs True or False as bias, got 'no'"),
        (ENTRY % '{"class": "Epsilon", "bias": 0}', "needs True or False as bias, got 0"),
        (ENTRY % '{"class": "Epsilon", "epsilon": "1"}', "needs a number as epsilon"),
        (ENTRY % '{"class": "Epsilon", "epsilon": true}', "needs a number as epsilon"),
        (ENTRY % '{"class": "Epsilon", "epsilon": null}', "needs a number as epsilon"),
        (ENTRY % '{"class": "Epsilon", "epsilon": []}', "needs a number as epsilon"),
        (ENTRY % '{"class": "Epsilon", "epsilon": NaN}', "NaN is no finite number"),
        (ENTRY % '{"class": "Epsilon", "epsilon": -Infinity}', "-Infinity is no finite number"),
        (ENTRY % '{"class": "Epsilon", "epsilon": 1e999}', "needs a finite epsilon"),
        (ENTRY % ('{"class": "Epsilon", "epsilon": ' + "9" * 400 + "}"), "needs a finite epsilon"),
        (ENTRY % ('{"class": "Unified", "gamma1": 1, "alpha": ' + "9" * 400 + "}"), "needs a finite alpha"),
        (ENTRY % ('{"class": "Epsilon", "epsilon": ' + "9" * 5000 + "}"), "could not be read"),
        (ENTRY % '{"class": ["Epsilon"]}', "Expected a rule"),
        (ENTRY % '{"class": {"Epsilon": 1}}', "Expected a rule"),
        (ENTRY % '"Epsilon"', "Expected a rule"),
        (ENTRY % '{"class": "Epsilon", "self": 1}', "does not take"),
        (ENTRY % '{"class": "ZRule", "stabilizer": {"epsilon": "x"}}', "stabilizer needs a number"),
        (ENTRY % '{"class": "ZRule", "stabilizer": {"clip": 1}}', "True or False as clip"),
        (ENTRY % '{"class": "ZRule", "stabilizer": {"size": 1}}', "cannot be made"),
        (ENTRY % '{"class": "ZRule", "stabilizer": [1]}', "needs a number as stabilizer"),
        (ENTRY % '{"class": "ZBox", "low": "0", "high": 1}', "needs finite bounds"),
        (ENTRY % '{"class": "ZBox", "low": {}, "high": 1}', "needs finite bounds"),
        (ENTRY % '{"class": "ZBox", "low": [[0], [0, 1]], "high": 1}', "needs finite bounds"),
        (ENTRY % '{"class": "ZBox", "low": [0, 1, 2], "high": [3, 4]}', "cannot be made"),
        (ENTRY % '{"class": "Sign", "mu": "x"}', "needs a finite mu"),
        (ENTRY % '{"class": "Unified", "m": 3, "gamma1": 1}', "five numbers, all finite"),
        (ENTRY % '{"class": "Unified", "m": [1, 2, 3, 4, "x"], "gamma1": 1}', "five numbers, all finite"),
        (ENTRY % '{"class": "WinnerTakesAll", "ties": ["first"]}', "ties="),
        ('{"rules": [{"select": {}, "rule": {"class": "Epsilon"}}]}', "Expected a selector"),
        ('{"rules": [{"rule": {"class": "Epsilon"}}]}', "Expected a selector"),
        ('{"rules": [{"select": "name", "pattern": 5, "rule": {"class": "Epsilon"}}]}', "select.name needs"),
        ('{"rules": [{"select": "name", "rule": {"class": "Epsilon"}}]}', "cannot be made"),
        ('{"rules": [{"select": "index", "start": "0", "stop": 1, "rule": {"class": "Epsilon"}}]}', "positions as integers"),
        ('{"rules": [{"select": "first", "n": 1.5, "rule": {"class": "Epsilon"}}]}', "an integer n"),
        ('{"rules": [{"select": "first", "kind": ["conv"], "rule": {"class": "Epsilon"}}]}', "a kind among"),
        ('{"rules": [{"select": "kind", "kinds": "conv", "rule": {"class": "Epsilon"}}]}', "select.kind needs"),
        ('{"rules": [{"select": "kind", "kinds": [["conv"]], "rule": {"class": "Epsilon"}}]}', "select.kind needs"),
        ('{"rules": [{"select": "fraction", "start": null, "stop": 1, "rule": {"class": "Epsilon"}}]}', "cannot be made"),
        ('{"rules": [{"select": "not", "inner": "all", "rule": {"class": "Epsilon"}}]}', "combined with selectors"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_malformed_text_is_a_value_error(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        tf_lrp.Preset.from_json(text)
    assert str(caught.value).startswith("A preset's JSON could not be read: ") and len(str(caught.value)) < 2000


ODD = [
    None, True, False, 0, -1, 1, 2.5, 1e308, -0.0, 10**40, 10**400, "", "no", "all", "conv", "\x1b[31m", "\ud800", [], {}, [[]],
    [1, "a"], {"class": "Flat"}, {"select": "all"}, {"epsilon": 1}, float("nan"), float("inf"), [0] * 5, [None] * 5, "9" * 50,
]  # fmt: skip


def places(data):
    """(container, key) of everything in nested JSON."""
    found, left = [], [data]
    while left:
        inside = left.pop()
        keys = list(inside) if isinstance(inside, dict) else range(len(inside))
        found += [(inside, key) for key in keys]
        left += [inside[key] for key in keys if isinstance(inside[key], dict | list)]
    return found


def mutated(data, rng):
    """A copy with one place removed, replaced, renamed, wrapped, doubled or nested deeply."""
    data = json.loads(json.dumps(data))
    if rng.random() < 0.02:
        return rng.choice(ODD)
    parent, key = rng.choice(places(data))
    how, value = rng.choice(("replace", "remove", "rename", "wrap", "double", "deepen", "add")), parent[key]
    if how == "remove":
        del parent[key]
    elif how == "rename" and isinstance(parent, dict):
        parent[rng.choice(("select", "rule", "class", "self", "", "n", "epsilon", "stabilizer", "__class__"))] = parent.pop(key)
    elif how == "wrap":
        parent[key] = rng.choice(([value], {"x": value}, {"select": value}, str(value)))
    elif how == "double" and isinstance(parent, list):
        parent.append(value)
    elif how == "deepen":
        for _ in range(rng.choice((3, 60, 150, 300))):
            value = rng.choice(([value], {"select": "not", "inner": value}))
        parent[key] = value
    elif how == "add" and isinstance(parent, dict):
        parent[rng.choice(("x", "name", "rules", "inner", "low", "mu"))] = rng.choice(ODD)
    else:
        parent[key] = rng.choice(ODD)
    return data


def damaged(text, rng):
    """A copy with a piece cut out, put elsewhere, or made of other characters."""
    i, j = sorted(rng.sample(range(len(text) + 1), 2))
    piece = rng.choice(("", text[i:j] * 2, "NaN", "{", "]", ",", '"', "\x00", "\\ud800", "1e999", "-", "\u2028", "true"))
    return text[:i] + piece + text[rng.choice((i, j)) :]


def test_whatever_is_read_is_a_preset_or_a_value_error():
    rng = random.Random(0)
    own = tf_lrp.Preset(
        [
            (select.first(1), rules.ZBox([-1.0, -2.0, -3.0], 4.0)),
            (select.index(0, 2) | ~select.fraction(0.1, 0.5), rules.Gamma(stabilizer=tf_lrp.Stabilizer(0.2, clip=True))),
            (select.kind("conv", "dense") & select.name("a*"), rules.Unified(gamma1=1, m=(0, 0, 0, 1, 0))),
            (select.last(2, "conv"), rules.Sign((1.0, 2.0))),
            (select.kind("max_pooling"), rules.WinnerTakesAll("share")),
            (select.all(), Strength(2, ("a", (1,)))),
        ]
    )
    seeds = [json.loads(p.to_json()) for p in (own, own, *map(presets.preset, presets.names()))]
    outcomes = {"preset": 0, "refused": 0}
    for _ in range(10_000):
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = mutated(data, rng) if isinstance(data, dict) and data else data
        text = json.dumps(data)
        if rng.random() < 0.3:
            text = damaged(text, rng)
        given = rng.choice((text, text, text.encode("utf-8", "surrogatepass")))
        try:
            found = tf_lrp.Preset.from_json(given)
        except ValueError as error:
            message = str(error)
            assert message.startswith("A preset's JSON could not be read: "), message
            assert message[36:].strip() and len(message) < 2000 and "\x1b" not in message, message
            outcomes["refused"] += 1
        else:  # what was read is sound: it can be compared, shown, written, and read again
            assert hash(found) is not None and str(found)
            if outcomes["preset"] % 10 == 0:
                assert tf_lrp.Preset.from_json(found.to_json()) == found
            outcomes["preset"] += 1
    assert min(outcomes.values()) > 500, outcomes
