"""`tf-lrp evaluate`: how good explanations are, on annotated pictures."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.options import BatchSize, ClassNames, Data, Model, Preprocess, Size, Weights, check_folder, opened
from tf_lrp.cli.preset_option import preset_of
from tf_lrp.cli.terminal import (
    SOME_FAILED,
    Debug,
    app,
    console_of,
    errors_end_the_command,
    import_tensorflow,
    write_line,
)

evaluate = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure explanations on annotated pictures: localization, faithfulness, sanity checks.",
)
app.add_typer(evaluate, name="evaluate")

Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Folder for tables, figures and the log from which an interrupted run goes on."
    ),
]
Presets = Annotated[
    str,
    typer.Option(
        "--presets",
        "-p",
        metavar="NAMES",
        help="Presets and methods, separated by commas; parameters after a colon (cmp_a2:epsilon=0.1); FILE.json; all: all LRP "
        "presets, guided backprop, pattern attribution, gradient times input; presets: all LRP presets.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N usable pictures.", show_default=False)]


@contextmanager
def _study(model, data, out, weights, classes, preprocess, size, limit, batch_size):
    """The `EvaluationRun` that the options describe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tf_lrp.evaluation.engine import EvaluationRun

    check_folder(out)
    network, dataset = opened(model, data, weights, classes, preprocess, size)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console_of(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(f"{model} on {data}", total=min(len(dataset), limit or len(dataset)))

        def progress(done, skipped):
            note = f" ({skipped} measured before)" if skipped else ""
            bar.update(task, completed=done, description=f"{model} on {data}{note}")

        out.mkdir(parents=True, exist_ok=True)
        yield EvaluationRun(network, model, data, dataset, out, batch_size, limit, progress)


def _show(study, tables, paths):
    """The tables, what was left out, and where everything lies."""
    console = console_of()
    for table in tables:
        write_line(console, f"\n{table.markdown()}")
    for name, why in study.failed.items():
        write_line(console, f"{name} could not explain this network: {why}", style="yellow")
    for line in study.problem_counts():
        write_line(console, f"left out: {line}", style="yellow")
    write_line(console, f"{len(paths)} files in {study.out}")
    if study.failed:
        raise typer.Exit(SOME_FAILED)


@evaluate.command()
def localization(
    model: Model,
    data: Data,
    out: Out = Path("tf-lrp-evaluation"),
    presets: Presets = "all",
    weights: Weights = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    limit: Limit = None,
    batch_size: BatchSize = 16,
    top_k: Annotated[int, typer.Option(min=1, metavar="K", help="Pixels of the top-k intersection.")] = 1000,
    tolerance: Annotated[int, typer.Option(min=0, metavar="PIXELS", help="By which the pointing game may miss.")] = 0,
    debug: Debug = False,
):
    """How much of the relevance is on the object: Table I and Fig. 3 of Kohlbrenner et al. 2020.

    Exit code: 0 all methods were measured, 1 some cannot explain this network, 2 the command itself was wrong.
    """
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp.evaluation import protocols

        with _study(model, data, out, weights, classes, preprocess, size, limit, batch_size) as study:
            tables, paths = protocols.localization.run(study, presets, preset_of, top_k, tolerance)
        _show(study, tables, paths)


@evaluate.command()
def context(
    model: Model,
    data: Data,
    out: Out = Path("tf-lrp-evaluation"),
    weights: Weights = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    limit: Limit = None,
    batch_size: BatchSize = 16,
    debug: Debug = False,
):
    """Does the network look at the object or at its surroundings? Fig. 2 of Kohlbrenner et al. 2020."""
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp.evaluation import protocols

        with _study(model, data, out, weights, classes, preprocess, size, limit, batch_size) as study:
            tables, paths = protocols.context.run(study)
        _show(study, tables, paths)


@evaluate.command()
def perturbation(
    model: Model,
    data: Data,
    out: Out = Path("tf-lrp-evaluation"),
    presets: Presets = "all",
    weights: Weights = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    limit: Limit = None,
    batch_size: BatchSize = 16,
    patch: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="PIXELS", help="Edge of a patch; an eighth of the picture if left out.", show_default=False
        ),
    ] = None,
    replacement: Annotated[
        str, typer.Option(metavar="HOW", help="What replaces a patch: mean, blur, noise, dataset_mean or negate.")
    ] = "mean",
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Patches that are replaced; all if left out.", show_default=False)
    ] = None,
    debug: Debug = False,
):
    """What the strongest score loses while patches are replaced, the most or the least relevant first; AOPC."""
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp.evaluation import protocols

        with _study(model, data, out, weights, classes, preprocess, size, limit, batch_size) as study:
            tables, paths = protocols.perturbation.run(study, presets, preset_of, patch, replacement, steps)
        _show(study, tables, paths)


@evaluate.command()
def sanity(
    model: Model,
    data: Data,
    out: Out = Path("tf-lrp-evaluation"),
    presets: Presets = "all",
    weights: Weights = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    limit: Limit = None,
    batch_size: BatchSize = 16,
    noise: Annotated[
        float,
        typer.Option(min=1e-6, metavar="SHARE", help="Radius of the noise of sensitivity, in ranges of the network's input."),
    ] = 0.02,
    draws: Annotated[int, typer.Option(min=1, metavar="N", help="Noisy copies of each picture.")] = 5,
    debug: Debug = False,
):
    """What explanations hold and depend on: completeness, sparseness, randomized weights, another class, small noise."""
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp.evaluation import protocols

        with _study(model, data, out, weights, classes, preprocess, size, limit, batch_size) as study:
            tables, paths = protocols.sanity.run(study, presets, preset_of, noise, draws)
        _show(study, tables, paths)
