"""What `restore`, `colorize` and `inpaint` share: their options, and a run over photos and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError
from facemend.photo.options import RestoreOptions

if TYPE_CHECKING:
    from facemend.folder.plan import Batch
    from facemend.folder.run import FileReport
    from facemend.imaging import Outputs
    from facemend.photo.file import Work

DEFAULTS = RestoreOptions()
MORE, SPEED = "More", "Speed"
FEW = 5
"""Up to so many photos are told of one by one."""

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="File or folder to write; by default a new name beside each."),
]
Faces = Annotated[str, typer.Option(help="Faces to work on: all, largest or center.")]
Aligned = Annotated[bool, typer.Option("--aligned", help="The inputs are aligned face crops, of any size.")]
Compare = Annotated[
    bool, typer.Option("--compare", help="Write a before/after picture too (NAME_compare.jpg).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs (never an input).")]
Crops = Annotated[
    Path | None, typer.Option(help="Folder for the aligned faces, before and after.", rich_help_panel=MORE)
]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write what happened to each file: .json, or .jsonl line by line. "
        "Folders have OUTPUT/facemend.jsonl anyway.",
        rich_help_panel=MORE,
    ),
]
MinFace = Annotated[
    float, typer.Option(min=0, help="Leave smaller faces as they are, pixels.", rich_help_panel=MORE)
]
_MODEL = "a name of `facemend models`, a model folder, or a weight file."
Model = Annotated[str, typer.Option(help=f"Model to use: {_MODEL}", rich_help_panel=MORE)]
TaskModel = Annotated[
    str | None,
    typer.Option(help=f"Model to use: {_MODEL} Default: the one for this task.", rich_help_panel=MORE),
]
Threads = Annotated[
    int, typer.Option(min=0, help="CPU threads for one photo; 0 = automatic.", rich_help_panel=SPEED)
]
Jobs = Annotated[
    int,
    typer.Option(
        min=0, help="Photos (with --engine ray: workers) at a time; 0 = automatic.", rich_help_panel=SPEED
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="local, or ray: a folder (path or URL) over the workers of a Ray cluster (docs/scale.md).",
        rich_help_panel=SPEED,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, or another that `facemend doctor` lists.", rich_help_panel=SPEED)
]
Backend = Annotated[str, typer.Option(help="What runs the network: onnx or torch.", rich_help_panel=SPEED)]
Precision = Annotated[str, typer.Option(help="fp32; with --backend torch also bf16.", rich_help_panel=SPEED)]


@dataclass(frozen=True)
class Run:
    """How the photos of a run are worked on.

    Attributes:
        jobs: photos at a time, 0: automatic.
        overwrite: whether existing outputs are replaced.
        compare: whether NAME_compare.jpg is written too.
        crops: folder for the aligned faces, or None.
        report: the report's file, or None.
        task: what the model must be for.
        doing: of what the progress bar tells.
        done: what the faces are in the end.
        resumes: whether a folder goes on where an earlier run ended, and keeps records for that.
    """

    jobs: int
    overwrite: bool
    compare: bool
    crops: Path | None
    report: Path | None
    task: str = "restoration"
    doing: str = "restoring"
    done: str = "restored"
    resumes: bool = False


def checked(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `make` gives; a wrong option is a wrong use of the command."""
    try:
        return make(*arguments, **options)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def with_model(options: RestoreOptions, task: str) -> RestoreOptions:
    """The options with a model that is there: a weight file is imported at its first use."""
    from facemend.cli._shared.weights import resolve_model

    if options.backend == "torch" and options.model.endswith(".safetensors"):  # torch reads these itself
        return options
    return replace(options, model=resolve_model(options.model, task))


def run_photos(
    batch: Batch,
    options: RestoreOptions,
    run: Run,
    open_work: Callable[[RestoreOptions], tuple[Work, tuple[str, ...]]],
) -> None:
    """Work on all photos, tell of each, sum up; ends the command if one failed.

    Args:
        batch: the photos.
        options: as given; the model may be a weight file, which is imported at its first use.
        run: how.
        open_work: loads the networks; gives the function for one photo, and notes for all of them.
    """
    from facemend.folder.plan import REPORT
    from facemend.folder.records import FolderStore, Records, options_digest, sole_run
    from facemend.folder.run import run_batch, share_cores
    from facemend.imaging import Outputs

    options = with_model(options, run.task)
    options, jobs = share_cores(options, len(batch.jobs), run.jobs, run.task)
    outputs = Outputs(batch.inputs, overwrite=run.overwrite)
    if run.report is not None:
        outputs.claim(run.report)
    work, notes = open_work(options)
    for note in notes:
        warn(f"facemend: {note}")
    root = batch.root if run.resumes and batch.jobs else None
    records = None
    if root is not None:
        extras = [name for name, wanted in (("compare", run.compare), ("crops", run.crops)) if wanted]
        records = Records(FolderStore(root), options_digest(options, *extras))
    with nullcontext() if root is None else sole_run(root, *([run.crops] if run.crops else [])):
        reports = run_batch(
            batch, work, outputs, crops=run.crops, compare=run.compare, jobs=jobs, records=records
        )
        lasting = None if root is None else root / REPORT
        all_well = follow(reports, len(batch.jobs), options, run, outputs, lasting, batch, notes)
    tell_ignored(batch.ignored)
    if not all_well:
        raise typer.Exit(1)


def follow(
    reports: Iterable[FileReport],
    count: int,
    options: RestoreOptions,
    run: Run,
    outputs: Outputs,
    lasting: Path | None = None,
    batch: Batch | None = None,
    notes: Sequence[str] = (),
) -> bool:
    """Go along with a run: show its progress, tell of each photo, write the reports, sum up.

    Args:
        reports: what happened to each photo, as it happens.
        count: of the photos.
        options: how they are restored.
        run: how the run goes; its report is claimed already.
        outputs: writes the reports.
        lasting: the report of lines that every run into a folder adds to.
        batch: the photos, for a report in one piece.
        notes: what was told for all photos.

    Returns:
        Whether all went well.

    Raises:
        typer.Exit: status 130: the run was interrupted.
    """
    from facemend.folder.run import report_head, report_line, report_text

    whole = run.report if run.report and run.report.suffix.lower() != ".jsonl" else None
    lined = run.report if whole is None else None
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
            with progress(run.doing, count) as advance:
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
    _summary(totals, run.done)
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
        lines: one for each of the first that went well.
    """

    done: int = 0
    before: int = 0
    failed: int = 0
    faces: int = 0
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
            if self.done <= FEW:
                faces = plural(len(item.faces), "face")
                self.lines.append(f"{shown(item.output)}: {faces}, {item.seconds['total']:.1f} s")


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
        faces = f"({plural(totals.faces, 'face')} {done_word})"
        before = f", {totals.before} done before" if totals.before else ""
        say(f"{plural(totals.done, 'photo')} done {faces}{before}, {totals.failed} failed")


def tell_ignored(files: Sequence[Path | str]) -> None:
    """Name some of the files in folders that are no pictures, if there are any."""
    if files:
        names = ", ".join(shown(path) for path in files[:5])
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        warn(f"skipped {plural(len(files), 'file')} that are no pictures: {names}{more}")
