"""`facemend degrade`: make LQ pictures from good ones, repeatably."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli.console import plural, progress, say, shown, warn
from facemend.errors import ConfigError, FacemendError, InputError

if TYPE_CHECKING:
    from facemend.degradations import Plan, Recipe
    from facemend.imaging import Picture

app = typer.Typer()

MAX_PLAN_BYTES = 1 << 16


@app.command()
def degrade(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File or folder to write.")],
    preset: Annotated[
        str, typer.Option(help="Recipe to draw from, such as heavy, medium or mixed.")
    ] = "heavy",
    seed: Annotated[int, typer.Option(min=0, help="Seed; the k-th picture is drawn with seed + k.")] = 0,
    plan: Annotated[Path | None, typer.Option(help="Replay this saved plan instead of drawing one.")] = None,
    save_plan: Annotated[
        bool, typer.Option("--save-plan", help="Write each plan beside its picture (NAME.plan.json).")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Degrade pictures: blur, downsampling, noise, JPEG. The same seed gives the same pixels.

    Into a folder, pictures are written as PNG: a JPEG would add a loss that is not in the plan.
    """
    from facemend.degradations import preset as find_preset
    from facemend.imaging import read_picture
    from facemend.pipeline.batch import Outputs, plan_batch

    try:
        how: Recipe | Plan = find_preset(preset)
        batch = plan_batch(photos, output, extension=".png")
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    if plan is not None:
        how = _read_plan(plan)
    outputs = Outputs(batch.inputs, overwrite=overwrite)
    failed = 0
    with progress("degrading", len(batch.jobs)) as advance:
        for number, job in enumerate(batch.jobs):
            plan_file = job.output.with_name(f"{job.output.stem}.plan.json")
            try:
                outputs.claim(job.output)
                if save_plan:
                    outputs.claim(plan_file)
                picture, used = degraded(read_picture(job.source), how, seed + number)
                outputs.save(job.output, picture)
                if save_plan:
                    outputs.save_text(plan_file, used.to_json() + "\n")
                if len(batch.jobs) == 1:
                    say(f"{shown(job.output)}: {used}")
            except FacemendError as error:
                failed += 1
                warn(f"facemend: {error}")
            advance()
    if not batch.jobs:
        warn("facemend: no pictures found")
    elif len(batch.jobs) > 1:
        say(f"{plural(len(batch.jobs) - failed, 'picture')} degraded, {failed} failed -> {shown(output)}")
    if failed or not batch.jobs:
        raise typer.Exit(1)


def degraded(picture: Picture, how: Recipe | Plan, seed: int = 0) -> tuple[Picture, Plan]:
    """A degraded copy of a picture, and the plan. Alpha and metadata are kept; the colours get 8 bits."""
    import numpy as np

    from facemend.degradations import degrade
    from facemend.imaging import from_float, to_float

    pixels, plan = degrade(from_float(picture.as_float()).astype(np.uint8, copy=False), how, seed)
    return picture.with_pixels(to_float(pixels)), plan


def _read_plan(path: Path) -> Plan:
    from facemend.degradations import Plan

    try:
        with path.open("rb") as handle:
            return Plan.from_json(handle.read(MAX_PLAN_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
