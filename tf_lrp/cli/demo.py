"""`tf-lrp demo`: bundled pictures, explained in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.terminal import Debug, app, console_of, errors_end_the_command, import_tensorflow, write_line


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
