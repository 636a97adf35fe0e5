"""Files: written whole or not at all, read line by line or as tables, their checksum."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from facemend.errors import InputError, OutputError, one_line

MAX_TABLE_BYTES = 1 << 26
_SYSTEM = frozenset(("@eaDir", "__MACOSX", ".AppleDouble", ".DS_Store", "Thumbs.db", "desktop.ini"))
"""What Synology, macOS and Windows put among pictures."""
_ABANDONED_S = 24 * 3600
_begun: set[Path] = set()
_beginning = threading.Lock()
_NO_LINKS = (
    *(errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES),
    errno.EINVAL,  # Windows, on exFAT and shares
)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def begin(part: Path) -> Path:
    """Note a file that is in the making, for `drop_unfinished`."""
    with _beginning:
        _begun.add(part)
    return part


def drop_unfinished() -> None:
    """Remove the files that are in the making, whatever threads still do; none can be begun after that.

    For the end of a process that does not wait for its threads.
    """
    _beginning.acquire()
    for part in tuple(_begun):  # other threads still end theirs
        part.unlink(missing_ok=True)


def place(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file whole or not at all: beside the target first, then moved into place in one step.

    Raises:
        FileExistsError: it exists and `overwrite` is off.
        OSError: it cannot be written.
    """
    part = begin(_beside(path))
    try:
        with part.open("xb") as file:
            file.write(data)
        move(part, path, overwrite)
    finally:
        part.unlink(missing_ok=True)
        _begun.discard(part)


def move(file: Path, path: Path, overwrite: bool) -> None:
    """Give a finished file of the same disk its name, in one step; without `overwrite` it may stay as well.

    Raises:
        FileExistsError: that name is taken and `overwrite` is off.
        OSError: it cannot be moved.
    """
    if not overwrite:
        try:
            os.link(file, path)  # fails if the target exists, unlike a rename
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        path.open("xb").close()  # a file system without links: claim the name, then replace the empty claim
    os.replace(file, path)


@contextmanager
def whole_file(
    path: Path,
    *told_by: type[Exception],
    shared: bool = False,
    fix: str = "make room or name another place; what was there before is whole",
) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends without an error, and else is removed.

    Args:
        path: what is written, or replaced; its folder is made if needed.
        told_by: by which errors beside OSError the block may tell a full disk.
        shared: whether several processes may write it at once. If not, what a kill leaves behind is
            replaced by the next try.
        fix: the end of the message.

    Raises:
        OutputError: it could not be written.
    """
    failures: tuple[type[Exception], ...] = (OSError, *told_by)
    part = _beside(path) if shared else path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except failures as error:
        raise unwritable(path, error, fix) from error
    finally:
        part.unlink(missing_ok=True)


def tidy(folder: Path, prefix: str) -> None:
    """Remove folders of that beginning which nobody has touched for a day: what a kill has left behind."""
    for left in folder.glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S and left.is_dir():
                shutil.rmtree(left, ignore_errors=True)


def file_stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Size in bytes and time of change (ns) of a file, by which another is known; None: it cannot be seen."""
    try:
        status = os.stat(path)
    except OSError:  # a link in a circle, a share that is gone: whoever reads it says why
        return None
    return status.st_size, status.st_mtime_ns


def unwritable(path: Path | str, error: Exception, fix: str = "") -> OutputError:
    """The error for what could not be written."""
    return OutputError(f"{path}: cannot be written ({one_line(error)}){fix and '; '}{fix}")


def faces_in(folder: Path) -> Path:
    """Where aligned faces of a folder are: in `faces` if `facemend data prepare` made it, else in itself."""
    made = folder / "faces"
    return made if os.path.isfile(folder / "manifest.csv") and os.path.isdir(made) else folder


def is_of_system(name: str) -> bool:
    """Whether it is a file or folder that systems put beside pictures."""
    return name.startswith("._") or name in _SYSTEM


def as_address(path: Path) -> str | None:
    """The URL that a path was meant to be, of which it has lost a slash; None where it is none."""
    is_one = path.parts and re.fullmatch(r"[A-Za-z][\w+.-]+:", path.parts[0])
    return path.as_posix().replace(":/", "://", 1) if is_one else None


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that has one a line; what is none, such as a line that was cut off, is left out.

    Returns:
        In order; nothing where there is no such file.
    """
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _beside(path: Path) -> Path:
    # A name has at most 255 bytes. Half a sign at the cut is no name to systems that want valid UTF-8.
    short = os.fsencode(path.name)[:100].decode("utf-8", "ignore")
    return path.with_name(f".{short}.{secrets.token_hex(6)}.part")


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file in UTF-8 whose first line names its columns.

    Raises:
        InputError: it cannot be read, is too large or lacks one of `columns`.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise InputError(f"{path}: too large for a table; give the rows that are needed")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); save it as CSV in UTF-8") from None
    if missing := [name for name in columns if name not in names]:
        raise InputError(f"{path}: no column {missing[0]!r}; name it in the first line")
    return rows
