"""Made-up faces, settings of tiny runs, and one finished run of every stage."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from facemend.networks.codeformer.checkpoint import Checkpoint, load_checkpoint
from facemend.training import train
from facemend.training.config import Stage1Config, Stage2Config, Stage3Config

SIDE = 64
HELD_OUT = 2
STAGES = {"stage1": Stage1Config, "stage2": Stage2Config, "stage3": Stage3Config}
MakeConfig = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-equal results need one thread; so does a quiet machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _face(rng: np.random.Generator) -> np.ndarray:
    """A colour ramp with three discs: something that a small network can learn."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    ramp = rng.uniform(0, 1, (3, 3))
    image = x[..., None] * ramp[0] + y[..., None] * ramp[1] + ramp[2] * 0.3
    for _ in range(3):
        centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.3)
        image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = rng.uniform(0, 1, 3)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of six made-up pictures, 64 px. Their names decide which are held out: always the same."""
    folder = tmp_path_factory.mktemp("training") / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(_face(rng)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def face_folders(faces: Path, tmp_path: Path) -> Path:
    """Made-up faces as the configs expect them: two folders, their table, test faces."""
    root = tmp_path / "faces"
    for folder in ("train512", "test"):
        (root / folder).mkdir(parents=True)
        for file in sorted(faces.glob("*.png")):
            shutil.copyfile(file, root / folder / f"{folder[:2]}{file.name}")
    rows = "".join(
        f"train256,{p.name},{'ab'[n % 2]},0\n" for n, p in enumerate(sorted((root / "train512").glob("*")))
    )
    (root / "train.csv").write_text("folder,file,source,yaw\n" + rows)
    return root


@pytest.fixture(scope="session")
def settings(faces: Path) -> MakeConfig:
    """`settings("stage1", out, **changes)`: a checked config of a tiny run."""

    def make(stage: str, out: Path, **changes: Any) -> Any:
        values: dict[str, Any] = {
            "stage": stage,
            "network": "tiny",
            "out": out,
            "threads": 1,
            "log_every": 1,
            "save_every": 1000,
            "preview_every": 1000,
            "data": {"folders": [{"path": faces}], "holdout": HELD_OUT, "flip": 0.0},
            "ema": 0.9,
        }
        if stage != "stage2":
            # The small trunk keeps the tests quick.
            values["perceptual"] = {"net": "alex"}
            values["adversary"] = {"width": 8, "layers": 2}
        if stage != "stage1":
            values["min_psnr"] = 0.0  # a few steps make no good stage I
        return STAGES[stage].model_validate(values | changes)

    return make


@dataclass(frozen=True)
class Finished:
    """What a run left: its config, checkpoint, log, and the weights that its optimiser started from."""

    config: Any
    path: Path
    start: dict[str, Tensor]

    @property
    def folder(self) -> Path:
        return self.path.parent

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return load_checkpoint(self.path)

    @cached_property
    def state(self) -> dict[str, Any]:
        return torch.load(self.folder / "state.pt", weights_only=True)

    @cached_property
    def log(self) -> list[dict[str, float]]:
        return read_log(self.folder)

    def metrics(self, name: str) -> dict[int, float]:
        """Values of one figure by step."""
        return {int(line["step"]): line[name] for line in self.log if name in line}


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def finish(config: Any) -> Finished:
    """Train, and keep what the network was when its optimiser was made."""
    import facemend.training.stage1_autoencoder as one
    import facemend.training.stage2_codes as two
    import facemend.training.stage3_fusion as three

    started: dict[str, Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:
        for module in (one, two, three):

            def keep(net: torch.nn.Module, optim: Any, make: Any = module.make_optimizer) -> Any:
                started.update({name: value.clone() for name, value in net.state_dict().items()})
                return make(net, optim)

            patch.setattr(module, "make_optimizer", keep)
        path = train(config)
    return Finished(config, path, started)


@pytest.fixture(scope="session")
def run_to_end() -> Callable[[Any], Finished]:
    return finish


@pytest.fixture(scope="session")
def stage1(settings: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Stage I that overfits four pictures, over every boundary: bypass, size, adversary."""
    config = settings(
        "stage1",
        tmp_path_factory.mktemp("runs") / "stage1",
        optim={"kind": "adamw", "lr": 3e-3},  # as the recorded metrics were made
        log_every=2,
        preview_every=30,
        perceptual={"net": "alex", "weight": 0.5, "jitter": 2},
        codebook={"bypass": 10, "revive_every": 5},
        phases=[
            {"steps": 16, "size": 40, "batch": 4},
            {"steps": 40, "size": SIDE, "batch": 4},
            {"steps": 4, "size": SIDE, "batch": 2, "adversary": True},
        ],
    )
    return finish(config)


@pytest.fixture(scope="session")
def stage2(settings: MakeConfig, stage1: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Stage II that overfits four pictures; the degradation changes on the way."""
    config = settings(
        "stage2",
        tmp_path_factory.mktemp("runs") / "stage2",
        stage1=stage1.path,
        optim={"lr": 3e-3},
        log_every=2,
        preview_every=25,
        phases=[
            {"steps": 4, "batch": 2, "degradation": "heavy"},
            {"steps": 46, "batch": 4, "degradation": "medium"},
        ],
    )
    return finish(config)


@pytest.fixture(scope="session")
def stage3(
    settings: MakeConfig, stage1: Finished, stage2: Finished, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Stage III over every kind of phase: w fixed, code losses only, w from a range, adversary."""
    config = settings(
        "stage3",
        tmp_path_factory.mktemp("runs") / "stage3",
        stage1=stage1.path,
        stage2=stage2.path,
        discriminator=stage1.folder / "discriminator.safetensors",
        optim={"lr": 1e-3},
        preview_every=6,
        perceptual={"net": "alex", "jitter": 2},
        phases=[
            {"steps": 3, "batch": 3, "degradation": "medium", "w": [1.0, 1.0]},
            {"steps": 3, "batch": 3, "degradation": "heavy", "w": [0.0, 0.0], "image_losses": False},
            {"steps": 3, "batch": 3, "degradation": "mixed", "w": [0.0, 1.2]},
            {"steps": 3, "batch": 3, "degradation": "mixed", "w": [0.5, 1.3], "adversary": True},
        ],
    )
    return finish(config)
