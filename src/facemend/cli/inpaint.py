"""`facemend inpaint`: photos and masks in, photos whose faces are whole again out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli._shared import photos as shared
from facemend.cli._shared.photos import DEFAULTS, Run, checked, run_photos

if TYPE_CHECKING:
    from facemend.photo.file import Work
    from facemend.photo.options import RestoreOptions

app = typer.Typer()

TASK = "inpainting"


@app.command()
def inpaint(
    photos: shared.Photos,
    mask: Annotated[
        Path,
        typer.Option(
            help="Picture of the photo's size, white where it is to be filled in; or a folder of these, "
            "with the photos' names.",
            show_default=False,
        ),
    ],
    output: shared.Output = None,
    w: Annotated[
        float,
        typer.Option("-w", "--w", min=0, max=1, help="Fidelity to the rest of the face; 1 as published."),
    ] = 1.0,
    faces: shared.Faces = DEFAULTS.faces,
    aligned: shared.Aligned = DEFAULTS.aligned,
    compare: shared.Compare = False,
    overwrite: shared.Overwrite = False,
    crops: shared.Crops = None,
    report: shared.Report = None,
    min_face: shared.MinFace = DEFAULTS.min_face,
    model: shared.TaskModel = None,
    threads: shared.Threads = DEFAULTS.threads,
    jobs: shared.Jobs = 0,
    device: shared.Device = DEFAULTS.device,
    backend: shared.Backend = DEFAULTS.backend,
    precision: shared.Precision = DEFAULTS.precision,
) -> None:
    """Fill in what a mask covers of the faces in photos; nothing else is touched."""
    from facemend.folder.plan import plan_batch
    from facemend.photo.tasks import task_options

    settings: dict[str, object] = {
        "w": w,
        "faces": faces,
        "aligned": aligned,
        "threads": threads,
        "device": device,
        "backend": backend,
        "precision": precision,
        "min_face": min_face,
    }
    settings |= {} if model is None else {"model": model}
    options = checked(task_options, TASK, None, settings)
    batch = checked(plan_batch, photos, output, marker="_inpainted", masks=mask)
    run = Run(jobs, overwrite, compare, crops, report, TASK, "filling in", "filled in")
    run_photos(batch, options, run, _open)


def _open(options: RestoreOptions) -> tuple[Work, tuple[str, ...]]:
    from facemend.photo.inpaint import Inpainter

    inpainter = Inpainter(options)
    return inpainter.inpaint, inpainter.notes
