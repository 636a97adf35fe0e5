"""`facemend restore`: photos and folders in, restored photos out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
_MORE, _SPEED = "More", "Speed"


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
        str,
        typer.Option(
            help="Model to use: a name of `facemend models`, a model folder, or a weight file.",
            rich_help_panel=_MORE,
        ),
    ] = DEFAULTS.model,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads for one photo; 0 = automatic.", rich_help_panel=_SPEED)
    ] = DEFAULTS.threads,
    jobs: Annotated[
        int, typer.Option(min=0, help="Photos at a time; 0 = automatic.", rich_help_panel=_SPEED)
    ] = 0,
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, or another that `facemend doctor` lists.", rich_help_panel=_SPEED),
    ] = DEFAULTS.device,
    backend: Annotated[
        str, typer.Option(help="What runs the network: onnx or torch.", rich_help_panel=_SPEED)
    ] = DEFAULTS.backend,
    precision: Annotated[
        str, typer.Option(help="fp32; with --backend torch also bf16.", rich_help_panel=_SPEED)
    ] = DEFAULTS.precision,
) -> None:
    """Restore the faces in photos and folders of photos."""
    from facemend.cli.weights import resolve_model
    from facemend.pipeline.batch import Outputs, plan_batch
    from facemend.pipeline.folder import report_text, run_batch, share_cores
    from facemend.pipeline.image import Restorer

    try:
        options = RestoreOptions(
            w=w,
            upscale=upscale,
            faces=faces,  # type: ignore[arg-type]  # checked by RestoreOptions
            aligned=aligned,
            model=model,
            threads=threads,
            device=device,
            backend=backend,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            min_face=min_face,
        )
        batch = plan_batch(photos, output)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None

    if backend == "onnx" or not model.endswith(".safetensors"):  # torch reads checkpoints as they are
        options = replace(options, model=resolve_model(model))
    options, jobs = share_cores(options, len(batch.jobs), jobs)
    outputs = Outputs(batch.inputs, overwrite=overwrite)
    if report is not None:
        outputs.claim(report)
    restorer = Restorer(options)
    for note in restorer.notes:
        warn(f"facemend: {note}")
    reports: list[FileReport] = []
    stopped = False
    try:
        with progress("restoring", len(batch.jobs)) as advance:
            for item in run_batch(batch, restorer, outputs, crops=crops, compare=compare, jobs=jobs):
                reports.append(item)
                advance()
                _tell(item, restorer.notes)
    except KeyboardInterrupt:
        stopped = True
        warn(f"facemend: stopped after {len(reports)} of {plural(len(batch.jobs), 'photo')}")
    if report is not None:
        outputs.save_text(report, report_text(reports, batch, options))
    if not _summary(reports, batch) or stopped:
        raise typer.Exit(130 if stopped else 1)


def _tell(item: FileReport, told: Sequence[str]) -> None:
    """Say what is wrong with one file, apart from what was told for all."""
    if item.error is not None:
        warn(f"facemend: {item.error}")
        return
    for note in item.notes:
        if note not in told:
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
