"""The files of the jobs: a folder each, named by the server; no name of a user is ever a path."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from facemend.errors import ConfigError, OutputError

_ORPHAN_SECONDS = 600.0
"""A folder without a job is left alone for this long: its upload may be under way."""
_LEAST_FREE = 500_000_000
"""Bytes of the disk that stay free."""

_TEMPORARY = "facemend-serve-"


@contextmanager
def temporary_store() -> Iterator[Path]:
    """A folder that goes at the end; those of servers that were killed before they could do that go first."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        with suppress(OSError, Timeout):
            # In a folder of another user not even a lock is made.
            if _is_mine(folder):
                with _lock(folder):
                    shutil.rmtree(folder, ignore_errors=True)
    while True:
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True) as name:
            lock = _lock(Path(name))
            try:
                lock.acquire()
            except (OSError, Timeout):  # another server that starts just now took it for an old one
                continue
            with lock:
                if Path(lock.lock_file).exists():
                    yield Path(name)
                    return


def _lock(folder: Path) -> BaseFileLock:
    """Held by the server that uses a folder; the system lets go of it when that dies."""
    return FileLock(folder / "lock", timeout=0, mode=0o600)


def _is_mine(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.getuid())


class JobStore:
    """Where uploads, results and what is kept between them lie.

    Args:
        root: the folder; made if it is not there, for this user alone.

    Raises:
        ConfigError: it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._jobs = root / "jobs"
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._jobs.mkdir(exist_ok=True)
            self._jobs.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"{root}: cannot be used as a store ({error.strerror})") from error

    @property
    def database(self) -> Path:
        """File of the job table."""
        return self.root / "jobs.sqlite3"

    def make(self, job: str) -> None:
        """Make the folder of a new job.

        Raises:
            OutputError: it cannot be made, or the disk is full.
        """
        try:
            self.check_room()
            (self._jobs / job).mkdir(mode=0o700)
        except OSError as error:
            raise OutputError(f"the server cannot store the upload ({error.strerror})") from error

    def check_room(self) -> None:
        """Refuse what needs room that there is not.

        Raises:
            OutputError: the disk is full.
        """
        if shutil.disk_usage(self._jobs).free < _LEAST_FREE:
            raise OutputError("the server's disk is full: try again later")

    def has(self, job: str) -> bool:
        """Whether a job has its folder, which is made before the job and removed before it is forgotten."""
        return (self._jobs / job).is_dir()

    def input(self, job: str) -> Path:
        """The upload as it came."""
        return self._jobs / job / "input"

    def kept(self, job: str) -> Path:
        """What does not depend on w."""
        return self._jobs / job / "kept.npz"

    def result(self, job: str, suffix: str) -> Path:
        """The restored photo.

        Args:
            job: id of the job.
            suffix: one that the server chose, with the dot.
        """
        return self._jobs / job / f"result{suffix}"

    def look(self, job: str, suffix: str) -> Path:
        """A new file for the restored photo with another look, which is there while it is sent."""
        return self._jobs / job / f"look-{secrets.token_hex(8)}{suffix}"

    def remove(self, job: str) -> None:
        """Delete all files of a job; what is in use or gone already does not matter."""
        shutil.rmtree(self._jobs / job, ignore_errors=True)

    def remove_orphans(self, known: Container[str]) -> None:
        """Delete folders that belong to no job, such as those of uploads that were cut off."""
        now = time.time()
        for folder in self._jobs.iterdir():
            try:
                old = abs(now - folder.stat().st_mtime) > _ORPHAN_SECONDS  # the clock may have been set back
            except OSError:
                continue
            if old and folder.name not in known:
                self.remove(folder.name)
