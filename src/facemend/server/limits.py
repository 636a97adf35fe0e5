"""What every request must keep to: bytes, time, the token, and headers that keep browsers strict."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.server.clients import client_name
from facemend.server.connection import LEAST_RATE
from facemend.server.logs import REQUEST
from facemend.server.settings import ServerSettings
from facemend.server.sites import Sites
from facemend.server.tokens import Guard, shown_tokens

logger = logging.getLogger(__name__)

UPLOAD = ("POST", "/api/jobs")
_LOGGED = (401, 403, 421, 507)
OPEN = frozenset({"/api/health", "/api/info", "/api/login"})
"""Paths below /api that need no token."""
_SMALL = 65_536
"""Bytes of the fields and borders around an upload, and of any other body."""
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as the API says it."""
    return JSONResponse({"detail": detail}, status, headers)


class Limits:
    """Middleware around the whole application.

    Args:
        app: what it protects.
        settings: names, bytes and seconds.
        guard: knows the token.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, guard: Guard) -> None:
        self._app, self._settings, self._guard = app, settings, guard
        self._sites = Sites(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        REQUEST.set(secrets.token_hex(6))  # each request has a task, and so a context, of its own
        strict = _strict(scope, send)
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, strict)
            return
        await self._in_time(scope, _Body(receive, self._most(scope), self._settings), strict)

    def _most(self, scope: Scope) -> int:
        upload = (scope["method"], scope["path"]) == UPLOAD
        return _SMALL + (self._settings.largest_mb * 1_000_000 if upload else 0)

    def _times(self, scope: Scope) -> float:
        """How many times as long a film may take to come as the largest photo."""
        length = Headers(scope=scope).get("content-length", "0")  # not over the limit, see `_refused`
        return max(1.0, int(length) / self._settings.max_bytes) if length.isdecimal() else 1.0

    def _refused(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        path = scope["path"]
        refusal = self._sites.refusal(scope["method"], headers)
        if refusal is not None:
            return problem(*refusal)
        guarded = path == "/metrics" or (path.startswith("/api/") and path not in OPEN)
        try:
            if guarded:
                self._guard.check(shown_tokens(headers), client_name(scope["client"]))
        except HTTPException as error:
            return problem(error.status_code, error.detail, error.headers)
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._most(scope)):
            return problem(413, too_many_bytes(self._settings.largest_mb))
        return None

    async def _in_time(self, scope: Scope, body: _Body, send: Send) -> None:
        begun = False
        seconds = self._settings.request_seconds * self._times(scope)

        async def watched(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                timeout.reschedule(None)  # a slow reader may take its time
            await send(message)

        try:
            async with asyncio.timeout(seconds) as timeout:
                await self._app(scope, body, watched)
        except TimeoutError:
            if begun:
                raise
            limit = f"longer than {seconds:g} s"
            if body.complete:
                answer = problem(503, f"this took {limit}: try again later", {"Retry-After": "5"})
            else:
                answer = problem(408, f"the upload took {limit}, which is the limit")
            await answer(scope, body, send)


def too_many_bytes(max_mb: int) -> str:
    """What to say of an upload over the limit."""
    return f"the file is over the limit of {max_mb} MB: choose a smaller one"


class _Body:
    """A request's body, counted as it comes in; what it claims to be does not matter."""

    def __init__(self, receive: Receive, most: int, settings: ServerSettings) -> None:
        self._receive, self._most, self._settings = receive, most, settings
        self._total, self._recent = 0, 0
        self._patience = settings.stall_seconds
        self.complete = False

    async def __call__(self) -> Message:
        """The next message."""
        if self.complete:  # what comes now is the end of the connection
            return await self._receive()
        message = await self._in_time()
        length = len(message.get("body", b""))
        self._total += length
        self._recent += length
        if self._recent >= LEAST_RATE * self._settings.stall_seconds:
            self._recent, self._patience = 0, self._settings.stall_seconds
        self.complete = not message.get("more_body", False)
        if self._total > self._most:
            raise HTTPException(413, too_many_bytes(self._settings.largest_mb))
        return message

    async def _in_time(self) -> Message:
        """Only time that the client lets pass counts, not what the server does with its bytes."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                return await self._receive()
        except TimeoutError:
            limit = self._settings.stall_seconds
            raise HTTPException(
                408, f"the upload stood still for {limit:g} s", {"Connection": "close"}
            ) from None
        finally:
            self._patience -= time.monotonic() - asked


def _strict(scope: Scope, send: Send) -> Send:
    """Adds the headers that keep browsers strict; answers about photos are stored nowhere. Logs refusals."""
    path: str = scope["path"]

    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store" if path.startswith("/api/") else "no-cache")
            headers["X-Request-ID"] = REQUEST.get()
            if message["status"] in _LOGGED:
                # No more of the path: the ids of jobs open them.
                asked = f"{scope['method']} {'/'.join(path.split('/')[:3])[:80]}"
                logger.warning("%d: %s of %s", message["status"], asked, client_name(scope["client"]))
        await send(message)

    return headed
