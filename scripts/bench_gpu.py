#!/usr/bin/env python3
"""What a GPU is worth here, in five minutes: faces a second, frames of films, training of all three stages.

Faces go through the whole network (encode, decode at w = 0.5) in bf16, fp16 and fp32, by batch, with torch;
and with onnxruntime in the precision of its graphs, where it has the device and a model of that name is
there. Weights of torch are random: they do not change the time. Training takes the network's three configs
and a few made-up faces. What cannot be measured says why and does not stop the rest. Every figure is
printed as it comes, and all are written as JSON. Needs the extras `train` and `export`, and `video` for
films.

    python scripts/bench_gpu.py                                 on a GPU
    python scripts/bench_gpu.py --quick --device cpu            small sizes, a minute: to see that it works
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from facemend.errors import BackendError, FacemendError, one_line
from facemend.imaging import Picture, read_picture, resize, write_picture
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.photo.bench import PORTRAIT, whole_pass
from facemend.photo.options import DEFAULT_MODEL, RestoreOptions
from facemend.photo.timing import machine
from facemend.predictors.restorer import FaceRestorer
from facemend.training import train
from facemend.training.config import load_config
from facemend.weights.catalog import assets_folder
from facemend.weights.models import find_model, is_named

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHARES = {"torch": 0.3, "onnx": 0.1, "film": 0.1, "training": 0.5}
STAGES = ("stage1", "stage2", "stage3")
FACES = 16  # made-up ones to train on


@dataclass(frozen=True)
class Figure:
    """One figure, or why there is none."""

    what: str
    rate: float | None
    unit: str
    note: str = ""

    def __str__(self) -> str:
        rate = "-" if self.rate is None else f"{self.rate:.3g}"
        return f"{self.what:<40}{rate:>10} {self.unit:<10} {self.note}".rstrip()


def tried(what: str, unit: str, work: Callable[[], float]) -> Figure:
    """The figure that `work` gives; what goes wrong (no memory, no operator, no weights) is its note."""
    try:
        return Figure(what, work(), unit)
    # The other figures are of use without it. AssertionError: a torch that was built without the device.
    except (FacemendError, RuntimeError, ImportError, OSError, AssertionError) as error:
        return Figure(what, None, unit, one_line(error, 120))


def a_second(work: Callable[[], object], items: int, seconds: float) -> float:
    """Items a second: median of the runs in these seconds, at least one, after one that does not count."""
    work()
    runs: list[float] = []
    end = time.perf_counter() + seconds
    while not runs or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        runs.append(time.perf_counter() - start)
    return items / median(runs)


def torch_faces(network: str, device: str, batches: Sequence[int], seconds: float) -> Iterator[Figure]:
    """Faces a second by precision and batch."""
    config = preset(network)
    size = config.autoencoder.image_size

    @cache
    def net() -> CodeFormer:
        return CodeFormer(config).to(device).eval()

    def once(faces: torch.Tensor, w: torch.Tensor, kind: torch.dtype) -> None:
        with torch.inference_mode(), torch.autocast(device, kind, enabled=kind is not torch.float32):
            net()(faces, w)
        if device == "cuda":
            torch.cuda.synchronize()

    each = seconds / (len(PRECISIONS) * len(batches))
    for name, kind in PRECISIONS.items():
        for batch in batches:

            def rate(kind: torch.dtype = kind, batch: int = batch) -> float:
                faces = torch.rand(batch, 3, size, size, device=device) * 2 - 1
                w = torch.full((batch,), 0.5, device=device)
                return a_second(partial(once, faces, w, kind), batch, each)

            yield tried(f"torch {name}, batch {batch}", "faces/s", rate)


def onnx_faces(network: str, device: str, batches: Sequence[int], seconds: float) -> Iterator[Figure]:
    """The same with onnxruntime."""
    for batch in batches:

        def rate(batch: int = batch) -> float:
            if not is_named(network):
                raise BackendError(f"no model {network} is there")
            restorer = FaceRestorer.open(find_model(network), device=device)
            side = restorer.image_size
            faces = np.random.default_rng(0).random((batch, side, side, 3), dtype=np.float32)
            return a_second(partial(whole_pass, restorer, faces), batch, seconds / len(batches))

        yield tried(f"onnxruntime, batch {batch}", "faces/s", rate)


def film_frames(device: str, heights: Sequence[int], frames: int, seconds: float) -> Iterator[Figure]:
    """Frames a second of whole films with the default model."""
    portrait = read_picture(assets_folder() / PORTRAIT)
    for height in heights:

        def rate(height: int = height) -> float:
            from bench_growth import film
            from facemend.video.restore import load_networks, restore_video

            networks = load_networks(RestoreOptions(device=device))
            with tempfile.TemporaryDirectory() as folder:
                source = film(portrait, height, frames, Path(folder) / "in.mp4")
                out = (Path(folder) / f"{number}.mp4" for number in range(10**6))
                work = lambda: restore_video(source, next(out), networks=networks)  # noqa: E731
                return a_second(work, frames, seconds / len(heights))

        yield tried(f"film, {height} lines", "frames/s", rate)


def training_images(network: str, seconds: float, workers: int) -> Iterator[Figure]:
    """Images a second of each stage; the first report of each holds its start and does not count."""
    size = preset(network).autoencoder.image_size
    portrait = resize(read_picture(assets_folder() / PORTRAIT).pixels, (size, size), "area")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "faces").mkdir()
        for number in range(FACES):
            shifted = np.ascontiguousarray(np.roll(portrait, number, 1))
            write_picture(folder / f"faces/{number}.png", Picture(shifted))
        for stage in STAGES:
            yield tried(
                f"training, {stage}", "images/s", partial(_stage, network, stage, folder, seconds, workers)
            )


def _stage(network: str, stage: str, folder: Path, seconds: float, workers: int) -> float:
    file = ROOT / f"configs/{network}-{stage}.toml"
    changes = {
        "out": folder / stage,
        "minutes": seconds / len(STAGES) / 60,
        "log_every": 1,
        "data.workers": workers,
    }
    before = {name: folder / name / "model.safetensors" for name in STAGES[: STAGES.index(stage)]}
    if before:
        changes |= before | {"min_psnr": 0}
    if "discriminator" in file.read_text(encoding="utf-8"):
        changes["discriminator"] = folder / "stage1/discriminator.safetensors"
    words = [f"{key}={json.dumps(str(v) if isinstance(v, Path) else v)}" for key, v in changes.items()]
    rates: list[float] = []
    config = load_config(file, words, folder / "faces")
    if getattr(config, "init", None):  # of a network that was grown; the time is that of random weights, too
        config = config.model_copy(update={"init": None})
    train(config, lambda report: rates.append(report.images_per_second))
    return median(rates[1:] or rates)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="for all of it, about; default: 5, quick: 0.5")
    parser.add_argument("--network", help="a preset; default: the shipped model's, quick: tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench_gpu.json"))
    given = parser.parse_args(arguments)
    quick = given.quick
    seconds = 60 * (given.minutes or (0.5 if quick else 5))
    network = given.network or ("tiny" if quick else DEFAULT_MODEL)
    batches = (1, 2) if quick else (1, 4, 16, 64)
    heights, frames, workers = ((120,), 2, 0) if quick else ((480, 1080), 50, 4)
    share = {name: part * seconds for name, part in SHARES.items()}
    onnx = (DEFAULT_MODEL, batches[:1]) if quick else (network, batches)
    figures: list[Figure] = []
    given.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        for work in (
            torch_faces(network, given.device, batches, share["torch"]),
            onnx_faces(onnx[0], given.device, onnx[1], share["onnx"]),
            film_frames(given.device, heights, frames, share["film"]),
            training_images(network, share["training"], workers),
        ):
            for figure in work:
                print(figure, flush=True)
                figures.append(figure)
    finally:  # what was measured stays, also where it is stopped
        card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        told = {
            "machine": machine(),
            "card": card,
            "network": network,
            "figures": [asdict(f) for f in figures],
        }
        given.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
