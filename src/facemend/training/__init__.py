"""The three training stages, one readable loop each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemend.training.config import Stage1Config, Stage2Config, Stage3Config
    from facemend.training.run import OnStep


def train(config: Stage1Config | Stage2Config | Stage3Config, on_step: OnStep | None = None) -> Path:
    """Run the stage that a config is for; returns its checkpoint.

    A run whose folder holds the state of a stopped one with the same settings goes on there.

    Raises:
        FacemendError: a setting, picture or checkpoint is not usable, or training diverged.
    """
    from facemend.training import stage1_autoencoder, stage2_codes, stage3_fusion

    if config.stage == "stage1":
        return stage1_autoencoder.train(config, on_step)
    if config.stage == "stage2":
        return stage2_codes.train(config, on_step)
    return stage3_fusion.train(config, on_step)
