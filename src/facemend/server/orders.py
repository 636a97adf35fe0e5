"""What a client asked for and what became of it, as the rows of the job table hold it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, fields
from typing import Any

from facemend.errors import FacemendError
from facemend.photo.options import RestoreOptions

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
JSON = ("faces", "notes", "seconds", "boxes")
"""Columns whose values are texts of JSON."""


class QueueFullError(FacemendError):
    """As many jobs wait as may.

    Args:
        retry_after: seconds after which there may be room.
        what: is full.
    """

    def __init__(self, retry_after: int, what: str = "the queue") -> None:
        super().__init__(f"{what} is full: try again in {retry_after} s")
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
        client: who sent it, see `client_name`; empty: nobody in particular, who has no share.
        frames: how many a film has, about; None: it is a photo.
    """

    id: str
    name: str
    format: str
    input_width: int
    input_height: int
    options: RestoreOptions
    client: str = ""
    frames: int | None = None

    @property
    def is_film(self) -> bool:
        """Whether it is a film."""
        return self.frames is not None

    @property
    def kind(self) -> str:
        """What to call it."""
        return "film" if self.is_film else "photo"


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
        film_faces: restored of a film, one for each face in each frame; None: a photo, or not done.
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
    film_faces: int | None = None


OPTIONS = ("w", "strength", "upscale", "model", "background", "grain", "boxes", "aligned", "strip_metadata")
"""Fields of `RestoreOptions` that clients choose; each has a column, w and `upscale` of numbers and text."""
ORDER = tuple(item.name for item in fields(Order) if item.name != "options")
COLUMNS = ", ".join([*(item.name for item in fields(Job) if item.name != "options"), *OPTIONS])


def job_of(row: sqlite3.Row) -> Job:
    """The job that a row with `COLUMNS` is."""
    values = dict(row)
    values |= {name: json.loads(values[name]) for name in JSON}
    values["boxes"] = tuple(map(tuple, values["boxes"]))
    values |= {name: bool(values[name]) for name in ("aligned", "strip_metadata")}
    return Job(options=RestoreOptions(**{name: values.pop(name) for name in OPTIONS}), **values)
