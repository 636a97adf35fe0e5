"""One SQLite file that the processes of a server share: opened, locked, and errors that the rest can tell."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from facemend.errors import ConfigError, OutputError
from facemend.server.problems import BusyError

_UNWRITABLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


class Database:
    """A connection that several threads may use. What is deleted is overwritten, not only given free.

    Args:
        path: the file, made for this user alone if it is not there; its folder must exist.
        schema: statements that make what is not there.
        version: of the schema.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)  # SQLite gives its files beside this one the same
            # One connection, whose users take turns: statements here take well under a millisecond.
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            with ExitStack() as on_error:
                on_error.callback(self._db.close)
                self._prepare(path, schema, version)
                on_error.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: cannot be used as the job table ({error})") from error

    def _prepare(self, path: Path, schema: str, version: int) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        # Survives the death of every process, which is the aim.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("BEGIN IMMEDIATE")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, version):
            raise ConfigError(f"{path}: of another version of facemend: use another folder as the store")
        for statement in filter(str.strip, schema.split(";")):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {version}")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file; nothing works after this."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Statements that other processes see all at once.

        Raises:
            OutputError: the disk is full.
            BusyError: another process has held the file for too long.
        """
        with self._turn():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def run(self, statement: str, **values: object) -> list[sqlite3.Row]:
        """The rows of one statement; raises as `transaction`."""
        with self._turn():
            return self._db.execute(statement, values).fetchall()

    def changed(self, statement: str, **values: object) -> bool:
        """Whether one statement changed anything; raises as `transaction`."""
        with self._turn():
            return self._db.execute(statement, values).rowcount > 0

    def settle(self) -> None:
        """Take what was written and deleted from the log into the file itself; raises as `transaction`."""
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF in _UNWRITABLE:
                    raise OutputError("the server's disk is full: try again later") from error
                raise BusyError("the server is busy: try again in a moment") from error
