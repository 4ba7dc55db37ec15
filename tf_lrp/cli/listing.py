"""`tf-lrp presets`, `tf-lrp methods` and `tf-lrp demo`: what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tf_lrp.cli.terminal import Debug, app, console_of, errors_end_the_command, import_tensorflow, write_line


@app.command("presets")
def list_presets():
    """List the named presets with their parameters."""
    import_tensorflow()
    from tf_lrp import presets

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header in ("preset", "parameters", "rules"):
        table.add_column(header, header_style="dim", overflow="fold", no_wrap=header == "preset")
    for name in presets.names():
        parameters, description = presets.describe(name)
        defaults = ", ".join(f"{key}={value}" for key, value in parameters.items())
        table.add_row(Text(name, "bold"), Text(defaults), Text(description))
    console = console_of()
    console.print(table)
    sources = re.findall(r"^ +(\[\d+\] .*)$", presets.__doc__, re.MULTILINE)
    write_line(console, "\n".join(["", *sources]).replace("``", ""), style="dim")


@app.command("methods")
def list_methods():
    """List all presets and methods: what each needs, what it costs in gradients, what its relevance sums to."""
    import_tensorflow()
    from tf_lrp.methods import catalog

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header in ("preset or method", "what it shows", "needs", "cost", "sums to"):
        table.add_column(header, header_style="dim", overflow="fold")
    for entry in catalog.CATALOG:
        cells = ["\n".join(entry.names), entry.says.replace("`", ""), entry.needs.replace("`", ""), entry.cost, entry.conserves]
        table.add_row(Text(cells[0], "bold"), *map(Text, cells[1:]))
    console = console_of()
    console.print(table)
    write_line(console, "\nCost: in gradients of the model, one forward and one backward pass.", style="dim")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="The picture to write.")] = Path("demo.png"),
    debug: Debug = False,
):
    """Explain pictures that come with tf-lrp, two classes each with three presets, in one picture."""
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp import heatmap
        from tf_lrp.vision import demo as gallery

        heatmap.save(gallery.draw(), out)
    write_line(console_of(), f"wrote {out}")
