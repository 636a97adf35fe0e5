"""Files: written whole or not at all; tables read."""

from __future__ import annotations

import csv
import errno
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from facemend.errors import InputError

MAX_TABLE_BYTES = 1 << 26


def place(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file whole or not at all: beside the target first, then moved into place in one step.

    Raises:
        FileExistsError: it exists and `overwrite` is off.
        OSError: it cannot be written.
    """
    short = os.fsdecode(os.fsencode(path.name)[:100])  # a name has at most 255 bytes
    temporary = path.with_name(f".{short}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        if overwrite:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)  # fails if the target exists, unlike a rename
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES):
                raise
            # A file system without links: claim the name first, then replace the empty claim.
            path.open("xb").close()
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
