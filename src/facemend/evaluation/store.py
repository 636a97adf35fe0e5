"""What a run has measured so far, one line a case, so that it can be interrupted and go on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemend.errors import OutputError
from facemend.files import whole_file

FILE = "cases.jsonl"


class Store:
    """A file of finished cases that belong to one and the same run.

    Args:
        folder: of the run; made if needed.
        run: everything that decides the figures; a file of another run is not continued.
        overwrite: whether a file of another run may be replaced.

    Raises:
        OutputError: the folder holds another run, or cannot be written.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = folder / FILE
        self.key = hashlib.sha256(canonical(run).encode()).hexdigest()
        self.done: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self.path.read_bytes().split(b"\n") if self.path.is_file() else []
        except OSError as error:
            raise OutputError(f"{folder}: cannot be used ({error.strerror})") from error
        rows = [_row(line) for line in lines[:-1]]  # what follows the last line feed was cut off
        if not rows or rows[0].get("run") != self.key:
            if any(lines) and not overwrite:
                raise OutputError(
                    f"{folder}: holds another evaluation (other pictures, models, weights or versions); "
                    "choose another folder, or --overwrite"
                )
            self._write([{"run": self.key}])
            return
        good: list[dict[str, Any]] = [rows[0]]
        for row in rows[1:]:
            if "name" not in row or "data" not in row:
                break  # damaged from here on: measured again
            good.append(row)
            self.done[row["name"]] = row["data"]
        self._write(good)

    def add(self, name: str, data: Mapping[str, Any]) -> None:
        """Note a finished case; it survives a crash from here on.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            with self.path.open("ab") as stream:
                stream.write(_line({"name": name, "data": data}))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error
        self.done[name] = json.loads(canonical(data))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with whole_file(self.path) as part:
            part.write_bytes(b"".join(_line(row) for row in rows))


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _line(row: Mapping[str, Any]) -> bytes:
    return canonical(row).encode() + b"\n"


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
