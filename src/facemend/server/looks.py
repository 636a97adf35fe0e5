"""Looks for the page, which share one worker with the jobs and one another: nobody has all of its time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from facemend.server.problems import BusyError

WAITING = 32
"""Most looks that wait for one worker."""
SHARE = 8
"""Most of them that are one client's."""
_T = TypeVar("_T")


class Looks:
    """Those that wait. Clients take turns; beside jobs, looks run while they have had no more time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The client whose turn it is comes first. Whoever has none waiting is not in it.
        self._waiting: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}
        self._ahead = 0.0  # seconds that looks have had more than jobs

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def add(self, look: Callable[[], _T], client: str = "") -> Future[_T]:
        """Let something wait for its turn.

        Args:
            look: what to run.
            client: who asks; empty: nobody in particular, who has no share.

        Raises:
            BusyError: as many wait as may, or as many of the client's.
        """
        future: Future[_T] = Future()
        with self._lock:
            own = self._waiting.get(client, deque())
            if sum(map(len, self._waiting.values())) >= WAITING or (client and len(own) >= SHARE):
                raise BusyError("the server is busy: try again in a moment")
            own.append((future, look))
            self._waiting[client] = own
        return future

    def serve(self, able: Callable[[], bool]) -> None:
        """Run those whose turn it is, as long as there is something that can."""
        while able() and self._ahead <= 0 and (taken := self._next()):
            future, look = taken
            if not future.set_running_or_notify_cancel():
                continue  # its client is gone
            begun = time.monotonic()
            try:
                future.set_result(look())
            except BaseException as error:
                future.set_exception(error)
            self._ahead += time.monotonic() - begun

    def job_had(self, seconds: float) -> None:
        """A job had the worker for so long."""
        self._ahead = max(0.0, self._ahead - seconds)  # what looks do not need now they are not owed later

    def no_job(self) -> None:
        """No job is there to share with."""
        self._ahead = 0.0

    def refuse(self) -> None:
        """Tell all that wait that the server ends."""
        while taken := self._next():
            if taken[0].set_running_or_notify_cancel():
                taken[0].set_exception(BusyError("the server ends: try again in a moment"))

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._lock:
            client = next(iter(self._waiting), None)
            if client is None:
                return None
            own = self._waiting.pop(client)
            taken = own.popleft()
            if own:
                self._waiting[client] = own  # behind the others
            return taken
