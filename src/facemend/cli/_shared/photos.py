"""A run of `restore`, `colorize` or `inpaint` over photos and folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from os.path import isdir  # as that of pathlib, but does not raise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.cli._shared.options import PhotoOptions, checked
from facemend.cli._shared.stopping import STOPPED
from facemend.cli._shared.weights import begin_loading, load, resolve_model

if TYPE_CHECKING:
    from facemend.folder.plan import Batch
    from facemend.folder.run import FileReport
    from facemend.imaging import Outputs
    from facemend.photo.options import RestoreOptions
    from facemend.photo.result import PhotoResult
    from facemend.photo.task import PhotoTask

FEW = 5
"""Up to so many photos are told of one by one."""
_DOING = {"restored": "restoring", "coloured": "colouring", "filled in": "filling in"}


def run_photos(
    task: str,
    home: Callable[[], tuple[type[PhotoTask], Callable[..., PhotoResult]]],
    photos: Sequence[Path],
    given: PhotoOptions,
    own: Mapping[str, Any] | None = None,
    *,
    resumes: bool = False,
    **naming: Any,
) -> None:
    """Work on all photos, tell of each, sum up; ends the command if one failed.

    Args:
        task: what the model must be for.
        home: imports what does it, and gives its class and its method for one photo.
        photos: files and folders.
        given: what was asked for; the model may be a weight file, which is imported at its first use.
        own: further fields of `RestoreOptions`, which only this command has.
        resumes: whether a folder goes on where an earlier run ended, and keeps records for that.
        naming: of the outputs, see `plan_batch`.
    """
    from facemend.photo.networks import share_cores, task_options

    naming |= given.naming
    into_folder = len(photos) > 1 or isdir(photos[0])
    if given.indices and into_folder:
        raise typer.BadParameter(f"--faces {given.faces}: numbers go with one photo, as each has its own")
    options = checked(task_options, task, None, given.settings(**own or {}))
    batch = _planned(photos, given, naming) if into_folder else None
    options, model = resolve_model(options, task)
    options, jobs = share_cores(options, model, len(batch.jobs) if batch else 1, given.jobs)
    loading = begin_loading(options, task, model)

    # Imported and looked at while the networks load: half of the time that one photo takes is the start.
    from facemend.folder.plan import REPORT
    from facemend.folder.records import FolderStore, Records, pixel_options, sole_run
    from facemend.folder.run import run_batch
    from facemend.imaging import Outputs

    kind, work = home()
    batch = batch or _planned(photos, given, naming)
    if model is not None and task != "restoration":  # facemend has none of its own for these
        warn(f"network: {model.name}, from {model.origin}")
    outputs = Outputs(batch.inputs, overwrite=given.overwrite)
    root = batch.root if resumes and batch.jobs else None
    told: dict[str, Any] = {"batch": batch, "done": kind.done}
    told["outputs"] = reports_of(given, batch.inputs, goes_on=root is not None)
    worker = load(kind, options, model, loading)
    how: dict[str, Any] = {"crops": given.crops, "compare": given.compare, "jobs": jobs, "options": options}
    if root is not None:
        how["records"] = Records(FolderStore(root), pixel_options(options, model))
    told["notes"] = worker.notes
    told["lasting"] = None if root is None else root / REPORT
    told["places"] = batch.places if into_folder else ()
    with nullcontext() if root is None else sole_run(root, *([given.crops] if given.crops else [])):
        reports = run_batch(batch, partial(work, worker), outputs, **how)
        all_well = follow(reports, len(batch.jobs), options, given.report, **told)
    tell_unlisted(batch)
    if not all_well or batch.unlisted:
        raise typer.Exit(1)


def _planned(photos: Sequence[Path], given: PhotoOptions, naming: Mapping[str, Any]) -> Batch:
    from facemend.folder.plan import plan_batch

    batch: Batch = checked(plan_batch, photos, given.output, leave_out=given.crops, **naming)
    return batch


def reports_of(given: PhotoOptions, inputs: Sequence[Path], *, goes_on: bool) -> Outputs:
    """Writes the report, for which its name is claimed.

    Where a run goes on, the report of it before is made anew: it has the photos that were done, too.
    """
    from facemend.folder.run import is_report
    from facemend.imaging import Outputs

    again = goes_on and given.report is not None and is_report(given.report)
    outputs = Outputs(inputs, overwrite=given.overwrite or again)
    if given.report is not None:
        outputs.claim(given.report)
    return outputs


def follow(
    reports: Iterable[FileReport],
    count: int,
    options: RestoreOptions,
    report: Path | None,
    outputs: Outputs,
    *,
    places: Sequence[Path | str] = (),
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
        places: the folders that the results go to, to be named at the end.
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
    totals = Totals(auto=options.w == "auto")
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
                    tell(item, notes, auto=options.w == "auto")
        except KeyboardInterrupt:
            stopped = True
            _tell_stop(totals.count, count, resumes=lasting is not None)
    if whole is not None and batch is not None:
        outputs.save_text(whole, report_text(kept, batch, options))
    if batch is not None:
        tell_ignored(batch.ignored)
    if totals.enlarged and options.upscale == "auto":
        warn("photos with small faces were enlarged: --upscale 1 keeps the size")
    _summary(totals, count, done, places)
    if stopped:
        raise typer.Exit(STOPPED)
    return bool(totals.count) and not totals.failed


@dataclass
class Totals:
    """What became of the photos of a run so far.

    Attributes:
        done: photos that went well now.
        before: photos that an earlier run had done.
        failed: the others.
        otherwise: how many of these an earlier run had done with which other options.
        faces: worked on now.
        enlarged: photos that became larger now.
        lines: one for each of the first that went well, and with w auto for its first faces.
        auto: whether w was found for each face.
    """

    done: int = 0
    before: int = 0
    failed: int = 0
    otherwise: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    enlarged: int = 0
    lines: list[str] = field(default_factory=list)
    auto: bool = False

    @property
    def count(self) -> int:
        """Of all of them."""
        return self.done + self.before + self.failed

    def add(self, item: FileReport) -> None:
        """Count one more."""
        if item.error is not None:
            self.failed += 1
            if item.other_options:
                self.otherwise[item.other_options] += 1
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
                self.lines += [chosen(face) for face in item.faces[:FEW] if self.auto and face.get("looks")]


def chosen(face: Mapping[str, Any]) -> str:
    """What auto found and did, of one face."""
    how = f"w {face['w']:g}" + (f", strength {face['strength']:g}" if face["strength"] < 1 else "")
    return f"  face {face['number']}: {face['looks']}: {'left as it is' if face['left'] else how}"


def tell(item: FileReport, told: Sequence[str], *, auto: bool) -> None:
    """Say what is wrong with one file, apart from what was told for all, and which faces were left."""
    from facemend.photo.prepared import NOT_CHOSEN

    if item.error is not None and not item.other_options:  # of these there may be thousands
        warn(f"facemend: {item.error}")
    if item.error is not None or item.done_before:
        return
    for note in item.notes:
        if note not in told:
            warn(f"{shown(item.source)}: {note}")
    left = [face["reason"] for face in item.skipped if face["reason"] != NOT_CHOSEN]
    if left:
        more = f" (the first of {len(left)} faces left as they are)" if len(left) > 1 else ""
        warn(f"{shown(item.source)}: a face was left as it is: {left[0]}{more}")
    for face in item.faces if auto else ():
        if face.get("left"):
            warn(f"{shown(item.source)}: face {face['number']} was left as it is: {face['left']}")


def _tell_stop(done: int, count: int, *, resumes: bool) -> None:
    if count == 1:
        warn("facemend: stopped before the photo was done")
        return
    rest = "goes on from there" if resumes else "does these"
    warn(
        f"facemend: stopped after {done} of {plural(count, 'photo')}: {count - done} are left, "
        f"and the same command {rest}"
    )


def tell_otherwise(counts: Counter[str], noun: str, places: Sequence[Path | str]) -> None:
    """Say how many photos or films were there already, made with which other options."""
    where = "".join(f"{shown(place)}: " for place in places[:1])
    for others, count in counts.items():
        were, them = ("was", "it") if count == 1 else ("were", "them")
        warn(
            f"facemend: {where}{plural(count, noun)} {were} made with other options ({others}): "
            f"--overwrite makes {them} anew, or give another folder"
        )


def other_count(counts: Counter[str]) -> str:
    """The same as a part of a summary."""
    count = sum(counts.values())
    return f", {count} with other options" if count else ""


def tell_places(places: Sequence[Path | str]) -> None:
    """Say in which folders the results are."""
    if places:
        more = f" and {plural(len(places) - FEW, 'more folder')}" if len(places) > FEW else ""
        say(f"-> {', '.join(shown(place) for place in places[:FEW])}{more}")


def _summary(totals: Totals, count: int, done_word: str, places: Sequence[Path | str]) -> None:
    tell_otherwise(totals.otherwise, "photo", places)
    for line in totals.lines if totals.done <= FEW else []:
        say(line)
    if not count:
        warn("facemend: no photos found")
    elif totals.count > 1 or totals.before:
        larger = f", {plural(totals.enlarged, 'photo')} enlarged" if totals.enlarged else ""
        faces = f"({plural(totals.faces, 'face')} {done_word}{larger})"
        before = f", {totals.before} done before" if totals.before else ""
        failed = totals.failed - sum(totals.otherwise.values())
        others = other_count(totals.otherwise)
        say(f"{plural(totals.done, 'photo')} done {faces}{before}{others}, {failed} failed")
    if totals.count:
        tell_places(places)


def tell_ignored(files: Sequence[Path | str], noun: str = "pictures") -> None:
    """Name some of the files in folders that were left out, if there are any; films apart from the rest."""
    from facemend.video.kinds import is_film

    films = [path for path in files if noun == "pictures" and is_film(path)]
    others = [path for path in files if path not in films]
    if films:
        count, them = plural(len(films), "film"), "it" if len(films) == 1 else "them"
        warn(f"{count} left out (`facemend video FOLDER` restores {them}): {_some(films)}")
    if others:
        warn(f"skipped {plural(len(others), 'file')}, by their names no {noun}: {_some(others)}")


def tell_unlisted(batch: Batch) -> None:
    """Name the folders that were left out: those that cannot be listed, those of an earlier run."""
    for folder in batch.earlier:
        warn(f"{shown(folder)}: holds results of an earlier run and was left out: name it to work on these")
    for folder in batch.unlisted:
        warn(f"facemend: {shown(folder)}: cannot be listed, what is in it is left out: check its permissions")


def _some(files: Sequence[Path | str]) -> str:
    more = f" and {len(files) - FEW} more" if len(files) > FEW else ""
    return ", ".join(shown(path) for path in files[:FEW]) + more
