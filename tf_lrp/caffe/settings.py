"""The two text files of the LRP Toolbox's Caffe program: its configuration and its list of images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from tf_lrp.errors import CaffeError
from tf_lrp.messages.names import did_you_mean

_LARGEST = 2**24  # bytes

#: Options that the toolbox reads and does not support; they have to be 0.
_WITHOUT_EFFECT = (
    "codeexectype", "lrn_forward_type", "lrn_backward_type", "maxpoolingtoavgpoolinginbackwardpass", "biastreatmenttype",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """A configuration file. Each key is a line, and its value the line after it; lines of several words are comments.

    Attributes:
        param_file, model_file: the network and its weights.
        mean_file: the mean that is subtracted from images; "" for none.
        use_mean_file_asbinaryprotoblob: 0: text, 1: binaryproto, 2: binaryproto with the channels R, G, B.
        synsetfile: names of the classes, one a line; "" for none.
        lastlayerindex, firstlayerindex: positions; -2 is the last InnerProduct, -1 the layer before the first Softmax.
        numclasses: number of classes; 0 for as many as there are.
        baseimgsize: the longest side of images after resizing, in pixels.
        standalone_outpath, standalone_rootpath: where outputs go, and from which folder on their paths are those of the images.
        relpropformulatype, epsstab, alphabeta_beta, auxiliaryvariable_maxlayerindexforflatdistinconv: see
            `tf_lrp.caffe.analyzer`.
    """

    param_file: str
    model_file: str
    mean_file: str = ""
    use_mean_file_asbinaryprotoblob: int = 0
    synsetfile: str = ""
    lastlayerindex: int = -2
    firstlayerindex: int = 0
    numclasses: int = 0
    baseimgsize: int = 256
    standalone_outpath: str = "./lrp_output"
    standalone_rootpath: str = ""
    relpropformulatype: int = 100
    epsstab: float = 1.0
    alphabeta_beta: float = 1.0
    auxiliaryvariable_maxlayerindexforflatdistinconv: int = 0


def read_settings(path: str | os.PathLike) -> Settings:
    """The settings in a configuration file. Paths in it are relative to the current folder or, where nothing is there, to it.

    Raises:
        CaffeError: for an unknown key, a key without a value, a value that is no number where one is needed, or if a file's
            key is missing.
        OSError: if the file cannot be read.
    """
    kinds = {f.name: str(f.type) for f in fields(Settings)} | dict.fromkeys(_WITHOUT_EFFECT, "zero")
    lines, values, n = _lines(path), {}, 0
    while n < len(lines):
        key = lines[n].strip().replace("alphabeta.beta", "alphabeta_beta")
        n += 1
        if key in kinds:
            value = lines[n].strip() if n < len(lines) else ""
            if not value:
                raise CaffeError(f"{str(path)!r}, line {n}: the line after {key!r} is to hold its value, and is empty.")
            values[key] = _converted(value, kinds[key], f"{str(path)!r}, line {n + 1}: {key}")
            n += 1
        elif re.fullmatch(r"[A-Za-z_.]+", key):
            raise CaffeError(f"{str(path)!r}, line {n}: there is no option {key!r}.{did_you_mean(key, kinds)}")
    for key in ("param_file", "model_file"):
        if key not in values:
            raise CaffeError(f"{str(path)!r} names no {key}: a line {key!r} and its value on the next line are needed.")
    for key in ("param_file", "model_file", "mean_file", "synsetfile"):
        beside = Path(path).parent / values.get(key, "")
        if key in values and not Path(values[key]).exists() and beside.exists():
            values[key] = str(beside)
    settings = Settings(**{key: value for key, value in values.items() if key not in _WITHOUT_EFFECT})
    if settings.baseimgsize < 1 or settings.numclasses < 0 or settings.use_mean_file_asbinaryprotoblob not in (0, 1, 2):
        raise CaffeError(
            f"{str(path)!r}: baseimgsize is at least 1, numclasses at least 0, and use_mean_file_asbinaryprotoblob 0, 1 or 2."
        )
    if settings.firstlayerindex:
        raise CaffeError(f"{str(path)!r}: firstlayerindex is 0, relevance of the image; got {settings.firstlayerindex}.")
    return settings


def read_file_list(path: str | os.PathLike) -> tuple[list[tuple[int, str, int]], list[tuple[int, str]]]:
    """The images in a list, one a line: a path, white space, and a class (-1: the best, -2: the five best).

    Returns:
        (list of (number of the line, path, class), list of (number of the line, what is wrong with it)).

    Raises:
        CaffeError: if the file is no text.
        OSError: if it cannot be read.
    """
    good, bad = [], []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        name, _, wanted = line.strip().replace("\t", " ").rpartition(" ")
        if not name.strip() or not re.fullmatch(r"[+-]?\d{1,9}", wanted):
            bad.append((number, f"a path and a class (a whole number) are expected, got {line.strip()[:200]!r}"))
        else:
            good.append((number, name.strip(), int(wanted)))
    return good, bad


def _lines(path):
    if os.stat(path).st_size > _LARGEST:
        raise CaffeError(f"{str(path)!r} is larger than {_LARGEST} bytes.")
    try:
        return Path(path).read_bytes().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CaffeError(f"{str(path)!r} is no text: byte {error.start} is no character.") from None


def _converted(value, kind, where):
    if kind == "str":
        return value
    try:
        number = float(value) if kind == "float" else int(value)
    except ValueError:
        raise CaffeError(f"{where} needs to be a {'number' if kind == 'float' else 'whole number'}, got {value!r}.") from None
    if kind == "zero" and number:
        raise CaffeError(f"{where} is not supported, neither here nor in the toolbox: it needs to be 0, got {value!r}.")
    return number
