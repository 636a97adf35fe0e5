"""`facemend video`: films in, the same with restored faces out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared import films as shared
from facemend.cli._shared.options import (
    AUTO_W,
    DEFAULTS,
    FilmOptions,
    Likeness,
    Strength,
    examples,
    fidelity,
    takes,
)
from facemend.photo.options import read_upscale

app = typer.Typer()


@app.command(
    epilog=examples(
        "`facemend video film.mp4 -o out.mp4`: a film with its sound",
        "`facemend video film.mp4 -o part.mp4 --start 1:30 --end 1:40`: a part, to try w",
        "`facemend video films/ -o restored/`: a folder",
    )
)
@takes(FilmOptions)
def video(
    films: Annotated[
        list[Path],
        typer.Argument(metavar="FILM...", help="Films, animations, or folders of films.", readable=False),
    ],
    given: FilmOptions,
    w: Annotated[
        str | None,
        typer.Option(
            "-w",
            "--w",
            metavar="0..1|auto",
            help=f"Fidelity: 0 = most redrawn, 1 = closest to the film; default: 0.7. {AUTO_W}, "
            "steadily over the film.",
        ),
    ] = None,
    likeness: Likeness = DEFAULTS.likeness,
    strength: Strength = DEFAULTS.strength,
    upscale: Annotated[str, typer.Option(help="Output size: 1, 2 or 4 times the input.")] = "1",
) -> None:
    """Restore the faces in films; sound, subtitles, chapters and tags are kept."""
    own = fidelity(w, likeness, strength) | {"upscale": read_upscale(upscale)}
    shared.run_films(films, given, own)
