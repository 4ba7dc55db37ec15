"""Text and tables for people to read in a terminal."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: What a terminal obeys instead of showing it: control characters but for tab and line feed, and marks that turn the direction
#: of writing, behind which text can hide.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text):
    """Text of others, such as the names of layers and files, as a terminal may show it: control characters become visible."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def render(title, columns, rows, width=150):
    """A table as text.

    Args:
        title: str.
        columns: list of (header, justify) with justify "left" or "right".
        rows: iterable of sequences of str.
        width: characters.
    """
    table = Table(title=Text(printable(title)), title_justify="left", show_edge=False)
    for header, justify in columns:
        table.add_column(header, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # without markup
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
