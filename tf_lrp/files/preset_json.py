"""Presets as JSON and back, and the rules that JSON can name: those of the library, and those that users register."""

from __future__ import annotations

import json
import reprlib
from dataclasses import fields, is_dataclass

from tf_lrp import rules, select
from tf_lrp.rules.stabilizer import Stabilizer

_RULES = {
    c.__name__: c
    for c in (
        rules.Epsilon,
        rules.ZRule,
        rules.ZPlus,
        rules.AlphaBeta,
        rules.Gamma,
        rules.WSquare,
        rules.Flat,
        rules.ZBox,
        rules.Sign,
        rules.Pass,
        rules.Unified,
        rules.WinnerTakesAll,
        rules.SignalTakesAll,
        rules.Uniform,
        rules.Taylor,
        rules.Stop,
    )
}


#: Characters of what there is to say about one entry.
_LONGEST = 1000


def register_rule(rule_class):
    """Class decorator: a preset with this rule can be written as JSON, and read where the class is registered too.

    Args:
        rule_class: frozen dataclass, a subclass of `tf_lrp.rules.Rule`. Its fields are what JSON holds: numbers, words, bools,
            None, a `Stabilizer`, and tuples of these (a list in JSON is read as a tuple).

    Returns:
        ``rule_class``.

    Raises:
        TypeError: if it is no such class.
        ValueError: if another rule has this name already. A class that is defined again, as in a notebook, takes the place of
            its former self.

    Example:
        >>> @tf_lrp.register_rule
        ... @dataclass(frozen=True)
        ... class Magnitude(tf_lrp.rules.Rule):
        ...     def terms(self, nonnegative):
        ...         return (tf_lrp.rules.Term(((tf.abs, tf.abs),)),)
    """
    is_rule = isinstance(rule_class, type) and issubclass(rule_class, rules.Rule) and rule_class is not rules.Rule
    if not (is_rule and is_dataclass(rule_class)):
        raise TypeError(f"register_rule takes a class that is derived from tf_lrp.rules.Rule; got {rule_class!r}.")
    name = rule_class.__name__
    known = _RULES.get(name, rule_class)
    if _home(known) != _home(rule_class):
        raise ValueError(
            f"There is a rule called {name!r} already, {'.'.join(_home(known))}, and JSON tells rules apart by their names: "
            "give this class another one."
        )
    _RULES[name] = rule_class
    return rule_class


def _home(rule_class):
    return rule_class.__module__, rule_class.__qualname__


# ---- writing --------------------------------------------------------------------------------------------------------


def as_dict(preset):
    """A preset as a JSON-ready dict, to be read by people; it may name rules that only its author knows."""
    return {"name": preset.name, "rules": [{**select.to_dict(s), "rule": _rule_to_dict(r)} for s, r in preset.rules]}


def write(preset):
    """The JSON text of a preset that `read` makes the same preset of.

    Raises:
        ValueError: if there is none: a rule is not registered, or holds what JSON does not.
    """
    for _, rule in preset.rules:
        if _RULES.get(type(rule).__name__) is not type(rule):
            raise ValueError(
                f"The rule {rule} is not known to JSON, which could not be read back: register its class, "
                f"@tf_lrp.register_rule on {type(rule).__name__}, here and where the JSON is read."
            )
    text = json.dumps(as_dict(preset), indent=2)
    entries, _ = read(text)
    for (selector, rule), again in zip(preset.rules, entries, strict=True):
        if again != (selector, rule):
            raise ValueError(
                f"JSON does not hold {selector} -> {rule}: it would be read as {again[0]} -> {again[1]}. Fields of rules and "
                "selectors need to be numbers, words, bools, None or tuples of these."
            )
    return text


def _rule_to_dict(rule):
    return {"class": type(rule).__name__} | {f.name: _plain(getattr(rule, f.name)) for f in fields(rule)}


