"""`facemend video`: films in, the same with restored faces out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared import films as shared
from facemend.cli._shared.options import DEFAULTS, FilmOptions, Strength, examples, takes

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
        list[Path], typer.Argument(metavar="FILM...", help="Films, animations, or folders of films.")
    ],
    given: FilmOptions,
    w: Annotated[
        float | None,
        typer.Option(
            "-w", min=0, max=1, help="Fidelity: 0 = best looking face, 1 = closest to the film; default: 0.7."
        ),
    ] = None,
    strength: Strength = DEFAULTS.strength,
    upscale: Annotated[int, typer.Option(help="Output size: 1, 2 or 4 times the input.")] = 1,
) -> None:
    """Restore the faces in films; sound, subtitles, chapters and tags are kept."""
    shared.run_films(films, given, {"w": w, "strength": strength, "upscale": upscale})
