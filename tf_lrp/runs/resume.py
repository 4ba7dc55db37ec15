"""Resuming: a run goes on only with the settings it was started with."""

from __future__ import annotations

import json


def changed_settings(before, now):
    """What differs between the settings of an earlier run and of this one, "" if nothing does.

    Args:
        before, now: dicts for JSON. A key that one of them lacks has the value None.

    Returns:
        str such as "size was 3 and is 4; data was 'a' and is 'b'".
    """
    return "; ".join(
        f"{key} was {_shortened(before.get(key))} and is {_shortened(now.get(key))}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    )


def as_json(settings):
    """Settings as they come back from a JSON file, with lists for tuples, so that both compare equal."""
    return json.loads(json.dumps(settings))


def _shortened(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."
