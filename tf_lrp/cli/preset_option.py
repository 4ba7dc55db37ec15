"""A preset as it is written on the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def preset_of(text):
    """(preset, its name in file names) from NAME, NAME:PARAMETER=VALUE,... or FILE.json."""
    from tf_lrp import presets
    from tf_lrp.vision.images import file_name_part

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
