"""The thread that gives a worker's child its tasks: jobs of the queue, and looks for the page in between."""

from __future__ import annotations

import logging
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
from facemend.server.child import LeftError, Part, UnexpectedError
from facemend.server.jobs import ATTEMPTS, Jobs
from facemend.server.looks import Looks
from facemend.server.orders import Job
from facemend.server.problems import BusyError, for_clients
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore
from facemend.server.supervisor import DiedError, Report, Supervisor, TooLongError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How often an idle worker looks for jobs that came in through another process."""
CLEAN_SECONDS = 10.0
RESTART_SECONDS = 2.0
"""Until another child is started after one that did not come up."""
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


@dataclass
class _Current:
    """A job that is being done."""

    job: Job
    lost: bool = False  # deleted, or taken up by another worker
    interrupted: bool = False  # by a look, or a photo within a film, that ended the child
    spent: float = 0.0
    ahead: float = 0.0  # of a film: seconds that photos in between have had more than it
    _since: float = field(default_factory=time.monotonic)

    def pause(self) -> float:
        """Others have the worker now; seconds since the work went on last."""
        now = time.monotonic()
        had, self._since = now - self._since, now
        self.spent += had
        return had

    def go_on(self) -> None:
        """It has the worker again."""
        self._since = time.monotonic()


class Worker:
    """Runs until it is stopped.

    Args:
        jobs: the queue.
        store: the files.
        child: does the work; used by this worker's thread.
        settings: times and limits.
    """

    def __init__(self, jobs: Jobs, store: JobStore, child: Supervisor, settings: ServerSettings) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._jobs, self._store, self._child, self._settings = jobs, store, child, settings
        self._looks = Looks()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._running: list[_Current] = []  # a film, and a photo that came in between
        self._beaten = self._forgot = time.monotonic()
        self._cleaned = 0.0
        self._thread = threading.Thread(target=self._run, name="facemend-worker", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new, finish what runs if that is quick, else give it back to the queue."""
        self._ending.set()
        self._wake.set()
        self._thread.join(self._settings.grace_seconds)
        self._child.end()
        self._thread.join()
        self._looks.refuse()

    def wake(self) -> None:
        """There may be a new job."""
        self._wake.set()

    def report(self) -> Report:
        """How it is."""
        return self._child.report()

    def ask(self, look: Callable[[JobRestorer], _T], client: str = "") -> Future[_T]:
        """Run something with the networks, before the jobs that wait and between the parts of one.

        Args:
            look: what, as something that can be pickled.
            client: who asks, see `Looks.add`.

        Raises:
            BusyError: too many wait already, or the process ends.
        """
        if self._ending.is_set():
            raise BusyError("the server ends: try again in a moment")
        future = self._looks.add(partial(self._child.run, look, self._beat), client)
        self._wake.set()
        return future

    def _run(self) -> None:
        while True:
            try:
                self._looks.serve(self._child.is_up)
                if self._ending.is_set():
                    return
                self._beat()
                if not self._child.is_up():
                    self._start()
                    continue
                self._forget()
                # What runs on the way to here may have ended the child, which is no job's fault.
                job = self._jobs.claim(self.name) if self._child.is_up() else None
                if job is not None:
                    self._work(job)
                    continue
            except Exception:  # such as a locked database: the thread must live on
                logger.exception("the queue could not be used")
            self._looks.no_job()
            if not self._looks:
                self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _start(self) -> None:
        try:
            self._child.start(self._beat)
        except DiedError:
            self._ending.wait(RESTART_SECONDS)

    def _work(self, job: Job) -> None:
        run = _Current(job)
        self._running.append(run)
        restore = partial(JobRestorer.restore_film if job.is_film else JobRestorer.restore, job=job)
        between, silence = partial(self._between, run), self._settings.job_seconds
        try:
            outcome = self._child.run(restore, self._beat, between, self._limit(job), silence)
            self._looks.job_had(run.pause())
            if self._jobs.finish(job.id, self.name, **outcome):
                self._count_done(run, outcome)
        except LeftError:
            logger.info("job %d is left", job.seq)
            self._jobs.give_back(job.id, self.name, tried=False)  # unless it was deleted, or is another's
        except DiedError as error:
            self._interrupted(run, error)
        except FacemendError as error:
            self._fail(job, for_clients(error))
        except MemoryError:
            self._fail(job, f"{job.name}: not enough memory for this {job.kind}")
        except UnexpectedError as error:
            self._fail(job, f"{job.name}: unexpected {error}")
        finally:
            self._looks.job_had(run.pause())
            self._running.remove(run)
        if self._jobs.get(job.id) is None:  # deleted meanwhile, and its files perhaps written after that
            self._store.remove(job.id)

    def _limit(self, job: Job) -> float:
        """Most seconds that a job may take."""
        return self._settings.job_seconds + self._settings.frame_seconds * (job.frames or 0)

    def _interrupted(self, run: _Current, error: DiedError) -> None:
        """The child has ended in the midst of a job."""
        job = run.job
        if isinstance(error, TooLongError):
            still = f", or {self._settings.job_seconds:g} s for a frame" if job.is_film else ""
            self._fail(job, f"{job.name}: took longer than {self._limit(job):g} s{still}, which is the limit")
        elif run.interrupted or self._ending.is_set():
            self._jobs.give_back(job.id, self.name, tried=False)
        elif job.attempts < ATTEMPTS:
            logger.error("job %d is tried again: %s", job.seq, error)
            self._jobs.give_back(job.id, self.name, tried=True)
        else:
            hint = f"the {job.kind} may be too much for this machine's memory"
            self._fail(job, f"{job.name}: {error} at each of {ATTEMPTS} attempts: {hint}")

    def _between(self, run: _Current, part: Part) -> bool:
        """Before each part of a job: let others pass, and see whether to go on."""
        had = run.pause()
        self._looks.job_had(had)
        self._looks.serve(self._child.is_up)
        if run.job.is_film:
            if self._ending.is_set():
                return False  # it would not be finished in time, and what is done of it is kept
            self._let_photos_pass(run, had)
        run.interrupted = not self._child.is_up()
        run.go_on()
        with suppress(OutputError, BusyError):  # how far it is cannot be written: it goes on
            progress = PROGRESS.get(part.name, 0.5) if part.progress is None else part.progress
            run.lost |= not self._jobs.advance(run.job.id, self.name, part.name, progress)
        return not run.lost

    def _let_photos_pass(self, run: _Current, had: float) -> None:
        """Between two frames of a film: nobody waits for all of it, and photos have no more time than it."""
        run.ahead = max(0.0, run.ahead - had)
        try:
            self._forget()
            while self._child.is_up() and run.ahead <= 0 and not self._ending.is_set():
                begun = time.monotonic()
                photo = self._jobs.claim(self.name, films=False)
                if photo is None:
                    return
                self._work(photo)
                run.ahead += time.monotonic() - begun
        except Exception:  # is not the film's
            logger.exception("the queue could not be used")

    def _fail(self, job: Job, error: str) -> None:
        if self._jobs.fail(job.id, self.name, error):
            logger.warning("job %d failed: %s", job.seq, error.removeprefix(f"{job.name}: "))
            self._jobs.count("jobs_failed_total")

    def _count_done(self, run: _Current, outcome: dict[str, Any]) -> None:
        self._jobs.count("jobs_done_total")
        faces = outcome.get("film_faces", sum(face["restored"] for face in outcome["faces"]))
        self._jobs.count("faces_restored_total", faces)
        self._jobs.count("job_seconds_sum", run.spent)
        self._jobs.count("job_seconds_count")
        for part, seconds in outcome["seconds"].items():
            self._jobs.count(f'part_seconds_total{{part="{part}"}}', seconds)

    def _beat(self) -> None:
        """Every now and then: renew the lease of the job that runs, and clean up."""
        now = time.monotonic()
        if now - self._beaten < self._settings.lease_seconds / 4:
            return
        self._beaten = now
        try:
            for run in self._running:
                run.lost |= not self._jobs.renew(run.job.id, self.name)
            if now - self._cleaned > CLEAN_SECONDS:
                self._cleaned = now
                self.clean()
        except Exception:
            logger.exception("the queue could not be used")

    def _forget(self) -> None:
        """Every now and then: photos that are deleted go from the child's memory too."""
        if time.monotonic() - self._forgot > CLEAN_SECONDS:
            self._forgot = time.monotonic()
            with suppress(DiedError):  # then it has none
                self._child.run(JobRestorer.forget_gone, self._beat)

    def clean(self) -> None:
        """Delete what has expired."""
        over = self._jobs.expired()
        for job in over:  # files first: that works, and makes room, where the disk is full
            self._store.remove(job)
        known = self._jobs.ids()
        self._jobs.forget({*over, *(job for job in known if not self._store.has(job))})
        self._jobs.settle()
        self._store.remove_orphans(known)
