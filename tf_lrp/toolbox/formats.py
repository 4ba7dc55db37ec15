"""Which function reads or writes a file: by the format that was asked for, or by the ending of the file's name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tf_lrp.files import npz
from tf_lrp.messages.names import did_you_mean


def format_of(path: Path, fmt: str | None, known: Mapping[str, Callable]) -> Callable:
    """The entry of a table of formats for a file.

    Args:
        path: of the file.
        fmt: the format that was asked for, or None for the ending of the name.
        known: format -> function.

    Raises:
        ValueError: for a format that is not in the table.
    """
    wanted = path.suffix.removeprefix(".") if fmt is None else fmt
    found = known.get(wanted.lower()) if isinstance(wanted, str) else None
    if found is None:
        formats = ", ".join(name for name in known if name)
        where = f"{str(path)!r} ends in none of" if fmt is None else "fmt is one of"
        raise ValueError(f"{where} {formats}; got {wanted!r}.{did_you_mean(wanted, known)}")
    return found


def read_by(path: str | os.PathLike[str], fmt: str | None, readers: Mapping[str, Callable[[Path], Any]], what: str) -> Any:
    """What the reader of a file's format returns.

    Args:
        path, fmt: of the file, as for `format_of`.
        readers: format -> function of the path.
        what: what the file should hold, for messages.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a format that there is not, and in one sentence, for what the reader says of a file.
    """
    path = Path(path)
    reader = format_of(path, fmt, readers)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        return reader(path)
    except npz.ERRORS as error:
        message = str(error) or type(error).__name__
        if not message.startswith(repr(str(path))):  # as the reader of .npz files begins
            message = f"{str(path)!r} cannot be read as {what}: {message}"
        raise ValueError(message) from error
