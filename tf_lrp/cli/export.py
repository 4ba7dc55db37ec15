"""`tf-lrp export`: an explanation as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.preset_option import preset_of
from tf_lrp.cli.target import Channel, Neuron, Reduce, Region, target_of
from tf_lrp.cli.terminal import Debug, app, console_of, errors_end_the_command, import_tensorflow, write_line
from tf_lrp.export import FORMATS


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A network of the zoo, a saved Keras model, FILE.keras, or the FOLDER of a SavedModel.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder or file to write.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="; ".join(f"{name}, {target.summary}" for name, target in FORMATS.items()) + ".",
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
    neuron: Neuron = None,
    region: Region = None,
    channel: Channel = None,
    reduce: Reduce = "sum",
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
    debug: Debug = False,
):
    """Write a model's explanation for machines without this library: its inputs in, relevance and output out.

    The exported explanation takes what the model takes: pixels after the model's own preprocessing.
    """
    with errors_end_the_command(debug):
        import_tensorflow()
        from tf_lrp.analyzer import Analyzer
        from tf_lrp.vision import class_names, classifier

        chosen, _ = preset_of(preset)
        network, names = classifier.load_model(model, weights)
        if classes is not None:
            names = class_names.read_class_names(classes)
        sides = [size if side is None else side for side in network.inputs[0].shape[1:3]]
        wanted, _ = target_of(neuron, region, channel, reduce, network, sides)
        built = network.inputs[0].shape[1:]
        shape = (size, size, built[-1]) if size is not None else None if None in built else tuple(built)
        written = Analyzer(network, chosen).export(
            out,
            format,
            layers=layer,
            neuron_selection=wanted,
            labels=names,
            metadata={"model": model},
            selecting=selecting,
            batch_size=batch_size,
            input_shape=shape,
            overwrite=overwrite,
        )
    write_line(console_of(), f"wrote {written}")
