"""`facemend quantize`: a smaller, quicker model with int8 arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.console import plural, say, shown, warn
from facemend.errors import require_extra
from facemend.photo.options import DEFAULT_MODEL

app = typer.Typer()


@app.command()
def quantize(
    faces: Annotated[
        Path, typer.Argument(metavar="FACES", help="Folder of aligned HQ faces to calibrate on.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")],
    model: Annotated[str, typer.Option(help="Name or folder of the model to start from.")] = DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option(help="Name of the new model; default: with -int8.")] = None,
    count: Annotated[int, typer.Option(min=2, max=4096, help="How many of the faces to use.")] = 64,
    degradation: Annotated[str, typer.Option(help="Preset that they are degraded with.")] = "mixed",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the degradations.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model folder.")] = False,
) -> None:
    """Quantise a model to int8 (static, QDQ): half the bytes of float16. Takes about a minute.

    Use the result with `facemend restore PHOTO --model OUT`; `facemend evaluate` says what it costs in
    quality.
    """
    require_extra("quantize", "quantize")
    from facemend.convert.int8 import quantize_model
    from facemend.weights.models import find_model

    warn(f"calibrating on {shown(faces)}; this takes about a minute")
    report = quantize_model(
        find_model(model),
        faces,
        out,
        name=name,
        count=count,
        degradation=degradation,
        seed=seed,
        overwrite=overwrite,
    )
    warn(
        f"{report.bytes_before / 1e6:.1f} -> {report.bytes_after / 1e6:.1f} MB; on "
        f"{plural(report.faces, 'other face')} {report.codes:.1%} equal codes, "
        f"mean difference {report.mean * 255:.1f} of 255"
    )
    say(str(out))
