"""`tf-lrp presets`: the named presets and their parameters."""

from __future__ import annotations

import re

from rich.table import Table
from rich.text import Text

from tf_lrp.cli.terminal import app, console_of, write_line


@app.command("presets")
def list_presets():
    """List the named presets with their parameters."""
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
    sources = re.findall(r"^ +(\[\d+\] .*)$", presets.__doc__ or "", re.MULTILINE)
    write_line(console, "\n".join(["", *sources]).replace("``", ""), style="dim")
