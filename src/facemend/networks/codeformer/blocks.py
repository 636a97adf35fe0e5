"""Building blocks of the autoencoder (paper section 3.1): residual, attention, down- and upsampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.networks.codeformer.attention import attention
from facemend.networks.codeformer.group_norm import GroupNorm


class ResidualBlock(nn.Module):
    """norm, swish, conv3, norm, swish, conv3, plus the input; (B, in, H, W) -> (B, out, H, W).

    The skip has a 1x1 convolution where the widths differ, or where `project` asks for one.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, project: bool = False) -> None:
        super().__init__()
        self.norm1 = GroupNorm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        project = project or in_channels != out_channels
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.skip(x) + h
        return out


class AttentionBlock(nn.Module):
    """Single-head self-attention over all positions, with a residual; shape is kept."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, groups)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        h = self.norm(x)
        # (B, C, H, W) -> (B, 1 head, H*W, C): one head, so the attention scales by C^-0.5.
        query, key, value = (
            part(h).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.query, self.key, self.value)
        )
        mixed = attention(query, key, value).squeeze(1)
        out: Tensor = x + self.out(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return out


class Downsample(nn.Module):
    """Halve the grid: zeros appended right and below (as published, asymmetric), then conv3 of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2)."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class NearestUpsample(nn.Module):
    """Double the grid by repetition, then conv3; width is kept (published form)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2H, 2W)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class ShuffleUpsample(nn.Module):
    """Double the grid by a 1x1 convolution and a pixel shuffle: cheap, on the coarse grid.

    Starts out equal to nearest upsampling (each group of four output channels shares its weights), which
    avoids the checkerboard that random sub-pixel weights begin with.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels * 4, 1)
        with torch.no_grad():
            self.conv.weight.copy_(self.conv.weight[::4].repeat_interleave(4, dim=0))
            assert self.conv.bias is not None
            self.conv.bias.copy_(self.conv.bias[::4].repeat_interleave(4, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, 2H, 2W)."""
        return F.pixel_shuffle(self.conv(x), 2)
