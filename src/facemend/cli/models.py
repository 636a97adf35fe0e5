"""`facemend models`: which restoration models are there."""

from __future__ import annotations

import typer

from facemend.cli.console import say
from facemend.pipeline.options import DEFAULT_MODEL

app = typer.Typer()


@app.command()
def models() -> None:
    """List the restoration models that ship with facemend."""
    from facemend.hub.models import models as shipped

    for model in shipped():
        size = sum(path.stat().st_size for path in (model.encode, model.decode) if path.is_file())
        mark = " (default)" if model.name == DEFAULT_MODEL else ""
        say(f"{model.name}{mark}: {model.description}")
        say(f"  {model.image_size} px, {size / 1e6:.1f} MB, {model.licence}; card: {model.card}")
