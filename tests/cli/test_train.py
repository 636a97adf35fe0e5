"""`facemend train`: config file, changed settings, and what it says when it cannot."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import install_line
from facemend.networks.codeformer.checkpoint import Checkpoint, load_checkpoint, network_of, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import PRESETS, preset
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import find_model

CONFIG = """
stage = "stage1"
network = "tiny"
out = "{out}"
threads = 1
log_every = 1
save_every = 1

[data]
folders = [{{ path = "{faces}" }}]
holdout = 1

[perceptual]
net = "alex"

[[phases]]
steps = 2
size = 64
batch = 1
"""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    faces = tmp_path / "faces"
    faces.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(faces / f"{name}.png")
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG.format(out=(tmp_path / "run").as_posix(), faces=faces.as_posix()))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["train", *(str(word) for word in arguments)])


def test_training_and_changed_settings(config, tmp_path):
    result = run("stage1", "--config", config, "--set", "seed=5", "--set", "optim.lr=2e-4")
    assert result.exit_code == 0, result.output
    product = tmp_path / "run/model.safetensors"
    assert result.stdout.strip() == str(product)
    assert product.is_file()
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert kept["seed"] == 5
    assert kept["optim"]["lr"] == 2e-4
    assert "1/2" in result.stderr
    assert "2/2" in result.stderr
    assert "l1 " in result.stderr
    assert "resumes a stopped run" in result.stderr


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("stage2", "seed=1", 'has stage = "stage1"; run `facemend train stage1`'),
        ("stage3", "seed=1", 'has stage = "stage1"; run `facemend train stage1`'),
        ("stage1", "optim.speed=3", "optim.speed"),
        ("stage1", "optim.lr=-1", "optim.lr"),
        ("stage1", "network=huge", "no network 'huge'"),
        ("stage1", "seed", "write KEY=VALUE"),
    ],
)
def test_wrong_settings(config, tmp_path, stage, change, message):
    result = run(stage, "-c", config, "--set", change)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_missing_config_or_faces(config, tmp_path):
    for path in (tmp_path / "faces").iterdir():
        path.unlink()
    for given, message in ((tmp_path / "none.toml", "none.toml"), (config, "no pictures in it")):
        result = run("stage1", "-c", given)
        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("prepared", [False, True])
def test_faces_may_be_named_on_the_command_line(config, tmp_path, prepared):
    """Beside what the config says of other pictures, which does not fit these."""
    config.write_text(config.read_text().replace("holdout", 'table = "none.csv"\nturned = 3\nholdout'))
    given = tmp_path / "mine"
    folder = given / "faces" if prepared else given
    shutil.copytree(tmp_path / "faces", folder)
    shutil.rmtree(tmp_path / "faces")
    if prepared:
        (given / "manifest.csv").write_text("folder,file,yaw,source\nfaces,a.png,0.5,museum\n")
    result = run("stage1", "-c", config, "--faces", given)
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / "run/config.json").read_text())["data"]
    assert [Path(row["path"]) for row in kept["folders"]] == [folder]
    assert (kept["table"] and Path(kept["table"])) == (given / "manifest.csv" if prepared else None)
    assert (kept["turned"], kept["holdout"]) == (1, 1)


def test_faces_that_are_not_there(config, tmp_path):
    result = run("stage1", "-c", config, "--faces", tmp_path / "nowhere")
    assert result.exit_code == 1
    said = "no such folder, or no pictures in it; --faces DIR names a folder of aligned ones"
    assert result.stderr == f"facemend: {tmp_path / 'nowhere'}: {said}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package", ["torch", "tensorboard", "safetensors"])
def test_missing_extra(config, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    result = run("stage1", "-c", config)
    assert result.exit_code == 1
    assert install_line("train") in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_says_how_to_go_on(config, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("facemend.training.train", stop)
    result = run("stage1", "-c", config)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_grow_from_a_checkpoint(tmp_path, monkeypatch):
    tiny = preset("tiny")
    ends = replace(tiny.autoencoder, image_size=128, patch=4, widths=(16, 16, 24), encoder_skips=True)
    large = replace(tiny, autoencoder=ends, bands=(32, 16, 8))
    monkeypatch.setitem(PRESETS, "tiny-128", large)
    path, out = tmp_path / "tiny.safetensors", tmp_path / "large.safetensors"
    whose = {"source": {"file": "theirs.pth"}, "licence": "Theirs", "task": "restoration"}
    save_checkpoint(path, CodeFormer(tiny).state_dict(), tiny, {"stage": "stage3", "step": 7, **whose})
    result = run("grow", "--from", path, "--network", "tiny-128", "-o", out)
    assert result.exit_code == 0, result.output
    grown = load_checkpoint(out)
    assert grown.config == large
    how = {"stage": "stage3", "grown_from": "tiny.safetensors", "noise": 0.0, "seed": 0}
    assert grown.info == whose | how
    CodeFormer(large).load_state_dict(grown.state)

    again = run("grow", "--from", path, "--network", "tiny-128", "-o", out)
    assert again.exit_code == 1
    assert "exists already" in again.output
    other = run("grow", "--from", path, "--network", "codeformer-512", "-o", tmp_path / "x.safetensors")
    assert other.exit_code == 1
    assert "differ in more" in other.output
    missing = run("grow", "--from", tmp_path / "no.safetensors", "-o", tmp_path / "x.safetensors")
    assert missing.exit_code == 1
    assert "no such checkpoint" in missing.output
    assert not (tmp_path / "x.safetensors").exists()


def test_grow_from_a_model(tmp_path, monkeypatch):
    tiny = preset("tiny")
    found = Checkpoint(tiny, CodeFormer(tiny).state_dict(), {"stage": "stage3"})
    folders = {find_model(DEFAULT_MODEL).folder: found}
    monkeypatch.setattr("facemend.convert.recover.recover_checkpoint", folders.__getitem__)
    out = tmp_path / "again.safetensors"
    result = run("grow", "--from", DEFAULT_MODEL, "--network", "tiny", "-o", out)
    assert result.exit_code == 0, result.output
    state = load_checkpoint(out).state
    assert all(torch.equal(state[name], value) for name, value in found.state.items())


@pytest.mark.long
def test_grow_takes_the_weights_of_the_shipped_graphs_back(tmp_path):
    from facemend.convert.parity import measure_parity

    out, info = tmp_path / "again.safetensors", find_model(DEFAULT_MODEL)
    result = run("grow", "--from", DEFAULT_MODEL, "--network", DEFAULT_MODEL, "-o", out)
    assert result.exit_code == 0, result.output
    net = network_of(load_checkpoint(out), out).eval()
    faces = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).repeat(64, 2).repeat(64, 3)
    adain = bool(info.details["adain"])
    parity = measure_parity(net, info.encode, info.decode, faces.astype(np.float32), adain)
    assert parity.codes > 0.995
    assert parity.largest < 2e-3
