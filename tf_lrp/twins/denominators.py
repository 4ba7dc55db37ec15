"""What can be said of the denominators of a rule's terms before they are computed: their signs, and how they hang together."""

from __future__ import annotations

from tf_lrp.rules import Favouring, negative, positive, signed_parts


def additive(terms):
    """Whether the terms split the contributions by sign, so that their denominators add up to the output.

    Up to its bias, where neither term has one.
    """
    if len(terms) != 2 or any(term.where != "all" for term in terms):
        return False
    return (sign(terms[0]), sign(terms[1])) == (1, -1) and (terms[0].bias is None) == (terms[1].bias is None)


def sign(term):
    """Of a term's z at the outputs it speaks for: 1 if it is never negative, -1 if never positive, 0 if unknown."""
    for known, same, opposite in ((1, positive, negative), (-1, negative, positive)):
        if _splits(term, same, opposite) and term.bias in (None, same) and term.where == "all":
            return known
    gamma = _favours(term)
    # z + gamma z+ where z > 0: positive, provided that z's own bias is in it.
    return 0 if gamma is None or term.bias is None else 1 if term.where == "positive" else -1


def from_others(term, z, earlier):
    """A term's z as a function of the output z and of the earlier terms' [(term, z)], or None if it is none.

    (z + gamma z+) + (z + gamma z-) = (2 + gamma) z. Where z < 0 no digits cancel: the result is larger than z.
    """
    gamma = _favours(term)
    if gamma is None or term.bias is None or term.where != "negative":
        return None
    for other, found in earlier:
        if _favours(other) == gamma and other.bias is not None and other.where == "positive":
            return (2 + gamma) * z - found
    return None


def _splits(term, same, opposite):
    return term.parts in (signed_parts(same, opposite, True), signed_parts(same, opposite, False))


def _favours(term):
    """gamma of a term that favours the contributions of the sign for whose outputs it speaks; None for others."""
    same, opposite = (positive, negative) if term.where == "positive" else (negative, positive)
    _, first = term.parts[0]
    if term.where == "all" or not isinstance(first, Favouring):
        return None
    maps = Favouring(first.gamma, same), Favouring(first.gamma, opposite)
    return first.gamma if _splits(term, *maps) and term.bias in (None, maps[0]) else None
