"""`tf-lrp caffe`: the LRP Toolbox's Caffe program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.options import BatchSize
from tf_lrp.cli.terminal import (
    SOME_FAILED,
    Debug,
    app,
    complain,
    console_of,
    errors_end_the_command,
    import_tensorflow,
    write_line,
)


@app.command()
def caffe(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file.", show_default=False)],
    filelist: Annotated[
        Path,
        typer.Argument(
            metavar="FILELIST",
            help="One image a line: its path and a class; -1 is its best class, -2 its five best.",
            show_default=False,
        ),
    ],
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Put before each path: ./, or / for full paths.")] = "./",
    minimal_output: Annotated[bool, typer.Option("--minimal-output", help="Write text files only, no pictures.")] = False,
    faithful: Annotated[
        bool, typer.Option("--faithful", help="Compute bit for bit what the toolbox does, quirks included.")
    ] = False,
    batch_size: BatchSize = 10,
    debug: Debug = False,
):
    """Explain a Caffe network's decisions, with the configuration files and outputs of the LRP Toolbox's Caffe program."""
    with errors_end_the_command(debug):
        from tf_lrp.caffe.settings import read_file_list, read_settings

        settings, (images, bad) = read_settings(config), read_file_list(filelist)
        import_tensorflow()
        from tf_lrp.caffe.demonstrator import Demonstrator

        failed = 0

        def report(number, reason):
            nonlocal failed
            failed += 1
            complain(f"{filelist}, line {number}: {reason}", False)

        for number, reason in bad:
            report(number, reason)
        program, done, console = Demonstrator(settings, faithful), 0, console_of()
        for path, scores, classes, total in program.run(images, prefix, report, batch_size, minimal_output):
            done += 1
            names = ", ".join(f"{program.classes[k] if program.classes else k} ({scores[k]:.4g})" for k in classes)
            write_line(console, f"{path}: {names}; relevance {total:.4g}")
        write_line(console, f"explained {done} of {done + failed} image(s); outputs are in {settings.standalone_outpath}")
        if failed:
            raise typer.Exit(SOME_FAILED)
