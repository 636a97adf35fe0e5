"""`facemend colorize`: gray photos in, photos with coloured faces out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from facemend.cli._shared import photos as shared
from facemend.cli._shared.photos import DEFAULTS, Run, checked, run_photos

if TYPE_CHECKING:
    from facemend.photo.file import Work
    from facemend.photo.options import RestoreOptions

app = typer.Typer()

TASK = "colorization"


@app.command()
def colorize(
    photos: shared.Photos,
    output: shared.Output = None,
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
    """Colour the faces in gray photos; light and detail stay the photo's."""
    from facemend.folder.plan import plan_batch
    from facemend.photo.tasks import task_options

    settings: dict[str, object] = {
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
    batch = checked(plan_batch, photos, output, marker="_colorized")
    run = Run(jobs, overwrite, compare, crops, report, TASK, "colouring", "coloured")
    run_photos(batch, options, run, _open)


def _open(options: RestoreOptions) -> tuple[Work, tuple[str, ...]]:
    from facemend.photo.colorize import Colorizer

    colorizer = Colorizer(options)
    return colorizer.colorize, colorizer.notes
