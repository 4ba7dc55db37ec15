"""The built page, from the folder ``page`` beside this module."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from tf_lrp.studio.problems import ProblemError

#: Where the build of the page lies: index.html, and its files in a folder ``assets``.
FOLDER = Path(__file__).parent / "page"

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tf-lrp studio</title></head>
<body><h1>The page is not built</h1>
<p>This copy of the library has no built page of the studio. Run <code>make studio</code> in the repository (it needs Node), or
install a release. The server itself is running: its routes are described in <code>/openapi.json</code>.</p></body></html>
"""


def add(application: FastAPI, folder: Path = FOLDER) -> None:
    """Serves the page at ``/`` and its files below ``/assets``."""

    @application.get("/", include_in_schema=False)
    def index():
        file = folder / "index.html"
        if not file.is_file():
            return HTMLResponse(_MISSING)
        return FileResponse(file, media_type="text/html", headers={"Cache-Control": "no-cache"})

    @application.get("/assets/{name}", include_in_schema=False)
    def asset(name: str):
        file = folder / "assets" / name
        if name not in {path.name for path in (folder / "assets").glob("*")}:
            raise ProblemError(404, "The page has no such file: reload it.")
        return FileResponse(file, headers={"Cache-Control": "no-cache"})
