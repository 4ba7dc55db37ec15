"""`tf-lrp report`: what the evaluations found, on one HTML page that needs nothing else.

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

A cell is a str, a number, null, or [value, standard error], each of which may be null. A result needs "kind" and "title", a
picture its "file"; all else may be left out.

Needs Pillow only, so that a report is there at once.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from PIL import Image

from tf_lrp import __version__

#: The kinds of results, in the order of the page: heading, and what is measured.
KINDS = {
    "localization": ("Localization", "How much of the relevance lies on the object that is explained."),
    "context": ("Object and context", "What the score loses when the object is covered, and when all but the object is."),
    "perturbation": ("Perturbation", "How the score changes while pixels are replaced in the order of their relevance."),
    "sanity": ("Sanity checks", "Whether explanations depend on what the model learned."),
    "tuning": ("Tuning", "Which parameters serve best."),
}

_GENERATOR = '<meta name="generator" content="tf-lrp report">'


@dataclass(frozen=True)
class Picture:
    """A figure or an example: a PNG of ``size`` (width, height), or ``fault``, what is wrong with it."""

    file: str
    caption: str
    png: bytes = b""
    size: tuple = (0, 0)
    fault: str = ""


@dataclass
class Collection:
    """What a folder holds.

    Attributes:
        folder: the folder, as it was given.
        results: list of dicts of the module's form, with all keys, each `Picture` read, and the path of the JSON "file"; in the
            order of `KINDS`, those of one kind by their file.
        not_understood: list of (file, reason): JSON files that are damaged, of an unknown kind, or not of the form.
    """

    folder: str
    results: list = field(default_factory=list)
    not_understood: list = field(default_factory=list)

    @property
    def missing(self):
        """The pictures of all results that could not be had."""
        return [picture for r in self.results for picture in (*r["figures"], *r["examples"]) if picture.fault]

    def faults(self):
        """What is not on the page, such as "1 picture missing, 2 files not understood"; an empty text if nothing is."""
        counts = ((len(self.missing), "picture", "missing"), (len(self.not_understood), "file", "not understood"))
        return ", ".join(f"{count(n, noun)} {how}" for n, noun, how in counts if n)


def collect(folder):
    """Reads the results of the evaluation commands in a folder and the folders below it.

    JSON files that hold no "kind" are somebody else's and are passed over. Pictures are read as well; one that is not there, is
    no PNG or lies outside ``folder`` becomes a `Picture` with a fault. Returns a `Collection`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: it holds no results.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}; name the one that the evaluation commands wrote to.")
    if not root.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name the folder that the evaluation commands wrote to.")
    found = Collection(str(folder))
    for path in sorted(root.rglob("*.json")):
        name = path.relative_to(root).as_posix()
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and "kind" in content:
                found.results.append(_result(content, name, path.parent, root))
        except _FormError as error:
            found.not_understood.append((name, str(error)))
        except (ValueError, RecursionError) as error:
            found.not_understood.append((name, f"damaged, this is not JSON: {error}"))
        except OSError as error:
            found.not_understood.append((name, f"cannot be read: {error.strerror or error}"))
    if not found.results:
        reasons = "".join(f" {name}: {reason}." for name, reason in found.not_understood[:3])
        raise ValueError(
            f"{str(folder)!r} holds no results: no JSON file with one of the kinds {', '.join(KINDS)}.{reasons} "
            "Run an evaluation command first, and name the folder that it wrote to."
        )
    found.results.sort(key=lambda result: (list(KINDS).index(result["kind"]), result["file"]))
    return found


class _FormError(ValueError):
    """JSON that is not of the form."""


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
        result[key] = [_picture(file, caption, folder, root) for file, caption in named]
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
        return len(cell) == 2 and all(part is None or _is_number(part) for part in cell)
    return cell is None or isinstance(cell, str | int | float)


def _is_number(cell):
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _picture(file, caption, folder, root):
    try:
        path = (folder / file).resolve()
        # A page is passed on: it holds nothing but what lies in the folder.
        if not path.is_relative_to(root.resolve()):
            return Picture(file, caption, fault="lies outside the folder of the report")
        png = path.read_bytes()
    except (OSError, ValueError) as error:
        return Picture(file, caption, fault=f"cannot be read: {getattr(error, 'strerror', None) or error}")
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.load()
            return Picture(file, caption, png, image.size)
    except Exception:  # decoders raise anything at all on damaged files
        return Picture(file, caption, fault="is no PNG, or a damaged one")


