"""Text and tables in a terminal."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Characters that a terminal interprets instead of showing: control characters except tab and line feed, and marks that change
#: the direction of text, which can hide parts of it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text):
    """Untrusted text, such as names of layers and files, made safe for a terminal: control characters are escaped."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


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
