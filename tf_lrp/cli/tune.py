"""`tf-lrp tune`: the preset that does best on annotated pictures."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tf_lrp.cli.options import BatchSize, ClassNames, Data, Model, Preprocess, Size, Weights, check_folder, opened
from tf_lrp.cli.preset_option import preset_of
from tf_lrp.cli.terminal import Debug, app, console_of, errors_end_the_command, import_tensorflow, write_line


@app.command()
def tune(
    model: Model,
    data: Data,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What is maximised: localization (the default), weighted_localization, rank_accuracy, pointing, faithfulness "
            "or completeness. Given several times, the best compromises are found.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[int, typer.Option(min=0, metavar="N", help="Presets to try in all, the references not counted.")] = 50,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for the winner (preset.json), tables, the figure and the trials; an interrupted search goes on there.",
        ),
    ] = Path("tf-lrp-tuning"),
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures to search on: the first usable ones.")] = 64,
    hold_out: Annotated[
        int,
        typer.Option(
            "--hold-out",
            min=0,
            metavar="N",
            help="The pictures after those, on which the winner is compared with the references; 0: none.",
        ),
    ] = 64,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-p",
            metavar="NAME|FILE",
            help="A preset to beat, as for tf-lrp explain; may be given several times. By default four known ones.",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="What may be tried, where it differs from the default: arguments of tf_lrp.tuning.Space, such as "
            '{"input": ["flat"], "upper": {"gamma": [0.1, 1]}}.',
            show_default=False,
        ),
    ] = None,
    weights: Weights = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the search.")] = 0,
    batch_size: BatchSize = 16,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="After which no further preset is tried.", show_default=False),
    ] = None,
    debug: Debug = False,
):
    """Search the preset whose explanations do best on annotated pictures, and compare it with known ones on others.

    Exit code: 0 a preset was found, 1 none could be measured, 2 the command itself was wrong.
    """
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp import tuning

        metrics = metric or ["localization"]
        check_folder(out)
        network, dataset = opened(model, data, weights, classes, preprocess, size)
        pictures = _pictures(dataset, network.size, limit + hold_out)
        if len(pictures) < limit + min(hold_out, 1):
            raise ValueError(
                f"{data} has {len(pictures)} usable pictures, too few for --limit {limit} and --hold-out {hold_out}: give "
                f"less.{_left_out(dataset)}"
            )
        tuned = tuning.tune(
            network.model,
            _data(pictures[:limit], network),
            metrics,
            tuning.Space.for_model(network.model, **_changes(space)),
            budget,
            out=out,
            seed=seed,
            batch_size=batch_size,
            timeout=timeout,
            references=[_reference(text) for text in reference] if reference else tuning.REFERENCES,
        )
        others = pictures[limit:]
        validation = tuned.validate(network.model, _data(others, network), batch_size=batch_size) if others else None
        problems = [{"name": p.name, "what": p.what, "detail": p.detail} for p in dataset.problems]
        tuned.save(out, validation, title=f"Search for a preset: {model} on {data}", problems=problems)
    _show(tuned, validation, len(others), out, _left_out(dataset))


def _pictures(dataset, size, count):
    """The first usable pictures, as `datasets.Prepared`."""
    from tf_lrp.evaluation.datasets import prepared

    candidates = (prepared(dataset, picture, size) for picture in dataset)
    return list(itertools.islice((picture for picture in candidates if picture is not None), count))


def _data(pictures, network):
    """`tuning.Data` of pictures; one sample for each pair of picture and class where their numbers of classes differ."""
    import numpy as np

    from tf_lrp.tuning import Data

    x = network.prepare(np.stack([picture.image for picture in pictures]))
    labels, masks = [np.asarray(p.labels) for p in pictures], [p.masks for p in pictures]
    counts = [len(of_one) for of_one in labels]
    if len(set(counts)) == 1:
        return Data(x, np.stack(labels), np.stack(masks))
    return Data(np.repeat(x, counts, axis=0), np.concatenate(labels), np.concatenate(masks))


def _changes(path):
    if path is None:
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        changes = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}): expected arguments of tf_lrp.tuning.Space.") from None
    if not isinstance(changes, dict):
        raise ValueError(f"Expected an object with arguments of tf_lrp.tuning.Space in {path}; got {text[:80]}")
    return changes


def _reference(text):
    """A preset under the name that it has on the command line."""
    from dataclasses import replace

    preset, label = preset_of(text)
    return preset if preset.name == text else replace(preset, name=label)


def _left_out(dataset):
    counts = Counter(problem.what for problem in dataset.problems).most_common()
    return f" Left out: {', '.join(f'{count} x {what}' for what, count in counts)}." if counts else ""


def _show(tuned, validation, held_out, out, left_out):
    """The presets' values, on the pictures of the search or, if there are, on others; the winner's rules; the files."""
    console = console_of()
    if validation is None:
        rows = [
            ["tuned", *tuned.values.values()],
            *([r["reference"], *r["values"].values()] for r in tuned.references if r["values"]),
        ]
        columns, shown = ["preset", *tuned.metrics], "on the pictures of the search"
    else:
        columns, rows = validation.rows()
        shown = f"on {held_out} pictures that the search did not see"
    write_line(console, f"\n{shown}:", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header in columns:
        table.add_column(header, justify="left" if header == "preset" else "right", header_style="dim")
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row), style="bold" if row[0] == "tuned" else "")
    console.print(table)
    write_line(console, f"\n{tuned}")
    failed = sum(record["error"] is not None for record in (*tuned.trials, *tuned.references))
    if failed:
        write_line(console, f"{failed} presets could not be measured; trials.csv says why", style="yellow")
    if left_out:
        write_line(console, left_out.strip(), style="yellow")
    write_line(console, f"{out / 'preset.json'}: the winner, for --preset; {out / 'tuning.png'}: how the search went")


def _cell(cell):
    if isinstance(cell, list):
        return f"{cell[0]:.4f} ± {cell[1]:.4f}"
    return cell if isinstance(cell, str) else "" if cell is None else f"{cell:.4f}"
