"""`tf-lrp explain`: pictures, their relevance and where it went."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tf_lrp.cli.options import BatchSize, ClassNames, Size, check_folder
from tf_lrp.cli.preset_option import preset_of
from tf_lrp.cli.target import Channel, Neuron, Reduce, Region, target_of
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

_TOP = 5  # classes in the table of a picture
_USUAL_CAUSES = ("bias", "stabilizer", "padding")  # in the balance also where they keep nothing


@app.command()
def explain(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE...",
            help="Pictures in any format that Pillow reads. They are turned upright (EXIF), put on white where they are "
            "transparent, resized with the shorter side to the network's size and cut to their middle.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE|FOLDER",
            help="A network of the zoo (shapes, squeezenet, VGG16 ...), a saved Keras model, FILE.keras, or the FOLDER of a "
            "SavedModel; the latter two get pictures of its own size (224 x 224 if it takes any; see --size).",
            show_default=False,
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|WORD",
            help="File with weights, .npz, .weights.h5, .h5 or .keras; or imagenet, what Keras publishes (downloaded); or "
            "random. Of the zoo, only shapes brings its own.",
            show_default=False,
        ),
    ] = None,
    classes: ClassNames = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME|FILE",
            help="Which rule each layer gets: a name that tf-lrp presets lists, with parameters after a colon if wanted "
            "(cmp_a2:epsilon=0.1, several with commas), or a preset saved as JSON, FILE.json.",
        ),
    ] = "cmp_a2_flat",
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            metavar="CLASS",
            help="The class to explain: max, each picture's strongest; top5, its five strongest (also top2, top3 ...); or "
            "the INDEX or NAME of one.",
        ),
    ] = "max",
    neuron: Neuron = None,
    region: Region = None,
    channel: Channel = None,
    reduce: Reduce = "sum",
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for heatmap and overlay (.heatmap.png, .overlay.png) and raw relevance (.npy), all called "
            "STEM.CLASS.PRESET. Only files of the same picture, class and preset are replaced: another picture of the "
            "same stem becomes STEM-2.",
        ),
    ] = Path("tf-lrp-out"),
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="How a model from a file wants its pixels: none, as they are in 0..255 (the default); 0..1; -1..1; caffe, "
            "BGR minus the ImageNet mean; torch, 0..1 normalized by ImageNet's mean and deviation.",
            show_default=False,
        ),
    ] = None,
    size: Size = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Pictures of more pixels are refused, as they can fill the memory; 178956970 if left out. Slides of pathology "
            "have more.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSize = 16,
    cmap: Annotated[
        str, typer.Option(metavar="NAME", help="Diverging colour map: bwr, seismic, RdBu_r, toolbox, jet ...")
    ] = "bwr",
    percentile: Annotated[
        float,
        typer.Option(
            metavar="P",
            help="Relevance from this percentile of its magnitude upwards has the full colour, so that a few strong pixels "
            "do not drown the rest; 100: only the strongest has. Files .npy are not touched by this.",
        ),
    ] = 99.5,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also write the relevance at this layer's output, as .LAYER.npy. May be given several times.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show what each layer did with the relevance.")] = False,
    debug: Debug = False,
):
    """Explain pictures: heatmap, overlay and raw relevance as files; classes and conservation in the terminal.

    Exit code: 0 all pictures were explained, 1 some were not, 2 the command itself was wrong.
    """
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp import heatmap
        from tf_lrp.vision import class_names, classifier
        from tf_lrp.vision.images import Results, TooManyPixelsError, UnreadablePictureError, fit, read
        from tf_lrp.vision.picture_explainer import PictureExplainer, TargetExplainer

        check_folder(out)

        colours = {"cmap": cmap, "percentile": percentile}
        heatmap.to_rgb([[0.0]], **colours)  # complains before the long work
        chosen, preset_label = preset_of(preset)
        structured = neuron is not None or region is not None or channel is not None
        if structured and (target != "max" or classes is not None):
            raise ValueError("--target and --classes are for classifiers; --neuron or --region says what is explained instead.")
        network = classifier.load(model, weights, classes, preprocess, size, structured)
        wanted, label = target_of(neuron, region, channel, reduce, network.model, network.size)
        if wanted is None and network.classes is not None:
            explainer = PictureExplainer(network, chosen, class_names.target(target, network.classes), layer or ())
        else:
            explainer = TargetExplainer(network, chosen, wanted, label, layer or ())
        output = _Output(explainer, Results(out), preset_label, colours)

    console, failed, done, files = console_of(), 0, 0, 0
    queue = list({os.path.realpath(path): path for path in pictures}.values())  # a picture given twice is explained once
    for start in range(0, len(queue), batch_size):
        batch = []
        for path in queue[start : start + batch_size]:
            try:
                batch.append((path, fit(read(path, max_pixels), network.size)))
            except UnreadablePictureError as error:
                failed += 1
                hint = f"; --max-pixels {error.pixels or 'N'} reads it" if isinstance(error, TooManyPixelsError) else ""
                complain(f"{path} cannot be read: {error}{hint}", debug)
        if not batch:
            continue
        with errors_end_the_command(debug):  # the pictures are fine by now: what is wrong is an option
            explained = explainer([picture for _, picture in batch])
        for i, (path, picture) in enumerate(batch):
            try:
                name, count = output.write(path, picture, explained, i)
            except (OSError, ValueError) as error:
                failed += 1
                complain(f"{path} could not be explained: {error}", debug)
                continue
            done, files = done + 1, files + count
            output.show(console, f"{path}  -> {out / name}.*", explained, i, verbose)
    write_line(console, f"\n{done} of {done + failed} pictures explained, {files} files in {out}")
    if failed:
        raise typer.Exit(SOME_FAILED)


class _Output:
    """What one call of `explain` writes and prints.

    Args:
        explainer: `PictureExplainer`.
        results: `images.Results`.
        preset_label: the preset in the names of the files.
        colours: arguments of `heatmap.to_rgb`.
    """

    def __init__(self, explainer, results, preset_label, colours):
        self.explainer, self.results, self.preset_label, self.colours = explainer, results, preset_label, colours
        self.classes = explainer.classifier.classes

    def write(self, path, picture, explained, i):
        """Writes the files of picture i of a batch; (the beginning of their names, their number)."""
        from tf_lrp import heatmap
        from tf_lrp.vision.images import as_seen

        relevance = explained.relevance[i]
        heat = heatmap.to_rgb(relevance, **self.colours)
        overlays = heatmap.overlay(relevance, as_seen(picture, relevance.shape[1:3]), **self.colours)
        endings = [f"{self.classes.labels[k]}.{self.preset_label}" for k in explained.chosen[i]]
        name, count = self.results.name(path, endings), 0
        for k, ending in enumerate(endings):
            inner = {}
            for layer, values in explained.inner.items():
                if isinstance(values, list):
                    inner |= {f"{layer}-{use}": array[i, k] for use, array in enumerate(values, 1)}
                else:
                    inner[layer] = values[i, k]
            count += self.results.write(path, f"{name}.{ending}", relevance[k], heat[k], overlays[k], inner)
        return name, count

    def show(self, console, title, explained, i, verbose):
        """Prints the classes of picture i of a batch, and where the relevance of its explanations went."""
        names, scores, chosen = self.classes.names, explained.scores[i], list(explained.chosen[i])
        strongest = list((-scores).argsort(kind="stable")[:_TOP])
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for header in ("class", "score", "probability", "relevance"):
            if header != "probability" or explained.probabilities is not None:
                table.add_column(header, justify="left" if header == "class" else "right", header_style="dim")
        for k in strongest + [k for k in chosen if k not in strongest]:
            row = [names[k], _number(scores[k])]
            if explained.probabilities is not None:
                row.append(f"{explained.probabilities[i, k]:.1%}")
            if k in chosen:
                row.append(_number(explained.relevance[i, chosen.index(k)].sum(dtype=float)))
            table.add_row(*map(Text, row), style="bold" if k in chosen else "")
        write_line(console, f"\n{title}", style="bold")
        console.print(table)
        for k in chosen:
            conservation = self.explainer.conservation(explained.x[i : i + 1], k)
            write_line(console, f"conservation of {self.classes.short[k]}: {_balance(conservation)}")
            if verbose:
                write_line(console, str(conservation))


def _balance(conservation):
    """Where the relevance went, in one line."""
    from tf_lrp.conservation import CAUSES

    kept = {
        name: getattr(conservation, cause)
        for cause, name in CAUSES.items()
        if cause in _USUAL_CAUSES or abs(getattr(conservation, cause)) > 1e-7 * abs(conservation.output)
    }
    if abs(conservation.rounding) > 1e-4 * abs(conservation.output):
        kept["rounding"] = conservation.rounding
    seen = {what: value if abs(value) > 1e-7 * abs(conservation.output) else 0 for what, value in kept.items()}
    terms = "".join(f" {'-' if value < 0 else '+'} {what} {_number(abs(value))}" for what, value in seen.items())
    return f"score {_number(conservation.output)} = relevance {_number(conservation.input)}{terms}"


def _number(value):
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"
