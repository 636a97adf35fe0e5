"""A run over many pictures: one result or one line of error for each, a report at the end."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from os.path import exists, isfile
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from facemend.errors import FacemendError, one_line
from facemend.folder.plan import Batch, PhotoJob
from facemend.folder.records import FolderStore, Output, Record, Records, Stamp, digest
from facemend.imaging import Outputs, Picture, encode_for, format_of, left_out, read_content
from facemend.photo.auto import in_words
from facemend.photo.compare import before_after
from facemend.photo.file import Work, do_file
from facemend.photo.options import RestoreOptions
from facemend.photo.result import PhotoResult, RestoredFace
from facemend.types import Face

logger = logging.getLogger(__name__)

_CROPS = ("before", "after")
_Result = TypeVar("_Result")
Kept = dict[str, Output]
"""Outputs of earlier runs that stay, by their paths in the records."""


@dataclass(frozen=True)
class FileReport:
    """What happened to one picture.

    Attributes:
        source: the input: a file, or a URL.
        output: what was written (or meant to be).
        error: one line naming the file and the fix, or None if all went well.
        faces: number, box [x1, y1, x2, y2] in photo pixels and detector score of each restored face; with a
            model that says how damaged faces are also `about_face`.
        skipped: the same of each face left as it was, with the reason.
        notes: what the user should know, such as that no face was found.
        seconds: time per part of the restoration, and the "total" with reading and encoding.
        factor: how many times as large the photo became.
        done_before: an earlier run did it, from the same content and with the same options; now nothing was
            done.
        other_options: in what the options differ with which an earlier run did it; now nothing was done, and
            `error` says so.
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
    other_options: str = ""


def run_batch(
    batch: Batch,
    work: Work,
    outputs: Outputs,
    *,
    crops: Path | None = None,
    compare: bool = False,
    jobs: int = 1,
    records: Records[FolderStore] | None = None,
    options: RestoreOptions | None = None,
) -> Iterator[FileReport]:
    """Work on the pictures of a run; a failure is reported, and the run goes on.

    Each of `jobs` threads takes one picture from reading to writing, so that never more than `jobs` pictures
    are held. If the run is left early (the generator is closed), pictures that were begun are finished, and
    no others are begun. Ctrl-C does not wait for them: those that are done are told, and KeyboardInterrupt
    goes on while threads still work, which only the end of the process stops.

    Args:
        batch: what to do, see `plan_batch`.
        work: takes a picture, and a mask where the job has one; threads share it.
        outputs: decides what may be written.
        crops: folder for the aligned crops of each face, before and after; None for none.
        compare: also write NAME_compare.jpg, before and after side by side.
        jobs: pictures at a time, 1 or more.
        records: of what was done before, and is left out; what is done now is told there. None: neither.
        options: of the work: what they do not allow is refused before it is decoded.

    Yields:
        A report for each job, in the order of the jobs, as soon as it and all before it are done.
    """
    run = _Run(work, outputs, crops, compare, records, options)

    def done(job: PhotoJob, kept: Kept) -> FileReport:
        return _reported(job, partial(run.do, job, kept))

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="facemend")
    waiting: deque[Future[FileReport]] = deque()
    wait = True
    try:
        for job in batch.jobs:
            # Outputs are claimed here, in order: which of two pictures gets a name must not depend on luck.
            told = _reported(job, partial(run.claim, job))
            waiting.append(_done(told) if isinstance(told, FileReport) else pool.submit(done, job, told))
            if len(waiting) > 2 * jobs:  # enough to do for all while the oldest is slow
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except KeyboardInterrupt:
        wait = False
        pool.shutdown(wait, cancel_futures=True)
        yield from (future.result() for future in waiting if future.done() and not future.cancelled())
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


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


