"""`facemend restore`: photos and folders in, restored photos out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError
from facemend.pipeline.options import RestoreOptions

if TYPE_CHECKING:
    from facemend.pipeline.batch import Batch
    from facemend.pipeline.folder import FileReport

app = typer.Typer()

DEFAULTS = RestoreOptions()
_MORE = "More"


@app.command()
def restore(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File or folder to write; without it NAME_restored beside each."),
    ] = None,
    w: Annotated[
        float,
        typer.Option("-w", min=0, max=1, help="Fidelity: 0 = best looking face, 1 = closest to the photo."),
    ] = DEFAULTS.w,
    upscale: Annotated[int, typer.Option(help="Output size: 1, 2 or 4 times the input.")] = DEFAULTS.upscale,
    faces: Annotated[str, typer.Option(help="Faces to restore: all, largest or center.")] = DEFAULTS.faces,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The inputs are aligned face crops, of any size.")
    ] = DEFAULTS.aligned,
    compare: Annotated[
        bool, typer.Option("--compare", help="Write a before/after picture too (NAME_compare.jpg).")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs (never an input).")
    ] = False,
    crops: Annotated[
        Path | None,
        typer.Option(help="Folder for the aligned faces, before and after.", rich_help_panel=_MORE),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what happened to each file as JSON.", rich_help_panel=_MORE)
    ] = None,
    min_face: Annotated[
        float, typer.Option(min=0, help="Leave smaller faces as they are, pixels.", rich_help_panel=_MORE)
    ] = DEFAULTS.min_face,
    model: Annotated[
        str, typer.Option(help="Model to use, see `facemend models`.", rich_help_panel=_MORE)
    ] = DEFAULTS.model,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads; 0 = automatic.", rich_help_panel=_MORE)
    ] = DEFAULTS.threads,
) -> None:
    """Restore the faces in photos and folders of photos."""
    from facemend.pipeline.batch import Outputs, plan_batch
    from facemend.pipeline.folder import report_text, run_batch
    from facemend.pipeline.image import Restorer

    try:
        options = RestoreOptions(
            w=w,
            upscale=upscale,
            faces=faces,  # type: ignore[arg-type]  # checked by RestoreOptions
            aligned=aligned,
            model=model,
            threads=threads,
            min_face=min_face,
        )
        batch = plan_batch(photos, output)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None

    outputs = Outputs(batch.inputs, overwrite=overwrite)
    if report is not None:
        outputs.claim(report)
    restorer = Restorer(options)
    reports: list[FileReport] = []
    with progress("restoring", len(batch.jobs)) as advance:
        for item in run_batch(batch, restorer, outputs, crops=crops, compare=compare):
            reports.append(item)
            advance()
            _tell(item)
    if report is not None:
        outputs.save_text(report, report_text(reports, batch, options))
    if not _summary(reports, batch):
        raise typer.Exit(1)


def _tell(item: FileReport) -> None:
    if item.error is not None:
        warn(f"facemend: {item.error}")
        return
    for note in item.notes:
        warn(f"{shown(item.source)}: {note}")


def _summary(reports: list[FileReport], batch: Batch) -> bool:
    """Say what was done; whether all went well."""
    done = [item for item in reports if item.error is None]
    failed = len(reports) - len(done)
    for item in done if len(done) <= 5 else []:
        say(f"{shown(item.output)}: {plural(len(item.faces), 'face')}, {item.seconds['total']:.1f} s")
    if not reports:
        warn("facemend: no photos found")
    elif len(reports) > 1:
        faces = sum(len(item.faces) for item in done)
        say(f"{plural(len(done), 'photo')} done ({plural(faces, 'face')} restored), {failed} failed")
    if batch.ignored:
        names = ", ".join(shown(path) for path in batch.ignored[:5])
        more = f" and {len(batch.ignored) - 5} more" if len(batch.ignored) > 5 else ""
        warn(f"skipped {plural(len(batch.ignored), 'file')} that are no pictures: {names}{more}")
    return bool(reports) and not failed
