"""`tf-lrp report`: the results of the evaluations on one HTML page that needs no other file.

- `results`: reads and checks what the evaluation commands left in a folder.
- `page`: renders the page from the templates beside it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tf_lrp.evaluation.report.page import GENERATOR, render
from tf_lrp.evaluation.report.results import KINDS, Collection, ReportImage, collect, count
from tf_lrp.runs import atomic_files

__all__ = ["KINDS", "Collection", "ReportImage", "collect", "count", "render", "write"]


def write(folder, out=None, force=False):
    """Writes the page of a folder's results, completely or not at all.

    Args:
        folder: where the evaluation commands wrote their results; see `collect`.
        out: the HTML file, ``folder``/report.html by default. An earlier report is replaced.
        force: whether to replace a file that is not a report, too.

    Returns:
        (pathlib.Path of the page, `Collection`).

    Raises:
        FileExistsError: ``out`` exists and is not a report.
        IsADirectoryError: ``out`` is a folder.
        FileNotFoundError, NotADirectoryError, ValueError: see `collect`.
    """
    out = Path(folder, "report.html") if out is None else Path(out)
    if out.is_dir():
        raise IsADirectoryError(f"{str(out)!r} is a folder; name the file to write, such as {str(out / 'report.html')!r}.")
    if out.exists() and not force and not _is_report(out):
        raise FileExistsError(
            f"{str(out)!r} is no earlier report, and is not replaced: name another file, or replace it (--force)."
        )
    collection = collect(folder)
    page = render(collection, datetime.now(UTC))
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(out, page.encode("utf-8", "replace"))  # JSON can contain unpaired surrogates, which UTF-8 cannot
    return out, collection


def _is_report(path):
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(1000)