def number(value, error=None):
    """A number as text: integers as they are, floats with three decimals, or three significant digits if they are small.

    Floats from 1e-4 to 0.01 in size have three significant digits; what then would read 0, or is 1e6 or more, has an exponent.
    With a standard error, "value ± error", both have as many decimals as the value alone, or more (to six) to show the error.
    """
    decimals = 0 if isinstance(value, int) else 3
    if decimals and 1e-4 <= abs(value) < 0.01:
        decimals = 2 - math.floor(math.log10(abs(value)))
    if error and math.isfinite(error):
        decimals = max(decimals, min(6, math.ceil(-math.log10(abs(error)))))
    return " ± ".join(_decimal(part, decimals) for part in (value, error) if part is not None)


def _decimal(part, decimals):
    if isinstance(part, int) and not decimals:
        return str(part)
    needs_exponent = part and math.isfinite(part) and not 10**-decimals <= abs(part) < 1e6
    return f"{part:.2e}" if needs_exponent else f"{part:.{decimals}f}"


def render(found, made):
    """The page as HTML text.

    Args:
        found: `Collection`.
        made: datetime of the page, with its time zone. It is on one line; all others depend on ``found`` alone.
    """
    time = f'<time datetime="{made.isoformat(timespec="seconds")}">{made:%Y-%m-%d %H:%M %Z}</time>'
    contents, sections = [], []
    for kind, (heading, says) in KINDS.items():
        numbered = [(n, result) for n, result in enumerate(found.results, 1) if result["kind"] == kind]
        if numbered:
            links = "".join(f'<li><a href="#result-{n}">{escape(result["title"])}</a></li>' for n, result in numbered)
            contents.append(f'<li><a href="#{kind}">{heading}</a><ul>{links}</ul></li>')
            sections.append(f'<section id="{kind}">\n<h2>{heading}</h2>\n<p>{says}</p>')
            sections += [*(_article(n, result) for n, result in numbered), "</section>"]
    if found.not_understood:
        heading = "Files that were not understood"
        contents.append(f'<li><a href="#not-understood">{heading}</a></li>')
        items = _list(f"<code>{escape(file)}</code>: {escape(why)}" for file, why in found.not_understood)
        sections.append(f'<section id="not-understood">\n<h2>{heading}</h2>\n{items}\n</section>')
    faults = f'\n<p class="fault">{found.faults()}</p>' if found.faults() else ""
    folder = escape(found.folder)
    head = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{_GENERATOR}
