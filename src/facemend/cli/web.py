"""`facemend web`: a static site that restores photos in the browser, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.console import say, warn
from facemend.errors import require_extra
from facemend.photo.options import DEFAULT_MODEL

app = typer.Typer()


@app.command()
def web(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; any static host serves it.")],
    model: Annotated[str, typer.Option(help="Name or folder of a restoration model.")] = DEFAULT_MODEL,
    runtime: Annotated[
        list[Path] | None,
        typer.Option(
            help="The archive of onnxruntime-web, as `npm pack` brings it; default: npm is asked, once."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older site.")] = False,
) -> None:
    """Write the page as a static site: photos are restored in the visitor's browser and never leave it.

    Try it with `python -m http.server -d OUT`; OUT/facemend-web is an npm package for other pages.
    """
    require_extra("web", "quantize")
    from facemend.web.site import RUNTIME, write_site
    from facemend.weights.models import find_model
    from facemend.weights.packages import fetch

    info = find_model(model)
    size = write_site(out, info, fetch(RUNTIME, local=runtime or ()), overwrite=overwrite)
    warn(f"{info.name}: a first visit loads {size / 1e6:.1f} MB, later ones nothing")
    say(str(out))
