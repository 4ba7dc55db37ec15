"""Caffe's files, read: networks in text (prototxt), weights (caffemodel) and means (binaryproto). Nothing in them is executed.

Files come from anywhere. What is wrong with one is said in one sentence, by a `CaffeError`; sizes and depths have limits, so
that no file fills the memory or the stack.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tf_lrp.caffe.schema import message
from tf_lrp.errors import CaffeError

#: Bytes. The prototxt of ResNet-152 has 100 kB; protobuf reads no message of more than 2 GB.
_LARGEST_TEXT, _LARGEST_BINARY = 16 * 2**20, 2**31 - 1
#: Messages inside messages: Caffe's own format has 4 levels.
_DEEPEST = 32

#: A comment, a string (which ends at the end of its line, closed or not), or a bracket.
_TOKENS = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|[{}<>]""")


def read_prototxt(path: str | os.PathLike) -> Any:
    """The NetParameter that a prototxt describes.

    Raises:
        CaffeError: if it is no network in protobuf's text format, is larger than 16 MB, or nested more than 32 deep.
        OSError: if the file cannot be read.
    """
    from google.protobuf import text_format

    raw = _read(path, _LARGEST_TEXT, "a prototxt")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CaffeError(
            f"{_name(path)} is no prototxt: it holds bytes that are no text (byte {error.start}). Weights are the second file."
        ) from None
    _check_depth(text, path)
    try:
        net = text_format.Parse(text, message("NetParameter")(), allow_unknown_field=True)
    except (text_format.ParseError, ValueError, OverflowError, RecursionError) as error:
        raise CaffeError(f"{_name(path)} is no prototxt that Caffe could read: {_one_line(error)}") from None
    if any(layer.HasField("layer") for layer in net.layers):
        raise CaffeError(
            f"{_name(path)} is in Caffe's first format (V0, 2013): convert it with Caffe's upgrade_net_proto_text first."
        )
    if len(net.layer) and len(net.layers):
        raise CaffeError(f"{_name(path)} mixes layers of both generations: it must have either `layer` or `layers`, not both.")
    if not len(net.layer) and not len(net.layers):
        raise CaffeError(f"{_name(path)} describes no network: there is no `layer {{ ... }}` in it.")
    return net


def read_weights(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """The weights in a caffemodel, of either generation: name of a layer -> its blobs in order, in their shapes.

    Raises:
        CaffeError: if it is no caffemodel, or a blob does not hold as many numbers as its shape says.
        OSError: if the file cannot be read.
    """
    net = _parse("NetParameter", _read(path, _LARGEST_BINARY, "a caffemodel"), path, "a caffemodel")
    layers = [*net.layer, *net.layers]
    if not layers:
        raise CaffeError(f"{_name(path)} is no caffemodel: there are no layers in it.")
    weights: dict[str, list[np.ndarray]] = {}
    for layer in layers:
        source = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
        blobs = [_array(blob, f"{_name(path)}, layer {source.name!r}, blob {n}") for n, blob in enumerate(source.blobs)]
        if blobs and not weights.get(source.name):
            weights[source.name] = blobs
    return weights


def read_blob(path: str | os.PathLike) -> np.ndarray:
    """The array in a file with one blob (binaryproto), such as a mean image.

    Raises:
        CaffeError: if it is no such file.
        OSError: if the file cannot be read.
    """
    blob = _parse("BlobProto", _read(path, _LARGEST_BINARY, "a binaryproto"), path, "a binaryproto")
    array = _array(blob, _name(path))
    if not array.size:
        raise CaffeError(f"{_name(path)} is no binaryproto: there are no numbers in it.")
    return array


def _read(path, largest, what):
    size = os.stat(path).st_size
    if size > largest:
        raise CaffeError(f"{_name(path)} has {size} bytes, but {what} has at most {largest}.")
    return Path(path).read_bytes()


def _name(path):
    return repr(os.fspath(path))


def _one_line(error):
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _check_depth(text, path):
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"{": 1, "<": 1, "}": -1, ">": -1}.get(token[0], 0)
        if depth > _DEEPEST:
            line = text.count("\n", 0, token.start()) + 1
            raise CaffeError(f"{_name(path)} is no network: line {line} is nested more than {_DEEPEST} deep.")


def _parse(name, raw, path, what):
    from google.protobuf.message import DecodeError

    try:
        return message(name).FromString(raw)
    except (DecodeError, ValueError, RecursionError) as error:
        raise CaffeError(f"{_name(path)} is no {what.split()[1]}, or is damaged: {_one_line(error)}.") from None


def _array(blob, where):
    """A blob as an array in its shape. Files of before 2015 give four lengths; where any of them is there, they count."""
    legacy = [getattr(blob, name) for name in ("num", "channels", "height", "width")]
    is_legacy = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = legacy if is_legacy else list(blob.shape.dim)
    values = np.array(blob.double_data, "float64") if len(blob.double_data) else np.array(blob.data, "float32")
    if not shape and not values.size:
        return values
    if any(length < 0 for length in shape) or math.prod(shape) != values.size:
        raise CaffeError(f"{where} says its shape is {_shown(shape)}, and holds {values.size} numbers.")
    if not np.isfinite(values).all():
        raise CaffeError(f"{where} holds NaN or infinite values.")
    return values.reshape(shape)


def _shown(shape):
    return " x ".join(map(str, shape)) or "that of one number"
