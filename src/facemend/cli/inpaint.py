"""`facemend inpaint`: photos and masks in, photos whose faces are whole again out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.options import PhotoOptions, Photos, takes

app = typer.Typer()


@app.command()
@takes(PhotoOptions)
def inpaint(
    photos: Photos,
    given: PhotoOptions,
    mask: Annotated[
        Path,
        typer.Option(
            help="Picture of the photo's size, white where it is to be filled in; or a folder of these, "
            "with the photos' names.",
            show_default=False,
        ),
    ],
    w: Annotated[
        float,
        typer.Option("-w", "--w", min=0, max=1, help="Fidelity to the rest of the face; 1 as published."),
    ] = 1.0,
) -> None:
    """Fill in what a mask covers of the faces in photos; nothing else is touched.

    The network is not facemend's: import one first, see docs/tasks.md
    (`facemend models import codeformer_inpainting.pth`).
    """
    from facemend.cli._shared import pipe
    from facemend.cli._shared.photos import run_photos
    from facemend.photo.inpaint import Inpainter

    if pipe.is_piped(photos, given.output):
        pipe.run_piped(Inpainter, Inpainter.inpaint, photos, given, {"w": w}, mask)
    else:
        run_photos(Inpainter, Inpainter.inpaint, photos, given, {"w": w}, marker="_inpainted", masks=mask)
