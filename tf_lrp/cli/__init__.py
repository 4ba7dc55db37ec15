"""The command line, `tf-lrp`: one command a file.

TensorFlow is imported by the commands that need it, so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tf_lrp.cli import (  # each adds its command to the app
    caffe,
    demo,
    evaluate,
    explain,
    export,
    methods,
    presets,
    report,
    studio,
    tune,
)
from tf_lrp.cli.terminal import app

__all__ = ["app", "caffe", "demo", "evaluate", "explain", "export", "methods", "presets", "report", "studio", "tune"]


def _version(wanted: bool):
    if wanted:
        from tf_lrp import __version__

        print(f"tf-lrp {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
):
    pass
