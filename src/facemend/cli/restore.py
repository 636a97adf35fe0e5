"""`facemend restore`: photos and folders in, the same restored out; films go to `facemend video`."""

from __future__ import annotations

from os.path import isfile
from typing import Annotated, Any, Literal

import typer

from facemend.cli._shared import films as video
from facemend.cli._shared import pipe
from facemend.cli._shared import ray as cluster
from facemend.cli._shared.console import warn
from facemend.cli._shared.options import (
    AUTO_W,
    DEFAULTS,
    SPEED,
    Background,
    Grain,
    Likeness,
    PhotoOptions,
    Photos,
    Strength,
    examples,
    fidelity,
    takes,
)
from facemend.photo.options import read_upscale

app = typer.Typer()


@app.command(
    epilog=examples(
        "`facemend restore old.jpg -o new.jpg`: one photo",
        "`facemend restore album/ -o restored/ --upscale 1`: a folder; the same line again goes on",
        "`facemend restore old.jpg -o new.jpg -w 0.8 --faces largest`: closer to the photo",
        "`facemend restore - -o - --ext png < old.jpg > new.png`: in a pipe",
    )
)
@takes(PhotoOptions)
def restore(
    photos: Photos,
    given: PhotoOptions,
    w: Annotated[
        str | None,
        typer.Option(
            "-w",
            "--w",
            metavar="0..1|auto",
            help=f"Fidelity: 0 = most redrawn, 1 = closest to the photo; default: 0.5, films 0.7. {AUTO_W}.",
        ),
    ] = None,
    likeness: Likeness = DEFAULTS.likeness,
    strength: Strength = DEFAULTS.strength,
    upscale: Annotated[
        str,
        typer.Option(
            help="Output size: 1, 2 or 4 times the input. auto: the smallest of these at which the largest "
            "face is nearly as large as the model draws it, up to 6,000 pixels a side; 1 without a face, "
            "with --aligned, and for films."
        ),
    ] = "auto",
    background: Background = DEFAULTS.background,
    grain: Grain = DEFAULTS.grain,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            help="ray: a folder (path or URL) over the workers of a Ray cluster (docs/scale.md).",
            rich_help_panel=SPEED,
        ),
    ] = "local",
) -> None:
    """Restore the faces in photos and folders of photos (and in films, see `facemend video`)."""
    from facemend.cli._shared.photos import run_photos

    own = fidelity(w, likeness, strength)
    own |= {"upscale": read_upscale(upscale), "background": background, "grain": grain}
    if pipe.is_piped(photos, given.output):
        pipe.run_piped(_home, photos, given, own)
    elif engine == "ray" and not all(map(isfile, photos)):  # one file needs no cluster
        cluster.run_cluster(photos, given, own)
    elif video.films_among(photos, given):
        warn("facemend: `facemend video` has the options of films: their part, codec and quality")
        video.run_films(photos, video.film_options(given), own)
    else:
        run_photos("restoration", _home, photos, given, own, resumes=True)


def _home() -> Any:
    from facemend.photo.restore import Restorer

    return Restorer, Restorer.restore
