"""A run of `restore`, `colorize` or `inpaint` over photos and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.cli._shared.options import PhotoOptions, checked
from facemend.cli._shared.weights import resolve_model

if TYPE_CHECKING:
    from facemend.folder.plan import Batch
    from facemend.folder.records import FolderStore, Records
    from facemend.folder.run import FileReport
    from facemend.imaging import Outputs
    from facemend.photo.options import RestoreOptions
    from facemend.photo.result import PhotoResult
    from facemend.photo.task import PhotoTask
    from facemend.weights.models import ModelInfo

FEW = 5
"""Up to so many photos are told of one by one."""
_DOING = {"restored": "restoring", "coloured": "colouring", "filled in": "filling in"}


def run_photos(
    task: type[PhotoTask],
    work: Callable[..., PhotoResult],
    photos: Sequence[Path],
    given: PhotoOptions,
    own: Mapping[str, Any] | None = None,
    *,
    resumes: bool = False,
    **naming: Any,
) -> None:
    """Work on all photos, tell of each, sum up; ends the command if one failed.

    Args:
        task: what is done.
        work: its method for one photo.
        photos: files and folders.
        given: what was asked for; the model may be a weight file, which is imported at its first use.
        own: further fields of `RestoreOptions`, which only this command has.
        resumes: whether a folder goes on where an earlier run ended, and keeps records for that.
        naming: of the outputs, see `plan_batch`.
    """
    from facemend.folder.plan import REPORT, plan_batch
    from facemend.folder.records import sole_run
    from facemend.folder.run import run_batch, share_cores
    from facemend.imaging import Outputs
    from facemend.photo.networks import Networks
    from facemend.photo.task import task_options

    options = checked(task_options, task.task, None, given.settings(**own or {}))
    batch = checked(plan_batch, photos, given.output, **naming)
    options, model = resolve_model(options, task.task)
    options, jobs = share_cores(options, model, len(batch.jobs), given.jobs)
    outputs = Outputs(batch.inputs, overwrite=given.overwrite)
    if given.report is not None:
        outputs.claim(given.report)
    worker = task(options, networks=Networks.load(options, task.task, model))
    for note in worker.notes:
        warn(f"facemend: {note}")
    root = batch.root if resumes and batch.jobs else None
    how: dict[str, Any] = {"crops": given.crops, "compare": given.compare, "jobs": jobs}
    how["records"] = None if root is None else _records(root, options, model, given)
    lasting = None if root is None else root / REPORT
    with nullcontext() if root is None else sole_run(root, *([given.crops] if given.crops else [])):
        reports = run_batch(batch, partial(work, worker), outputs, **how)
        all_well = follow(
            reports, len(batch.jobs), options, given.report, outputs, lasting, batch, worker.notes, task.done
        )
    tell_ignored(batch.ignored)
    for folder in batch.unlisted:
        warn(f"facemend: {shown(folder)}: cannot be listed, its photos are left out: check its permissions")
    if batch.root is not None and batch.jobs:
        say(f"-> {shown(batch.root)}")
    if not all_well or batch.unlisted:
        raise typer.Exit(1)


def _records(
    root: Path, options: RestoreOptions, model: ModelInfo | None, given: PhotoOptions
) -> Records[FolderStore]:
    from facemend.folder.records import FolderStore, Records, options_digest

    extras = [name for name in ("compare", "crops") if getattr(given, name)]
    return Records(FolderStore(root), options_digest(options, model, *extras))


def follow(
    reports: Iterable[FileReport],
    count: int,
    options: RestoreOptions,
    report: Path | None,
    outputs: Outputs,
    lasting: Path | None = None,
    batch: Batch | None = None,
    notes: Sequence[str] = (),
    done: str = "restored",
) -> bool:
    """Go along with a run: show its progress, tell of each photo, write the reports, sum up.

    Args:
        reports: what happened to each photo, as it happens.
        count: of the photos.
        options: how they are restored.
        report: file for it, claimed already; None: none is wanted.
        outputs: writes it.
        lasting: the report of lines that every run into a folder adds to.
        batch: the photos, for a report in one piece.
        notes: what was told for all photos.
        done: what the faces are in the end.

    Returns:
        Whether all went well.

    Raises:
        typer.Exit: status 130: the run was interrupted.
    """
    from facemend.folder.run import report_head, report_line, report_text

    whole = report if report and report.suffix.lower() != ".jsonl" else None
    lined = report if whole is None else None
    kept: list[FileReport] = []
    totals = Totals()
    stopped = False
    with (
        outputs.lines(lined) if lined else nullcontext() as first,
        outputs.lines(lasting, append=True) if lasting else nullcontext() as second,
    ):
        writers = [write for write in (first, second) if write is not None]
        for write in writers:
            write(report_head(options))
        try:
            with progress(_DOING[done], count) as advance:
                for item in reports:
                    totals.add(item)
                    for write in writers:
                        write(report_line(item))
                    if whole is not None:
                        kept.append(item)
                    advance()
                    _tell(item, notes)
        except KeyboardInterrupt:
            stopped = True
            warn(f"facemend: stopped after {totals.count} of {plural(count, 'photo')}")
    if whole is not None and batch is not None:
        outputs.save_text(whole, report_text(kept, batch, options))
    _summary(totals, done)
    if stopped:
        raise typer.Exit(130)
    return bool(totals.count) and not totals.failed


@dataclass
class Totals:
    """What became of the photos of a run so far.

    Attributes:
        done: photos that went well now.
        before: photos that an earlier run had done.
        failed: the others.
        faces: worked on now.
        enlarged: photos that became larger now.
        lines: one for each of the first that went well.
    """

    done: int = 0
    before: int = 0
    failed: int = 0
    faces: int = 0
    enlarged: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Of all of them."""
        return self.done + self.before + self.failed

    def add(self, item: FileReport) -> None:
        """Count one more."""
        if item.error is not None:
            self.failed += 1
        elif item.done_before:
            self.before += 1
        else:
            self.done += 1
            self.faces += len(item.faces)
            self.enlarged += item.factor > 1
            if self.done <= FEW:
                faces = plural(len(item.faces), "face")
                larger = f", {item.factor} times as large" if item.factor > 1 else ""
                self.lines.append(f"{shown(item.output)}: {faces}{larger}, {item.seconds['total']:.1f} s")


def _tell(item: FileReport, told: Sequence[str]) -> None:
    """Say what is wrong with one file, apart from what was told for all."""
    if item.error is not None:
        warn(f"facemend: {item.error}")
        return
    if item.done_before:
        return
    for note in item.notes:
        if note not in told:
            warn(f"{shown(item.source)}: {note}")


def _summary(totals: Totals, done_word: str) -> None:
    for line in totals.lines if totals.done <= FEW else []:
        say(line)
    if not totals.count:
        warn("facemend: no photos found")
    elif totals.count > 1 or totals.before:
        larger = f", {plural(totals.enlarged, 'photo')} enlarged" if totals.enlarged else ""
        faces = f"({plural(totals.faces, 'face')} {done_word}{larger})"
        before = f", {totals.before} done before" if totals.before else ""
        say(f"{plural(totals.done, 'photo')} done {faces}{before}, {totals.failed} failed")


def tell_ignored(files: Sequence[Path | str]) -> None:
    """Name some of the files in folders that are no pictures, if there are any."""
    if files:
        names = ", ".join(shown(path) for path in files[:5])
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        warn(f"skipped {plural(len(files), 'file')} that are no pictures: {names}{more}")
