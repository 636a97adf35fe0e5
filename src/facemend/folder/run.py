"""A run over many pictures: one result or one line of error for each, a report at the end."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from facemend.errors import FacemendError, one_line
from facemend.folder.plan import Batch, PhotoJob
from facemend.folder.records import FolderStore, Output, Record, Records, Stamp, digest
from facemend.imaging import Outputs, Picture, encode_for, format_of, left_out, read_content
from facemend.photo.compare import before_after
from facemend.photo.file import Work, do_file
from facemend.photo.options import RestoreOptions
from facemend.photo.result import PhotoResult
from facemend.runtime.cores import usable_cores
from facemend.types import Face
from facemend.weights.models import ModelInfo

logger = logging.getLogger(__name__)

MAX_JOBS = 4
"""Most photos at a time unless asked for more: each in flight needs memory."""
SMALL = 256
"""Side of the networks that may run several times at once unasked, pixels."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FileReport:
    """What happened to one picture.

    Attributes:
        source: the input: a file, or a URL.
        output: what was written (or meant to be).
        error: one line naming the file and the fix, or None if all went well.
        faces: box [x1, y1, x2, y2] in photo pixels and detector score of each restored face.
        skipped: the same of each face left as it was, with the reason.
        notes: what the user should know, such as that no face was found.
        seconds: time per part of the restoration, and the "total" with reading and encoding.
        factor: how many times as large the photo became.
        done_before: an earlier run did it, from the same content and with the same options; now nothing was
            done.
    """

    source: Path | str
    output: Path | str
    error: str | None = None
    faces: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    factor: int = 1
    done_before: bool = False


def share_cores(
    options: RestoreOptions, model: ModelInfo | None, photos: int, jobs: int = 0
) -> tuple[RestoreOptions, int]:
    """How many photos to work on at a time, and the options with the threads that leaves for each.

    Whole photos side by side use the cores better than one photo with many threads: reading, pasting and
    writing hardly gain from threads.

    Args:
        options: `threads` of 0 is set; other values stay.
        model: the one that they name; None: a checkpoint file.
        photos: how many there are.
        jobs: as asked for; 0: automatic, which is one a core and at most `MAX_JOBS`, and one at a time with
            networks of more than 256 px, whose memory counts.
    """
    cores = usable_cores()
    if jobs == 0:
        jobs = max(1, min(photos, cores, MAX_JOBS))
        if model is not None and options.backend == "onnx" and model.image_size > SMALL:
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
    records: Records[FolderStore] | None = None,
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
        records: of what was done before, and is left out; what is done now is told there. None: neither.

    Yields:
        A report for each job, in the order of the jobs, as soon as it and all before it are done.
    """

    def done(job: PhotoJob) -> FileReport:
        return _reported(job, partial(_do_job, job, work, outputs, crops, compare, records))

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="facemend")
    waiting: deque[Future[FileReport]] = deque()
    try:
        for job in batch.jobs:
            # Outputs are claimed here, in order: which of two pictures gets a name must not depend on luck.
            told = _reported(job, partial(_claim, job, outputs, crops, compare, records))
            waiting.append(pool.submit(done, job) if told is None else _done(told))
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


def _reported(job: PhotoJob, work: Callable[[], _Result]) -> _Result | FileReport:
    """What the work gives; if it fails, a report that says so."""
    try:
        return work()
    except Exception as error:
        return failure(job.source, job.output, error)


def failure(source: Path | str, output: Path | str, error: Exception) -> FileReport:
    """The report of a photo that went wrong; one that no `FacemendError` explains is logged too."""
    if isinstance(error, FacemendError):
        logger.debug("failed", exc_info=error)
        return FileReport(source, output, error=one_line(str(error), None))
    # A defect or lack of memory: still only this file's.
    logger.warning("%s: unexpected error", source, exc_info=error)
    line = f"{source}: unexpected {type(error).__name__}: {one_line(str(error), None)}"
    return FileReport(source, output, error=line)


def _comparison(job: PhotoJob) -> Path:
    return job.output.with_name(f"{job.label or job.output.stem}_compare.jpg")


def _claim(
    job: PhotoJob, outputs: Outputs, crops: Path | None, compare: bool, records: Records[FolderStore] | None
) -> FileReport | None:
    """Take the names of a picture's outputs; a report if an earlier run has made them all."""
    record = None
    if records is not None:
        output = _below(records, job.output)
        stamp = FolderStore(job.source.parent).stamp(job.source.name)
        record = records.find(output, stamp, partial(read_content, job.source))
        if record is not None and not records.is_whole(record):  # killed among its outputs: begin again
            for item in record.outputs:
                path = records.store.root / item.path
                # Whatever a record says, only what this picture can have made is ever looked at or removed.
                if _is_own(job, path, crops) and not outputs.is_input(path) and records.holds(item):
                    path.unlink(missing_ok=True)
            record = None
    outputs.claim(job.output, done=record is not None)
    if compare:
        outputs.claim(_comparison(job), done=record is not None)
    return None if record is None else told_before(job.source, job.output, record)


