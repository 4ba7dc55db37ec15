"""The Python code and the command that reproduce a view."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tf_lrp.presets import Preset
from tf_lrp.runs import atomic_files
from tf_lrp.runs.fingerprints import digest
from tf_lrp.studio import schemas

_PICTURE = """\
from tf_lrp import Analyzer, Preset
from tf_lrp.vision import classifier
from tf_lrp.vision.images import fit, read

network = classifier.load({arguments})
x = network.prepare(fit(read({file}), network.size)[None])
preset = Preset.from_json({preset})
relevance = Analyzer(network.model, preset).analyze(x, {target})  # {name}
heatmap = relevance[0].sum(axis=-1)
"""
_VALUES = """\
import numpy

from tf_lrp import Analyzer, Preset
from tf_lrp.vision import classifier

model, _ = classifier.load_model({arguments})
x = {values}[None]
preset = Preset.from_json({preset})
relevance = Analyzer(model, preset).analyze(x, {target})  # {name}
"""


def code(settings, kind: schemas.InputKind, file: Path, preset: Preset, target: int, name: str, folder: Path) -> schemas.Code:
    """What reproduces an explanation.

    Args:
        settings: `tf_lrp.studio.studio.Settings`.
        kind: of the input.
        file: of the picture, signal or text.
        preset: that explains.
        target, name: of the class.
        folder: where the preset is written as a file for the command.
    """
    file, text = file.resolve(), preset.to_json()
    name = " ".join(name.split())
    options = {
        "model": _absolute(settings.model),
        "weights": settings.weights and _absolute(settings.weights),
        "class_file": settings.classes and str(settings.classes.resolve()),
        "preparation": settings.preprocess,
        "size": settings.size,
    }
    given = {key: value for key, value in options.items() if value is not None}
    shown = {"preset": f"'''\\\n{text}\n'''" if _is_plain(text) else ascii(text), "target": target, "name": ascii(name)[1:-1]}
    if kind != "picture":
        arguments = ", ".join(f"{key}={value!r}" for key, value in given.items() if key in ("model", "weights"))
        values = f"numpy.load({str(file)!r})" if file.suffix == ".npy" else f"numpy.loadtxt({str(file)!r}, delimiter=',')"
        return schemas.Code(python=_VALUES.format(arguments=arguments, values=values, **shown), command="")
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    python = _PICTURE.format(arguments=arguments, file=repr(str(file)), **shown)
    preset_file = folder / f"{digest([text.encode()])[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    atomic_files.write(preset_file, text)
    flags = {
        "model": "--model",
        "weights": "--weights",
        "class_file": "--classes",
        "preparation": "--preprocess",
        "size": "--size",
    }
    words = ["tf-lrp", "explain", str(file)]
    words += [word for key, value in given.items() for word in (flags[key], str(value))]
    words += ["--preset", str(preset_file.resolve()), "--target", str(target)]
    return schemas.Code(python=python, command=shlex.join(words))


def _absolute(text):
    """A file's name from any folder; the name of a network, or a word, as it is."""
    return str(Path(text).resolve()) if Path(text).exists() else text


def _is_plain(text):
    """Whether a JSON text can stand between triple quotes as it is."""
    return text.isascii() and "\\" not in text and "'''" not in text and json.loads(text) is not None
