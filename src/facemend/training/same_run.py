"""Which settings may change between the stop of a run and its going on."""

from __future__ import annotations

import json
from typing import Any

from facemend.training.config import RunConfig


def same_run(record: str, config: RunConfig) -> bool:
    """Whether a recorded config is of the same run; settings that it does not know had their defaults.

    Args:
        record: the config as JSON.
        config: the other one.
    """
    try:
        values = json.loads(record)
        # Before there was a choice.
        values["optim"] = {"kind": "adamw"} | values.get("optim", {})
        return _essence(type(config).model_validate(values)) == _essence(config)
    except ValueError:  # a damaged record, or one of another stage
        return False


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
