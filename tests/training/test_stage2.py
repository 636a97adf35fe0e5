"""Stage II on made-up pictures: end to end, what is frozen, and what it refuses to start from."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.errors import ConfigError, FacemendError, InputError
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import save_checkpoint
from facemend.networks.codeformer.config import preset

SIDE = 64
PHASE = [{"steps": 1, "batch": 2, "degradation": "medium"}]


def part_of(state, part):
    return {name: value for name, value in state.items() if name.startswith(part + ".")}


def test_token_loss_falls(stage2):
    token = stage2.metrics("token")
    assert token[2] > 0.7 * math.log(preset("tiny").autoencoder.codebook_size)  # near chance
    assert token[50] < 0.75 * token[2]
    assert stage2.metrics("top1")[50] > 2 * stage2.metrics("top1")[2]


def test_log_and_previews(stage2):
    """Accuracy beside cross entropy, and a preview at w = 0."""
    for name in ("top1", "top5"):
        values = stage2.metrics(name)
        assert list(values) == list(range(2, 51, 2))
        assert all(0 <= value <= 1 for value in values.values())
    assert all(stage2.metrics("top1")[step] <= stage2.metrics("top5")[step] for step in range(2, 51, 2))
    for name in ("token", "top1", "psnr_lq", "psnr_w0", "lpips_alex_w0"):
        assert list(stage2.metrics(f"held_out/{name}")) == [25, 50]
    assert "l1" not in stage2.log[-1]
    grid = np.asarray(Image.open(stage2.folder / "previews/step_000050.png"))
    assert grid.shape == (2 * SIDE, 3 * SIDE, 3)  # LQ, restored, HQ
    assert list((stage2.folder / "tensorboard").iterdir())


def test_teacher_is_described_at_the_start(stage1, stage2):
    """What the target codes are like is known before the first step."""
    first = stage2.log[0]
    assert first["step"] == 0
    assert 0 < first["target_entropy"] <= math.log(preset("tiny").autoencoder.codebook_size)
    assert first["stage1_psnr"] == pytest.approx(stage1.metrics("held_out/psnr")[60], abs=1e-3)
    assert stage2.checkpoint.info["stage1"] == stage1.checkpoint.sha256


def test_it_starts_from_stage1(stage1, stage2):
    for name, value in stage1.checkpoint.state.items():
        assert torch.equal(stage2.start[name], value), name


@pytest.mark.parametrize("part", ["codebook", "decoder", "fusion"])
def test_frozen_parts_do_not_change(stage2, part):
    """To the bit, in the network and in its average."""
    start = part_of(stage2.start, part)
    assert start
    for name, value in start.items():
        assert torch.equal(stage2.state["net"][name], value), name
        assert torch.equal(stage2.checkpoint.state[name], value), name


@pytest.mark.parametrize("part", ["encoder", "transformer"])
def test_trained_parts_change(stage2, part):
    start = part_of(stage2.start, part)
    product = stage2.checkpoint.state
    changed = [name for name, value in start.items() if not torch.equal(product[name], value)]
    assert len(changed) == len(start)


def test_an_untrained_stage1_is_refused(run_to_end, settings, tmp_path):
    """Its codes would be noise, and training on them looks like training."""
    torch.manual_seed(0)
    sizes, path = preset("tiny"), tmp_path / "random.safetensors"
    net = VQAutoencoder(sizes.autoencoder)
    save_checkpoint(path, net.state_dict(), sizes, {"stage": "stage1"})
    config = settings("stage2", tmp_path / "run", stage1=path, phases=PHASE, min_psnr=18.0)
    with pytest.raises(ConfigError, match=r"random\.safetensors: .* dB only .*min_psnr = 18"):
        run_to_end(config)
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_missing_stage1_is_refused(run_to_end, settings, tmp_path):
    config = settings("stage2", tmp_path / "run", stage1=tmp_path / "none.safetensors", phases=PHASE)
    with pytest.raises(InputError, match=r"none\.safetensors: the stage I checkpoint is not there"):
        run_to_end(config)


def test_other_sizes_are_refused(run_to_end, settings, tmp_path):
    sizes = preset("tiny")
    other = dataclasses.replace(sizes, autoencoder=dataclasses.replace(sizes.autoencoder, codebook_size=16))
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, VQAutoencoder(other.autoencoder).state_dict(), other, {"stage": "stage1"})
    with pytest.raises(ConfigError, match=r"other\.safetensors: .*other autoencoder sizes"):
        run_to_end(settings("stage2", tmp_path / "run", stage1=path, phases=PHASE))


@pytest.mark.parametrize("wrong", ["discriminator", "stage2"])
def test_a_checkpoint_of_another_network_is_refused(run_to_end, settings, stage1, stage2, tmp_path, wrong):
    path = stage2.path if wrong == "stage2" else stage1.folder / "discriminator.safetensors"
    with pytest.raises(FacemendError, match="does not fit the network"):
        run_to_end(settings("stage2", tmp_path / "run", stage1=path, phases=PHASE))