def _is_own(job: PhotoJob, path: Path, crops: Path | None) -> bool:
    """Whether a path is of one of the outputs that a picture can have."""
    real = path.resolve()
    if real in (job.output.resolve(), _comparison(job).resolve()):
        return True
    return (
        crops is not None
        and real.parent == (crops / job.relative.parent).resolve()
        and real.name.startswith(f"{_label(job)}_face")
    )


def _label(job: PhotoJob) -> str:
    """What crops are named after; without an output folder the output has a name of its own."""
    return job.relative.stem if job.label in ("", job.output.stem) else job.label


def _below(records: Records[FolderStore], path: Path) -> str:
    """The path of an output as records name it."""
    return Path(os.path.relpath(path, records.store.root)).as_posix()


def _do_job(
    job: PhotoJob,
    work: Work,
    outputs: Outputs,
    crops: Path | None,
    compare: bool,
    records: Records[FolderStore] | None,
) -> FileReport:
    start = perf_counter()
    stamp = content = None
    if records is not None:
        stamp = FolderStore(job.source.parent).stamp(job.source.name)  # before the content: never too young
        content = read_content(job.source)
    picture, result = do_file(work, job.source, job.mask, content)
    if result.picture is picture and format_of(job.output) == picture.format:
        # Nothing is to be changed: not even its compression, or what a picture cannot hold.
        made = {job.output: read_content(job.source) if content is None else content}
        result = replace(result, notes=tuple(note for note in result.notes if note not in picture.notes))
    else:
        made = {job.output: encode_for(job.output, result.picture)}
    if compare:
        path = _comparison(job)
        made[path] = encode_for(path, before_after(picture, result.picture))
    if crops is not None:
        for path, crop in _crops(job, result, crops):
            outputs.claim(path)
            made[path] = encode_for(path, crop)
    report = make_report(job.source, job.output, result, perf_counter() - start)
    if records is not None and stamp is not None and content is not None:
        files = {_below(records, path): data for path, data in made.items()}
        records.put(make_record(report, job.relative.as_posix(), stamp, content, files, records.options))
    for path, data in made.items():
        outputs.save_content(path, data)
    return report


def _crops(job: PhotoJob, result: PhotoResult, crops: Path) -> Iterator[tuple[Path, Picture]]:
    folder = crops / job.relative.parent
    for number, face in enumerate(result.faces, 1):
        for name, crop in (("before", face.crop), ("after", face.restored)):
            picture = replace(Picture.from_array(crop), icc=result.picture.in_rgb().icc)
            yield folder / f"{_label(job)}_face{number}_{name}.png", picture


def make_record(
    report: FileReport, source: str, stamp: Stamp, content: bytes, files: Mapping[str, bytes], options: str
) -> Record:
    """The record of a photo.

    Args:
        report: what happened to it.
        source: its path below the folder of photos.
        stamp: of it.
        content: of it.
        files: what its outputs hold, the main one first, by their paths below the folder of outputs.
        options: digest of the options.
    """
    made = tuple(Output(path, len(data), digest(data)) for path, data in files.items())
    told = (report.faces, report.skipped, report.notes, report.seconds, report.factor)
    return Record(source, stamp, digest(content), options, made, *told)


def told_before(source: Path | str, output: Path | str, record: Record) -> FileReport:
    """The report of a photo that an earlier run has done."""
    told = (record.faces, record.skipped, record.notes, record.seconds, record.factor)
    return FileReport(source, output, None, *told, done_before=True)


def make_report(source: Path | str, output: Path | str, result: PhotoResult, total: float) -> FileReport:
    """The report of a photo that went well.

    Args:
        source: the photo.
        output: what was made of it.
        result: the faces, and the time of each part.
        total: seconds for all of it.
    """
    seconds = {part: round(value, 4) for part, value in result.seconds.items()}
    return FileReport(
        source,
        output,
        faces=tuple(_face(restored.face) for restored in result.faces),
        skipped=tuple({**_face(skipped.face), "reason": skipped.reason} for skipped in result.skipped),
        notes=(*result.notes, *left_out(result.picture, format_of(output))),
        seconds={**seconds, "total": round(total, 4)},
        factor=result.factor,
    )


def _face(face: Face) -> dict[str, Any]:
    box = face.box
    corners = (box.x1, box.y1, box.x2, box.y2)
    return {"box": [round(value, 1) for value in corners], "score": round(face.score, 4)}


def report_line(report: FileReport) -> str:
    """One picture's part of a report of lines, as JSON."""
    return json.dumps(asdict(report), default=str, ensure_ascii=False)


def report_head(options: RestoreOptions) -> str:
    """The line that a run begins its report of lines with: version, options, time."""
    from facemend import __version__

    at = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"run": {"facemend": __version__, "at": at, "options": asdict(options)}})


def report_text(reports: Sequence[FileReport], batch: Batch, options: RestoreOptions) -> str:
    """The report of a run as JSON: version, options, totals, one entry a file, and the files ignored."""
    from facemend import __version__

    failed = sum(report.error is not None for report in reports)
    before = sum(report.done_before for report in reports)
    report = {
        "facemend": __version__,
        "options": asdict(options),
        "restored": len(reports) - failed - before,
        "done_before": before,
        "failed": failed,
        "files": [asdict(item) for item in reports],
        "ignored": batch.ignored,
    }
    return json.dumps(report, indent=1, default=str) + "\n"
