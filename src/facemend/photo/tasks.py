"""The options of tasks other than restoration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facemend.errors import ConfigError
from facemend.photo.options import RestoreOptions, make_options
from facemend.weights.models import COMMANDS, DEFAULT_W, sole_model


def task_options(task: str, options: RestoreOptions | None, settings: Mapping[str, Any]) -> RestoreOptions:
    """The options of a task: its own defaults, or those given, with single settings changed.

    Args:
        task: "colorization" or "inpainting".
        options: None for the defaults: w as the published networks want it, and the one model that is there.
        settings: single fields of `RestoreOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or one that does not go with the task.
        ModelNotFoundError: no model is named, and there is none, or more than one.
    """
    if options is None:
        model = settings["model"] if "model" in settings else sole_model(task)
        options = RestoreOptions(w=DEFAULT_W[task], model=model)
    options = make_options(options, settings)
    command = COMMANDS[task]
    if task == "colorization" and options.w != 0:
        raise ConfigError(f"w must be 0 with {command}, got {options.w:g}: its networks know no other")
    if options.upscale != 1:
        raise ConfigError(f"upscale must be 1 with {command}, got {options.upscale}: restore enlarges")
    return options
