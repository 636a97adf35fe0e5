"""The photo's own broad bands: against OpenCV, and what the gates and w do."""

import cv2
import numpy as np
import pytest
import torch

from facemend.errors import ConfigError
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.config import CodeFormerConfig, preset
from facemend.networks.codeformer.fusion import PhotoBands

CELLS = (16, 4)


@pytest.fixture
def bands():
    torch.manual_seed(0)
    return PhotoBands(6, CELLS, 8).eval()


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(2)
    return (torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2))


def low(difference, cell):
    """Cell means brought back to size by OpenCV."""
    side = len(difference) // cell
    means = difference.reshape(side, cell, side, cell, 3).mean((1, 3))
    return cv2.resize(means, difference.shape[:2], interpolation=cv2.INTER_LINEAR)


def test_bands_are_those_of_opencv(bands, pictures):
    image, photo = pictures
    gates = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    w = torch.tensor([0.4, 1.0])
    with torch.inference_mode():
        out = bands(image, photo, gates, w)
    for b in range(2):
        x, y = (t[b].permute(1, 2, 0).numpy() for t in (image, photo))
        coarse, fine = (low(y - x, cell) for cell in CELLS)
        opened = [
            cv2.resize(g, (64, 64), interpolation=cv2.INTER_LINEAR)[..., None] for g in gates[b].numpy()
        ]
        strength = 1 - (1 - w[b].item()) ** 2
        want = x + strength * (opened[0] * coarse + opened[1] * (fine - coarse))
        np.testing.assert_allclose(out[b].permute(1, 2, 0).numpy(), want, atol=1e-5)


def test_open_gates_give_the_photo_its_light_and_closed_ones_nothing(bands, pictures):
    image, _ = pictures
    brighter = image + torch.tensor([0.1, -0.2, 0.3]).view(1, 3, 1, 1)
    for gate, want in ((1.0, brighter), (0.0, image)):
        with torch.inference_mode():
            out = bands(image, brighter, torch.full((2, 2, 8, 8), gate), torch.ones(2))
        torch.testing.assert_close(out, want)


def test_gates_start_open_where_damage_does_not_reach(bands):
    taps = {size: torch.randn(1, 3, size, size) for size in (16, 8)}
    with torch.inference_mode():
        gates = bands.gates(taps)
    assert gates.shape == (1, 2, 8, 8)
    torch.testing.assert_close(gates[0].mean((1, 2)), torch.sigmoid(torch.tensor([3.0, -3.0])))


def test_gates_learn_from_the_picture():
    torch.manual_seed(0)
    net = CodeFormer(preset("tiny"))
    net(torch.rand(2, 3, 64, 64) * 2 - 1, torch.ones(2)).square().mean().backward()
    assert (net.bands.gate.bias.grad != 0).all()
    assert net.bands.gate.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"bands": (4, 16)}, "coarse to fine"),
        ({"bands": (24,)}, "divide 512 px"),
        ({"bands": (8,), "fuse_sizes": ()}, "need fuse_sizes"),
        ({"bands": (8,), "fuse_sizes": (512,)}, "fused already"),
    ],
)
def test_impossible_bands(values, match):
    with pytest.raises(ConfigError, match=match):
        CodeFormerConfig(**values)
