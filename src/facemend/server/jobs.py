"""The queue: a table in SQLite that all processes of a server share.

A worker claims a job for a short time and keeps renewing that lease. If the worker dies, the lease runs out
and another worker claims the job again. Every change of a running job names the worker, so that one that lost
its lease changes nothing. Clients take turns: the one that was served longest ago comes next.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from facemend.errors import OutputError
from facemend.server.database import Database
from facemend.server.orders import (
    COLUMNS,
    DONE,
    FAILED,
    JSON,
    OPTIONS,
    ORDER,
    QUEUED,
    RUNNING,
    Job,
    Order,
    QueueFullError,
    job_of,
)
from facemend.server.problems import BusyError

VERSION = 6
ATTEMPTS = 3
"""A job whose worker died this often is not tried again: it may be what kills them."""
_OPEN = "status IN ('queued', 'running')"
# `seen` is by the clock that nobody sets and that all processes of a machine share. It begins anew when the
# machine does: what was seen later than now was seen before that.
_LOST = "(status = 'running' AND (seen > :clock OR seen < :clock - :lease))"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL DEFAULT 'queued',
    name TEXT NOT NULL, format TEXT NOT NULL, input_width INTEGER NOT NULL, input_height INTEGER NOT NULL,
    frames INTEGER,
    w NOT NULL, strength REAL NOT NULL, upscale NOT NULL, model TEXT NOT NULL, background TEXT NOT NULL,
    grain TEXT NOT NULL,
    boxes TEXT NOT NULL, aligned INTEGER NOT NULL, strip_metadata INTEGER NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL,
    client TEXT NOT NULL, turn INTEGER NOT NULL DEFAULT 0,
    worker TEXT, seen REAL, attempts INTEGER NOT NULL DEFAULT 0,
    part TEXT, progress REAL NOT NULL DEFAULT 0, error TEXT, suffix TEXT NOT NULL DEFAULT '',
    width INTEGER, height INTEGER, factor INTEGER, film_faces INTEGER,
    faces TEXT NOT NULL DEFAULT '[]', notes TEXT NOT NULL DEFAULT '[]', seconds TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, seq);
CREATE INDEX IF NOT EXISTS jobs_by_client ON jobs (client, turn);
CREATE VIEW IF NOT EXISTS line AS
    SELECT seq, frames, row_number() OVER (PARTITION BY client ORDER BY seq) AS round,
        (SELECT max(turn) FROM jobs AS served WHERE served.client = jobs.client) AS turn
    FROM jobs WHERE status = 'queued';
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


class Jobs:
    """The table of one store. May be used from several threads, and from several processes.

    All methods raise `OutputError` where the disk is full, and `BusyError` where another process blocks it.

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
        self._db = Database(path, _SCHEMA, VERSION)

    def close(self) -> None:
        """Close the file; nothing works after this."""
        self._db.close()

    # What clients do.

    def add(self, order: Order) -> Job:
        """Put a job at the end of the queue.

        Raises:
            QueueFullError: as many wait as may.
        """
        now = time.time()
        values = {name: getattr(order, name) for name in ORDER}
        values |= {name: getattr(order.options, name) for name in OPTIONS}
        values |= {"boxes": json.dumps(order.options.boxes), "created": now, "expires": now + self._keep}
        with self._db.transaction() as db:
            self._refuse_if_full(db, order.client, 0, 0)
            row = db.execute(
                f"INSERT INTO jobs ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)}) "
                f"RETURNING {COLUMNS}",
                values,
            ).fetchone()
            _count(db, "jobs_accepted_total", 1)
            return job_of(row)

    def check_room(self, client: str = "", arriving: int = 0, of_client: int = 0) -> None:
        """Whether a job could be added now.

        Args:
            client: whose it would be.
            arriving: uploads that are under way.
            of_client: those of them that are the client's.

        Raises:
            QueueFullError: as many wait as may, or as many of the client's.
        """
        with self._db.transaction() as db:
            self._refuse_if_full(db, client, arriving, of_client)

    def _refuse_if_full(self, db: sqlite3.Connection, client: str, arriving: int, of_client: int) -> None:
        """A client may have three quarters of the places: there are some for others, whatever it does."""
        waiting, own = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE client = ?) FROM jobs WHERE status = 'queued'", (client,)
        ).fetchone()
        full = waiting + arriving >= self._limit
        if full or (client and own + of_client >= self._limit - self._limit // 4):
            rows = db.execute("SELECT name, value FROM counters WHERE name LIKE 'job\\_seconds%' ESCAPE '\\'")
            known = dict(rows.fetchall())
            mean = known.get("job_seconds_sum", 2.0) / max(1.0, known.get("job_seconds_count", 1.0))
            what = "the queue" if full else "your share of the queue"
            raise QueueFullError(int(min(60, max(1, round(mean)))), what)

    def get(self, id: str) -> Job | None:
        """The job of that id, unless it expired."""
        rows = self._db.run(
            f"SELECT {COLUMNS} FROM jobs WHERE id = :id AND (expires > :now OR {_OPEN})",
            id=id,
            now=time.time(),
        )
        return job_of(rows[0]) if rows else None

    def position(self, job: Job) -> int | None:
        """How many jobs come before a waiting one; None if it does not wait."""
        if job.status != QUEUED:
            return None
        rows = self._db.run(
            "SELECT count(*) FROM line, (SELECT * FROM line WHERE seq = :seq) AS own "
            # Photos come between the frames of films.
            "WHERE (line.frames IS NULL OR own.frames IS NOT NULL) "
            "AND (line.round, line.turn, line.seq) < (own.round, own.turn, own.seq)",
            seq=job.seq,
        )
        return int(rows[0][0])

    def delete(self, id: str) -> bool:
        """Forget a job, whatever its state; whether there was one."""
        return self._db.changed("DELETE FROM jobs WHERE id = :id", id=id)

    # What workers do.

    def claim(self, worker: str, *, films: bool = True) -> Job | None:
        """The job that is next, now running for `worker`; None if there is nothing to do.

        Args:
            worker: whose it is to be.
            films: whether it may be a film.
        """
        fit = "" if films else "AND frames IS NULL"
        if not self._db.run(
            f"SELECT 1 FROM jobs WHERE (status = 'queued' OR {_LOST}) {fit} LIMIT 1", **self._clock()
        ):
            return None
        with self._db.transaction() as db:
            values = self._clock()  # not before the file is ours: others may be seen until then
            self._give_up(db, values)
            row = db.execute(
                "UPDATE jobs SET status = 'running', worker = :worker, seen = :clock, part = NULL, "
                "progress = 0, attempts = attempts + 1, "
                "turn = (SELECT max(turn) FROM jobs) + 1 WHERE seq = coalesce("
                f"(SELECT seq FROM jobs WHERE {_LOST} {fit} ORDER BY seq LIMIT 1), "
                f"(SELECT seq FROM line WHERE TRUE {fit} ORDER BY round, turn, seq LIMIT 1)) "
                f"RETURNING {COLUMNS}",
                {"worker": worker, **values},
            ).fetchone()
            if row is None:
                return None
            job = job_of(row)
            if job.attempts > 1:
                _count(db, "jobs_retaken_total", 1)
            return job

    def _clock(self) -> dict[str, float]:
        return {"clock": time.monotonic(), "lease": self._lease}

    def _give_up(self, db: sqlite3.Connection, values: Mapping[str, float]) -> None:
        done = db.execute(
            "UPDATE jobs SET status = 'failed', error = :error, expires = :expires, worker = NULL "
            f"WHERE {_LOST} AND attempts >= :attempts",
            {
                "error": f"the server stopped {ATTEMPTS} times while it worked on this",
                "expires": time.time() + self._keep,
                "attempts": ATTEMPTS,
                **values,
            },
        )
        if done.rowcount:
            _count(db, "jobs_failed_total", done.rowcount)

    def renew(self, id: str, worker: str) -> bool:
        """Keep a job for another lease; False if it is no longer the worker's."""
        return self._db.changed(
            "UPDATE jobs SET seen = :clock WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            clock=time.monotonic(),
        )

    def advance(self, id: str, worker: str, part: str, progress: float) -> bool:
        """Say how far a job is; False if it is no longer the worker's."""
        return self._db.changed(
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
            outcome: input_width, input_height, width, height, factor, suffix, faces, notes, seconds of `Job`;
                of a film frames and film_faces, too.
        """
        sets = ", ".join(f"{name} = :{name}" for name in outcome)
        values = {name: json.dumps(v) if name in JSON else v for name, v in outcome.items()}
        return self._end(id, worker, f"status = 'done', progress = 1, part = NULL, {sets}", values)

    def fail(self, id: str, worker: str, error: str) -> bool:
        """Mark a job as failed for a reason; False if it is no longer the worker's."""
        return self._end(id, worker, "status = 'failed', error = :error", {"error": error})

    def _end(self, id: str, worker: str, sets: str, values: Mapping[str, Any]) -> bool:
        return self._db.changed(
            f"UPDATE jobs SET {sets}, worker = NULL, seen = NULL, expires = :expires "
            "WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            expires=time.time() + self._keep,
            **values,
        )

    def give_back(self, id: str, worker: str, *, tried: bool) -> bool:
        """Put a job back to its place in the queue; False if it is no longer the worker's.

        Args:
            id: the job.
            worker: whose it is.
            tried: whether it counts as an attempt: it may be what ended the worker.
        """
        return self._db.changed(
            "UPDATE jobs SET status = 'queued', worker = NULL, seen = NULL, part = NULL, progress = 0, "
            "attempts = attempts - :untried WHERE id = :id AND worker = :worker AND status = 'running'",
            id=id,
            worker=worker,
            untried=int(not tried),
        )

    # Housekeeping.

    def expired(self) -> list[str]:
        """Ids of the jobs whose time is over."""
        with suppress(OutputError):  # a clock that was set back keeps nothing longer
            latest = time.time() + self._keep
            self._db.changed("UPDATE jobs SET expires = :latest WHERE expires > :latest", latest=latest)
        rows = self._db.run(f"SELECT id FROM jobs WHERE expires <= :now AND NOT {_OPEN}", now=time.time())
        return [row["id"] for row in rows]

    def forget(self, ids: Iterable[str]) -> None:
        """Delete jobs that have expired, their names and ids from the file as well."""
        with self._db.transaction() as db:
            gone = sum(db.execute("DELETE FROM jobs WHERE id = ?", (id,)).rowcount for id in ids)
            if gone:
                _count(db, "jobs_expired_total", gone)

    def settle(self) -> None:
        """Overwrite what was deleted since the last time."""
        self._db.settle()

    def ids(self) -> set[str]:
        """Of all jobs in the table."""
        return {row["id"] for row in self._db.run("SELECT id FROM jobs")}

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        rows = self._db.run("SELECT status, count(*) AS number FROM jobs GROUP BY status")
        return dict.fromkeys((QUEUED, RUNNING, DONE, FAILED), 0) | {r["status"]: r["number"] for r in rows}

    def count(self, name: str, value: float = 1) -> None:
        """Add to a counter that all processes share; if that cannot be, nothing else fails for it."""
        with suppress(OutputError, BusyError), self._db.transaction() as db:
            _count(db, name, value)

    def counters(self) -> dict[str, float]:
        """All counters by name."""
        return {
            row["name"]: row["value"]
            for row in self._db.run("SELECT name, value FROM counters ORDER BY name")
        }


def _count(db: sqlite3.Connection, name: str, value: float) -> None:
    db.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, value),
    )
