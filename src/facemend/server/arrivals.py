"""Uploads that are under way: refused before they are read, if they could not be queued anyway."""

from __future__ import annotations

from collections import Counter

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.errors import FacemendError
from facemend.server.clients import client_name
from facemend.server.connection import LEAST_RATE
from facemend.server.jobs import Jobs
from facemend.server.limits import UPLOAD, problem
from facemend.server.services import as_http
from facemend.server.settings import ServerSettings


class Arrivals:
    """Middleware that keeps a place in the queue for each upload that really comes.

    Headers take no place, nor does a body before it is whole or as long as it must be to go on: see `Limits`.

    Args:
        app: what it protects.
        jobs: the queue.
        settings: how slow an upload may be.
    """

    def __init__(self, app: ASGIApp, jobs: Jobs, settings: ServerSettings) -> None:
        self._app, self._jobs = app, jobs
        self._enough = LEAST_RATE * settings.stall_seconds
        self._arriving: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != UPLOAD:
            await self._app(scope, receive, send)
            return
        client = client_name(scope["client"])
        come, placed = 0, False

        async def placing() -> Message:
            nonlocal come, placed
            message = await receive()
            come += len(message.get("body", b""))
            if not placed and (come >= self._enough or not message.get("more_body", False)):
                arriving, of_client = self._arriving.total(), self._arriving[client]
                placed = True  # before anything is awaited, so that no two uploads take the last place
                self._arriving[client] += 1
                await self._check(client, arriving, of_client)
            return message

        try:
            await self._check(client, self._arriving.total(), self._arriving[client])
            await self._app(scope, placing, send)
        except HTTPException as error:
            await problem(error.status_code, str(error.detail), error.headers)(scope, receive, send)
        finally:
            if placed:
                self._arriving -= Counter((client,))  # drops those who have none

    async def _check(self, client: str, arriving: int, of_client: int) -> None:
        """Refuse with the error that FastAPI lets through while it reads a body.

        The connection stays: if it were closed while the client still sends, the client might see that alone.
        What comes of the body is thrown away, for as long as a connection may be idle.
        """
        try:
            await run_in_threadpool(self._jobs.check_room, client, arriving, of_client)
        except FacemendError as error:
            answer = as_http(error)
            await run_in_threadpool(
                self._jobs.count, f'uploads_refused_total{{status="{answer.status_code}"}}'
            )
            raise answer from error