def _plain(value):
    if isinstance(value, Stabilizer):
        return {g.name: getattr(value, g.name) for g in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


# ---- reading --------------------------------------------------------------------------------------------------------


def read(text):
    """What a preset's JSON says: (list of (selector, rule), name).

    Args:
        text: str, or bytes in UTF-8, perhaps from a stranger: whatever it holds, nothing but rules and selectors come of it.

    Raises:
        ValueError: for anything but a preset, saying what is wrong where.
    """
    try:
        data = _loaded(text)
        if not isinstance(data, dict) or not isinstance(data.get("rules"), list):
            raise ValueError(f'A preset\'s JSON is an object {{"name": ..., "rules": [...]}}; got {reprlib.repr(data)}.')
        unknown = sorted(set(data) - {"name", "rules"})
        if unknown:
            raise ValueError(f"A preset has the keys name and rules; got {reprlib.repr(unknown)} as well.")
        name = data.get("name", "custom")
        if not isinstance(name, str):
            raise ValueError(f"A preset's name is a text; got {reprlib.repr(name)}.")
        return [_entry(number, entry) for number, entry in enumerate(data["rules"], 1)], name
    except RecursionError:
        raise ValueError("A preset's JSON could not be read: It is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"A preset's JSON could not be read: {error}") from None


def _loaded(text):
    if not isinstance(text, str | bytes | bytearray):
        raise ValueError(f"Expected a text; got {type(text).__name__}.")

    def once(pairs):
        names = [name for name, _ in pairs]
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
        if twice:
            raise ValueError(f"an object has the key {reprlib.repr(min(twice))} more than once.")
        return dict(pairs)

    def no_number(word):
        raise ValueError(f"{word} is no finite number.")

    return json.loads(text, object_pairs_hook=once, parse_constant=no_number)


def _entry(number, entry):
    try:
        if not isinstance(entry, dict):
            raise ValueError(f'Expected {{"select": ..., "rule": {{"class": ...}}}}; got {reprlib.repr(entry)}.')
        rule = _rule_from_dict(entry.get("rule"))
        return select.from_dict({k: v for k, v in entry.items() if k != "rule"}), rule
    except ValueError as error:
        raise ValueError(f"Entry {number} of its rules: {_short(str(error))}") from None


def _rule_from_dict(data):
    if not isinstance(data, dict) or not isinstance(data.get("class"), str):
        raise ValueError(f'Expected a rule, {{"class": ...}} with one of {", ".join(_RULES)}; got {reprlib.repr(data)}.')
    if data["class"] not in _RULES:
        raise ValueError(
            f"Expected a rule among {', '.join(_RULES)}; got {reprlib.repr(data['class'])}. A rule of your own is known where "
            "its class was registered by tf_lrp.register_rule before the JSON is read; on the command line none is."
        )
    rule_class = _RULES[data["class"]]
    unknown = sorted(set(data) - {"class"} - {f.name for f in fields(rule_class)})
    if unknown:
        takes = ", ".join(f.name for f in fields(rule_class)) or "nothing"
        raise ValueError(f"The rule {data['class']} does not take {reprlib.repr(unknown)}; it takes {takes}.")
    try:
        return rule_class(**{k: _decoded(v) for k, v in data.items() if k != "class"})
    except RecursionError:
        raise
    except Exception as error:  # a rule of a user's own may complain by anything
        reason = str(error) or type(error).__name__
        raise ValueError(f"The rule {data['class']} cannot be made of {_shown(data)}: {reason}") from error


def _shown(data):
    return reprlib.repr({k: v for k, v in data.items() if k != "class"})


def _short(text):
    """What an error says, which may quote more of the JSON than anyone wants to read."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _decoded(value):
    """A field of a rule: an object is a `Stabilizer`, a list a tuple, so that rules stay hashable."""
    if isinstance(value, dict):
        return Stabilizer(**value)
    return tuple(_decoded(v) for v in value) if isinstance(value, list) else value
