"""`tf-lrp report`: the results of the evaluations on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.terminal import SOME_FAILED, Debug, app, console_of, errors_end_the_command, write_line


@app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="What the evaluation commands wrote; folders in it are searched.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.html", help="The page to write; DIR/report.html by default.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE even if it is no earlier report.")] = False,
    debug: Debug = False,
):
    """Put the results of the evaluation commands on one HTML page that can be mailed, printed and kept.

    The exit code is 1 where the page was written, but pictures are missing or files were not understood; the page names them.
    """
    with errors_end_the_command(debug):
        from tf_lrp.evaluation import report as reports

        written, collected = reports.write(folder, out, force)
    write_line(console_of(), f"wrote {written}: {reports.count(len(collected.results), 'result')}")
    if collected.faults():
        write_line(console_of(stderr=True), f"{collected.faults()}: the page says which", style="red")
        raise typer.Exit(SOME_FAILED)
