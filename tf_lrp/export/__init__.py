"""Explanations that run without this library: as a SavedModel, in onnxruntime, on phones."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tf_lrp.export import portable, saved_model
from tf_lrp.export.description import describe, input_names

FORMATS = ("saved_model", "onnx", "litert")


def export(
    analyzer,
    path,
    format="saved_model",
    *,
    layers=None,
    output=None,
    neuron_selection=None,
    labels=None,
    metadata=None,
    selecting=False,
    batch_size=1,
    input_shape=None,
    overwrite=False,
):
    """Writes an analyzer's explanation; see `tf_lrp.Analyzer.export`."""
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(map(repr, FORMATS))}; got {format!r}.")
    if selecting and neuron_selection is not None:
        raise ValueError("A file has its target fixed, neuron_selection=, or as an input of its own, selecting=True; got both.")
    path = Path(path)
    _check_free(path, format, overwrite)
    layers = (layers,) if isinstance(layers, str) else layers
    description = describe(
        analyzer,
        names=input_names(analyzer),
        layers=layers,
        output=output,
        neuron_selection=neuron_selection,
        labels=labels,
        metadata=metadata,
    )
    explained = {"layers": layers, "output": output, "neuron_selection": neuron_selection}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and moved there when it is whole and has been checked.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / path.name
        if format == "saved_model":
            saved_model.write(analyzer, made, description, **explained, labels=labels)
        else:
            write = portable.write_onnx if format == "onnx" else portable.write_litert
            write(
                analyzer,
                made,
                description,
                **explained,
                selecting=selecting,
                batch_size=batch_size,
                input_shape=input_shape,
            )
        if path.is_dir():
            shutil.rmtree(path)
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, path.parent / file.name)
    return path


def _check_free(path, format, overwrite):
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    is_saved_model = path.is_dir() and (path / "saved_model.pb").exists() and (path / "assets" / "tf_lrp.json").exists()
    ours = is_saved_model if format == "saved_model" else path.is_file()
    if overwrite and ours:
        return
    if overwrite:
        raise FileExistsError(f"{path} is no earlier export in this format, and is left alone: choose another place.")
    raise FileExistsError(f"{path} exists: choose another place, or allow an earlier export to be replaced (overwrite).")
