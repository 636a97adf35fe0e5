"""Stage III: Controllable Feature Transformation (paper section 3.3) and AdaIN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facemend.models.blocks import ResidualBlock


class FeatureTransform(nn.Module):
    """CFT block: out = dec + w * (dec * scale + shift), scale and shift from encoder and decoder features.

    With `hidden` below 1 the inner convolutions are narrower than published, which saves arithmetic.
    """

    def __init__(self, channels: int, groups: int, hidden: float = 1.0) -> None:
        super().__init__()
        inner = max(groups, round(channels * hidden) // groups * groups)
        self.mix = ResidualBlock(2 * channels, inner, groups)
        self.scale = self._branch(inner, channels)
        self.shift = self._branch(inner, channels)

    @staticmethod
    def _branch(inner: int, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(inner, channels, 3, padding=1)
        )

    def forward(self, encoder: Tensor, decoder: Tensor, w: Tensor) -> Tensor:
        """Fuse.

        Args:
            encoder: (B, C, H, W) encoder tap of the LQ face.
            decoder: (B, C, H, W) decoder features.
            w: (B,) fidelity weight: 0 leaves the decoder features as they are.
        """
        h = self.mix(torch.cat((encoder, decoder), 1))
        change: Tensor = decoder * self.scale(h) + self.shift(h)
        return decoder + w.view(-1, 1, 1, 1) * change


def adaptive_instance_norm(content: Tensor, style: Tensor) -> Tensor:
    """Give code features the channel means and deviations of the LQ features (AdaIN).

    Args:
        content: (B, C, h, w) code features.
        style: (B, C, h, w) encoder output of the LQ face.

    Returns:
        (B, C, h, w); deviations use the unbiased variance plus 1e-5, as published.
    """
    mean = content.mean((2, 3), keepdim=True)
    deviation = (content.var((2, 3), keepdim=True, correction=1) + 1e-5).sqrt()
    style_mean = style.mean((2, 3), keepdim=True)
    style_deviation = (style.var((2, 3), keepdim=True, correction=1) + 1e-5).sqrt()
    return (content - mean) / deviation * style_deviation + style_mean
