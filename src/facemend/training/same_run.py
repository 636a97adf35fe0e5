"""What may change between the stop of a run and its going on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from facemend.errors import ConfigError, WeightsError, one_line
from facemend.training.config import RunConfig


def other_settings(record: str, config: RunConfig) -> list[str]:
    """What a recorded config has otherwise, so that it is another run; settings it lacks had their defaults.

    Args:
        record: the config as JSON.
        config: the other one.

    Returns:
        Names of top-level settings; none for the same run.
    """
    try:
        values = json.loads(record)
        # Before there was a choice.
        values["optim"] = {"kind": "adamw"} | values.get("optim", {})
        begun, wanted = _essence(type(config).model_validate(values)), _essence(_recorded(config))
    except ValueError:  # a damaged record, or one of another stage
        return ["stage or version"]
    return [name for name in wanted if begun[name] != wanted[name]]


def _recorded(config: RunConfig) -> RunConfig:
    """The config as its record gives it back: JSON has lists for tuples."""
    return type(config).model_validate(json.loads(config.model_dump_json()))


def _essence(config: RunConfig) -> dict[str, Any]:
    """What makes two runs the same: all but reports, speed, and what may change on the way.

    That is the rate and its clipping after a divergence, and how long the plan is, when time is cut.
    """
    values = config.model_dump()
    values["phases"][-1].pop("steps")
    reports, speed = (
        ("out", "log_every", "save_every", "preview_every"),
        ("threads", "channels_last", "compile"),
    )
    for name in (*reports, *speed, "minutes"):
        values.pop(name, None)
    for table, name in (("data", "workers"), ("data", "cache_mb"), ("optim", "lr"), ("optim", "clip")):
        values[table].pop(name, None)
    return values


def check_processes(folder: Path, processes: int) -> None:
    """A batch is that of one process: with more or fewer of them a run that was begun would be another.

    Raises:
        ConfigError: the folder holds one with another number.
    """
    record = folder / "environment.json"
    if not (folder / "state.pt").exists() or not record.exists():
        return
    before = json.loads(record.read_text()).get("processes", processes)
    if before != processes:
        how = f"torchrun --nproc-per-node {before} -m facemend" if before > 1 else "facemend"
        raise ConfigError(
            f"{folder}: was begun with {before} processes, now there are {processes}: go on with "
            f"`{how} train ...`"
        )


def check_origin(folder: Path, was: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Whether the networks that a run stands on are as they were; an older state does not say.

    Args:
        folder: of the run.
        was: names and checksums, as the state has them.
        now: the same of what is there.

    Raises:
        ConfigError: one is another.
    """
    if other := [name for name, sha256 in now.items() if was.get(name, sha256) != sha256]:
        raise ConfigError(
            f"{folder}: began with another {' and '.join(other)} than is there now; put it back as it was, "
            "or start a new run in another 'out'"
        )


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """What a run keeps to go on.

    Raises:
        WeightsError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({one_line(error)}); bring back a copy, or delete it to begin anew"
        ) from error
    # What runs of before called them.
    return {
        re.sub("^critic", "discriminator", re.sub("^care", "codebook_ema", name)): value
        for name, value in state.items()
    }
