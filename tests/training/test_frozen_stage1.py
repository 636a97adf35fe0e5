"""Stage I as it is for stages II and III, and the metrics and pictures of validation."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.data.faces import to_signed, to_unit
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import preset
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training.frozen_stage1 import FrozenStage1, target_entropy
from facemend.training.validate import BATCH, compare, in_batches, reconstruction, save_grid


@pytest.fixture(scope="module")
def probe() -> torch.Tensor:
    return to_signed(torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def frozen(stage1, probe) -> FrozenStage1:
    return FrozenStage1(stage1.path, preset("tiny"), probe, 0.0, torch.device("cpu"))


def test_targets_are_the_codes_of_the_saved_network(stage1, frozen, probe):
    codes, by_side = frozen.targets(probe)
    (vectors,) = by_side.values()
    net = VQAutoencoder(preset("tiny").autoencoder)
    net.load_state_dict(stage1.checkpoint.state)
    with torch.no_grad():
        z, _ = net.encoder(probe)
    table = stage1.checkpoint.state["codebook.vectors"]
    nearest = torch.cdist(z.flatten(2).transpose(1, 2), table).argmin(2)
    assert torch.equal(codes, nearest)
    torch.testing.assert_close(vectors, table[nearest].transpose(1, 2).unflatten(2, (8, 8)))
    assert not vectors.requires_grad


def test_a_student_gets_encoder_codebook_and_decoder(stage1, frozen):
    student = CodeFormer(preset("tiny"))
    frozen.start(student)
    saved = stage1.checkpoint
    assert frozen.sha256 == saved.sha256
    for name, value in saved.state.items():
        assert torch.equal(student.state_dict()[name], value), name
    free = {name.split(".")[0] for name, value in student.named_parameters() if value.requires_grad}
    assert free == {"encoder", "transformer", "fusion", "bands"}
    assert not any(value.requires_grad for value in frozen.net.parameters())


def test_entropy_of_target_codes():
    assert target_entropy(torch.zeros(4, 64, dtype=torch.int64), 32) == pytest.approx(0, abs=1e-9)
    assert target_entropy(torch.arange(32).repeat(4, 2), 32) == pytest.approx(math.log(32))
    assert target_entropy(torch.tensor([[0, 0, 1, 1]]), 32) == pytest.approx(math.log(2))


def test_ranges_round_trip():
    """Every 8 bit value comes back, and [-1, 1] covers [0, 1] in full."""
    values = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    signed = to_signed(values)
    assert signed.dtype == torch.float32
    assert signed.min() == -1
    assert signed.max() == 1
    assert torch.equal((to_unit(signed) * 255).round().to(torch.uint8), values)
    assert torch.equal(values[0, 0, 0], torch.arange(256, dtype=torch.uint8))  # the input is left alone
    assert to_unit(torch.tensor([-7.0, 7.0])).tolist() == [0, 1]


def test_grid_has_the_pixels_of_its_pictures(tmp_path):
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 256, (3, 4, 8, 8, 3), np.uint8)  # stage, face, height, width, colour
    signed = [to_signed(torch.from_numpy(column).permute(0, 3, 1, 2)) for column in columns]
    save_grid(tmp_path / "new/grid.png", signed, rows=3)
    grid = np.asarray(Image.open(tmp_path / "new/grid.png"))
    assert grid.shape == (3 * 8, 3 * 8, 3)
    for stage in range(3):
        for face in range(3):
            cell = grid[face * 8 : face * 8 + 8, stage * 8 : stage * 8 + 8]
            np.testing.assert_array_equal(cell, columns[stage, face])


def test_metrics_tell_dark_from_right(probe):
    """A picture shown in the wrong range costs what it must: |x - (x+1)/2| is no small error."""
    metrics = compare((probe + 1) / 2, probe, LPIPS("alex"))
    expected = 10 * torch.log10(1 / ((probe - (probe + 1) / 2) / 2).square().mean((1, 2, 3)))
    assert metrics["psnr"] == pytest.approx(expected.mean().item(), abs=1e-3)
    assert metrics["psnr"] < 12


def test_out_of_range_output_is_clamped_before_it_is_judged(probe):
    lpips = LPIPS("alex")
    white = torch.ones_like(probe)
    assert compare(white * 3, probe, lpips) == compare(white, probe, lpips)


def test_usage_counts_the_codes_of_all_faces(stage1, frozen):
    images = to_signed(
        torch.randint(0, 256, (BATCH + 3, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    )
    metrics, restored = reconstruction(frozen.net, images, LPIPS("alex"))
    assert restored.shape == images.shape
    codes = torch.cat([frozen.targets(image[None])[0].flatten() for image in images])
    assert metrics["codes_used"] == pytest.approx(len(codes.unique()) / 32)


def test_in_batches_is_the_same_as_at_once():
    images = torch.arange(2 * BATCH + 1.0, requires_grad=True)
    sizes = []

    def double(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part * 2

    doubled = in_batches(double, images)
    assert torch.equal(doubled, images.detach() * 2)
    assert sizes == [BATCH, BATCH, 1]
    assert not doubled.requires_grad
