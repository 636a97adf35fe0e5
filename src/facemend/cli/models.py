"""`facemend models`: which models are there; bring more, remove them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from facemend.cli._shared.console import byte_progress, say, warn
from facemend.cli._shared.options import checked
from facemend.photo.options import DEFAULT_MODEL

if TYPE_CHECKING:
    from facemend.weights.models import ModelInfo

app = typer.Typer(invoke_without_command=True, help="List models; bring weights of others; remove them.")

Name = Annotated[str | None, typer.Option(help="Name of the model; default: after the file.")]
Task = Annotated[
    str | None,
    typer.Option(help="restoration, colorization or inpainting; default: read from the file."),
]
Precision = Annotated[
    str | None, typer.Option(help="How the graphs store weights: fp32 (default) or fp16, half the size.")
]
Licence = Annotated[str | None, typer.Option(help="Licence of the weights, as their author states it.")]
Accept = Annotated[
    bool, typer.Option("--accept-licence", help="You have read the licence that is shown, and accept it.")
]


@app.callback()
def models(ctx: typer.Context) -> None:
    """List the models that ship with facemend, those in your cache, and those that can be fetched."""
    if ctx.invoked_subcommand is not None:
        return
    from facemend.weights.catalog import PUBLISHED
    from facemend.weights.models import cached_models, imported_as
    from facemend.weights.models import models as shipped

    for model in shipped():
        _list(model, f"card: {model.card}", " (default)" if model.name == DEFAULT_MODEL else "")
    found, broken = cached_models()
    for model in found:
        _list(model, f"in the cache: {model.folder}")
    for error in broken:
        warn(f"facemend: {error}")
    for item in PUBLISHED.values():
        if imported_as(item.sha256) is None:
            say(f"{item.name}: {item.notes}")
            say(
                f"  {item.task}, {item.bytes / 1e6:.1f} MB, {item.licence}; "
                f"not here yet: facemend models get {item.name}"
            )


def _list(model: ModelInfo, where: str, mark: str = "") -> None:
    size = sum(path.stat().st_size for path in model.folder.iterdir() if path.is_file())
    fixed = ", w is fixed" if model.w == "fixed" else ""
    say(f"{model.name}{mark}: {model.description}")
    say(f"  {model.task}, {model.image_size} px{fixed}, {size / 1e6:.1f} MB, {model.licence}; {where}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .pth, .safetensors or .onnx file.", show_default=False)],
    name: Name = None,
    task: Task = None,
    precision: Precision = None,
    licence: Licence = None,
    accept_licence: Accept = False,
) -> None:
    """Check a weight file and turn it into a model in your cache. Nothing in it is run."""
    from facemend.cli._shared.weights import import_file
    from facemend.convert.import_file import check_choices

    checked(check_choices, task, precision)
    _tell(
        import_file(file, name=name, task=task, precision=precision, licence=licence, accept=accept_licence)
    )


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(help="A model of the catalogue.", show_default=False)] = None,
    url: Annotated[str | None, typer.Option(help="Web address of a file that is not in it.")] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="Checksum of the file at --url.")] = None,
    licence: Licence = None,
    model_name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; default: that of the catalogue or file.")
    ] = None,
    task: Task = None,
    precision: Precision = None,
    accept_licence: Accept = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only what is in the cache; the same as FACEMEND_OFFLINE=1.")
    ] = False,
) -> None:
    """Download a weight file, check it, and import it. A download that was cut off goes on.

    FACEMEND_MIRROR, a web address, takes the place of all but the file's name in the catalogue's addresses.
    """
    from facemend.convert.import_file import check_choices

    checked(check_choices, task, precision)
    if (name is None) == (url is None):
        raise typer.BadParameter("give a name of the catalogue, or --url")
    if (url is None) != (sha256 is None) or (url is not None and not licence):
        raise typer.BadParameter("--url, --sha256 and --licence go together")
    from facemend.weights.catalog import find_published
    from facemend.weights.published import mirrored
    from facemend.weights.weight_files import MAX_WEIGHT_BYTES

    if name is not None:
        item = find_published(name)
        where = _Source(mirrored(item), item.sha256, item.bytes)
        default_name, task = name, task or item.task
    else:
        where = _Source(url or "", (sha256 or "").lower(), MAX_WEIGHT_BYTES)
        default_name = None
    options = {"task": task, "precision": precision, "licence": licence, "accept": accept_licence}
    _tell(_get(where, model_name, default_name, offline, options))


@dataclass(frozen=True)
class _Source:
    """Where a weight file is, its checksum, and how long it may be."""

    url: str
    sha256: str
    max_bytes: int


def _get(
    source: _Source, name: str | None, default_name: str | None, offline: bool, options: dict[str, Any]
) -> ModelInfo:
    """The model made of that file; everything that can be refused is refused before the download."""
    from facemend.cli._shared.weights import ask_licence, import_file
    from facemend.errors import WeightsError, require_extra
    from facemend.weights.catalog import published_as
    from facemend.weights.downloads import check_request
    from facemend.weights.models import imported_as
    from facemend.weights.published import fetch_weights, forget_download
    from facemend.weights.store import model_name

    check_request(source.url, source.sha256)
    held = imported_as(source.sha256, task=options["task"], precision=options["precision"])
    if held is not None and name in (None, held.name):
        return held
    file_name = Path(urlsplit(source.url).path)
    name = model_name(name or default_name, file_name, source.sha256)
    if file_name.suffix.lower() != ".onnx":
        require_extra(f"importing {name}", "export")
    known = published_as(source.sha256)
    if known is not None:
        ask_licence(known, options["accept"])
    with byte_progress("downloading") as advance:
        path = fetch_weights(
            source.url,
            source.sha256,
            max_bytes=source.max_bytes,
            allow_download=not offline,
            progress=advance,
        )
    try:
        model = import_file(path, name=name, **options)
    except WeightsError:
        forget_download(path)
        raise
    forget_download(path)
    return model


def _tell(model: ModelInfo) -> None:
    from facemend.weights.models import COMMANDS

    _list(model, f"in the cache: {model.folder}")
    mask = " --mask MASK" if model.task == "inpainting" else ""
    say(f"  use it: facemend {COMMANDS[model.task]} PHOTO{mask} --model {model.name}")


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Models in your cache.", show_default=False)],
) -> None:
    """Remove models from your cache. Those that ship with facemend stay."""
    from facemend.weights.store import remove_model, require_removable

    for name in names:  # all, before one goes
        require_removable(name)
    for name in dict.fromkeys(names):
        remove_model(name)
        say(f"{name}: removed")
