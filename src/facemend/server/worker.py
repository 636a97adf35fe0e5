"""The one thread of a process in which networks run: jobs of the queue, and looks for the page in between."""

from __future__ import annotations

import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from facemend.errors import FacemendError, OutputError
from facemend.server.jobs import Jobs
from facemend.server.looks import Looks
from facemend.server.orders import Job
from facemend.server.problems import BusyError, for_clients
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How often an idle worker looks for jobs that came in through another process."""
CLEAN_SECONDS = 10.0
# Share of a job's time after which a part begins, measured with one face in a megapixel.
PROGRESS = {
    "read": 0.02,
    "detect": 0.05,
    "align": 0.3,
    "encode": 0.32,
    "background": 0.5,
    "decode": 0.55,
    "mask": 0.75,
    "paste": 0.8,
    "write": 0.9,
}
_T = TypeVar("_T")


class _LostError(Exception):
    """The job is no longer this worker's: deleted, failed or taken up by another."""


class _EndingError(Exception):
    """The process ends before the job."""


@dataclass
class _Current:
    """A job that is being done."""

    job: Job
    lost: bool = False
    _spent: float = 0.0
    _since: float | None = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """How long it was worked on: time that looks took does not count."""
        since = self._since
        return self._spent + (0.0 if since is None else time.monotonic() - since)

    def pause(self) -> float:
        """Others have the thread now; seconds since the work went on last."""
        since, self._since = self._since, None
        had = 0.0 if since is None else time.monotonic() - since
        self._spent += had
        return had

    def go_on(self) -> None:
        """It has the thread again."""
        self._since = time.monotonic()


class Worker:
    """Runs until it is stopped.

    Args:
        jobs: the queue.
        store: the files.
        restorer: does the work; used by this worker's thread only.
        settings: times and limits.
    """

    def __init__(self, jobs: Jobs, store: JobStore, restorer: JobRestorer, settings: ServerSettings) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._jobs, self._store, self._restorer, self._settings = jobs, store, restorer, settings
        self._looks = Looks()
        self._wake = threading.Event()
        self._ending, self._over = threading.Event(), threading.Event()
        self._deadline = math.inf  # when a job must be given back
        self._current: _Current | None = None
        self._threads = [
            threading.Thread(target=self._run, name="facemend-worker", daemon=True),
            threading.Thread(target=self._beat, name="facemend-heartbeat", daemon=True),
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> bool:
        """Take nothing new, finish the job that runs if that is quick, else give it back to the queue.

        Returns:
            Whether the thread has ended; a part that takes longer is cut off when the process ends.
        """
        self._deadline = time.monotonic() + self._settings.grace_seconds
        self._ending.set()
        self._wake.set()
        self._threads[0].join(self._settings.grace_seconds)
        self._over.set()
        self._threads[1].join()
        with suppress(OutputError, BusyError):  # then its lease runs out
            if self._jobs.give_back(self.name):
                logger.info("a job went back to the queue")
                self._threads[0].join(1.0)
        self._looks.refuse()
        return not self._threads[0].is_alive()

    def wake(self) -> None:
        """There may be a new job."""
        self._wake.set()

    def ask(self, look: Callable[[], _T], client: str = "") -> Future[_T]:
        """Run something with the networks, before the jobs that wait and between the parts of one.

        Raises:
            BusyError: too many wait already, or the process ends.
        """
        if self._ending.is_set():
            raise BusyError("the server ends: try again in a moment")
        future = self._looks.add(look, client)
        self._wake.set()
        return future

    def _run(self) -> None:
        try:
            self._restorer.warm()
        except Exception:  # it will be tried again for each job, which then says why it failed
            logger.exception("the default model could not be loaded")
        cleaned = time.monotonic()
        while True:
            self._looks.serve()
            if self._ending.is_set():
                return
            try:
                if time.monotonic() - cleaned > CLEAN_SECONDS:
                    cleaned = time.monotonic()
                    self._restorer.forget_others(self._jobs.ids())
                job = self._jobs.claim(self.name)
                if job is not None:
                    self._work(job)
                    continue
            except Exception:  # such as a locked database: the thread must live on
                logger.exception("the queue could not be used")
            self._looks.no_job()
            if not self._looks:
                self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _work(self, job: Job) -> None:
        run = self._current = _Current(job)
        try:
            outcome = self._restorer.restore(job, partial(self._between, run))
            if self._jobs.finish(job.id, self.name, **outcome):
                self._count_done(run, outcome)
        except _LostError:
            logger.info("job left: it was deleted, took too long or is another worker's")
        except _EndingError:
            self._jobs.give_back(self.name)
        except FacemendError as error:
            self._fail(job, for_clients(error))
        except MemoryError:
            self._fail(job, f"{job.name}: not enough memory for this photo")
        except Exception as error:
            logger.exception("unexpected error in a job")
            self._fail(job, f"{job.name}: unexpected {type(error).__name__}")
        finally:
            self._looks.job_had(run.pause())
            self._current = None

    def _between(self, run: _Current, part: str) -> None:
        """Before each part of a job: let looks pass, and see whether to go on."""
        self._looks.job_had(run.pause())
        self._looks.serve()
        run.go_on()
        if time.monotonic() > self._deadline:
            raise _EndingError
        with suppress(OutputError):  # how far it is cannot be written: it goes on
            run.lost |= not self._jobs.advance(run.job.id, self.name, part, PROGRESS.get(part, 0.5))
        if run.lost:
            raise _LostError

    def _fail(self, job: Job, error: str) -> None:
        if self._jobs.fail(job.id, self.name, error):
            logger.warning("job %d failed: %s", job.seq, error.removeprefix(f"{job.name}: "))
            self._jobs.count("jobs_failed_total")

    def _count_done(self, run: _Current, outcome: dict[str, Any]) -> None:
        self._jobs.count("jobs_done_total")
        self._jobs.count("faces_restored_total", sum(face["restored"] for face in outcome["faces"]))
        self._jobs.count("job_seconds_sum", run.seconds())
        self._jobs.count("job_seconds_count")
        for part, seconds in outcome["seconds"].items():
            self._jobs.count(f'part_seconds_total{{part="{part}"}}', seconds)

    def _beat(self) -> None:
        """Renew the lease of the job that runs, end one that takes too long, and clean up."""
        cleaned = 0.0
        while not self._over.wait(self._settings.lease_seconds / 4):
            try:
                self._beat_once()
                if time.monotonic() - cleaned > CLEAN_SECONDS:
                    cleaned = time.monotonic()
                    self.clean()
            except Exception:
                logger.exception("the queue could not be used")

    def _beat_once(self) -> None:
        run = self._current
        if run is None or run.lost:
            return
        limit = self._settings.job_seconds
        if run.seconds() > limit:
            run.lost = True
            self._fail(run.job, f"{run.job.name}: took longer than {limit:g} s, which is the limit")
        elif not self._jobs.renew(run.job.id, self.name):
            run.lost = True

    def clean(self) -> None:
        """Delete what has expired."""
        over = self._jobs.expired()
        for job in over:  # files first: that works, and makes room, where the disk is full
            self._store.remove(job)
        known = self._jobs.ids()
        self._jobs.forget({*over, *(job for job in known if not self._store.has(job))})
        self._jobs.settle()
        self._store.remove_orphans(known)
