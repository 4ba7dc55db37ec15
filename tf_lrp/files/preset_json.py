"""Presets to JSON and back, and the rules that JSON can contain: those of the library, and those that users register."""

from __future__ import annotations

import json
import reprlib
from dataclasses import fields, is_dataclass

from tf_lrp import rules, select
from tf_lrp.rules.stabilizer import Stabilizer

#: Name -> class of the rules that JSON can contain.
_RULES = {
    name: rule
    for name, rule in vars(rules).items()
    if isinstance(rule, type) and issubclass(rule, rules.Rule) and rule is not rules.Rule
}

#: Maximal length of an error message about one entry.
_LONGEST = 1000


def register_rule(rule_class):
    """Class decorator: allows presets with this rule to be written as JSON, and read wherever the class is registered.

    Args:
        rule_class: frozen dataclass, a subclass of `tf_lrp.rules.Rule`. Its fields are values that JSON can hold: numbers,
            strings, bools, None, a `Stabilizer`, and tuples of these (a list in JSON is read as a tuple).

    Returns:
        ``rule_class``.

    Raises:
        TypeError: if it is no such class.
        ValueError: if another rule already has this name. A class that is defined again, as in a notebook, replaces its
            earlier definition.

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
            f"There is a rule called {name!r} already, {'.'.join(_home(known))}, and JSON identifies rules by their names: "
            "give this class another name."
        )
    _RULES[name] = rule_class
    return rule_class


def _home(rule_class):
    return rule_class.__module__, rule_class.__qualname__


# ---- writing --------------------------------------------------------------------------------------------------------


def as_dict(preset):
    """A preset as a dict for JSON, to be read by people; it may contain rules that are not registered."""
    return {"name": preset.name, "rules": [{**select.to_dict(s), "rule": rule_as_dict(r)} for s, r in preset.rules]}


def write(preset):
    """A preset as JSON text, from which `read` returns the same preset.

    Raises:
        ValueError: if a rule is not registered, or has a field that JSON cannot hold.
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


def rule_as_dict(rule):
    """A rule as a preset's JSON has it."""
    return {"class": type(rule).__name__} | {f.name: _plain(getattr(rule, f.name)) for f in fields(rule)}


def _plain(value):
    if isinstance(value, Stabilizer):
        return {g.name: getattr(value, g.name) for g in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


# ---- reading --------------------------------------------------------------------------------------------------------


def read(text):
    """Reads the JSON of a preset: returns (list of (selector, rule), name).

    Args:
        text: str, or bytes in UTF-8. It may be untrusted: it can only create rules and selectors.

    Raises:
        ValueError: if it is not a preset; the message says what is wrong, and where.
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
    except Exception as error:  # a user's own rule may raise any exception
        reason = str(error) or type(error).__name__
        raise ValueError(f"The rule {data['class']} cannot be made of {_shown(data)}: {reason}") from error


def _shown(data):
    return reprlib.repr({k: v for k, v in data.items() if k != "class"})


def _short(text):
    """An error message, cut to a readable length: it may quote a long JSON text."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _decoded(value):
    """A field of a rule: an object is a `Stabilizer`, a list a tuple, so that rules stay hashable."""
    if isinstance(value, dict):
        return Stabilizer(**value)
    return tuple(_decoded(v) for v in value) if isinstance(value, list) else value
