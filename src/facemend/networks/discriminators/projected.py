"""Projected discriminator: judges pictures by the features of a frozen network.

After Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021, arXiv 2111.01007. A trunk trained on
ImageNet gives features at four scales. Fixed random convolutions mix their channels and then, from coarse to
fine, the scales, so that no head can rest on a few strong features. Only the heads are trained.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.networks.discriminators.efficientnet import TAP_CHANNELS, EfficientNetLite0

PROJECTED_CHANNELS = (64, 64, 128, 256)
HEAD_WIDTH = 64
MIN_SIDE = 32
"""Smallest side of a picture, pixels, that leaves a place at the coarsest scale."""


class ProjectedDiscriminator(nn.Module):
    """Picture (B, 3, H, W) RGB in [-1, 1] -> logits of four heads, (B, 1, h, w) each.

    Args:
        generator: draws the random projections, which are kept with the weights (CPU).
        trunk: the frozen network; by default EfficientNet-lite0 with its published weights, fetched on the
            first use. It is not part of the state dict.

    Raises:
        WeightsError: if the trunk's weights cannot be fetched.
    """

    def __init__(self, generator: torch.Generator, trunk: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0() if trunk is None else trunk
        channels = PROJECTED_CHANNELS
        for level, (before, after) in enumerate(zip(TAP_CHANNELS, channels, strict=True)):
            self.register_buffer(f"mix{level}", _random_kernel(after, before, 1, generator))
        for level, (finer, coarser) in enumerate(pairwise(channels)):
            self.register_buffer(f"down{level}", _random_kernel(finer, coarser, 3, generator))
        halvings = range(len(channels) - 1, -1, -1)
        self.heads = nn.ModuleList(_head(*sizes) for sizes in zip(channels, halvings, strict=True))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, image: Tensor) -> list[Tensor]:
        """What the heads see: four maps with `PROJECTED_CHANNELS` channels, sides over 4, 8, 16 and 32."""
        taps = self.trunk(image)
        maps = [F.conv2d(tap, self.get_buffer(f"mix{level}")) for level, tap in enumerate(taps)]
        for level in range(len(maps) - 2, -1, -1):
            mixed = F.conv2d(maps[level + 1], self.get_buffer(f"down{level}"), padding=1)
            size = maps[level].shape[2:]
            maps[level] = maps[level] + F.interpolate(mixed, size, mode="bilinear", align_corners=False)
        return maps

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of the heads, finest scale first.

        Raises:
            ValueError: the picture is smaller than `MIN_SIDE`.
        """
        if min(image.shape[2:]) < MIN_SIDE:
            raise ValueError(f"a projected discriminator needs sides >= {MIN_SIDE}, got {tuple(image.shape)}")
        return [head(found) for head, found in zip(self.heads, self.features(image), strict=True)]


def _random_kernel(out: int, before: int, side: int, generator: torch.Generator) -> Tensor:
    """(out, before, side, side), scaled so that signals keep their size."""
    return torch.randn(out, before, side, side, generator=generator) / math.sqrt(before * side * side)


def _head(channels: int, halvings: int) -> nn.Sequential:
    """A few convolutions under spectral normalisation; all heads end at the grid of the coarsest scale."""
    spectral = nn.utils.parametrizations.spectral_norm
    parts: list[nn.Module] = []
    for _ in range(halvings):
        parts += [spectral(nn.Conv2d(channels, HEAD_WIDTH, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        channels = HEAD_WIDTH
    parts += [spectral(nn.Conv2d(channels, HEAD_WIDTH, 3, padding=1)), nn.LeakyReLU(0.2)]
    parts.append(spectral(nn.Conv2d(HEAD_WIDTH, 1, 3, padding=1)))
    return nn.Sequential(*parts)
