"""The ASGI application: routes, the page, safety, and errors as sentences."""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from tf_lrp import __version__
from tf_lrp.studio import page, routes
from tf_lrp.studio.problems import ProblemError
from tf_lrp.studio.safety import Safety
from tf_lrp.studio.studio import Studio


def plain(studio: Studio) -> FastAPI:
    """The routes and the page, without the middleware of `Safety`."""

    @contextlib.asynccontextmanager
    async def lifespan(_):
        await studio.open()
        yield
        studio.close()

    # The pages of documentation that FastAPI offers load their scripts from elsewhere.
    application = FastAPI(
        title="tf-lrp studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    application.add_exception_handler(ProblemError, problem)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.include_router(routes.router(studio))
    page.add(application)
    return application


def create(studio: Studio, token: str, host: str, port: int) -> Any:
    """The application as it is served.

    Args:
        studio: what is served.
        token, host, port: see `Safety`.
    """
    return Safety(plain(studio), token, host, port)


async def problem(_, error):
    """The answer to a `ProblemError`."""
    return JSONResponse({"detail": _printable(error.detail), **error.more}, error.status)


async def _invalid(_, error):
    """The first thing that is wrong with a request, as a sentence."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    detail = f"The request is not valid{f', at {place}' if place else ''}: {first['msg']}."
    return JSONResponse({"detail": _printable(detail)}, 422)


def _printable(text):
    return text.encode("utf-8", "replace").decode("utf-8")[:2000]
