"""A weight file of any kind into the user's cache, once, if its licence is accepted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from facemend.errors import ConfigError, OutputError, WeightsError, require_extra
from facemend.files import file_sha256
from facemend.weights.catalog import Published, published_as
from facemend.weights.models import TASKS, ModelInfo, imported_as
from facemend.weights.published import accept_licence, licence_accepted
from facemend.weights.weight_files import weight_kind


def import_weights(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    task: str | None = None,
    precision: str | None = None,
    licence: str | None = None,
    accept_licence: bool = False,
) -> ModelInfo:
    """Check a weight file and turn it into a model in the user's cache. Nothing in it is run.

    Args:
        path: a .pth, .safetensors or .onnx file; it is only read.
        name: of the model; default: after the file.
        task: restoration, colorization or inpainting; default: read from the file.
        precision: how graphs that are made of it store weights: fp32 (default) or fp16.
        licence: of the weights, as their author states it.
        accept_licence: you have read the licence of these published weights, and accept it.

    Returns:
        The model; where the file was imported before, the one that was made of it.

    Raises:
        MissingExtraError: it is no ONNX file, and torch is not installed.
        WeightsError: the file is damaged, not acceptable, or no network that restores.
        ConfigError: an option is wrong, the task must be told, or the licence was not accepted.
        OutputError: the name is taken, or the cache cannot be written.
    """

    def consent(item: Published) -> bool:
        return accept_licence

    return import_file(
        Path(path), name=name, task=task, precision=precision, licence=licence, consent=consent
    )


def import_file(
    file: Path,
    *,
    consent: Callable[[Published], bool],
    name: str | None = None,
    task: str | None = None,
    usual_task: str | None = None,
    precision: str | None = None,
    licence: str | None = None,
    on_begin: Callable[[], None] = lambda: None,
) -> ModelInfo:
    """As `import_weights`, with what a program for people needs besides.

    Args:
        file: the weight file.
        consent: whether the licence of a published model is accepted; asked where it was not accepted before.
        name: of the model.
        task: what it is for.
        usual_task: the same where the file itself does not tell.
        precision: of the graphs.
        licence: of the weights.
        on_begin: told that the file was not imported before and is now.
    """
    check_choices(task, precision)
    if licence is not None and not licence.strip():
        raise ConfigError("the licence must not be empty: leave it out where it is not known")
    kind = weight_kind(file)
    if kind == "onnx" and precision is not None:
        raise ConfigError(f"{file}: a graph is kept as it is, precision goes with weights")
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror})") from error
    held = (usual_task and imported_as(digest, task=usual_task)) or imported_as(
        digest, task=task, precision=precision
    )
    if held and name in (None, held.name):
        if licence not in (None, held.licence):
            raise ConfigError(
                f"{held.name}: is {file} already, with the licence {held.licence}; remove it first "
                f"(`facemend models remove {held.name}`), or give another name"
            )
        return held
    if kind != "onnx":
        require_extra(f"importing {file}", "export")
    known = published_as(digest)
    if known is not None:
        _check_licence(known, consent)
    licence = licence or (known.licence if known else None)
    description = known.notes if known else ""
    on_begin()
    try:
        return _import(file, kind, name, task, usual_task, precision, licence, description)
    except OutputError:
        held = imported_as(digest, task=task, precision=precision)
        if held and name in (None, held.name):  # by somebody else, meanwhile
            return held
        raise


def _import(
    file: Path,
    kind: str,
    name: str | None,
    task: str | None,
    usual_task: str | None,
    precision: str | None,
    licence: str | None,
    description: str,
) -> ModelInfo:
    if kind == "onnx":
        from facemend.convert.import_onnx import import_onnx

        licence = licence or "not stated"
        return import_onnx(file, name=name, task=task or usual_task, licence=licence, description=description)
    from facemend.convert import import_torch as torch_files

    options = torch_files.ImportOptions(name, task, precision or "fp32", licence, description, usual_task)
    return torch_files.import_weights(file, options)


def check_choices(task: str | None, precision: str | None) -> None:
    """Refuse a task or a precision that there is not.

    Raises:
        ConfigError: there is no such thing.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"task is one of {', '.join(TASKS)}, not {task!r}")
    if precision not in (None, "fp32", "fp16"):
        raise ConfigError(f"precision is fp32 or fp16, not {precision!r}")


def _check_licence(item: Published, consent: Callable[[Published], bool]) -> None:
    if licence_accepted(item):
        return
    if not consent(item):
        raise ConfigError(
            f"{item.name}: read its licence ({item.licence}, {item.licence_url}); "
            "accept_licence=True says that you accept it"
        )
    accept_licence(item)
