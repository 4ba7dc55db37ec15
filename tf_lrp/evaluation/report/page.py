"""The page of a report, rendered by Jinja2 with autoescape: results are texts of others, and never become HTML."""

from __future__ import annotations

import base64
import json
from collections import Counter

from jinja2 import Environment, PackageLoader

from tf_lrp import __version__
from tf_lrp.evaluation.report.results import KINDS, count, is_number
from tf_lrp.evaluation.tables import number

#: What tells a report from other HTML files.
GENERATOR = '<meta name="generator" content="tf-lrp report">'


def render(collection, created):
    """The page as HTML text.

    Args:
        collection: `results.Collection`.
        created: datetime of the page, with its time zone. It appears on one line; all others depend only on ``collection``.
    """
    numbered = list(enumerate(collection.results, 1))
    sections = [
        {"id": kind, "heading": heading, "about": about, "results": [(n, r) for n, r in numbered if r["kind"] == kind]}
        for kind, (heading, about) in KINDS.items()
    ]
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            collection=collection,
            created=created,
            sections=[section for section in sections if section["results"]],
            version=__version__,
        )
    )


def _environment():
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "plain": _plain, "base64": _base64}
    environment.globals |= {"count": count, "facts": _facts, "is_number_column": _is_number_column, "kinds": _kinds}
    return environment


def _cell(cell):
    """A cell of a table as text."""
    if cell is None or (isinstance(cell, list) and cell[0] is None):
        return "–"
    if isinstance(cell, list):
        return number(*cell)
    return number(cell) if is_number(cell) else _plain(cell)


def _plain(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _base64(data):
    return base64.b64encode(data).decode()


def _is_number_column(table, column):
    return any(is_number(row[column]) or isinstance(row[column], list) for row in table["rows"])


def _kinds(problems):
    """What was left out, the most frequent kind first: "empty box: 2, missing picture: 1"."""
    counts = Counter(problem["what"] for problem in problems).most_common()
    return ", ".join(f"{what}: {times}" for what, times in counts)


def _facts(result):
    """(name, value) of everything that a result depends on."""
    versions = [(f"version of {name}", version) for name, version in result["versions"].items()]
    return [*result["configuration"].items(), *versions, ("written to", result["file"])]
