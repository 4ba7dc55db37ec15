"""`tf-lrp methods`: all presets and methods, what they need, cost and conserve."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from tf_lrp.cli.terminal import app, console_of, write_line


@app.command("methods")
def list_methods():
    """List all presets and methods: what each needs, what it costs in gradients, what its relevance sums to."""
    from tf_lrp.methods import catalog

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header in ("preset or method", "what it shows", "needs", "cost", "sums to"):
        table.add_column(header, header_style="dim", overflow="fold")
    for entry in catalog.CATALOG:
        cells = [
            "\n".join(entry.names),
            entry.shows.replace("`", ""),
            entry.needs.replace("`", ""),
            entry.cost,
            entry.conserves,
        ]
        table.add_row(Text(cells[0], "bold"), *map(Text, cells[1:]))
    console = console_of()
    console.print(table)
    write_line(console, "\nCost: as a multiple of one gradient of the model, a forward and a backward pass.", style="dim")
