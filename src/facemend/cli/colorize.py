"""`facemend colorize`: gray photos in, photos with coloured faces out."""

from __future__ import annotations

import typer

from facemend.cli._shared.options import PhotoOptions, Photos, takes

app = typer.Typer()


@app.command()
@takes(PhotoOptions)
def colorize(photos: Photos, given: PhotoOptions) -> None:
    """Colour the faces in gray photos; light and detail stay the photo's."""
    from facemend.cli._shared.photos import run_photos
    from facemend.photo.colorize import Colorizer

    run_photos(Colorizer, Colorizer.colorize, photos, given, marker="_colorized")
