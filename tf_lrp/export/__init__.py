"""Explanations that run without this library: as a SavedModel, in onnxruntime, on phones.

A format is one class in one file, see `ExportTarget`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lrp.export import litert, onnx, saved_model  # each registers its target
from tf_lrp.export.registry import FORMATS, ExportRequest, ExportTarget, register_target

if TYPE_CHECKING:
    from tf_lrp.explain.explainer import Explainer

__all__ = ["FORMATS", "ExportRequest", "ExportTarget", "export", "litert", "onnx", "register_target", "saved_model"]


def export(
    analyzer: Explainer,
    path: str | os.PathLike[str],
    format: str = "saved_model",
    *,
    layers: str | Sequence[str] | None = None,
    output: str | int | None = None,
    neuron_selection: Any = None,
    labels: Sequence[str] | None = None,
    metadata: Any = None,
    selecting: bool = False,
    batch_size: int = 1,
    input_shape: Sequence | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes an analyzer's explanation; see `tf_lrp.Analyzer.export`."""
    from tf_lrp.export.description import describe, input_names  # imported here: they import TensorFlow

    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(map(repr, FORMATS))}; got {format!r}.")
    if selecting and neuron_selection is not None:
        raise ValueError(
            "The explained neuron is either fixed, neuron_selection=, or an input of the file, selecting=True; got both."
        )
    path, target = Path(path), FORMATS[format]
    _check_free(path, target, overwrite)
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
    request = ExportRequest(analyzer, description, layers, output, neuron_selection, labels, selecting, batch_size, input_shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its destination, and moved there once it is complete and has been checked.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        target.write(request, Path(folder) / path.name)
        if path.is_dir():
            shutil.rmtree(path)
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, path.parent / file.name)
    return path


def _check_free(path, target, overwrite):
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists: choose another place, or allow an earlier export to be replaced (overwrite).")
    if not target.is_export(path):
        raise FileExistsError(f"{path} is no earlier export in this format, and is left alone: choose another place.")
