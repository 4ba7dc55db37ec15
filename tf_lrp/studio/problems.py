"""Problems that the person is told about."""

from __future__ import annotations


class ProblemError(Exception):
    """What a request is refused for.

    Args:
        status: of HTTP, 4xx.
        detail: a sentence: what was expected, what came, what to do.
        more: further entries of the answer.
    """

    def __init__(self, status: int, detail: str, **more):
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more


def missing(what: str, identifier: str) -> ProblemError:
    """The problem that there is no such thing (any more)."""
    return ProblemError(404, f"There is no {what} {identifier!r} (any more); reload the page to see what there is.")
