"""A model folder: two graphs, model.json with checksums and the parity figures, and the card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facemend.convert.model_folder import file_row, new_folder
from facemend.convert.parity import Parity, measure_parity
from facemend.convert.to_onnx import export_graphs
from facemend.errors import ConfigError, InputError, WeightsError, one_line
from facemend.networks.codeformer.checkpoint import Checkpoint, load_checkpoint, network_of
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.weights.models import CARD_FILE, DEFAULT_W, DESCRIPTION_FILE, TASKS, uses_adain

OWN = "CodeFormer, trained with facemend"
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
        precision: how weights are stored, "fp32" or "fp16" (None).
        adain: whether codes get the statistics of the LQ features; None: as the task wants it.
        description: one line; None: a usual one.
        licence: SPDX name, or another short one; None: what the checkpoint says, or ours.
        overwrite: whether a model folder may be replaced.
        task: restoration, colorization or inpainting; None: what the checkpoint says, or restoration.
        default_w: fidelity weight where none is asked for, in [0, 1]; None: that of the task.
        more: further entries of model.json.
    """

    name: str | None = None
    precision: str | None = None
    adain: bool | None = None
    description: str | None = None
    licence: str | None = None
    overwrite: bool = False
    task: str | None = None
    default_w: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in (None, *LARGEST):
            raise ConfigError(f"precision is fp32 or fp16, not '{self.precision}'")
        if self.task not in (None, *TASKS):
            raise ConfigError(f"task is one of {', '.join(TASKS)}, not '{self.task}'")
        for key in ("name", "description", "licence"):
            if getattr(self, key) is not None and not getattr(self, key).strip():
                raise ConfigError(f"{key} must not be empty: {DESCRIPTION_FILE} needs it")


@dataclass(frozen=True)
class _Settled:
    """Options where nothing is open."""

    name: str
    precision: str
    adain: bool
    description: str
    licence: str
    task: str
    default_w: float
    more: Mapping[str, Any]


def _settled(options: ExportOptions, found: Checkpoint, checkpoint: Path, out: Path) -> _Settled:
    """Options with what holds for the weights where nothing was asked for.

    Raises:
        ConfigError: weights of others whose licence nobody says.
    """
    task = options.task or found.said("task") or "restoration"
    task = task if task in TASKS else "restoration"
    licence = options.licence or found.said("licence")
    if licence is None and "source" in found.info:
        raise ConfigError(f"{checkpoint}: are weights of others and say no licence: give it (--licence)")
    return _Settled(
        name=options.name or out.resolve().name,
        precision=options.precision or "fp16",
        adain=uses_adain(task) if options.adain is None else options.adain,
        description=options.description or ("CodeFormer" if "source" in found.info else OWN),
        licence=licence or "Apache-2.0",
        task=task,
        default_w=DEFAULT_W[task] if options.default_w is None else options.default_w,
        more=options.more,
    )


def export_model(checkpoint: Path, out: Path, options: ExportOptions, card: Path | None = None) -> Parity:
    """Export a stage III checkpoint and check the graphs against the network.

    The folder is put together aside and moved into place only when the check has passed.

    Raises:
        WeightsError: the checkpoint is unusable, or the graphs do not agree with it.
        ConfigError: it is of others, and neither it nor the options say a licence.
        InputError: the card cannot be read.
        OutputError: `out` exists and may not be replaced.
    """
    text = None if card is None else _read_card(card)
    with new_folder(out, options.overwrite) as folder:
        found = load_checkpoint(checkpoint)
        settled = _settled(options, found, checkpoint, out)
        net, info = _network(found, checkpoint), found.info
        del found  # the weights as they were read are let go
        encode, decode = export_graphs(net, folder, adain=settled.adain, half=settled.precision == "fp16")
        pictures = _pictures(net.config.autoencoder.image_size)
        parity = measure_parity(net, encode, decode, pictures, settled.adain)
        _require(parity, settled, checkpoint)
        description = _description(net.config.to_dict(), info, settled, parity, encode, decode)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n")
        if text is not None:
            (folder / CARD_FILE).write_text(text, encoding="utf-8")
    return parity


def _read_card(card: Path) -> str:
    try:
        return card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{card}: the model card cannot be read ({one_line(error, 100)})") from None


def _network(found: Checkpoint, checkpoint: Path) -> CodeFormer:
    if found.info.get("stage") != "stage3":
        raise WeightsError(
            f"{checkpoint}: is of {found.info.get('stage', 'no known stage')}, export needs stage3"
        )
    return network_of(found, checkpoint).eval()


def _pictures(side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth random pictures, (3, 3, side, side) in [-1, 1]: nearer to faces than noise; an odd batch."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (3, 3, 8, 8))
    smooth = coarse.repeat(side // 8, 2).repeat(side // 8, 3)
    return np.clip(smooth + rng.normal(0, 0.1, smooth.shape), -1, 1).astype(np.float32)


def _require(parity: Parity, options: _Settled, checkpoint: Path) -> None:
    if not math.isfinite(parity.mean):
        raise WeightsError(
            f"{checkpoint}: the network gives values that are not numbers; its weights are damaged"
        )
    # The published colourisation network knows w = 0 only: what another w does there was never trained.
    dial = parity.w_effect > 1e-4 or options.task == "colorization"
    close = parity.largest <= LARGEST[options.precision] and parity.codes >= CODES[options.precision]
    if not close:
        fix = "; try --precision fp32" if options.precision == "fp16" else ""
        raise WeightsError(f"{checkpoint}: the exported graphs do not agree with it ({parity}){fix}")
    if not dial:
        raise WeightsError(
            f"{checkpoint}: w changes nothing in this network; it was not trained in stage III"
        )


def _description(
    config: dict[str, Any],
    info: dict[str, Any],
    options: _Settled,
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
