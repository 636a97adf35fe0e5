"""Which settings may change between the stop of a run and its going on."""

from __future__ import annotations

import json
from typing import Any

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
        begun, wanted = _essence(type(config).model_validate(values)), _essence(config)
    except ValueError:  # a damaged record, or one of another stage
        return ["stage or version"]
    return [name for name in wanted if begun[name] != wanted[name]]


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
