"""What the routes share, and how they ask the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException, Request
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from facemend.errors import (
    ConfigError,
    FacemendError,
    InputError,
    MissingExtraError,
    OutputError,
    TooLargeError,
)
from facemend.server.clients import client_name
from facemend.server.jobs import Jobs
from facemend.server.orders import QueueFullError
from facemend.server.problems import BusyError, GoneError, for_clients
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.server.tokens import Guard
from facemend.server.worker import Worker

_T = TypeVar("_T")
_GONE_SECONDS = 0.25
"""How often is looked whether a client that waits is still there."""
_STATUS: tuple[tuple[type[FacemendError], int], ...] = (
    (GoneError, 404),
    (QueueFullError, 429),
    (BusyError, 503),
    (TooLargeError, 413),
    (InputError, 415),
    (MissingExtraError, 415),
    (ConfigError, 422),
    (OutputError, 507),
)


@dataclass(frozen=True)
class Services:
    """The parts of a server in one process.

    Attributes:
        settings: of the server.
        jobs: the queue.
        store: the files.
        worker: does the jobs, and is asked for looks.
        backgrounds: what can become of the rest of a photo.
        guard: knows the token.
    """

    settings: ServerSettings
    jobs: Jobs
    store: JobStore
    worker: Worker
    backgrounds: tuple[str, ...]
    guard: Guard


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Shared = Annotated[Services, Depends(_services)]


def as_http(error: FacemendError) -> HTTPException:
    """The answer that says what went wrong."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = None
    if isinstance(error, QueueFullError):
        headers = {"Retry-After": str(error.retry_after)}
    elif isinstance(error, BusyError):
        headers = {"Retry-After": "1"}
    return HTTPException(status, for_clients(error), headers)


class PassingFile(FileResponse):
    """A file that goes once it is sent, or its client has gone: a background task would not see each end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)


async def ask(
    request: Request, worker: Worker, look: Callable[[JobRestorer], _T], made: Path | None = None
) -> _T:
    """What the worker makes of `look`; forgotten if the client goes away meanwhile.

    Args:
        request: of the client.
        worker: who does it.
        look: what.
        made: a file that comes of it, which goes again where nobody takes it.

    Raises:
        HTTPException: it failed, or the worker is busy.
    """
    try:
        return await looked_at(request, worker, look, made)
    except FacemendError as error:
        raise as_http(error) from error


async def looked_at(
    request: Request, worker: Worker, look: Callable[[JobRestorer], _T], made: Path | None = None
) -> _T:
    """The same.

    Raises:
        FacemendError: it failed, or the worker is busy.
        HTTPException: the client is gone.
    """
    future = worker.ask(look, client_name(request.scope["client"]))
    waiting = asyncio.wrap_future(future)
    try:
        while not (await asyncio.wait({waiting}, timeout=_GONE_SECONDS))[0]:
            if await request.is_disconnected():
                raise HTTPException(499, "the client is gone")
        return waiting.result()
    except BaseException:
        if made is not None:  # it may be written later than this, as what runs goes on
            future.add_done_callback(lambda _: made.unlink(missing_ok=True))
        raise
    finally:
        future.cancel()