@dataclass(frozen=True)
class _Run:
    """What is the same for all pictures of a run; see `run_batch`."""

    work: Work
    outputs: Outputs
    crops: Path | None
    compare: bool
    records: Records[FolderStore] | None
    options: RestoreOptions | None

    def claim(self, job: PhotoJob) -> FileReport | Kept:
        """Take the names of a picture's outputs.

        Returns:
            A report if there is nothing to do; else what earlier runs with the same options have made of the
            picture and is still there: it stays, and what is missing is made.
        """
        kept: Kept = {}
        if self.records is not None:
            stamp = Stamp.of(job.source)
            record = self.records.find(
                self._below(job.output), stamp, lambda: digest(read_content(job.source))
            )
            if record is not None:
                others = self.records.other_options(record)
                if not others:
                    wanted = {self._below(path) for path in self._paths(job, len(record.faces))}
                    there = {item.path: item for item in record.outputs if item.path in wanted}
                    if len(there) == len(wanted) and self.records.is_whole(there.values()):
                        self._claim_names(job, there)
                        return told_before(job.source, job.output, record)
                    kept = {item.path: item for item in record.outputs if self.records.holds(item)}
                elif not self.outputs.overwrite and self.records.is_whole(record.outputs[:1]):
                    return made_otherwise(job.source, job.output, others)
        self._claim_names(job, kept)
        return kept

    def _claim_names(self, job: PhotoJob, kept: Kept) -> None:
        for path in (job.output, *([_comparison(job)] if self.compare else [])):
            self.outputs.claim(path, done=self._below(path) in kept)

    def _paths(self, job: PhotoJob, faces: int) -> Iterator[Path]:
        """The outputs that are wanted of a picture with so many faces."""
        yield job.output
        if self.compare:
            yield _comparison(job)
        if self.crops is not None:
            for number in range(1, faces + 1):
                yield from (_crop_path(self.crops, job, number, name) for name in _CROPS)

    def _below(self, path: Path) -> str:
        """The path of an output as records name it."""
        store = FolderStore(Path()) if self.records is None else self.records.store
        return store.below(path)

    def do(self, job: PhotoJob, kept: Kept) -> FileReport:
        """Read, work, and write all but what is kept."""
        start = perf_counter()
        stamp = content = None
        if self.records is not None:
            # Before the content, so that it is never too young.
            stamp = Stamp.of(job.source)
            content = read_content(job.source)
        picture, result = do_file(self.work, job.source, job.mask, content, self.options)
        both = before_after(picture, result.picture) if self.compare else None
        result, copied = settled(picture, result, job.output)
        del picture  # the writer needs as much memory itself
        if copied:
            made = {job.output: read_content(job.source) if content is None else content}
        else:
            made = {job.output: encode_for(job.output, result.picture)}
        if both is not None:
            path = _comparison(job)
            made[path] = encode_for(path, both)
        if self.crops is not None:
            for path, crop in _crops(job, result, self.crops):
                self.outputs.claim(path, done=self._below(path) in kept)
                made[path] = encode_for(path, crop)
        report = make_report(job.source, job.output, result, perf_counter() - start)
        record = None
        if self.records is not None and stamp is not None and content is not None:
            files = {self._below(path): data for path, data in made.items()}
            options = self.records.options
            record = make_record(report, job.relative.as_posix(), stamp, content, files, options)
            items = {item.path: item for item in record.outputs} | kept
            record = replace(record, outputs=tuple(items.values()))
        self._write({path: data for path, data in made.items() if self._below(path) not in kept}, record)
        return report

    def _write(self, made: Mapping[Path, bytes], record: Record | None) -> None:
        replaces = any(map(exists, made))
        noting = self.records and record and self.records.noted(record, replaces=replaces)
        with noting or nullcontext():
            for path, data in made.items():
                self.outputs.save_content(path, data)


def _label(job: PhotoJob) -> str:
    """What crops are named after; without an output folder the output has a name of its own."""
    return job.relative.stem if job.label in ("", job.output.stem) else job.label


def _crop_path(crops: Path, job: PhotoJob, number: int, name: str) -> Path:
    return crops / job.aside / job.relative.parent / f"{_label(job)}_face{number}_{name}.png"


def _crops(job: PhotoJob, result: PhotoResult, crops: Path) -> Iterator[tuple[Path, Picture]]:
    for number, face in result.numbered():
        for name, crop in zip(_CROPS, (face.crop, face.restored), strict=True):
            picture = replace(Picture.from_array(crop), icc=result.picture.in_rgb().icc)
            yield _crop_path(crops, job, number, name), picture


