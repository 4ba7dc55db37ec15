"""What a user may have meant."""

from __future__ import annotations

import difflib


def meant(given, known, n=3, cutoff=0.5):
    """ " Did you mean 'a' or 'b'?", with a space before it, or "" where nothing is near.

    Args:
        given: what was given; anything.
        known: names that there are.
        n: most names that are suggested.
        cutoff: 0..1, how alike they have to be.
    """
    by_lower_case = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(given).lower(), by_lower_case, n=n, cutoff=cutoff)
    return f" Did you mean {' or '.join(repr(by_lower_case[name]) for name in near)}?" if near else ""
