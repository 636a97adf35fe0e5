"""What `restore`, `colorize` and `inpaint` share: their options, and a run over photos and folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemend.cli.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError
from facemend.pipeline.options import RestoreOptions

if TYPE_CHECKING:
    from facemend.pipeline.batch import Batch
    from facemend.pipeline.folder import FileReport, Work

DEFAULTS = RestoreOptions()
MORE, SPEED = "More", "Speed"

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
    Path | None, typer.Option(help="Write what happened to each file as JSON.", rich_help_panel=MORE)
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
Jobs = Annotated[int, typer.Option(min=0, help="Photos at a time; 0 = automatic.", rich_help_panel=SPEED)]
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
    """

    jobs: int
    overwrite: bool
    compare: bool
    crops: Path | None
    report: Path | None
    task: str = "restoration"
    doing: str = "restoring"
    done: str = "restored"


def checked(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `make` gives; a wrong option is a wrong use of the command."""
    try:
        return make(*arguments, **options)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


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
    from facemend.cli.weights import resolve_model
    from facemend.pipeline.batch import Outputs
    from facemend.pipeline.folder import report_text, run_batch, share_cores

    if options.backend == "onnx" or not options.model.endswith(".safetensors"):  # torch reads these itself
        options = replace(options, model=resolve_model(options.model, run.task))
    options, jobs = share_cores(options, len(batch.jobs), run.jobs, run.task)
    outputs = Outputs(batch.inputs, overwrite=run.overwrite)
    if run.report is not None:
        outputs.claim(run.report)
    work, notes = open_work(options)
    for note in notes:
        warn(f"facemend: {note}")
    reports: list[FileReport] = []
    stopped = False
    try:
        with progress(run.doing, len(batch.jobs)) as advance:
            for item in run_batch(batch, work, outputs, crops=run.crops, compare=run.compare, jobs=jobs):
                reports.append(item)
                advance()
                _tell(item, notes)
    except KeyboardInterrupt:
        stopped = True
        warn(f"facemend: stopped after {len(reports)} of {plural(len(batch.jobs), 'photo')}")
    if run.report is not None:
        outputs.save_text(run.report, report_text(reports, batch, options))
    if not _summary(reports, batch, run.done) or stopped:
        raise typer.Exit(130 if stopped else 1)


def _tell(item: FileReport, told: Sequence[str]) -> None:
    """Say what is wrong with one file, apart from what was told for all."""
    if item.error is not None:
        warn(f"facemend: {item.error}")
        return
    for note in item.notes:
        if note not in told:
            warn(f"{shown(item.source)}: {note}")


def _summary(reports: list[FileReport], batch: Batch, done_word: str) -> bool:
    """Say what was done; whether all went well."""
    done = [item for item in reports if item.error is None]
    failed = len(reports) - len(done)
    for item in done if len(done) <= 5 else []:
        say(f"{shown(item.output)}: {plural(len(item.faces), 'face')}, {item.seconds['total']:.1f} s")
    if not reports:
        warn("facemend: no photos found")
    elif len(reports) > 1:
        faces = sum(len(item.faces) for item in done)
        say(f"{plural(len(done), 'photo')} done ({plural(faces, 'face')} {done_word}), {failed} failed")
    if batch.ignored:
        names = ", ".join(shown(path) for path in batch.ignored[:5])
        more = f" and {len(batch.ignored) - 5} more" if len(batch.ignored) > 5 else ""
        warn(f"skipped {plural(len(batch.ignored), 'file')} that are no pictures: {names}{more}")
    return bool(reports) and not failed
