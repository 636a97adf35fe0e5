"""Stage III on made-up pictures: every kind of phase, what is frozen, and what it refuses to start from."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.errors import ConfigError, InputError, WeightsError
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer

SIDE = 64
PHASE = [{"steps": 1, "batch": 2, "degradation": "medium"}]
CODE = {"feature", "token", "top1", "top5"}
IMAGE = {"l1", "lpips_alex"}
GAN = {"gan", "lambda", "d_loss", "real", "fake"}


def test_every_phase_boundary_is_crossed(stage3):
    """The phases before, in and after the one without image losses run, with their metrics."""
    lines = {line["step"]: set(line) for line in stage3.log if "token" in line}
    assert list(lines) == list(range(1, 13))
    for step, names in lines.items():
        losses = CODE | (set() if 4 <= step <= 6 else IMAGE) | (GAN if step >= 10 else set())
        assert names & (CODE | IMAGE | GAN) == losses, step


def test_w_is_drawn_for_every_face_from_the_phase(run_to_end, settings, stage3, tmp_path, monkeypatch):
    seen = []
    decode = CodeFormer.decode

    def spy(self, codes, features, w, style=None):
        if torch.is_grad_enabled():  # training, not validation
            seen.append(w.clone())
        return decode(self, codes, features, w, style)

    monkeypatch.setattr(CodeFormer, "decode", spy)
    phases = [
        {"steps": 1, "batch": 3, "degradation": "medium", "w": [1.3, 1.3]},
        {"steps": 1, "batch": 2, "degradation": "medium", "w": [0.0, 0.0], "image_losses": False},
        {"steps": 3, "batch": 4, "degradation": "medium", "w": [0.25, 0.75]},
    ]
    run_to_end(follow(settings, stage3, tmp_path / "run", phases=phases))
    assert [len(w) for w in seen] == [3, 4, 4, 4]
    assert torch.equal(seen[0], torch.full((3,), 1.3))
    drawn = torch.cat(seen[1:])
    assert 0.25 <= drawn.min() < 0.4
    assert 0.5 < drawn.max() <= 0.75
    assert len(drawn.unique()) == 12


def follow(settings, stage3, out: Path, **changes):
    """A config that starts where the finished run started."""
    values = {"stage1": stage3.config.stage1, "stage2": stage3.config.stage2, "phases": PHASE}
    return settings("stage3", out, **(values | changes))


def test_what_is_left(stage1, stage2, stage3):
    info = stage3.checkpoint.info
    assert info["stage"] == "stage3"
    assert info["step"] == 12
    assert info["faces"] == 36
    assert info["stage1"] == stage1.checkpoint.sha256
    assert info["stage2"] == stage2.checkpoint.sha256
    assert list((stage3.folder / "tensorboard").iterdir())
    for name in ("token", "top1", "psnr_lq", *(f"lpips_alex_w{w}" for w in ("0", "0.5", "1"))):
        assert list(stage3.metrics(f"held_out/{name}")) == [6, 12]
    grid = np.asarray(Image.open(stage3.folder / "previews/step_000012.png"))
    assert grid.shape == (2 * SIDE, 5 * SIDE, 3)  # LQ, three w, HQ
    columns = np.split(grid, 5, axis=1)
    assert (columns[1] != columns[3]).any()  # w matters


def test_it_starts_from_stage2(stage2, stage3):
    for name, value in stage2.checkpoint.state.items():
        assert torch.equal(stage3.start[name], value), name


@pytest.mark.parametrize("part", ["codebook", "decoder"])
def test_frozen_parts_do_not_change(stage1, stage3, part):
    """To the bit what stage I learned, in the network and in its average."""
    learned = {name: v for name, v in stage1.checkpoint.state.items() if name.startswith(part + ".")}
    assert learned
    for name, value in learned.items():
        assert torch.equal(stage3.state["net"][name], value), name
        assert torch.equal(stage3.checkpoint.state[name], value), name


@pytest.mark.parametrize("part", ["encoder", "transformer", "fusion", "bands"])
def test_trained_parts_change(stage3, part):
    names = [name for name in stage3.start if name.startswith(part + ".")]
    product = stage3.checkpoint.state
    assert all(not torch.equal(product[name], stage3.start[name]) for name in names)


def test_discriminator_of_stage1_is_taken_up(run_to_end, settings, stage1, stage3, tmp_path):
    """It is the one that stage I saved."""
    discriminator = stage1.folder / "discriminator.safetensors"
    run = run_to_end(follow(settings, stage3, tmp_path / "run", discriminator=discriminator))
    saved = load_checkpoint(discriminator).state
    assert saved
    for name, value in saved.items():  # no adversarial step, so it is as it was
        assert torch.equal(run.state["discriminator"][name.removeprefix("patch.")], value), name


def test_without_a_discriminator_it_starts_fresh_and_says_so(run_to_end, settings, stage3, tmp_path, caplog):
    caplog.set_level(logging.INFO, "facemend")
    phases = [{**PHASE[0], "adversary": True}]
    run = run_to_end(follow(settings, stage3, tmp_path / "run", phases=phases))
    assert "starts fresh" in caplog.text
    assert "d_loss" in run.log[0]


def test_a_stage2_of_another_stage1_is_refused(run_to_end, settings, stage1, stage2, tmp_path):
    other = run_to_end(
        settings(
            "stage1", tmp_path / "one", init=stage1.path, phases=[{"steps": 1, "size": SIDE, "batch": 2}]
        )
    )
    config = settings("stage3", tmp_path / "run", stage1=other.path, stage2=stage2.path, phases=PHASE)
    with pytest.raises(ConfigError, match="was trained on another stage I"):
        run_to_end(config)


@pytest.mark.parametrize("name", ["stage1", "stage2", "discriminator"])
def test_missing_files_are_refused(run_to_end, settings, stage3, tmp_path, name):
    config = follow(settings, stage3, tmp_path / "run", **{name: tmp_path / "none.safetensors"})
    with pytest.raises((InputError, WeightsError), match=r"none\.safetensors"):
        run_to_end(config)


def test_an_untrained_stage1_is_refused(run_to_end, settings, stage3, tmp_path):
    with pytest.raises(ConfigError, match="min_psnr = 60"):
        run_to_end(follow(settings, stage3, tmp_path / "run", min_psnr=60.0))
