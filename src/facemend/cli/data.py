"""`facemend data`: faces to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemend.cli._shared.console import plural, progress, say, shown, warn

if TYPE_CHECKING:
    from facemend.data.prepare import Summary

app = typer.Typer(no_args_is_help=True, help="Make a folder of faces to train on.")

_GATES = "What a face needs"


@app.callback()
def _group() -> None:
    """Keeps `prepare` a subcommand while it is the only one."""


@app.command()
def prepare(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of photos.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the faces and their tables.")],
    size: Annotated[int, typer.Option(min=64, max=2048, help="Side of the faces, pixels.")] = 512,
    format: Annotated[str, typer.Option(help="webp or png.")] = "webp",
    largest: Annotated[bool, typer.Option("--largest", help="Only the largest face of a photo.")] = False,
    table: Annotated[
        Path | None, typer.Option(help="CSV with file, and source, licence, kind of each photo.")
    ] = None,
    source: Annotated[str, typer.Option(help="Source of photos that the table does not name.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of photos that the table does not name.")] = "",
    min_native: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the crop in the photo, pixels [half of --size].", rich_help_panel=_GATES
        ),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Detector's confidence.", rich_help_panel=_GATES)
    ] = 0.95,
    min_inside: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the crop that is photo.", rich_help_panel=_GATES)
    ] = 0.8,
    min_sharpness: Annotated[
        float, typer.Option(min=0, help="Variance of the Laplacian at 256 px.", rich_help_panel=_GATES)
    ] = 30.0,
    min_contrast: Annotated[
        float, typer.Option(min=0, max=1, help="Deviation of brightness.", rich_help_panel=_GATES)
    ] = 0.08,
    max_yaw: Annotated[
        float, typer.Option(min=0, max=1, help="Turn of the head, 0 to 1.", rich_help_panel=_GATES)
    ] = 1.0,
) -> None:
    """Find, check, align and keep the faces of photos; goes on where it was stopped."""
    from facemend.data.prepare import PrepareOptions, find_photos, finish, read_labels, read_record
    from facemend.data.prepare import prepare as run
    from facemend.data.quality import Gates

    native = size // 2 if min_native is None else min_native
    gates = Gates(native, min_score, min_inside, min_sharpness, min_contrast, max_yaw)
    labels = {"source": source, "licence": licence}
    options = PrepareOptions(size, format, gates, largest, {k: v for k, v in labels.items() if v})
    named = read_labels(table) if table is not None else None
    photos = find_photos(folders, output)
    with progress("preparing", len(photos)) as advance:
        failed = 0
        for problem in run(photos, output, options, named):
            if problem:
                failed += 1
                warn(f"facemend: {problem}")
            advance()
    _tell(finish(output, named), output)
    gone = {line["name"] for line in read_record(output) if line.get("faces")} - {p.name for p in photos}
    if gone:
        count, first = plural(len(gone), "photo"), ", ".join(sorted(gone)[:3])
        warn(f"faces of {count} of earlier runs stay, which these folders do not have: {first}")
    if failed:
        raise typer.Exit(1)


def _tell(summary: Summary, output: Path) -> None:
    say(
        f"{plural(summary.photos, 'photo')}, {plural(summary.faces, 'face')} found, {summary.kept} kept in "
        f"{shown(output / 'faces')}"
    )
    for reason, count in summary.rejected.items():
        say(f"  {count} {reason}")
    say(f"{shown(output / 'manifest.csv')}, rejected.csv, contact.jpg, rejected.jpg")
