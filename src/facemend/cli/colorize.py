"""`facemend colorize`: gray photos in, photos with coloured faces out."""

from __future__ import annotations

import typer

from facemend.cli._shared.options import PhotoOptions, Photos, takes

app = typer.Typer()


@app.command()
@takes(PhotoOptions)
def colorize(photos: Photos, given: PhotoOptions) -> None:
    """Colour the faces in gray photos; light and detail stay the photo's.

    The network is not facemend's: import one first, see docs/tasks.md
    (`facemend models import codeformer_colorization.pth`).
    """
    from facemend.cli._shared import pipe
    from facemend.cli._shared.photos import run_photos
    from facemend.photo.colorize import Colorizer

    if pipe.is_piped(photos, given.output):
        pipe.run_piped(Colorizer, Colorizer.colorize, photos, given)
    else:
        run_photos(Colorizer, Colorizer.colorize, photos, given, marker="_colorized")
