"""An untrained stage III checkpoint, and two exports of it: the exporter is slow, so each is made once."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.convert.export import ExportOptions, Parity, export_model
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig, preset


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _sizes() -> CodeFormerConfig:
    """As "tiny", but with enough weights for the size of a file to tell how they are stored."""
    tiny = preset("tiny")
    wider = dataclasses.replace(tiny.autoencoder, widths=(16, 32, 64), code_dim=64)
    return dataclasses.replace(tiny, autoencoder=wider, width=96, feedforward=256)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("stage3") / "model.safetensors"
    sizes = _sizes()
    info = {"stage": "stage3", "step": 12, "faces": 34}
    save_checkpoint(path, CodeFormer(sizes).state_dict(), sizes, info)
    return path


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
def half(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """By the command, as most will: float16, AdaIN, a card."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    card = folder.parent / "card.md"
    card.write_text("# A card\n")
    words = ["export", checkpoint, "--out", folder, "--name", "mine", "--card", card]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return Exported(folder, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def full(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parity]:
    """By the library with its defaults otherwise: float32, no AdaIN."""
    folder = tmp_path_factory.mktemp("models") / "deep/full"
    parity = export_model(checkpoint, folder, ExportOptions(precision="fp32", adain=False))
    return folder, parity