<title>Evaluation of explanations: {folder}</title>
<style>
{_STYLE}</style>
</head>
<body>
<header>
<h1>Evaluation of explanations</h1>
<p>{count(len(found.results), "result")} from <code>{folder}</code></p>
<p class="made">Made on {time} by <code>tf-lrp report</code>, tf_lrp {__version__}</p>{faults}
</header>
<nav aria-label="Contents">"""
    return "\n".join([head, "<ol>", *contents, "</ol>\n</nav>\n<main>", *sections, "</main>\n</body>\n</html>\n"])


def _article(n, result):
    parts = [f'<article id="result-{n}">\n<h3>{escape(result["title"])}</h3>', *_paragraphs(result["notes"])]
    parts += [*map(_html_table, result["tables"]), *map(_figure, result["figures"])]
    if result["examples"]:
        parts += ["<h4>Examples</h4>", *map(_figure, result["examples"])]
    problems = result["problems"]
    if problems:
        kinds = Counter(problem["what"] for problem in problems).most_common()
        counted = ", ".join(f"{escape(what)}: {times}" for what, times in kinds)
        lines = (": ".join(escape(p[key]) for key in ("name", "what", "detail") if p[key]) for p in problems)
        parts.append(_folded(f"{count(len(problems), 'picture')} left out ({counted})", _list(lines)))
    versions = [(f"version of {name}", version) for name, version in result["versions"].items()]
    facts = [*result["configuration"].items(), *versions, ("written to", result["file"])]
    rows = "\n".join(f"<dt>{escape(key)}</dt><dd>{escape(_plain(value))}</dd>" for key, value in facts)
    parts += [_folded("Configuration and versions", f"<dl>\n{rows}\n</dl>"), "</article>"]
    return "\n".join(parts)


def _html_table(table):
    columns, rows = table["columns"], table["rows"]
    is_number = [any(_is_number(row[n]) or isinstance(row[n], list) for row in rows) for n in range(len(columns))]
    classes = [' class="number"' if each else "" for each in is_number]
    head = "".join(f'<th scope="col"{c}>{escape(column)}</th>' for c, column in zip(classes, columns, strict=True))
    lines = [f"<caption>{escape(table['title'])}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>"]
    for n, row in enumerate(rows):
        cells = "".join(f"<td{c}>{escape(_cell(cell))}</td>" for c, cell in zip(classes, row, strict=True))
        lines.append(f'<tr class="bold">{cells}</tr>' if n in table["bold"] else f"<tr>{cells}</tr>")
    return "\n".join(['<div class="wide">\n<table>', *lines, "</tbody>\n</table>\n</div>", *_paragraphs(table["notes"])])


def _cell(cell):
    if cell is None or (isinstance(cell, list) and cell[0] is None):
        return "–"
    if isinstance(cell, list):
        return number(*cell)
    return number(cell) if _is_number(cell) else _plain(cell)


def _paragraphs(texts):
    return [f"<p>{escape(text)}</p>" for text in texts]


def _list(items):
    return "\n".join(["<ul>", *(f"<li>{item}</li>" for item in items), "</ul>"])


def _folded(summary, html):
    return f"<details>\n<summary>{summary}</summary>\n{html}\n</details>"


def _plain(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _figure(picture):
    if picture.fault:
        shown = f'<p class="fault">Missing: <code>{escape(picture.file)}</code> {escape(picture.fault)}</p>'
    else:
        width, height = picture.size
        source = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
        shown = f'<img alt="{escape(picture.caption)}" width="{width}" height="{height}" src="{source}">'
    return f"<figure>\n{shown}\n<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"


def count(n, noun):
    """A number of things in words: 1 result, 2 results."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def write(folder, out=None, force=False):
    """Writes the page of a folder's results; the file is there as a whole or not at all.

    Args:
        folder: what the evaluation commands left; see `collect`.
        out: the HTML file, ``folder``/report.html by default. An earlier report is replaced.
        force: whether to replace a file that is no report, too.

    Returns:
        (pathlib.Path of the page, `Collection`).

    Raises:
        FileExistsError: ``out`` is there and is no report.
        IsADirectoryError: ``out`` is a folder.
        FileNotFoundError, NotADirectoryError, ValueError: see `collect`.
    """
    out = Path(folder, "report.html") if out is None else Path(out)
    if out.is_dir():
        raise IsADirectoryError(f"{str(out)!r} is a folder; name the file to write, such as {str(out / 'report.html')!r}.")
    if out.exists() and not force and not _is_report(out):
        raise FileExistsError(
            f"{str(out)!r} is no earlier report, and is left alone: name another file, or replace it (--force)."
        )
    found = collect(folder)
    page = render(found, datetime.now(UTC))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(page.encode("utf-8", "replace"))  # JSON can hold halves of characters
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return out, found


def _is_report(path):
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(1000)


_STYLE = """\
:root { color-scheme: light dark;
  --text: #1c1c1c; --page: #fff; --faint: #5c5c5c; --line: #d4d4d4; --fault: #a3210b; --link: #0058a3; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e6e6e6; --page: #16181a; --faint: #a6a6a6; --line: #3c4043; --fault: #ff9a85; --link: #86c1ff; } }
body { max-width: 62rem; margin: 0 auto; padding: 1rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3, h4 { line-height: 1.25; break-after: avoid; } h2, h3 { margin-top: 2rem; }
h2 { border-bottom: 1px solid var(--line); }
.made, figcaption, caption, summary, dt { color: var(--faint); }
.fault { color: var(--fault); } a { color: var(--link); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } caption { text-align: left; }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: bottom; border-bottom: 1px solid var(--line); }
.number { text-align: right; } td.number { white-space: nowrap; } .bold { font-weight: bold; }
figure { margin: 1.5rem 0; break-inside: avoid; } img { max-width: 100%; height: auto; background: #fff; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) minmax(0, 1fr); gap: .1rem 1rem; } dd { margin: 0; }
@media print {
  :root { --text: #000; --page: #fff; --faint: #444; --line: #bbb; --fault: #900; --link: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; } tr { break-inside: avoid; }
}
"""
