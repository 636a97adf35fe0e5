"""Where a discriminator looks: the whole face, the face at half the size, windows at full size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.training.image_losses import place_window
from facemend.training.settings import View

WINDOW = 256
"""Largest side of a window, pixels; of a picture below 512 px it is half the side."""


@dataclass(frozen=True)
class Look:
    """A view whose place is settled: the same for every picture that it is applied to.

    Attributes:
        rows: of the picture.
        columns: of the picture.
        shrink: side of the squares of pixels that are averaged into one.
    """

    rows: slice
    columns: slice
    shrink: int = 1

    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 3, h, w)."""
        seen = image[..., self.rows, self.columns]
        return seen if self.shrink == 1 else F.avg_pool2d(seen, self.shrink)


def draw_look(view: View, size: Sequence[int], generator: torch.Generator) -> Look:
    """Settle a view of pictures with `size` (height, width); draws only for a window (CPU)."""
    everything = slice(None)
    if view in ("whole", "half"):
        return Look(everything, everything, shrink=2 if view == "half" else 1)
    side = min(WINDOW, min(size) // 2)
    return Look(*place_window(side, float(view == "features"), size, generator))
