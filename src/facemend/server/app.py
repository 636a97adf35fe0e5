"""Puts the server of one process together."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from facemend import __version__
from facemend.errors import FacemendError, OutputError
from facemend.server.arrivals import Arrivals
from facemend.server.description import describe_tokens
from facemend.server.jobs import Jobs
from facemend.server.limits import Limits, problem
from facemend.server.logs import configure
from facemend.server.restorer import known_backgrounds
from facemend.server.routes import operations, router
from facemend.server.services import Services, as_http
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.server.supervisor import Supervisor
from facemend.server.tokens import Guard
from facemend.server.worker import Worker

STATIC = Path(__file__).parent / "static"


def open_jobs(settings: ServerSettings, store: JobStore) -> Jobs:
    """The job table of a store.

    Raises:
        ConfigError: the file cannot be used.
    """
    return Jobs(
        store.database,
        limit=settings.queue,
        keep=settings.keep_seconds,
        lease=settings.lease_seconds,
    )


def create_app(settings: ServerSettings) -> FastAPI:
    """The application of one process; several may run over the same store.

    Args:
        settings: with a store.

    Raises:
        ConfigError: the store cannot be used.
    """
    store = JobStore(settings.folder())
    jobs = open_jobs(settings, store)
    worker = Worker(jobs, store, Supervisor(settings), settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, ServerSettings]]:
        before = os.umask(0o077)  # what is stored is for this user alone
        worker.start()
        yield {"settings": settings}  # each connection is given this
        await asyncio.to_thread(worker.stop)
        jobs.close()
        os.umask(before)

    app = FastAPI(
        title="facemend",
        version=__version__,
        summary="Restore faces in photos and films.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # pages of these would come from other servers
        redoc_url=None,
        redirect_slashes=False,  # such a redirect would name the Host of the request
    )
    guard = Guard(settings.token)
    app.state.services = Services(settings, jobs, store, worker, known_backgrounds(), guard)
    app.include_router(router)
    app.include_router(operations)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(FacemendError, _facemend_problem)
    app.add_exception_handler(Exception, _unexpected)
    describe_tokens(app)
    _add_page(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Arrivals, jobs=jobs, settings=settings)
    app.add_middleware(Limits, settings=settings, guard=guard)  # outermost
    return app


def app_from_env() -> FastAPI:
    """The application of a worker process, as FACEMEND_* variables say."""
    settings = ServerSettings.from_env()
    configure(settings.log_format)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(parent,), name="facemend-parent", daemon=True).start()
    return create_app(settings)


def _end_with(parent: Any) -> None:
    """End in good order once the process is gone that started this one, and that others would tell to end."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", media_type="text/html")

    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and isinstance(error.__cause__, OSError):  # what holds an upload as it comes
        error = as_http(OutputError(f"the server cannot store the upload ({error.__cause__.strerror})"))
    return problem(error.status_code, str(error.detail), error.headers)


async def _facemend_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, FacemendError)
    return await _http_problem(request, as_http(error))


class HeadAsGet:
    """Answers HEAD as GET, of which the HTTP server leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


# What a pattern, or the lack of a file, would be told as otherwise.
_PLAIN = {
    "photo": "must be a file; with curl: -F photo=@NAME",
    "boxes": "must be x1,y1,x2,y2;... in pixels of the upright photo",
    "faces": "must be indices such as 0,2",
}


_NO_JSON = 'the body must be JSON, {"token": "..."}, sent as Content-Type: application/json'


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    place = error.errors()[0]["loc"][:2]
    if place[0] == "body" and (len(place) == 1 or isinstance(place[1], int)):
        return problem(422, _NO_JSON)
    if plain := _PLAIN.get(str(place[-1])):
        return problem(422, f"{place[-1]}: {plain}")
    # A field that may be of several kinds has an error of each.
    said = "; or ".join(each["msg"] for each in error.errors() if each["loc"][:2] == place)
    return problem(422, " ".join(f"{place[-1]}: {said}".split()))


async def _unexpected(request: Request, error: Exception) -> Response:
    return problem(500, "unexpected error; the server's log has more")
