"""Suggestions of similar names in errors."""

from __future__ import annotations

import difflib


def did_you_mean(given, known, n=3, cutoff=0.5):
    """ " Did you mean 'a' or 'b'?", with a leading space, or "" if no known name is similar.

    Args:
        given: what the user gave; any object.
        known: the valid names.
        n: largest number of suggestions.
        cutoff: 0..1, the least similarity of a suggestion, see `difflib.get_close_matches`.
    """
    return suggestion(similar(given, known, n, cutoff))


def similar(given, known, n=3, cutoff=0.5):
    """The known names that are most similar to what was given, ignoring case; arguments as for `did_you_mean`."""
    by_lower_case = {name.lower(): name for name in known}
    return [by_lower_case[name] for name in difflib.get_close_matches(str(given).lower(), by_lower_case, n=n, cutoff=cutoff)]


def suggestion(names):
    """ " Did you mean 'a' or 'b'?", with a leading space, for a list of names; "" for an empty list."""
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
