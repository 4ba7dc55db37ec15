"""The command line, `tf-lrp`: explain pictures, list the presets, draw the demo.

TensorFlow is imported by the commands that need it, so that `--help` answers at once.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

app = typer.Typer(
    name="tf-lrp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Layer-wise relevance propagation for Keras models: which pixels speak for a class, and which against it.",
)

_SOME_FAILED, _USAGE = 1, 2  # exit codes
_TOP = 5  # classes in the table of a picture


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


_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# ---- explain --------------------------------------------------------------------------------------------------------


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
            metavar="NAME|FILE",
            help="A network of the zoo (shapes, squeezenet, VGG16 ...) or a saved Keras model, FILE.keras, which gets "
            "pictures of its own size (224 x 224 if it takes any; see --size).",
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
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names: a text file with one a line, a JSON list, or Keras's imagenet_class_index.json.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME|FILE",
            help="Which rule each layer gets: a name that tf-lrp presets lists, with parameters behind a colon if wanted "
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
            help="How FILE.keras wants its pixels: none, as they are in 0..255 (the default); 0..1; -1..1; caffe, BGR minus "
            "the ImageNet mean; torch, 0..1 normalized by ImageNet's mean and deviation.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Side of the pictures for a FILE.keras of any size.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures that are explained at once.")] = 16,
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
    debug: _Debug = False,
):
    """Explain pictures: heatmap, overlay and raw relevance as files; classes and conservation in the terminal.

    Exit code: 0 all pictures were explained, 1 some were not, 2 the command itself was wrong.
    """
    with _errors_end_the_command(debug):
        _import_tensorflow()
        from tf_lrp import classifier, heatmap
        from tf_lrp.pictures import Results, UnreadablePictureError, fit, read

        colours = {"cmap": cmap, "percentile": percentile}
        heatmap.to_rgb([[0.0]], **colours)  # complains before the long work
        chosen, preset_label = _preset(preset)
        network = classifier.load(model, weights, classes, preprocess, size)
        explainer = classifier.Explainer(network, chosen, classifier.target(target, network.classes), layer or ())
        output = _Output(explainer, Results(out), preset_label, colours)

    console, failed, done, files = _console(), 0, 0, 0
    queue = list({os.path.realpath(path): path for path in pictures}.values())  # a picture given twice is explained once
    for start in range(0, len(queue), batch_size):
        batch = []
        for path in queue[start : start + batch_size]:
            try:
                batch.append((path, fit(read(path), network.size)))
            except UnreadablePictureError as error:
                failed += 1
                _complain(f"{path} cannot be read: {error}", debug)
        if not batch:
            continue
        with _errors_end_the_command(debug):  # the pictures are fine by now: what is wrong is an option
            explained = explainer([picture for _, picture in batch])
        for i, (path, picture) in enumerate(batch):
            try:
                name, count = output.write(path, picture, explained, i)
            except (OSError, ValueError) as error:
                failed += 1
                _complain(f"{path} could not be explained: {error}", debug)
                continue
            done, files = done + 1, files + count
            output.show(console, f"{path}  -> {out / name}.*", explained, i, verbose)
    _line(console, f"\n{done} of {done + failed} pictures explained, {files} files in {out}")
    if failed:
        raise typer.Exit(_SOME_FAILED)


class _Output:
    """What one call of `explain` writes and prints.

    Args:
        explainer: `classifier.Explainer`.
        results: `pictures.Results`.
        preset_label: the preset in the names of the files.
        colours: arguments of `heatmap.to_rgb`.
    """

    def __init__(self, explainer, results, preset_label, colours):
        self.explainer, self.results, self.preset_label, self.colours = explainer, results, preset_label, colours
        self.classes = explainer.classifier.classes

    def write(self, path, picture, explained, i):
        """Writes the files of picture i of a batch; (the beginning of their names, their number)."""
        from tf_lrp import heatmap
        from tf_lrp.pictures import as_seen

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
        _line(console, f"\n{title}", style="bold")
        console.print(table)
        for k in chosen:
            conservation = self.explainer.analyzer.conservation(explained.x[i : i + 1], int(k))
            _line(console, f"conservation of {self.classes.short[k]}: {_balance(conservation)}")
            if verbose:
                _line(console, str(conservation))


def _balance(conservation):
    """Where the relevance went, in one line."""
    kept = {"biases": conservation.bias, "stabilizer": conservation.stabilizer, "padding": conservation.padding}
    if abs(conservation.rounding) > 1e-4 * abs(conservation.output):
        kept["rounding"] = conservation.rounding
    seen = {what: value if abs(value) > 1e-7 * abs(conservation.output) else 0 for what, value in kept.items()}
    terms = "".join(f" {'-' if value < 0 else '+'} {what} {_number(abs(value))}" for what, value in seen.items())
    return f"score {_number(conservation.output)} = relevance {_number(conservation.input)}{terms}"


def _number(value):
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


def _preset(text):
    """(preset, its name in file names) from NAME, NAME:PARAMETER=VALUE,... or FILE.json."""
    from tf_lrp import presets
    from tf_lrp.pictures import file_name_part

    if text.lower().endswith(".json"):
        return presets.Preset.from_json(Path(text).read_text(encoding="utf-8")), file_name_part(Path(text).stem)
    name, _, rest = text.partition(":")
    parameters = {}
    for pair in re.split(r",(?=\s*[A-Za-z_]\w*\s*=)", rest) if rest else ():  # a value may hold commas, low=-1,-1,-1
        key, _, value = map(str.strip, pair.partition("="))
        if not key or not value:
            raise ValueError(f"Expected a preset as NAME:PARAMETER=VALUE,PARAMETER=VALUE; got {text!r}.")
        try:
            parameters[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[key] = value  # a word, flat_layers=all
    try:
        return presets.preset(name, **parameters), file_name_part(text)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
        raise ValueError(f"The preset {name!r} needs numbers; got {given} ({error}).") from error


# ---- export ---------------------------------------------------------------------------------------------------------


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A network of the zoo or a saved Keras model, FILE.keras.", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder or file to write.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="saved_model, a folder for TensorFlow; onnx, a file for onnxruntime; litert, a file for LiteRT.",
        ),
    ] = "saved_model",
    preset: Annotated[
        str,
        typer.Option("--preset", "-p", metavar="NAME|FILE", help="Which rule each layer gets, as for tf-lrp explain."),
    ] = "cmp_a2_flat",
    weights: Annotated[str | None, typer.Option(metavar="FILE|WORD", help="As for tf-lrp explain.", show_default=False)] = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Class names that travel along, as for tf-lrp explain.", show_default=False),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Also the relevance at this layer's output. May be given several times.", show_default=False
        ),
    ] = None,
    selecting: Annotated[
        bool, typer.Option("--selecting", help="For onnx and litert: the neuron to explain is an input of the file.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="For onnx and litert: number of samples.")] = 1,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="For onnx and litert: side of the pictures where the model takes any.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    debug: _Debug = False,
):
    """Write a model's explanation for machines without this library: its inputs in, relevance and output out.

    The exported explanation takes what the model takes: pixels after the model's own preprocessing.
    """
    with _errors_end_the_command(debug):
        _import_tensorflow()
        from tf_lrp import classifier
        from tf_lrp.analyzer import Analyzer

        chosen, _ = _preset(preset)
        network, names = classifier.load_model(model, weights)
        if classes is not None:
            names = classifier.read_class_names(classes)
        shape = None if size is None else (size, size, network.inputs[0].shape[-1])
        written = Analyzer(network, chosen).export(
            out,
            format,
            layers=layer,
            labels=names,
            metadata={"model": model},
            selecting=selecting,
            batch_size=batch_size,
            input_shape=shape,
            overwrite=overwrite,
        )
    _line(_console(), f"wrote {written}")


# ---- presets, demo --------------------------------------------------------------------------------------------------


@app.command("presets")
def list_presets():
    """List the named presets with their parameters."""
    _import_tensorflow()
    from tf_lrp import presets

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header in ("preset", "parameters", "rules"):
        table.add_column(header, header_style="dim", overflow="fold", no_wrap=header == "preset")
    for name in presets.names():
        parameters, description = presets.describe(name)
        defaults = ", ".join(f"{key}={value}" for key, value in parameters.items())
        table.add_row(Text(name, "bold"), Text(defaults), Text(description))
    console = _console()
    console.print(table)
    sources = re.findall(r"^ +(\[\d+\] .*)$", presets.__doc__, re.MULTILINE)
    _line(console, "\n".join(["", *sources]).replace("``", ""), style="dim")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="The picture to write.")] = Path("demo.png"),
    debug: _Debug = False,
):
    """Explain pictures that come with tf-lrp, two classes each with three presets, in one picture."""
    with _errors_end_the_command(debug):
        _import_tensorflow()
        from tf_lrp import demo as gallery
        from tf_lrp import heatmap

        heatmap.save(gallery.draw(), out)
    _line(_console(), f"wrote {out}")


# ---- the terminal ---------------------------------------------------------------------------------------------------


def _import_tensorflow():
    """Imports TensorFlow without its chatter, in this process only; does nothing where it is imported already."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Its first lines are written before it reads that setting, past Python, to the file descriptor of stderr.
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow

            tensorflow.get_logger().setLevel("ERROR")
        except BaseException:
            os.dup2(stderr, 2)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def _errors_end_the_command(debug):
    """What the user got wrong, and what we did: one red line, then the exit code."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        _complain(str(error), debug)
        raise typer.Exit(_USAGE) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        hint = "; try a smaller --batch-size" if type(error).__name__ == "ResourceExhaustedError" else ""
        _complain(f"{type(error).__name__}{hint}: {error} (--debug shows where)", debug)
        raise typer.Exit(_SOME_FAILED) from None


def _complain(message, debug):
    """One red line on stderr, below the traceback if that is wanted; to be called where the error is caught."""
    if debug:
        traceback.print_exc()
    _line(_console(stderr=True), " ".join(message.split()), style="red")


def _console(stderr=False):
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # for files and pipes: nothing is wrapped that need not be
    return console


def _line(console, text, style=""):
    """Text as it is: without markup, never wrapped by us."""
    console.print(Text(text, style), soft_wrap=True)


if __name__ == "__main__":
    app()
