"""A model, or a checkpoint that is exported first, as another program wants it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from facemend.convert.export import ExportOptions, export_model
from facemend.convert.model_folder import new_folder
from facemend.convert.targets import coreml, facefusion, hub, litert, mobile, reactor
from facemend.errors import ConfigError
from facemend.files import file_sha256
from facemend.weights.models import WEIGHTS_FILE, ModelInfo, find_model, read_model

TARGETS: dict[str, Callable[[ModelInfo, Path], None]] = {
    "reactor": reactor.write,
    "facefusion": facefusion.write,
    "mobile": mobile.write,
    "litert": litert.write,
    "coreml": coreml.write,
    "hub": hub.write,
}
"""Name of a program or place -> what fills an empty folder for it."""


def export_for(
    target: str,
    source: str,
    out: Path,
    options: ExportOptions,
    *,
    card: Path | None = None,
    w: float | None = None,
) -> None:
    """Write a folder for another program; it is put together aside and moved into place when it is whole.

    Args:
        target: a key of `TARGETS`.
        source: a stage III checkpoint (.safetensors), or name or folder of a model.
        out: folder to write.
        options: how a checkpoint is exported; of a model, only `overwrite` counts.
        card: model card (Markdown) for a checkpoint.
        w: default fidelity weight in [0, 1], which a program without a dial always uses; None: the model's.

    Raises:
        ConfigError: there is no such target, w is out of range, the model does not suit it, or it is no
            checkpoint and options go with these alone.
        ModelNotFoundError: no model of that name.
        WeightsError: the checkpoint or the model is damaged.
        OutputError: `out` exists and may not be replaced.
    """
    if target not in TARGETS:
        raise ConfigError(f"export is for one of {', '.join(TARGETS)}, not {target!r}")
    if card is not None and target != "hub":
        raise ConfigError(f"a model card goes with hub alone: what is written for {target} has none")
    if w is not None and not 0 <= w <= 1:
        raise ConfigError(f"w must be a number from 0 to 1, got {w!r}")
    with new_folder(out, options.overwrite) as folder, _model(source, options, card) as info:
        TARGETS[target](info if w is None else dataclasses.replace(info, default_w=w), folder)


@contextmanager
def _model(source: str, options: ExportOptions, card: Path | None) -> Iterator[ModelInfo]:
    """The model of that name or folder; of a checkpoint, one that lasts as long as the block."""
    checkpoint = Path(source)
    if not (checkpoint.suffix == ".safetensors" and os.path.isfile(checkpoint)):
        if dataclasses.replace(options, overwrite=False) != ExportOptions() or card is not None:
            raise ConfigError(
                f"{source}: name, precision, adain, card, description and licence go with a checkpoint "
                "(.safetensors): a model has its own"
            )
        yield find_model(source)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / checkpoint.stem  # its name, unless another is asked for
        weights = {"weights": {"file": WEIGHTS_FILE, "sha256": file_sha256(checkpoint)}}
        export_model(checkpoint, folder, dataclasses.replace(options, more={**options.more, **weights}), card)
        shutil.copyfile(checkpoint, folder / WEIGHTS_FILE)
        yield read_model(folder)
