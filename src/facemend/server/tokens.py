"""Who shows the server's token; guesses are slowed down."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Sequence

from fastapi import HTTPException
from starlette.datastructures import Headers

logger = logging.getLogger(__name__)

COOKIE = "facemend_token"
GUESSES = 20
"""Wrong tokens that a client may show a process in a minute; for the rest of it none of its is looked at."""
_MINUTE = 60.0
_CLIENTS = 4096
"""Clients that are remembered; the one that began to guess longest ago is forgotten first."""


class Guard:
    """Compares what clients show with the token.

    Args:
        token: of the server; empty: all may come.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self._lock = threading.Lock()
        self._wrong: dict[str, tuple[float, int]] = {}  # client -> when it began, how many

    def check(self, shown: Sequence[str], client: str) -> None:
        """Let a request pass or not.

        Args:
            shown: what it shows as the token, perhaps in several places.
            client: whose it is.

        Raises:
            HTTPException: 401, the token is not among them; 429, the client has shown too many wrong ones.
        """
        if not self.token:
            return
        with self._lock:
            begun, number = self._wrong.get(client, (0.0, 0))
            left = begun + _MINUTE - time.monotonic()
            if left <= 0:
                begun, number = time.monotonic(), 0
            if shown and number >= GUESSES:
                wait = {"Retry-After": str(int(left) + 1)}
                raise HTTPException(429, "too many wrong tokens came from your address: wait a minute", wait)
            if any(is_token(each, self.token) for each in shown):
                return
            if shown:
                self._remember(client, begun, number + 1)
        raise HTTPException(401, "this server needs its token", {"WWW-Authenticate": "Bearer"})

    def _remember(self, client: str, begun: float, number: int) -> None:
        self._wrong.pop(client, None)
        self._wrong[client] = begun, number
        if len(self._wrong) > _CLIENTS:
            del self._wrong[next(iter(self._wrong))]
        if number == GUESSES:
            logger.warning("%s has shown %d wrong tokens in a minute: it has to wait", client, number)


def shown_tokens(headers: Headers) -> list[str]:
    """What a request shows as the token, in its header and as a cookie."""
    kind, _, shown = headers.get("authorization", "").partition(" ")
    found = [shown.strip()] if kind.lower() == "bearer" else []
    # By hand: the standard library reads none behind one that it dislikes, and other programs of this host
    # may have set any. Ours is quoted if it has one of many signs, but holds neither " nor \\.
    cookies = (each.strip().partition("=") for each in headers.get("cookie", "").split(";"))
    return [*found, *(value.strip('"') for name, _, value in cookies if name == COOKIE)]


def is_token(shown: str, token: str) -> bool:
    """Whether that is the token; takes as long for every wrong one."""
    return secrets.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode())
