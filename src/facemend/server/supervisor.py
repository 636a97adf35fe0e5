"""Starts, watches and replaces the process in which the networks run."""

from __future__ import annotations

import logging
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol, TypeVar

from facemend.server.child import Answer, Part
from facemend.server.problems import BusyError
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings

logger = logging.getLogger(__name__)

TICK = 0.25
"""Seconds after which whoever waits for the child looks around."""
START_SECONDS = 120.0
"""Longest time until the networks are loaded."""
_CODE = "from facemend.server.child import main; main()"
_T = TypeVar("_T")


class DiedError(BusyError):
    """The child ended before its answer."""


class TooLongError(DiedError):
    """The child was ended, as its answer took too long."""


@dataclass(frozen=True)
class Report:
    """How the child is.

    Attributes:
        status: "starting": the first one loads its networks; "replacing": another one does, as the last one
            died or took too long.
        working: whether it has something to do.
        silent: seconds since it was asked or last said something; None if it has nothing to do.
    """

    status: Literal["starting", "ok", "replacing"]
    working: bool
    silent: float | None


class Process(Protocol):
    """A child, seen from here."""

    inbox: SimpleQueue[Part | Answer | None]
    """What it says; None at its end."""

    def send(self, message: Any) -> None:
        """Tell it something; nothing happens if it has ended."""

    def kill(self) -> None:
        """End it at once."""

    def end(self) -> str:
        """In words, once it has ended."""


class Subprocess:
    """A child in a process of its own, with a pipe each way."""

    def __init__(self, settings: ServerSettings) -> None:
        self.inbox: SimpleQueue[Part | Answer | None] = SimpleQueue()
        modules = os.pathsep.join(filter(None, sys.path))  # the same as here
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": modules},
            process_group=0,  # Ctrl-C in a terminal is for the server, which lets this one finish
        )
        self.pid = self._process.pid
        threading.Thread(target=self._listen, name="facemend-listen", daemon=True).start()
        self.send(settings)

    def send(self, message: Any) -> None:
        """See `Process`."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the pipe is broken, or closed
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def kill(self) -> None:
        """See `Process`."""
        self._process.kill()
        # What waits in a driver does not go, and does not hold us up.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def end(self) -> str:
        """See `Process`."""
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _listen(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(Exception), self._process.stdout as stream:  # its end, which may be within a message
            while True:
                self.inbox.put(pickle.load(stream))
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._process.stdin.close()
        self.inbox.put(None)


spawn: Callable[[ServerSettings], Process] = Subprocess
"""Starts a child; tests have another one."""


class Supervisor:
    """The child that there is now. One thread starts it and gives it tasks; `end` and `report` are for all.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._child: Process | None = None
        self._ended = False
        self._status: Literal["starting", "ok", "replacing"] = "starting"
        self._tasks = 0  # that run now: looks run within a job
        self._heard = time.monotonic()

    def is_up(self) -> bool:
        """Whether there is a child. For between tasks or parts, where all that it can say is its end."""
        child = self._child
        if child is not None and not child.inbox.empty():
            self._replace(f"died ({child.end()})")
        return self._child is not None

    def start(self, meanwhile: Callable[[], None]) -> None:
        """Start a child and wait until it has loaded the default model, or said why that cannot be.

        Args:
            meanwhile: called every now and then.

        Raises:
            DiedError: it did not come up.
        """
        with self._lock:
            if self._ended:
                raise DiedError("the server ends: try again in a moment")
            try:
                self._child = spawn(self._settings)
            except OSError as error:
                logger.error("the worker cannot be started (%s); it is tried again", error.strerror)
                raise DiedError("the worker cannot be started") from error
        try:
            self.run(JobRestorer.warm, meanwhile, limit=START_SECONDS)
        except DiedError:
            raise
        except Exception as error:  # it will be tried again for each job, which then says why it failed
            logger.error("the default model could not be loaded: %s", error)
        self._status = "ok"

    def run(
        self,
        task: Callable[[JobRestorer], _T],
        meanwhile: Callable[[], None],
        on_part: Callable[[Part], bool] | None = None,
        limit: float | None = None,
        silence: float = math.inf,
    ) -> _T:
        """Let the child do something, and wait for it.

        Args:
            task: what, as something that can be pickled.
            meanwhile: called every now and then.
            on_part: told the parts of a job before they begin; whether it goes on. May run other tasks.
            limit: most seconds, without those in `on_part`; default: job_seconds.
            silence: most seconds from one part to the next.

        Raises:
            DiedError: the child ended, or (TooLongError) it was ended at a limit.
            LeftError: `on_part` wanted that.
            UnexpectedError: of the task; its log has more.
            FacemendError: of the task.
        """
        child, left = self._child, self._settings.job_seconds if limit is None else limit
        if child is None:
            raise DiedError("the worker is being replaced: try again in a moment")
        self._tasks += 1
        self._heard = time.monotonic()
        try:
            child.send(task)
            while True:
                since = time.monotonic()
                said = self._hear(child, min(left, silence), meanwhile)
                left -= time.monotonic() - since
                if isinstance(said, Answer):
                    break
                assert on_part is not None
                child.send(on_part(said))
        except BaseException:
            if self._child is child:
                self._kill()  # it is in the midst of something
            raise
        finally:
            self._tasks -= 1
        if said.error is not None:
            raise said.error
        value: _T = said.value
        return value

    def end(self) -> None:
        """End the child at once, and start no other; what it does fails."""
        with self._lock:
            self._ended = True
        self._kill()

    def report(self) -> Report:
        """How the child is."""
        working = self._tasks > 0
        return Report(self._status, working, time.monotonic() - self._heard if working else None)

    def _hear(self, child: Process, limit: float, meanwhile: Callable[[], None]) -> Part | Answer:
        end = time.monotonic() + limit
        while self._child is child:
            meanwhile()
            with suppress(Empty):
                said = child.inbox.get(timeout=min(TICK, max(0.0, end - time.monotonic())))
                self._heard = time.monotonic()
                if said is not None:
                    return said
                raise DiedError(self._replace(f"died ({child.end()})"))
            if time.monotonic() >= end:
                raise TooLongError(self._replace("took too long"))
        raise DiedError("the worker was ended")

    def _replace(self, why: str) -> str:
        """End the child, so that there will be another one; a line that says why."""
        logger.error("the worker %s; it is replaced", why)
        self._kill()
        return f"the worker {why}"

    def _kill(self) -> None:
        with self._lock:
            child, self._child = self._child, None
            if self._status == "ok":
                self._status = "replacing"
        if child is not None:
            child.kill()
