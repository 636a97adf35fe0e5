"""What several commands do with models: import a file, resolve `--model`, show a licence and ask once."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from facemend.cli._shared.console import shown, warn
from facemend.errors import ConfigError, require_extra
from facemend.files import file_sha256
from facemend.weights.catalog import Published, published_as
from facemend.weights.models import ModelInfo, find_model, imported_from, is_named
from facemend.weights.published import accept_licence, licence_accepted
from facemend.weights.weight_files import weight_kind


def resolve_model(name_or_path: str, task: str = "restoration") -> str:
    """What `--model` means: a name or folder as it is; a weight file is imported at its first use.

    Says so in one line, and if w has no effect.

    Args:
        name_or_path: as given.
        task: what the model must be for; a file that does not tell what it is for is taken to be for this.

    Raises:
        FacemendError: there is no such model, it is for another task, or the file is not acceptable.
    """
    if not is_named(name_or_path) and Path(name_or_path).is_file():
        info = import_file(Path(name_or_path), usual_task=task)
        name_or_path = info.name
    info = find_model(name_or_path, task, check_files=False)
    if info.w == "fixed" and task != "colorization":  # there it is for all
        warn(f"{info.name}: -w has no effect, it is fixed inside this model")
    return name_or_path


def import_file(
    file: Path,
    *,
    name: str | None = None,
    task: str | None = None,
    usual_task: str | None = None,
    precision: str | None = None,
    licence: str | None = None,
    accept: bool = False,
) -> ModelInfo:
    """The model in the user's cache that was made of a weight file; made now if there is none.

    `task` says what it is for; `usual_task` does where the file itself does not.

    Raises:
        MissingExtraError: it is no ONNX file, and torch is not installed.
        FacemendError: the file is not acceptable, or its licence not accepted.
    """
    kind = weight_kind(file)
    held = (usual_task and imported_from(file, task=usual_task)) or imported_from(
        file, task=task, precision=precision
    )
    if held is not None and name in (None, held.name):
        return held
    if kind != "onnx":
        require_torch(shown(file))
    known = published_as(file_sha256(file))
    if known is not None:
        ask_licence(known, accept)
    licence = licence or (known.licence if known else "not stated")
    description = known.notes if known else ""
    warn(f"importing {shown(file)} into the cache (once)")
    if kind == "onnx":
        from facemend.convert.import_onnx import import_onnx

        task = task or usual_task
        info = import_onnx(file, name=name, task=task, licence=licence, description=description)
    else:
        from facemend.convert.import_torch import ImportOptions, import_weights

        options = ImportOptions(name, task, precision or "fp32", licence, description, usual_task)
        info = import_weights(file, options)
    return info


def require_torch(what: str) -> None:
    """Stop where weights cannot be turned into graphs.

    Raises:
        MissingExtraError: the extra `export` is not installed.
    """
    require_extra(f"importing {what}", "export")


def ask_licence(item: Published, accept: bool) -> None:
    """Show the licence of a published model and ask for consent, once.

    Args:
        item: the model.
        accept: the user has consented on the command line.

    Raises:
        ConfigError: there is no consent.
    """
    if licence_accepted(item):
        return
    warn(f"{item.name}: {item.notes}")
    warn(f"licence: {item.licence}, {item.licence_url}")
    if not accept:
        if not _at_terminal():
            raise ConfigError(f"{item.name}: read its licence and pass --accept-licence to `facemend models`")
        if not typer.confirm("Do you accept this licence?", err=True):
            raise ConfigError(f"{item.name}: its licence was not accepted, so it is not used")
    accept_licence(item)


def _at_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()
