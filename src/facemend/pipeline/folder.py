"""A run over many pictures: one result or one line of error for each, a report at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from facemend.errors import FacemendError, InputError
from facemend.imaging import Picture, read_picture
from facemend.pipeline.batch import Batch, Job, Outputs
from facemend.pipeline.compare import before_after
from facemend.pipeline.image import Restorer, RestoreResult
from facemend.pipeline.options import RestoreOptions
from facemend.types import Face

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileReport:
    """What happened to one picture.

    Attributes:
        source: the input.
        output: the file written (or meant to be).
        error: one line naming the file and the fix, or None if all went well.
        faces: box [x1, y1, x2, y2] in photo pixels and detector score of each restored face.
        skipped: the same of each face left as it was, with the reason.
        notes: what the user should know, such as that no face was found.
        seconds: time per part of the restoration, and the "total" with reading and writing.
    """

    source: Path
    output: Path
    error: str | None = None
    faces: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def run_batch(
    batch: Batch, restorer: Restorer, outputs: Outputs, *, crops: Path | None = None, compare: bool = False
) -> Iterator[FileReport]:
    """Restore the pictures of a run one by one; a failure is reported, and the run goes on.

    Args:
        batch: what to do, see `plan_batch`.
        restorer: does the work.
        outputs: decides what may be written.
        crops: folder for the aligned crops of each face, before and after; None for none.
        compare: also write NAME_compare.jpg, before and after side by side.

    Yields:
        A report for each job, as soon as it is done.
    """
    for job in batch.jobs:
        try:
            yield _restore_job(job, restorer, outputs, crops, compare)
        except FacemendError as error:
            logger.debug("failed", exc_info=True)
            yield FileReport(job.source, job.output, error=_one_line(error))
        except Exception as error:  # a defect or lack of memory: still only this file's
            logger.warning("%s: unexpected error", job.source, exc_info=True)
            line = f"{job.source}: unexpected {type(error).__name__}: {_one_line(error)}"
            yield FileReport(job.source, job.output, error=line)


def restore_file(restorer: Restorer, source: Path) -> tuple[Picture, RestoreResult]:
    """Read a picture and restore it; errors name the file.

    Returns:
        The picture as it was read, and the result.
    """
    picture = read_picture(source)
    try:
        return picture, restorer.restore(picture)
    except FacemendError as error:
        raise InputError(f"{source}: {error}") from error


def _restore_job(
    job: Job, restorer: Restorer, outputs: Outputs, crops: Path | None, compare: bool
) -> FileReport:
    comparison = job.output.with_name(f"{job.output.stem}_compare.jpg")
    outputs.claim(job.output)
    if compare:
        outputs.claim(comparison)
    start = perf_counter()
    picture, result = restore_file(restorer, job.source)
    outputs.save(job.output, result.picture)
    if compare:
        outputs.save(comparison, before_after(picture, result.picture))
    if crops is not None:
        folder = crops / job.relative.parent
        for number, face in enumerate(result.faces, 1):
            for name, crop in (("before", face.crop), ("after", face.restored)):
                path = folder / f"{job.relative.stem}_face{number}_{name}.png"
                outputs.claim(path)
                outputs.save(path, Picture.from_array(crop))
    return _report(job, result, perf_counter() - start)


def _report(job: Job, result: RestoreResult, total: float) -> FileReport:
    seconds = {part: round(value, 4) for part, value in result.seconds.items()}
    return FileReport(
        job.source,
        job.output,
        faces=tuple(_face(restored.face) for restored in result.faces),
        skipped=tuple({**_face(skipped.face), "reason": skipped.reason} for skipped in result.skipped),
        notes=result.notes,
        seconds={**seconds, "total": round(total, 4)},
    )


def _face(face: Face) -> dict[str, Any]:
    box = face.box
    corners = (box.x1, box.y1, box.x2, box.y2)
    return {"box": [round(value, 1) for value in corners], "score": round(face.score, 4)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def report_text(reports: Sequence[FileReport], batch: Batch, options: RestoreOptions) -> str:
    """The report of a run as JSON: version, options, totals, one entry a file, and the files ignored."""
    from facemend import __version__

    failed = sum(report.error is not None for report in reports)
    report = {
        "facemend": __version__,
        "options": asdict(options),
        "restored": len(reports) - failed,
        "failed": failed,
        "files": [asdict(item) for item in reports],
        "ignored": batch.ignored,
    }
    return json.dumps(report, indent=1, default=str) + "\n"
