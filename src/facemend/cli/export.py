"""`facemend export`: a checkpoint as a model folder, or a model as other programs want it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from facemend.cli._shared.console import say, warn

app = typer.Typer()

Target = Literal["reactor", "facefusion", "mobile", "litert", "coreml", "hub"]


@app.command()
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="model.safetensors of a stage III run; with --for, name or folder of a model too.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    target: Annotated[
        Target | None, typer.Option("--for", help="Another program or place; default: a model folder.")
    ] = None,
    w: Annotated[
        float | None,
        typer.Option("-w", "--w", min=0, max=1, help="With --for: fidelity of programs without a dial."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model; default: the folder's, with --for the checkpoint's."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="How weights are stored: fp32 or fp16. Default: fp16.")
    ] = None,
    adain: Annotated[
        bool | None, typer.Option(help="Give codes the statistics of the LQ features. Default: to restore.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Model card (Markdown) to put beside it.")] = None,
    description: Annotated[str | None, typer.Option(help="One line about the model.")] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights (SPDX). Default: what they say themselves, or Apache-2.0."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model folder.")] = False,
) -> None:
    """Export ONNX graphs with live w, and check them against the network.

    With --for, the folder holds the files of one other program or place, and a README that says where they
    go: reactor, facefusion, mobile (onnxruntime on Android and iOS), litert, coreml, hub (Hugging Face). See
    docs/integrations.md.
    """
    from facemend.errors import ConfigError, require_extra

    if w is not None and target is None:
        raise ConfigError("-w goes with --for only: graphs of a model folder take w when they run")
    require_extra("export", "export")
    from facemend.convert.export import ExportOptions, export_model
    from facemend.convert.quiet import quiet
    from facemend.convert.targets.write import export_for

    options = ExportOptions(name, precision, adain, description, licence, overwrite)
    with quiet():
        if target is not None:
            export_for(target, source, out, options, card=card, w=w)
        else:
            parity = export_model(Path(source), out, options, card)
            warn(
                f"parity with the network: {parity.codes:.2%} equal codes; largest difference "
                f"{parity.largest:.2e} given the same codes, mean {parity.mean:.2e} in all; "
                f"w from 0 to 1 changes {parity.w_effect:.3f}"
            )
    say(str(out))
