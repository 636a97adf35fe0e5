"""A run over many pictures: one result or one line of error for each, a report at the end."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from facemend.errors import FacemendError, InputError
from facemend.hub.models import find_model
from facemend.imaging import Picture, read_picture
from facemend.pipeline.batch import Batch, Job, Outputs
from facemend.pipeline.compare import before_after
from facemend.pipeline.options import RestoreOptions
from facemend.pipeline.result import PhotoResult
from facemend.runtime.onnx import usable_cores
from facemend.types import Face

logger = logging.getLogger(__name__)

MAX_JOBS = 4
"""Most photos at a time unless asked for more: each in flight needs memory."""
SMALL = 256
"""Side of the networks that may run several times at once unasked, pixels."""

Work = Callable[..., PhotoResult]
"""Done with a picture (and a mask): `Restorer.restore`, `Colorizer.colorize`, `Inpainter.inpaint`."""

_Result = TypeVar("_Result")


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


def share_cores(
    options: RestoreOptions, photos: int, jobs: int = 0, task: str = "restoration"
) -> tuple[RestoreOptions, int]:
    """How many photos to work on at a time, and the options with the threads that leaves for each.

    Whole photos side by side use the cores better than one photo with many threads: reading, pasting and
    writing hardly gain from threads.

    Args:
        options: `threads` of 0 is set; other values stay.
        photos: how many there are.
        jobs: as asked for; 0: automatic, which is one a core and at most `MAX_JOBS`, and one at a time with
            networks of more than 256 px, whose memory counts.
        task: what the model is for.
    """
    cores = usable_cores()
    if jobs == 0:
        jobs = max(1, min(photos, cores, MAX_JOBS))
        if jobs > 1 and options.backend == "onnx" and find_model(options.model, task).image_size > SMALL:
            jobs = 1
    if options.threads or options.backend == "torch":  # torch has one pool of threads, and runs take turns
        return options, jobs
    return replace(options, threads=max(1, cores // jobs)), jobs


def run_batch(
    batch: Batch,
    work: Work,
    outputs: Outputs,
    *,
    crops: Path | None = None,
    compare: bool = False,
    jobs: int = 1,
) -> Iterator[FileReport]:
    """Work on the pictures of a run; a failure is reported, and the run goes on.

    Each of `jobs` threads takes one picture from reading to writing, so that never more than `jobs` pictures
    are held. If the run is left early (the generator is closed, or Ctrl-C), pictures that were begun are
    finished, and no others are begun.

    Args:
        batch: what to do, see `plan_batch`.
        work: takes a picture, and a mask where the job has one; threads share it.
        outputs: decides what may be written.
        crops: folder for the aligned crops of each face, before and after; None for none.
        compare: also write NAME_compare.jpg, before and after side by side.
        jobs: pictures at a time, 1 or more.

    Yields:
        A report for each job, in the order of the jobs, as soon as it and all before it are done.
    """

    def done(job: Job) -> FileReport:
        return _reported(job, partial(_do_job, job, work, outputs, crops, compare))

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="facemend")
    waiting: deque[Future[FileReport]] = deque()
    try:
        for job in batch.jobs:
            # Outputs are claimed here, in order: which of two pictures gets a name must not depend on luck.
            refused = _reported(job, partial(_claim, job, outputs, compare))
            waiting.append(pool.submit(done, job) if refused is None else _done(refused))
            if len(waiting) > 2 * jobs:  # enough to do for all while the oldest is slow
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _done(report: FileReport) -> Future[FileReport]:
    future: Future[FileReport] = Future()
    future.set_result(report)
    return future


def _reported(job: Job, work: Callable[[], _Result]) -> _Result | FileReport:
    """What the work gives; if it fails, a report that says so."""
    try:
        return work()
    except FacemendError as error:
        logger.debug("failed", exc_info=True)
        return FileReport(job.source, job.output, error=_one_line(error))
    except Exception as error:  # a defect or lack of memory: still only this file's
        logger.warning("%s: unexpected error", job.source, exc_info=True)
        line = f"{job.source}: unexpected {type(error).__name__}: {_one_line(error)}"
        return FileReport(job.source, job.output, error=line)


def do_file(work: Work, source: Path, mask: Path | None = None) -> tuple[Picture, PhotoResult]:
    """Read a picture (and its mask) and work on it; errors name the file.

    Returns:
        The picture as it was read, and the result.
    """
    picture = read_picture(source)
    more = () if mask is None else (read_picture(mask),)
    try:
        return picture, work(picture, *more)
    except FacemendError as error:
        name = source if mask is None else f"{source} with mask {mask}"
        raise InputError(f"{name}: {error}") from error


def _comparison(job: Job) -> Path:
    return job.output.with_name(f"{job.output.stem}_compare.jpg")


def _claim(job: Job, outputs: Outputs, compare: bool) -> None:
    outputs.claim(job.output)
    if compare:
        outputs.claim(_comparison(job))


def _do_job(job: Job, work: Work, outputs: Outputs, crops: Path | None, compare: bool) -> FileReport:
    start = perf_counter()
    picture, result = do_file(work, job.source, job.mask)
    outputs.save(job.output, result.picture)
    if compare:
        outputs.save(_comparison(job), before_after(picture, result.picture))
    if crops is not None:
        folder = crops / job.relative.parent
        for number, face in enumerate(result.faces, 1):
            for name, crop in (("before", face.crop), ("after", face.restored)):
                path = folder / f"{job.relative.stem}_face{number}_{name}.png"
                outputs.claim(path)
                outputs.save(path, Picture.from_array(crop))
    return _report(job, result, perf_counter() - start)


def _report(job: Job, result: PhotoResult, total: float) -> FileReport:
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
