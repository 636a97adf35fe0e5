"""`facemend degrade`: make LQ pictures from good ones, repeatably."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn
from facemend.cli._shared.options import checked
from facemend.cli._shared.photos import tell_ignored, tell_unlisted
from facemend.errors import ConfigError, FacemendError, InputError

if TYPE_CHECKING:
    from facemend.degradations import Plan, Recipe
    from facemend.folder.plan import Batch
    from facemend.imaging import Outputs, Picture

app = typer.Typer()

MAX_PLAN_BYTES = 1 << 16


@app.command()
def degrade(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.", readable=False),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File or folder to write. Not needed with --sheet.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Recipe to draw from, such as heavy, medium, mixed or scan. Default: heavy."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed; the k-th picture is drawn with seed + k. Default: 0.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Replay this saved plan instead of drawing one.")] = None,
    save_plan: Annotated[
        bool, typer.Option("--save-plan", help="Write each plan beside its picture (NAME.plan.json).")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Write a contact sheet: the clean faces, and draws with seed, seed + 1 and so on."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Degrade pictures: blur, downsampling, noise, JPEG, old prints. The same seed gives the same pixels.

    Into a folder, pictures are written as PNG: a JPEG would add a loss that is not in the plan.
    """
    from facemend.degradations import preset as find_preset
    from facemend.folder.plan import plan_batch
    from facemend.imaging import Outputs

    if output is None and sheet is None:
        raise typer.BadParameter("say where to write: -o FILE or FOLDER, --sheet FILE, or both")
    if sheet is not None and plan is not None:
        raise typer.BadParameter("a sheet shows draws: it does not go with --plan")
    if plan is not None and (preset, seed) != (None, None):
        raise typer.BadParameter(
            "a plan is what was drawn: --preset and --seed would change nothing beside it"
        )
    if output is None and save_plan:
        raise typer.BadParameter("--save-plan writes beside pictures: it needs -o")
    recipe = checked(find_preset, "heavy" if preset is None else preset)
    batch = checked(plan_batch, photos, output, extension=".png")
    how = recipe if plan is None else _read_plan(plan)
    outputs = Outputs(batch.inputs, overwrite=overwrite)
    if not batch.jobs:
        tell_unlisted(batch)
        warn("facemend: no pictures found")
        raise typer.Exit(1)
    failed = 0
    if sheet is not None:
        failed += _write_sheet(batch, recipe, seed or 0, outputs, sheet)
    if output is not None:
        failed += _write_pictures(batch, how, seed or 0, outputs, save_plan)
        if len(batch.jobs) > 1:
            say(f"{plural(len(batch.jobs) - failed, 'picture')} degraded, {failed} failed -> {shown(output)}")
    tell_ignored(batch.ignored)
    tell_unlisted(batch)
    if failed or batch.unlisted:
        raise typer.Exit(1)


def _write_pictures(batch: Batch, how: Recipe | Plan, seed: int, outputs: Outputs, save_plan: bool) -> int:
    """One output a picture; how many failed."""
    from facemend.imaging import read_picture

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
                elif _is_of_another(plan_file, used):
                    warn(f"{shown(plan_file)}: is not of the picture beside it: --save-plan writes it anew")
                if used.size != (side := min(picture.width, picture.height)):
                    warn(f"{shown(job.output)}: its lengths are of a plan for {used.size} px, here {side}")
                if len(batch.jobs) == 1:
                    say(f"{shown(job.output)}: {used}")
            except FacemendError as error:
                failed += 1
                warn(f"facemend: {error}")
            advance()
    return failed


def _is_of_another(plan_file: Path, plan: Plan) -> bool:
    """Whether there is a plan file, and not of this plan (which may have been replayed from it)."""
    try:
        return plan_file.is_file() and plan_file.read_bytes() != (plan.to_json() + "\n").encode()
    except OSError:
        return True


def _write_sheet(batch: Batch, recipe: Recipe, seed: int, outputs: Outputs, path: Path) -> int:
    """Draws of the first pictures side by side; how many could not be read.

    Raises:
        OutputError: the sheet cannot be written, or may not be.
    """
    from facemend.degradations.sheet import MOST, draw_sheet
    from facemend.imaging import Picture, read_picture, to_8_bits

    outputs.claim(path)
    faces = []
    jobs = batch.jobs[:MOST]
    for job in jobs:
        try:
            faces.append(to_8_bits(read_picture(job.source).pixels))
        except FacemendError as error:
            warn(f"facemend: {error}")
    if faces:
        outputs.save(path, Picture(pixels=draw_sheet(faces, recipe, seed)))
        left = len(batch.jobs) - len(jobs)
        say(f"{shown(path)}: {plural(len(faces), 'face')}" + (f"; no room for {left} more" if left else ""))
    return len(jobs) - len(faces)


def degraded(picture: Picture, how: Recipe | Plan, seed: int = 0) -> tuple[Picture, Plan]:
    """A degraded copy of a picture, and the plan. Alpha and metadata are kept; the colours get 8 bits."""
    from facemend.degradations import degrade
    from facemend.imaging import to_8_bits, to_float

    pixels, plan = degrade(to_8_bits(picture.pixels), how, seed)
    toned = picture.gray and bool((pixels != pixels[..., :1]).any())
    return (picture.in_rgb() if toned else picture).with_pixels(to_float(pixels)), plan


def _read_plan(path: Path) -> Plan:
    from facemend.degradations import Plan

    try:
        with path.open("rb") as handle:
            return Plan.from_json(handle.read(MAX_PLAN_BYTES))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}: --save-plan writes one that can be replayed") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
