"""Differentiable augmentation of what a discriminator sees (Zhao et al., NeurIPS 2020, arXiv 2006.10738).

Real and made pictures are changed alike and the gradient passes through the changes, so a discriminator with
few pictures cannot learn them by heart, and the generator does not learn the changes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

BRIGHTNESS, SATURATION, CONTRAST = 0.5, 1.0, 0.5
"""How far each is drawn from its neutral value 0, 1 and 1; brightness is of the range [-1, 1]."""
SHIFT = 1 / 8
"""Largest translation, as a share of the side."""
HOLE = 1 / 2
"""Side of the square that is cut out, as a share of the side: a quarter of the area."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of N pictures.

    Attributes:
        brightness: (N,) added to all values; 0 is neutral.
        saturation: (N,) factor of the distance to the pixel's gray; 1 is neutral.
        contrast: (N,) factor of the distance to the picture's mean; 1 is neutral.
        shift: (N, 2) translation down and to the right, as shares of the side; 0 is neutral.
        centre: (N, 2) middle of the hole (row, column), as shares of the side.
        hole: (N,) side of the hole, as a share of the side; 0 is neutral.
    """

    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    shift: Tensor
    centre: Tensor
    hole: Tensor

    def rows(self, chosen: slice | Tensor) -> Augmentation:
        """Those of some of the pictures."""
        return Augmentation(*(getattr(self, field.name)[chosen] for field in fields(self)))


def draw_augmentation(count: int, generator: torch.Generator) -> Augmentation:
    """Draw for `count` pictures (CPU)."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    return Augmentation(
        brightness=uniform(count) * BRIGHTNESS,
        saturation=1 + uniform(count) * SATURATION,
        contrast=1 + uniform(count) * CONTRAST,
        shift=uniform(count, 2) * SHIFT,
        centre=(uniform(count, 2) + 1) / 2,
        hole=torch.full((count,), HOLE),
    )


def augment(image: Tensor, plan: Augmentation) -> Tensor:
    """Apply it: colours, then translation, then the hole; what is empty is 0, mid-gray.

    Args:
        image: (N, 3, H, W) RGB in [-1, 1].
        plan: for N pictures.

    Returns:
        The same shape; values may leave [-1, 1].
    """
    brightness, saturation, contrast = (
        values.to(image)[:, None, None, None] for values in (plan.brightness, plan.saturation, plan.contrast)
    )
    x = image + brightness
    # Written as the picture plus a change, so that the neutral values change nothing, to the bit.
    x = x + (saturation - 1) * (x - x.mean(1, keepdim=True))
    x = x + (contrast - 1) * (x - x.mean((1, 2, 3), keepdim=True))
    return _holed(_shifted(x, plan.shift), plan)


def _shifted(x: Tensor, shift: Tensor) -> Tensor:
    height, width = x.shape[2:]
    steps = (shift.cpu() * torch.tensor([height, width])).round().int().tolist()
    reach = max(abs(step) for pair in steps for step in pair)
    padded = F.pad(x, (reach,) * 4)
    return torch.stack(
        [
            padded[i, :, reach - down : reach - down + height, reach - right : reach - right + width]
            for i, (down, right) in enumerate(steps)
        ]
    )


def _holed(x: Tensor, plan: Augmentation) -> Tensor:
    inside = []
    for axis, side in enumerate(x.shape[2:]):
        places = (torch.arange(side, device=x.device) + 0.5) / side
        middle, half = plan.centre[:, axis, None].to(x.device), plan.hole[:, None].to(x.device) / 2
        inside.append((places - middle).abs() < half)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x.masked_fill(hole, 0)