def settled(picture: Picture, result: PhotoResult, output: Path | str) -> tuple[PhotoResult, bool]:
    """The result with the notes that hold of what is written, and whether the photo is to be copied.

    It is where nothing was to be changed: not even its compression then, or what a picture cannot hold.
    """
    if result.picture is picture and format_of(output) == picture.format:
        return replace(result, notes=tuple(note for note in result.notes if note not in picture.notes)), True
    result = result.alone()
    return replace(result, notes=(*result.notes, *left_out(result.picture, format_of(output)))), False


def make_record(
    report: FileReport,
    source: str,
    stamp: Stamp,
    content: bytes,
    files: Mapping[str, bytes],
    options: Mapping[str, Any],
) -> Record:
    """The record of a photo.

    Args:
        report: what happened to it.
        source: its path below the folder of photos.
        stamp: of it.
        content: of it.
        files: what its outputs hold, the main one first, by their paths below the folder of outputs.
        options: those that decide the pixels.
    """
    made = tuple(Output(path, len(data), digest(data)) for path, data in files.items())
    told = (report.faces, report.skipped, report.notes, report.seconds, report.factor)
    return Record(source, stamp, digest(content), options, made, *told)


def told_before(source: Path | str, output: Path | str, record: Record) -> FileReport:
    """The report of a photo that an earlier run has done."""
    told = (record.faces, record.skipped, record.notes, record.seconds, record.factor)
    return FileReport(source, output, None, *told, done_before=True)


def made_otherwise(source: Path | str, output: Path | str, others: str) -> FileReport:
    """The report of a photo that an earlier run has done with other options; see `Records.other_options`."""
    error = (
        f"{output}: was made with other options ({others}): --overwrite makes it anew, or give another folder"
    )
    return FileReport(source, output, error, other_options=others)


def make_report(source: Path | str, output: Path | str, result: PhotoResult, total: float) -> FileReport:
    """The report of a photo that went well.

    Args:
        source: the photo.
        output: what was made of it.
        result: the faces, the time of each part, and the notes as `settled` gives them.
        total: seconds for all of it.
    """
    seconds = {part: round(value, 4) for part, value in result.seconds.items()}
    return FileReport(
        source,
        output,
        faces=tuple(
            {"number": number, **_face(each.face), **about_face(each)} for number, each in result.numbered()
        ),
        skipped=tuple({**_face(skipped.face), "reason": skipped.reason} for skipped in result.skipped),
        notes=result.notes,
        seconds={**seconds, "total": round(total, 4)},
        factor=result.factor,
    )


def _face(face: Face) -> dict[str, Any]:
    box = face.box
    corners = (box.x1, box.y1, box.x2, box.y2)
    return {"box": [round(value, 1) for value in corners], "score": round(face.score, 4)}


def about_face(face: RestoredFace) -> dict[str, Any]:
    """What the model said of a face and what was done with it; nothing where it says nothing.

    `w`, `strength`, `left` (why it was left as it is), `looks` (in words), and the `Diagnosis` in figures.
    """
    if face.diagnosis is None:
        return {}
    damage = {
        name: round(getattr(face.diagnosis, name), 1) for name in ("resolution", "blur", "noise", "jpeg")
    }
    return {**asdict(face.choice), "looks": in_words(face.diagnosis, len(face.crop)), **damage}


def report_line(report: FileReport) -> str:
    """One picture's part of a report of lines, as JSON."""
    return json.dumps(asdict(report), default=str, ensure_ascii=False)


def report_head(options: RestoreOptions) -> str:
    """The line that a run begins its report of lines with: version, options, time."""
    from facemend import __version__

    at = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"run": {"facemend": __version__, "at": at, "options": asdict(options)}})


def is_report(path: Path) -> bool:
    """Whether a file begins as the reports of runs do."""
    if not isfile(path):
        return False
    with path.open("rb") as file:
        head = file.read(40)
    return head.startswith((b'{"run": {"facemend": ', b'{\n "facemend": '))


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
