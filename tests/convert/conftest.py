"""A stage III checkpoint and two exports of it: the exporter is slow, so each is made once in a run."""

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.convert.export import ExportOptions, Parity, export_model
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig, preset
from facemend.weights.models import GRAPHS


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes the folder of a name, which all processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exported"
    root.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(root / f"{name}.lock"):
            if not (root / f"{name}.done").exists():
                make(root / name)
                (root / f"{name}.done").touch()
        return root / name

    return get


def _sizes() -> CodeFormerConfig:
    """As "tiny", but with enough weights for the size of a file to tell how they are stored."""
    tiny = preset("tiny")
    wider = dataclasses.replace(tiny.autoencoder, widths=(16, 32, 64), code_dim=64)
    return dataclasses.replace(tiny, autoencoder=wider, width=96, feedforward=256)


@pytest.fixture(scope="session")
def checkpoint(once: Once) -> Path:
    """As if trained: the exporter drops norms that still hold ones and zeros."""

    def make(path: Path) -> None:
        torch.manual_seed(0)
        sizes = _sizes()
        state = CodeFormer(sizes).state_dict()
        state = {name: value + 0.02 * torch.randn(value.shape) for name, value in state.items()}
        save_checkpoint(path, state, sizes, {"stage": "stage3", "step": 12, "faces": 34})

    return once("model.safetensors", make)


@pytest.fixture(scope="session")
def net(checkpoint: Path) -> CodeFormer:
    loaded = load_checkpoint(checkpoint)
    net = CodeFormer(loaded.config)
    load_into(net, loaded.state, checkpoint)
    return net.eval()


@dataclass(frozen=True)
class Exported:
    """A model folder and what was said while it was made."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="session")
def half(checkpoint: Path, once: Once) -> Exported:
    """By the command, as most will: float16, AdaIN, a card."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "card.md").write_text("# A card\n")
        words = [
            "export",
            checkpoint,
            "--out",
            folder / "mine",
            "--name",
            "mine",
            "--card",
            folder / "card.md",
        ]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        (folder / "said.json").write_text(json.dumps([result.stdout, result.stderr]))

    folder = once("half", make)
    return Exported(folder / "mine", *json.loads((folder / "said.json").read_text()))


@pytest.fixture
def exported_before(half: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is exported as float16, the graphs are those of `half`."""

    def copied(net: CodeFormer, folder: Path, **how: bool) -> tuple[Path, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(Path(shutil.copy(half.folder / f"{graph}.onnx", folder)) for graph in GRAPHS)

    monkeypatch.setattr("facemend.convert.export.export_graphs", copied)


@pytest.fixture(scope="session")
def full(checkpoint: Path, once: Once) -> tuple[Path, Parity]:
    """By the library with its defaults otherwise: float32, no AdaIN."""

    def make(folder: Path) -> None:
        said, ear = [], logging.Handler()
        ear.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
        for each in loggers:
            each.addHandler(ear)
        parity = export_model(checkpoint, folder / "deep/full", ExportOptions(precision="fp32", adain=False))
        for each in loggers:
            each.removeHandler(ear)
        (folder / "said.json").write_text(json.dumps(said))
        (folder / "parity.json").write_text(json.dumps(dataclasses.asdict(parity)))

    folder = once("full", make)
    return folder / "deep/full", Parity(**json.loads((folder / "parity.json").read_text()))
