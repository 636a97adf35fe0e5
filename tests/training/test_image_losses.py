"""The gradient at the picture is that of the weighted sum."""

import pytest
import torch

from facemend.metrics import identity_distance
from facemend.training.config import PerceptualConfig
from facemend.training.image_losses import ImageLosses


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(-1, 1)
    return (target + 0.2 * torch.randn(target.shape, generator=generator)).clamp(-1, 1), target


@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_the_gradient_is_the_slope_of_the_sum(identity):
    image, target = pair()
    losses = ImageLosses(1.0, [PerceptualConfig(net="alex")], identity)
    figures, gradient = losses(image, target, torch.Generator().manual_seed(1))
    assert ("identity" in figures) == bool(identity)

    def total(x: torch.Tensor) -> float:
        values, _ = losses(x, target, torch.Generator().manual_seed(1))
        extra = identity * identity_term(x, target) if identity else 0
        return float(values["l1"] + values["lpips_alex"] + extra)

    def identity_term(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return identity_distance((x + 1) / 2, (y + 1) / 2).square().mean()

    direction = torch.nn.functional.avg_pool2d(gradient.sign(), 5, 1, 2)
    step = 2e-3
    slope = (total(image + step * direction) - total(image - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=0.05)


def test_identity_of_the_same_picture_is_free():
    _, target = pair()
    losses = ImageLosses(1.0, [PerceptualConfig(net="alex")], 1.0)
    figures, _ = losses(target, target, torch.Generator().manual_seed(1))
    assert float(figures["identity"]) == pytest.approx(0, abs=1e-5)
