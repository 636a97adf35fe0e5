"""A model folder from another one, with int8 arithmetic: fewer bytes, and quicker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facemend.convert.model_folder import file_row, new_folder
from facemend.convert.quantize import quantized
from facemend.convert.skip import plain, skip_at_zero
from facemend.degradations import degrade
from facemend.errors import ConfigError, InputError, WeightsError
from facemend.files import faces_in, is_of_system
from facemend.imaging import SUFFIXES, in_srgb, read_picture, resize, to_float
from facemend.predictors.restorer import FaceRestorer
from facemend.weights.models import CARD_FILE, DESCRIPTION_FILE, ModelInfo

# A tenth of the faces is kept out of calibration, to measure on.
KEPT_OUT = 0.1
# Share of tokens that must keep their code; below that the network guesses another face.
LEAST_CODES = 0.7


@dataclass(frozen=True)
class Int8Report:
    """What 8 bits cost, on faces that were not calibrated with.

    Attributes:
        codes: share of tokens with the same code as before, [0, 1].
        mean: mean absolute difference of the restored faces at w = 0.5, range [0, 1].
        bytes_before: size of the graphs.
        bytes_after: the same of the new ones.
        faces: how many it was measured on.
    """

    codes: float
    mean: float
    bytes_before: int
    bytes_after: int
    faces: int


def quantize_model(
    info: ModelInfo,
    faces: Path,
    out: Path,
    *,
    name: str | None = None,
    count: int = 64,
    degradation: str = "mixed",
    seed: int = 0,
    overwrite: bool = False,
) -> Int8Report:
    """Write a model folder whose graphs calculate in int8.

    Args:
        info: the model to start from, a pair of graphs that facemend exported.
        faces: folder of aligned HQ faces; they are degraded before calibration, as the network sees photos.
        out: model folder to write.
        name: of the new model; default: the old one's with "-int8".
        count: how many faces, spread evenly over the folder's names.
        degradation: preset to degrade them with.
        seed: of the degradations; the k-th face has seed + k.
        overwrite: whether a model folder may be replaced.

    Returns:
        What it costs.

    Raises:
        ConfigError: the model is no such pair, or has int8 already; the name is empty.
        InputError: the folder has too few faces.
        WeightsError: the result is too far from the original.
        OutputError: `out` exists and may not be replaced.
    """
    if info.io is not None or "config" not in info.details:
        raise ConfigError(f"{info.name}: only models that facemend exported as a pair can be quantised")
    if info.details.get("precision") == "int8":
        raise ConfigError(f"{info.name}: calculates in int8 already")
    if name is not None and not name.strip():
        raise ConfigError(f"the name must not be empty: {DESCRIPTION_FILE} needs it")
    crops = _calibration_faces(faces, info.image_size, count, degradation, seed)
    kept = max(1, round(KEPT_OUT * len(crops)))
    with new_folder(out, overwrite) as folder:
        encode, decode = (plain(onnx.load(path)) for path in (info.encode, info.decode))
        graphs = quantized(encode, decode, crops[kept:], _fine(info.details["config"]))
        skip_at_zero(graphs[1])
        for path, graph in zip((folder / "encode.onnx", folder / "decode.onnx"), graphs, strict=True):
            onnx.checker.check_model(graph)
            onnx.save(graph, path)
        report = _compare(info, folder, crops[:kept])
        if report.codes < LEAST_CODES:
            raise WeightsError(
                f"{info.name}: only {report.codes:.0%} of the codes stay the same in int8; "
                "calibrate with more faces, or faces more like yours"
            )
        name = name or f"{info.name}-int8"
        (folder / DESCRIPTION_FILE).write_text(
            json.dumps(_description(info, folder, name, report), indent=1) + "\n"
        )
        if info.card.is_file():
            shutil.copyfile(info.card, folder / CARD_FILE)
    return report


def _fine(config: dict[str, Any]) -> tuple[str, ...]:
    """Weights whose operators stay in float32: the finest two levels, the ways down and up, the finest CFT.

    Found by leaving parts out (docs/log.md): in the decoder these lose detail, all others lose nothing; in
    the encoder of compact-512 they lose four codes of five. Where the codes of finer scales enter was not
    tried, and goes with the levels that it serves.
    """
    levels = len(config["autoencoder"]["widths"])
    parts = [
        "net.decoder.out.",
        "net.decoder.ups.",
        "net.decoder.fine.",
        "net.encoder.stem.",
        "net.encoder.downs.",
    ]
    parts += [f"net.encoder.levels.{level}." for level in range(2)]
    parts += [f"net.decoder.levels.{level}." for level in range(max(1, levels - 2), levels)]
    if config["fuse_sizes"]:
        parts.append(f"net.fusion.{max(config['fuse_sizes'])}.")
    return tuple(parts)


def _calibration_faces(
    folder: Path, side: int, count: int, degradation: str, seed: int
) -> list[NDArray[np.float32]]:
    """(1, 3, S, S) float32 in [-1, 1] each, degraded."""
    root = faces_in(folder)
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(path for path in found if not any(map(is_of_system, path.relative_to(root).parts)))
    if len(files) < 2:
        raise InputError(f"{folder}: int8 needs a folder with at least 2 aligned faces to calibrate on")
    places = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    crops = []
    for number, place in enumerate(places):
        image = resize(in_srgb(read_picture(files[place])).as_float(), (side, side), "area")
        worse, _ = degrade(np.rint(image * 255).astype(np.uint8), degradation, seed + number)
        crops.append(np.ascontiguousarray(to_float(worse).transpose(2, 0, 1)[None] * 2 - 1, np.float32))
    return crops


def _compare(info: ModelInfo, folder: Path, crops: Sequence[NDArray[np.float32]]) -> Int8Report:
    before = FaceRestorer.open(info, device="cpu")
    new = ModelInfo(**{**vars(info), "encode": folder / "encode.onnx", "decode": folder / "decode.onnx"})
    after = FaceRestorer.open(new, device="cpu")
    images = (np.concatenate(crops).transpose(0, 2, 3, 1) / 2 + 0.5).astype(np.float32)
    first, second = before.encode(images), after.encode(images)
    same = float((first.outputs["codes"] == second.outputs["codes"]).mean())
    difference = float(np.abs(before.decode(first, 0.5) - after.decode(second, 0.5)).mean())
    old_bytes, new_bytes = (sum(path.stat().st_size for path in m.graphs.values()) for m in (info, new))
    return Int8Report(same, difference, old_bytes, new_bytes, faces=len(crops))


def _description(info: ModelInfo, folder: Path, name: str, report: Int8Report) -> dict[str, Any]:
    old = json.loads((info.folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    old.pop("parity", None)
    old.pop("weights", None)
    files = {graph: file_row(folder / f"{graph}.onnx") for graph in ("encode", "decode")}
    return {
        **old,
        "name": name,
        "description": f"{info.description}, in int8",
        "files": files,
        "precision": "int8",
        "made_from": {"name": info.name, "sha256": dict(info.sha256)},
        "int8": asdict(report),
    }
