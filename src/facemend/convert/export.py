"""A model folder: two graphs, model.json with checksums and the parity figures, and the card."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from facemend.convert.model_folder import file_row, new_folder
from facemend.convert.parity import Parity, measure_parity
from facemend.convert.to_onnx import export_graphs
from facemend.errors import ConfigError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.weights.models import CARD_FILE, DESCRIPTION_FILE, TASKS

# What the graphs may differ from the network, in [-1, 1] units, given the same codes. Float32 against float32
# differs by rounding only; weights rounded to float16 move a pixel by a few levels of 255 at the very worst.
LARGEST = {"fp32": 2e-3, "fp16": 5e-2}
# Share of tokens that must keep their code.
CODES = {"fp32": 0.995, "fp16": 0.97}


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes:
        name: of the model; None: that of its folder.
        precision: how weights are stored, "fp32" or "fp16".
        adain: whether codes get the statistics of the LQ features.
        description: one line.
        licence: SPDX name, or another short one.
        overwrite: whether a model folder may be replaced.
        task: restoration, colorization or inpainting.
        default_w: fidelity weight where none is asked for, in [0, 1].
        more: further entries of model.json.
    """

    name: str | None = None
    precision: str = "fp16"
    adain: bool = True
    description: str = "CodeFormer, facemend's own weights"
    licence: str = "Apache-2.0"
    overwrite: bool = False
    task: str = "restoration"
    default_w: float = 0.5
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in LARGEST:
            raise ConfigError(f"precision is fp32 or fp16, not '{self.precision}'")
        if self.task not in TASKS:
            raise ConfigError(f"task is one of {', '.join(TASKS)}, not '{self.task}'")
        for key in ("name", "description", "licence"):
            if getattr(self, key) is not None and not getattr(self, key).strip():
                raise ConfigError(f"{key} must not be empty: {DESCRIPTION_FILE} needs it")


def export_model(checkpoint: Path, out: Path, options: ExportOptions, card: Path | None = None) -> Parity:
    """Export a stage III checkpoint and check the graphs against the network.

    The folder is put together aside and moved into place only when the check has passed.

    Raises:
        WeightsError: the checkpoint is unusable, or the graphs do not agree with it.
        OutputError: `out` exists and may not be replaced.
    """
    options = replace(options, name=options.name or out.resolve().name)
    with new_folder(out, options.overwrite) as folder:
        net, info = _network(checkpoint)
        half = options.precision == "fp16"
        encode, decode = export_graphs(net, folder, adain=options.adain, half=half)
        pictures = _pictures(net.config.autoencoder.image_size)
        parity = measure_parity(net, encode, decode, pictures, options.adain)
        _require(parity, options, checkpoint)
        description = _description(net.config.to_dict(), info, options, parity, encode, decode)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n")
        if card is not None:
            shutil.copyfile(card, folder / CARD_FILE)
    return parity


def _network(checkpoint: Path) -> tuple[CodeFormer, dict[str, Any]]:
    """The network of a checkpoint and its record; the weights as they were read are let go."""
    loaded = load_checkpoint(checkpoint)
    if loaded.info.get("stage") != "stage3":
        raise WeightsError(
            f"{checkpoint}: is of {loaded.info.get('stage', 'no known stage')}, export needs stage3"
        )
    net = CodeFormer(loaded.config)
    load_into(net, loaded.state, checkpoint)
    return net.eval(), loaded.info


def _pictures(side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth random pictures, (3, 3, side, side) in [-1, 1]: nearer to faces than noise; an odd batch."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (3, 3, 8, 8))
    smooth = coarse.repeat(side // 8, 2).repeat(side // 8, 3)
    return np.clip(smooth + rng.normal(0, 0.1, smooth.shape), -1, 1).astype(np.float32)


def _require(parity: Parity, options: ExportOptions, checkpoint: Path) -> None:
    if not math.isfinite(parity.mean):
        raise WeightsError(
            f"{checkpoint}: the network gives values that are not numbers; its weights are damaged"
        )
    # The published colourisation network knows w = 0 only: what another w does there was never trained.
    dial = parity.w_effect > 1e-4 or options.task == "colorization"
    close = parity.largest <= LARGEST[options.precision] and parity.codes >= CODES[options.precision]
    if not (close and dial):
        raise WeightsError(
            f"{checkpoint}: the exported graphs do not agree with it ({parity}); try --precision fp32"
        )


def _description(
    config: dict[str, Any],
    info: dict[str, Any],
    options: ExportOptions,
    parity: Parity,
    encode: Path,
    decode: Path,
) -> dict[str, Any]:
    return {
        "name": options.name,
        "description": options.description,
        "licence": options.licence,
        "image_size": config["autoencoder"]["image_size"],
        "template": "ffhq",
        "default_w": options.default_w,
        "task": options.task,
        "w": "live" if parity.w_effect > 1e-4 else "fixed",
        "files": {"encode": file_row(encode), "decode": file_row(decode)},
        "precision": options.precision,
        "adain": options.adain,
        "config": config,
        "training": info,
        "parity": asdict(parity),
        **options.more,
    }
