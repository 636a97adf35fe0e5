"""`facemend export`: from a stage III checkpoint to a model folder for the light install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.console import say, warn

app = typer.Typer()


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors of a stage III run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")],
    name: Annotated[str, typer.Option(help="Name of the model.")] = "compact-256",
    precision: Annotated[str, typer.Option(help="How weights are stored: fp32 or fp16.")] = "fp16",
    adain: Annotated[bool, typer.Option(help="Give codes the statistics of the LQ features.")] = True,
    card: Annotated[Path | None, typer.Option(help="Model card (Markdown) to put beside it.")] = None,
    description: Annotated[
        str, typer.Option(help="One line about the model.")
    ] = "CodeFormer, facemend's own weights",
    licence: Annotated[str, typer.Option(help="Licence of the weights (SPDX).")] = "Apache-2.0",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model folder.")] = False,
) -> None:
    """Export ONNX graphs with live w, and check them against the network."""
    from facemend.errors import require_extra

    require_extra("export", "export")
    from facemend.convert.export import ExportOptions, export_model
    from facemend.convert.quiet import quiet

    options = ExportOptions(name, precision, adain, description, licence, overwrite)
    with quiet():
        parity = export_model(checkpoint, out, options, card)
    warn(
        f"parity with the network: {parity.codes:.2%} equal codes; largest difference {parity.largest:.2e} "
        f"given the same codes, mean {parity.mean:.2e} in all; w from 0 to 1 changes {parity.w_effect:.3f}"
    )
    say(str(out))
