"""What several commands do with models: resolve `--model`, import a file, show a licence and ask once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os.path import isfile  # as that of pathlib, but does not raise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from facemend.cli._shared.console import shown, warn
from facemend.cli._shared.stopping import begun
from facemend.errors import ConfigError

if TYPE_CHECKING:
    from facemend.photo.networks import Networks
    from facemend.photo.options import RestoreOptions
    from facemend.photo.task import PhotoTask
    from facemend.weights.catalog import Published
    from facemend.weights.models import ModelInfo

_Task = TypeVar("_Task", bound="PhotoTask")


def resolve_model(
    options: RestoreOptions, task: str = "restoration"
) -> tuple[RestoreOptions, ModelInfo | None]:
    """What `--model` means; a weight file is imported at its first use.

    Says so in one line, and if w has no effect.

    Args:
        options: as given.
        task: what the model must be for; a file that does not tell what it is for is taken to be for this.

    Returns:
        The options with a model that is there, and that model; None: a checkpoint file for backend torch.

    Raises:
        FacemendError: there is no such model, it is for another task, or the file is not acceptable.
    """
    from facemend.photo.networks import find_named
    from facemend.weights.models import is_named

    if not options.checkpoint and isfile(options.model) and not is_named(options.model):
        options = replace(options, model=import_file(Path(options.model), usual_task=task).name)
    model = find_named(options, task)
    if model and model.w == "fixed" and task != "colorization":  # there it is for all
        warn(f"{model.name}: -w has no effect, it is fixed inside this model")
    return options, model


def begin_loading(options: RestoreOptions, task: str, model: ModelInfo | None) -> Callable[[], Networks]:
    """Load networks in a thread, see `begun`; what is returned waits for them."""
    from facemend.photo.networks import Networks

    return begun(partial(Networks.load, options, task, model))


def load(
    task: type[_Task],
    options: RestoreOptions,
    model: ModelInfo | None,
    loading: Callable[[], Networks] | None = None,
) -> _Task:
    """What does the work; tells what the user should know of how its networks run.

    Args:
        task: its class.
        options: how.
        model: what they name.
        loading: what `begin_loading` gave, if that was done before.
    """
    worker = task(options, networks=(loading or begin_loading(options, task.task, model))())
    for note in worker.notes:
        warn(f"facemend: {note}")
    return worker


def import_file(file: Path, *, accept: bool = False, **options: Any) -> ModelInfo:
    """As `facemend.convert.import_file.import_file`, for a person who may be asked about the licence."""
    from facemend.convert import import_file as imports

    return imports.import_file(
        file,
        consent=lambda item: ask_licence(item, accept),
        on_begin=lambda: warn(f"importing {shown(file)} into the cache (once)"),
        **options,
    )


def ask_licence(item: Published, accept: bool) -> bool:
    """Show the licence of a published model and ask for consent, once; True, if this returns.

    Args:
        item: the model.
        accept: the user has consented on the command line.

    Raises:
        ConfigError: there is no consent.
    """
    from facemend.weights.published import accept_licence, licence_accepted

    if licence_accepted(item):
        return True
    warn(f"{item.name}: {item.notes}")
    warn(f"licence: {item.licence}, {item.licence_url}")
    if not accept:
        if not _at_terminal():
            raise ConfigError(
                f"{item.name}: read its licence ({item.licence_url}) and give --accept-licence to "
                "`facemend models get` or `import`"
            )
        if not typer.confirm("Do you accept this licence?", err=True):
            raise ConfigError(f"{item.name}: its licence was not accepted, so it is not used")
    accept_licence(item)
    return True


def _at_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()
