"""Tables for people to read in a terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def render(title, columns, rows, width=150):
    """A table as text.

    Args:
        title: str.
        columns: list of (header, justify) with justify "left" or "right".
        rows: iterable of sequences of str.
        width: characters.
    """
    table = Table(title=title, title_justify="left", show_edge=False)
    for header, justify in columns:
        table.add_column(header, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
