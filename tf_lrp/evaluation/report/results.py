"""The results that the evaluation commands leave in a folder, read and checked.

The evaluation commands leave JSON files, which `collect` reads:

    {"kind": one of `KINDS`,
     "title": str,
     "configuration": {str: anything},
     "versions": {"tf_lrp": str, ...},
     "tables": [{"title": str, "columns": [str], "rows": [[cell]], "bold": [row, counted from 0], "notes": [str]}],
     "figures": [{"file": path of a PNG from the JSON file's folder, "caption": str}],
     "examples": as "figures",
     "problems": [{"name": str, "what": str, "detail": str}],
     "notes": [str]}

A cell is a str, a number, null, or [value, standard error], each of which may be null. A result needs "kind" and "title", and
an image its "file"; everything else is optional.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

#: The kinds of results, in the order of the page: heading, and what is measured.
KINDS = {
    "localization": ("Localization", "How much of the relevance lies on the object that is explained."),
    "context": ("Object and context", "What the score loses when the object is covered, and when all but the object is."),
    "perturbation": ("Perturbation", "How the score changes while pixels are replaced in the order of their relevance."),
    "sanity": ("Sanity checks", "Whether explanations depend on what the model learned."),
    "tuning": ("Tuning", "Which preset and which parameters do best."),
}


@dataclass(frozen=True)
class ReportImage:
    """A figure or an example.

    Attributes:
        file: path as the result names it, from the folder of its JSON file.
        caption: text below it.
        png: bytes of the file; empty if there is a fault.
        size: (width, height) in pixels.
        fault: why it cannot be shown, "" if it can.
    """

    file: str
    caption: str
    png: bytes = b""
    size: tuple = (0, 0)
    fault: str = ""


@dataclass
class Collection:
    """The results in a folder.

    Attributes:
        folder: its path, as it was given.
        results: list of dicts with all keys of the form above, figures and examples as `ReportImage`, and "file", the path of
            the JSON file; in the order of `KINDS`, and by file within a kind.
        not_understood: list of (file, reason): JSON files that are damaged, of an unknown kind, or of another form.
    """

    folder: str
    results: list = field(default_factory=list)
    not_understood: list = field(default_factory=list)

    @property
    def missing(self):
        """The images of all results that cannot be shown."""
        return [image for r in self.results for image in (*r["figures"], *r["examples"]) if image.fault]

    def faults(self):
        """What is not on the page, such as "1 picture missing, 2 files not understood"; "" if everything is."""
        counts = ((len(self.missing), "picture", "missing"), (len(self.not_understood), "file", "not understood"))
        return ", ".join(f"{count(n, noun)} {state}" for n, noun, state in counts if n)


def collect(folder):
    """Reads the results of the evaluation commands in a folder and the folders below it.

    JSON files without a "kind" belong to something else and are ignored. Images are read as well; one that does not exist, is
    not a PNG or lies outside ``folder`` becomes a `ReportImage` with a fault.

    Args:
        folder: path.

    Returns:
        `Collection`.

    Raises:
        FileNotFoundError, NotADirectoryError: the folder does not exist.
        ValueError: it holds no results.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}; name the one that the evaluation commands wrote to.")
    if not root.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name the folder that the evaluation commands wrote to.")
    collection = Collection(str(folder))
    for path in sorted(root.rglob("*.json")):
        name = path.relative_to(root).as_posix()
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and "kind" in content:
                collection.results.append(_result(content, name, path.parent, root))
        except _FormError as error:
            collection.not_understood.append((name, str(error)))
        except (ValueError, RecursionError) as error:
            collection.not_understood.append((name, f"damaged, this is not JSON: {error}"))
        except OSError as error:
            collection.not_understood.append((name, f"cannot be read: {error.strerror or error}"))
    if not collection.results:
        reasons = "".join(f" {name}: {reason}." for name, reason in collection.not_understood[:3])
        raise ValueError(
            f"{str(folder)!r} holds no results: no JSON file with one of the kinds {', '.join(KINDS)}.{reasons} "
            "Run an evaluation command first, and name the folder that it wrote to."
        )
    collection.results.sort(key=lambda result: (list(KINDS).index(result["kind"]), result["file"]))
    return collection


class _FormError(ValueError):
    """JSON of another form than that of a result."""


def _result(content, name, folder, root):
    kind = content["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise _FormError(f"of an unknown kind {kind!r}; this version knows {', '.join(KINDS)}")
    result = {"file": name, "kind": kind, "title": _part(content, "title", None, str), "notes": _texts(content, "notes")}
    result |= {key: _part(content, key, {}) for key in ("configuration", "versions")}
    result["tables"] = [_table(each) for each in _part(content, "tables", [])]
    result["problems"] = [{k: _part(p, k, "") for k in ("name", "what", "detail")} for p in _part(content, "problems", [])]
    for key in ("figures", "examples"):
        named = [(_part(each, "file", None, str), _part(each, "caption", "")) for each in _part(content, key, [])]
        result[key] = [_image(file, caption, folder, root) for file, caption in named]
    return result


def _part(holder, key, default, wanted=None):
    """``holder[key]`` of the default's type, or of type ``wanted`` where there has to be one."""
    wanted = wanted or type(default)
    if not isinstance(holder, dict):
        raise _FormError(f"not of the form: expected an object with {key!r}, got {holder!r:.60}")
    value = holder.get(key)
    value = default if value is None else value
    if not isinstance(value, wanted):
        got = "there is none" if value is None else f"got {value!r:.60}"
        raise _FormError(f"not of the form: {key!r} has to be of type {wanted.__name__}, {got}")
    return value


def _texts(holder, key):
    texts = _part(holder, key, [])
    if not all(isinstance(text, str) for text in texts):
        raise _FormError(f"not of the form: {key!r} has to hold texts only, got {texts!r:.60}")
    return texts


def _table(content):
    table = {"title": _part(content, "title", ""), "columns": _texts(content, "columns"), "notes": _texts(content, "notes")}
    table |= {key: _part(content, key, []) for key in ("rows", "bold")}
    rows, width, where = table["rows"], len(table["columns"]), f"of table {table['title']!r}"
    for n, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width or not all(map(_is_cell, row)):
            raise _FormError(
                f"not of the form: row {n} {where} has to be a list of {width} cells, each a text, a number, null or "
                f"[value, standard error]; got {row!r:.120}"
            )
    if any(type(row) is not int or not 0 <= row < len(rows) for row in table["bold"]):
        raise _FormError(f'not of the form: "bold" {where} has to hold rows below {len(rows)}, got {table["bold"]!r:.60}')
    return table


def _is_cell(cell):
    if isinstance(cell, list):
        return len(cell) == 2 and all(part is None or is_number(part) for part in cell)
    return cell is None or isinstance(cell, str | int | float)


def is_number(cell):
    """Whether a cell is a number; NaN and infinities are, True and False are not."""
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _image(file, caption, folder, root):
    try:
        path = (folder / file).resolve()
        # A page is passed on to others: it must not contain files from outside the folder.
        if not path.is_relative_to(root.resolve()):
            return ReportImage(file, caption, fault="lies outside the folder of the report")
        png = path.read_bytes()
    except (OSError, ValueError) as error:
        return ReportImage(file, caption, fault=f"cannot be read: {getattr(error, 'strerror', None) or error}")
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.load()
            return ReportImage(file, caption, png, image.size)
    except Exception:  # decoders raise all kinds of errors on damaged files
        return ReportImage(file, caption, fault="is not a PNG, or is damaged")


def count(n, noun):
    """A number of things in words: "1 result", "2 results"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
