"""The queue: a table in SQLite that all processes of a server share.

A worker claims a job for a short time and keeps renewing that lease. If the worker dies, the lease runs out
and another worker claims the job again. Every change of a running job names the worker, so that one that lost
its lease changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from facemend.errors import ConfigError, FacemendError
from facemend.photo.options import RestoreOptions

VERSION = 2
ATTEMPTS = 3
"""A job whose worker died this often is not tried again: it may be what kills them."""
QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
_OPEN = "status IN ('queued', 'running')"
_JSON = ("faces", "notes", "seconds")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL DEFAULT 'queued',
    name TEXT NOT NULL, format TEXT NOT NULL, input_width INTEGER NOT NULL, input_height INTEGER NOT NULL,
    w REAL NOT NULL, strength REAL NOT NULL, upscale NOT NULL, model TEXT NOT NULL, background TEXT NOT NULL,
    aligned INTEGER NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
    worker TEXT, lease REAL, attempts INTEGER NOT NULL DEFAULT 0,
    part TEXT, progress REAL NOT NULL DEFAULT 0, error TEXT, suffix TEXT NOT NULL DEFAULT '',
    width INTEGER, height INTEGER, factor INTEGER,
    faces TEXT NOT NULL DEFAULT '[]', notes TEXT NOT NULL DEFAULT '[]', seconds TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, seq);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


class QueueFullError(FacemendError):
    """As many jobs wait as may.

    Args:
        retry_after: seconds after which there may be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full: try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a client asked for.

    Attributes:
        id: chosen by the server; cannot be guessed.
        name: the upload's own name, for display only.
        format: of the upload, as in `Picture`.
        input_width: upright, pixels.
        input_height: the same.
        options: how to restore it; what clients cannot choose has its default.
    """

    id: str
    name: str
    format: str
    input_width: int
    input_height: int
    options: RestoreOptions


@dataclass(frozen=True, kw_only=True)
class Job(Order):
    """A row of the table.

    Attributes:
        seq: order of arrival.
        status: "queued", "running", "done" or "failed".
        created: seconds since 1970.
        expires: when it is deleted; of a job that is not over, at the earliest.
        attempts: how often a worker began it.
        part: of the work, while it runs.
        progress: 0 to 1.
        error: why it failed, one line.
        suffix: of the result's file, with the dot.
        width: of the output, pixels; None before it is done.
        height: the same.
        factor: how many times as large the photo became; None before it is done.
        faces: see the API.
        notes: what the user should know.
        seconds: time per part.
    """

    seq: int
    status: str
    created: float
    expires: float
    attempts: int = 0
    part: str | None = None
    progress: float = 0.0
    error: str | None = None
    suffix: str = ""
    width: int | None = None
    height: int | None = None
    factor: int | None = None
    faces: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


_OPTIONS = ("w", "strength", "upscale", "model", "background", "aligned")
"""Fields of `RestoreOptions` that clients choose; each has a column, `upscale` one of numbers and text."""
_ORDER = tuple(item.name for item in fields(Order) if item.name != "options")
_COLUMNS = ", ".join([*(item.name for item in fields(Job) if item.name != "options"), *_OPTIONS])


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values |= {name: json.loads(values[name]) for name in _JSON}
    values["aligned"] = bool(values["aligned"])
    return Job(options=RestoreOptions(**{name: values.pop(name) for name in _OPTIONS}), **values)


class Jobs:
    """The table of one store. May be used from several threads, and from several processes.

    Args:
        path: file of the database; its folder must exist.
        limit: most jobs that wait.
        keep: seconds until a finished job expires.
        lease: seconds for which a worker has a job.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, *, limit: int, keep: float, lease: float) -> None:
        self._limit, self._keep, self._lease = limit, keep, lease
        self._lock = threading.Lock()
        try:
            # One connection, whose users take turns: statements here take well under a millisecond.
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            with ExitStack() as on_error:
                on_error.callback(self._db.close)
                self._prepare(path)
                on_error.pop_all()
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be used as the job table ({error})") from error

    def _prepare(self, path: Path) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "PRAGMA synchronous = NORMAL"
        )  # survives the death of every process, which is the aim
        with self._transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise ConfigError(f"{path}: of another version of facemend: use another folder as the store")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file; nothing works after this."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Statements that other processes see all at once."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _run(self, statement: str, **values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _changed(self, statement: str, **values: object) -> bool:
        with self._lock:
            return self._db.execute(statement, values).rowcount > 0

    # What clients do.

    def add(self, order: Order) -> Job:
        """Put a job at the end of the queue.

        Raises:
            QueueFullError: as many wait as may.
        """
        now = time.time()
        values = {name: getattr(order, name) for name in _ORDER}
        values |= {name: getattr(order.options, name) for name in _OPTIONS}
        values |= {"created": now, "expires": now + self._keep}
        with self._transaction():
            self._refuse_if_full(0)
            row = self._db.execute(
                f"INSERT INTO jobs ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)}) "
                f"RETURNING {_COLUMNS}",
                values,
            ).fetchone()
            self._count("jobs_accepted_total", 1)
            return _job(row)

    def check_room(self, arriving: int = 0) -> None:
        """Whether a job could be added now.

        Args:
            arriving: uploads that are under way.

        Raises:
            QueueFullError: as many wait as may.
        """
        with self._lock:
            self._refuse_if_full(arriving)

    def _refuse_if_full(self, arriving: int) -> None:
        waiting = self._db.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone()[0]
        if waiting + arriving >= self._limit:
            rows = self._db.execute(
                "SELECT name, value FROM counters WHERE name LIKE 'job\\_seconds%' ESCAPE '\\'"
            )
            known = dict(rows.fetchall())
            mean = known.get("job_seconds_sum", 2.0) / max(1.0, known.get("job_seconds_count", 1.0))
            raise QueueFullError(int(min(60, max(1, round(mean)))))

    def get(self, id: str) -> Job | None:
        """The job of that id, unless it expired."""
        rows = self._run(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = :id AND (expires > :now OR {_OPEN})",
            id=id,
            now=time.time(),
        )
        return _job(rows[0]) if rows else None

    def position(self, job: Job) -> int | None:
        """How many jobs come before a waiting one; None if it does not wait."""
        if job.status != QUEUED:
            return None
        rows = self._run("SELECT count(*) FROM jobs WHERE status = 'queued' AND seq < :seq", seq=job.seq)
        return int(rows[0][0])

    def delete(self, id: str) -> bool:
        """Forget a job, whatever its state; whether there was one."""
        return self._changed("DELETE FROM jobs WHERE id = :id", id=id)

    # What workers do.

    def claim(self, worker: str) -> Job | None:
        """The job that is next, now running for `worker`; None if there is nothing to do."""
        now = time.time()
        lost = "status = 'running' AND lease < :now"
        if not self._run(f"SELECT 1 FROM jobs WHERE status = 'queued' OR ({lost}) LIMIT 1", now=now):
            return None
        with self._transaction():
            self._give_up(now)
            row = self._db.execute(
                "UPDATE jobs SET status = 'running', worker = :worker, lease = :lease, part = NULL, "
                "progress = 0, attempts = attempts + 1 WHERE seq = (SELECT seq FROM jobs "
                f"WHERE status = 'queued' OR ({lost}) ORDER BY seq LIMIT 1) RETURNING {_COLUMNS}",
                {"worker": worker, "lease": now + self._lease, "now": now},
            ).fetchone()
            if row is None:
                return None
            job = _job(row)
            if job.attempts > 1:
                self._count("jobs_retaken_total", 1)
            return job

    def _give_up(self, now: float) -> None:
        done = self._db.execute(
            "UPDATE jobs SET status = 'failed', error = :error, expires = :expires, worker = NULL "
            "WHERE status = 'running' AND lease < :now AND attempts >= :attempts",
            {
                "error": f"the server stopped {ATTEMPTS} times while it worked on this photo",
                "expires": now + self._keep,
                "now": now,
                "attempts": ATTEMPTS,
            },
        )
        if done.rowcount:
            self._count("jobs_failed_total", done.rowcount)

    def renew(self, id: str, worker: str) -> bool:
        """Keep a job for another lease; False if it is no longer the worker's."""
        return self._changed(
            "UPDATE jobs SET lease = :lease WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            lease=time.time() + self._lease,
        )

    def advance(self, id: str, worker: str, part: str, progress: float) -> bool:
        """Say how far a job is; False if it is no longer the worker's."""
        return self._changed(
            "UPDATE jobs SET part = :part, progress = :progress "
            "WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            part=part,
            progress=progress,
        )

    def finish(self, id: str, worker: str, **outcome: Any) -> bool:
        """Mark a job as done; False if it is no longer the worker's.

        Args:
            id: the job.
            worker: who did it.
            outcome: input_width, input_height, width, height, factor, suffix, faces, notes, seconds of `Job`.
        """
        sets = ", ".join(f"{name} = :{name}" for name in outcome)
        values = {name: json.dumps(v) if name in _JSON else v for name, v in outcome.items()}
        return self._end(id, worker, f"status = 'done', progress = 1, part = NULL, {sets}", values)

    def fail(self, id: str, worker: str, error: str) -> bool:
        """Mark a job as failed for a reason; False if it is no longer the worker's."""
        return self._end(id, worker, "status = 'failed', error = :error", {"error": error})

    def _end(self, id: str, worker: str, sets: str, values: Mapping[str, Any]) -> bool:
        return self._changed(
            f"UPDATE jobs SET {sets}, worker = NULL, lease = NULL, expires = :expires "
            "WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            expires=time.time() + self._keep,
            **values,
        )

    def give_back(self, worker: str) -> bool:
        """Put the job of a worker that ends back to its place in the queue; whether there was one."""
        return self._changed(
            "UPDATE jobs SET status = 'queued', worker = NULL, lease = NULL, part = NULL, progress = 0, "
            "attempts = attempts - 1 WHERE worker = :worker AND status = 'running'",
            worker=worker,
        )

    # Housekeeping.

    def expire(self) -> list[str]:
        """Forget the jobs whose time is over; their ids."""
        rows = self._run(
            f"DELETE FROM jobs WHERE expires <= :now AND NOT {_OPEN} RETURNING id", now=time.time()
        )
        if rows:
            self.count("jobs_expired_total", len(rows))
        return [row["id"] for row in rows]

    def ids(self) -> set[str]:
        """Of all jobs in the table."""
        return {row["id"] for row in self._run("SELECT id FROM jobs")}

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        rows = self._run("SELECT status, count(*) AS number FROM jobs GROUP BY status")
        return dict.fromkeys((QUEUED, RUNNING, DONE, FAILED), 0) | {r["status"]: r["number"] for r in rows}

    def count(self, name: str, value: float = 1) -> None:
        """Add to a counter that all processes share."""
        with self._lock:
            self._count(name, value)

    def _count(self, name: str, value: float) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, value),
        )

    def counters(self) -> dict[str, float]:
        """All counters by name."""
        return {
            row["name"]: row["value"] for row in self._run("SELECT name, value FROM counters ORDER BY name")
        }
