"""The files that a run writes: nothing overwritten by accident, nothing half-written."""

from __future__ import annotations

import logging
import os
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from facemend.errors import ExistsError, OutputError
from facemend.files import place, unwritable
from facemend.imaging.encoding import left_out
from facemend.imaging.picture import Picture
from facemend.imaging.writing import encode_for, format_of

_log = logging.getLogger(__name__)


class Outputs:
    """The files that a run writes. Says before the work whether one may be written. Threads may share it.

    Args:
        inputs: files that are never written to.
        overwrite: whether files that were there before the run may be replaced.

    Attributes:
        overwrite: as given.
    """

    def __init__(self, inputs: Iterable[Path], *, overwrite: bool) -> None:
        self.overwrite = overwrite
        self._inputs: dict[str, set[str]] = {}
        for path in inputs:
            real = os.path.realpath(path)  # a link in a circle is no error there
            self._inputs.setdefault(_alike(real), set()).add(real)
        self._claimed: set[str] = set()
        self._lock = threading.Lock()

    def is_input(self, path: Path) -> bool:
        """Whether it is one of the files that are never written to."""
        real = os.path.realpath(path)
        alike = self._inputs.get(_alike(real), set())
        return real in alike or any(_is_same(real, each) for each in alike)

    def claim(self, path: Path, *, done: bool = False) -> None:
        """Take a path for one output of this run.

        Args:
            path: where it is to be.
            done: an earlier run, which this one continues, has put it there.

        Raises:
            OutputError: it is an input, another output has it, or it exists and may not be replaced.
        """
        real = os.path.realpath(path)
        if self.is_input(path):
            raise OutputError(f"{path}: is an input and would be overwritten; choose another output")
        with self._lock:
            if real in self._claimed:
                raise OutputError(
                    f"{path}: another picture of this run has the same output; use another folder"
                )
            if not done and not self.overwrite and os.path.lexists(path):
                raise ExistsError(path)
            self._claimed.add(real)

    def save(self, path: Path, picture: Picture) -> None:
        """Write a picture to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        self.save_content(path, encode_for(path, picture))
        for note in left_out(picture, format_of(path)):
            _log.warning("%s: %s", path, note)

    def save_text(self, path: Path, text: str) -> None:
        """Write a UTF-8 text to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        self.save_content(path, text.encode())

    def save_content(self, path: Path, data: bytes) -> None:
        """Write what a file is to hold to a claimed path, whole or not at all; its folder is made.

        Raises:
            OutputError: it cannot be written.
        """
        _make_folder(path.parent)
        try:
            place(path, data, self.overwrite)
        except FileExistsError:
            raise ExistsError(path) from None
        except OSError as error:
            raise unwritable(path, error) from error

    @contextmanager
    def lines(self, path: Path, *, append: bool = False) -> Iterator[Callable[[str], None]]:
        """Write a UTF-8 text to a claimed path line by line, each at once; its folder is made.

        Args:
            path: the file.
            append: go on after what is there; a last line that was cut off is ended first.

        Yields:
            Function that takes a line without its end.

        Raises:
            OutputError: it cannot be written.
        """
        _make_folder(path.parent)
        if path.is_symlink():
            raise OutputError(f"{path}: is a link, which a report is not written through: remove it")
        try:
            file = path.open(f"{'a' if append else 'w' if self.overwrite else 'x'}+b", buffering=0)
        except FileExistsError:
            raise ExistsError(path) from None
        except OSError as error:
            raise unwritable(path, error) from error
        with file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            yield lambda line: _write_line(file, path, line)


def _write_line(file: IO[bytes], path: Path, line: str) -> None:
    data = line.encode(errors="replace") + b"\n"
    try:
        if file.write(data) != len(data):
            raise OSError(28, "no space left on device")
    except OSError as error:
        raise unwritable(path, error) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror})") from error


def _alike(path: str) -> str:
    """What is the same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", path).casefold()


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one is not there
        return False
