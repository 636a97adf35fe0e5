"""A connection that does not wait for ever, and of which no client has too many.

uvicorn ends a connection that is idle between two requests. This class adds what it lacks: a time limit for
the header of a request, the first one's too, and for a client that does not read its answer. How long an
upload may take is counted in `limits`, where it can be told to the client.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from facemend.server.clients import client_name
from facemend.server.settings import ServerSettings

if sys.platform == "linux":
    import fcntl
    import termios

LEAST_RATE = 1000
"""Bytes a second that a client must send or take on average, over each `stall_seconds`."""
_TICKS = 8
"""Looks at a connection in `stall_seconds`. They are counted, not timed: however long the server was busy,
that costs a client one."""
_BODY = b'{"detail":"too many connections from your address: close some"}'
_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Connection(H11Protocol):
    """One connection; uvicorn makes it with the state that the application's lifespan gave.

    Args:
        config: of uvicorn.
        server_state: what the connections of a process share.
        app_state: with `settings`.
        _loop: as uvicorn calls it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        settings: ServerSettings = app_state["settings"]
        self.name = client_name(None)
        self._most, self._stall = settings.client_connections, settings.stall_seconds
        self.timeout_keep_alive = settings.stall_seconds  # type: ignore[assignment]  # any number will do
        self._awaited: str | None = None
        self._ticks, self._unread = 0, 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it, unless its client has as many as it may."""
        super().connection_made(transport)
        self.name = client_name(self.client)
        if sum(getattr(other, "name", None) == self.name for other in self.connections) > self._most:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client took most of what waited for it."""
        self._ticks = 0
        super().resume_writing()

    def _watch(self) -> None:
        """End the connection if its client has kept the server waiting, else look again."""
        awaited = self._client_owes()
        unread = self._unsent()
        if awaited != self._awaited or self._unread - unread >= LEAST_RATE * self._stall:
            self._awaited, self._ticks, self._unread = awaited, 0, unread
        self._unread = max(self._unread, unread)
        if awaited is not None and self._ticks >= _TICKS:
            self.transport.abort()  # closing would wait until everything is read
            return
        self._ticks += 1
        self._timer = self.loop.call_later(self._stall / _TICKS, self._watch)

    def _client_owes(self) -> str | None:
        """What the server waits for, if it is the client's turn and nothing else ends the wait."""
        if self.transport.get_write_buffer_size() > 0:
            return "reading"
        answering = self.cycle is not None and not self.cycle.response_complete
        return None if answering or self.timeout_keep_alive_task is not None else "header"

    def _unsent(self) -> int:
        """Bytes that the client has not taken, those in the system's buffer too, which may be megabytes."""
        ours = self.transport.get_write_buffer_size()
        if not ours or sys.platform != "linux":
            return ours
        theirs = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return ours + int.from_bytes(theirs, sys.byteorder)
