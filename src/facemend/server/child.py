"""The process in which the networks run. It does what its server asks, one thing at a time, and ends with it.

What goes in is `ServerSettings`, and then tasks: callables of a `JobRestorer`. Each gets an `Answer`. Before
each part of a job comes a `Part`, which waits for True (go on) or False (leave it); there may be other tasks
meanwhile. Both ways are pickles in a pipe, between two processes of one program and one user.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, BinaryIO, NoReturn

import cv2

from facemend.errors import FacemendError
from facemend.server.logs import configure
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore

logger = logging.getLogger(__name__)

Task = Callable[[JobRestorer], Any]


@dataclass(frozen=True)
class Part:
    """A part of a job is about to begin.

    Attributes:
        name: of the part.
        progress: share of the job that is done, 0 to 1; None where the part alone says it.
    """

    name: str
    progress: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a task: a value, or an error."""

    value: Any = None
    error: Exception | None = None


class LeftError(Exception):
    """The job was left before a part, as the server wished."""


class UnexpectedError(Exception):
    """A task met an error that nobody foresaw; its kind is the message, the log has the rest."""


class Child:
    """Serves tasks.

    Args:
        inbox: what the server says.
        say: tells the server.
    """

    def __init__(self, inbox: SimpleQueue[Any], say: Callable[[Part | Answer], None]) -> None:
        self._inbox, self._say = inbox, say

    def run(self, restorer: JobRestorer) -> NoReturn:
        """Until the process ends."""
        restorer.on_part = partial(self._on_part, restorer)
        while True:
            self._do(restorer, self._inbox.get())

    def _on_part(self, restorer: JobRestorer, part: str, progress: float | None = None) -> None:
        self._say(Part(part, progress))
        while not isinstance(said := self._inbox.get(), bool):
            self._do(restorer, said)
        if not said:
            raise LeftError

    def _do(self, restorer: JobRestorer, task: Task) -> None:
        try:
            answer = Answer(task(restorer))
        except (FacemendError, LeftError, MemoryError) as error:
            answer = Answer(error=error)
        except Exception as error:
            logger.exception("unexpected error")
            answer = Answer(error=UnexpectedError(type(error).__name__))
        self._say(answer)


def main() -> NoReturn:
    """Serve the process at the other end of standard input and output."""
    # Who ends a whole group of processes asks this one too; its server says when.
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_IGN)
    say = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, inbox), daemon=True).start()
    settings: ServerSettings = inbox.get()
    configure(settings.log_format)
    cv2.setNumThreads(settings.thread_count())

    def send(message: Part | Answer) -> None:
        pickle.dump(message, say)
        say.flush()

    Child(inbox, send).run(JobRestorer(settings, JobStore(settings.folder())))


def _listen(stream: BinaryIO, inbox: SimpleQueue[Any]) -> None:
    """Read on while networks run too: the end of the server, however it comes, is the end of this process."""
    try:
        while True:
            inbox.put(pickle.load(stream))
    except EOFError:
        os._exit(0)
    except Exception:
        logger.exception("what the server said cannot be read")
        os._exit(1)
