"""Stage III: Controllable Feature Transformation (paper section 3.3) and AdaIN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.networks.codeformer.blocks import ResidualBlock
from facemend.networks.codeformer.learning import learns_on_cpu


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


class PhotoBands(nn.Module):
    """The photo's own broad bands, let into the result by w as far as they can be trusted. Ours, unpublished.

    What blur, noise and compression leave of a photo is its broad light and colour, and no network has to
    guess these. The difference between photo and result is split into bands (a Laplacian pyramid of cell
    means); a gate for each band and place, read from the encoder taps, says how much of it is the photo's
    rather than its damage's: out = image + w (2 - w) * sum over bands of gate * band(photo - image). Broad
    bands are the safest part of fidelity, so they come in early: w = 0.5 lets in three quarters of them.

    Args:
        channels: channels of all taps together.
        cells: cell side of each band in pixels, coarsest first.
        grid: side of the map of gates.
    """

    def __init__(self, channels: int, cells: tuple[int, ...], grid: int) -> None:
        super().__init__()
        self.cells = cells
        self.grid = grid
        self.mix = nn.Conv2d(channels, 64, 1)
        self.gate = nn.Conv2d(64, len(cells), 3, padding=1)
        with torch.no_grad():
            # Coarse bands outlive most damage, fine ones do not: from .95 to .05 before anything is learned.
            self.gate.weight.zero_()
            assert self.gate.bias is not None
            self.gate.bias.copy_(torch.linspace(3, -3, len(cells)))

    def gates(self, taps: Mapping[int, Tensor]) -> Tensor:
        """(B, bands, grid, grid) in [0, 1], from taps (B, C, S, S) by grid side."""
        small = [F.adaptive_avg_pool2d(taps[size], self.grid) for size in sorted(taps)]
        return torch.sigmoid(self.gate(F.silu(self.mix(torch.cat(small, 1)))).float())

    def forward(self, image: Tensor, photo: Tensor, gates: Tensor, w: Tensor) -> Tensor:
        """Let the bands in.

        Args:
            image: (B, 3, S, S) result of the decoder, RGB in [-1, 1].
            photo: (B, 3, S, S) LQ face in the same range.
            gates: of `gates`.
            w: (B,) fidelity weight: 0 leaves the image as it is.
        """
        # The same sum with one map for each band: of its gate, less the next finer one's, which replaces it.
        finer = torch.cat((gates[:, 1:], torch.zeros_like(gates[:, :1])), 1)
        maps = enlarged(gates - finer, photo.shape[-1] // self.grid)
        means = (photo - image).float().contiguous()  # by pixel, three channels are slow to average
        change = torch.zeros_like(means)
        averaged = 1
        for band, cell in reversed(list(enumerate(self.cells))):
            means = F.avg_pool2d(means, cell // averaged)
            averaged = cell
            change = torch.addcmul(change, maps[:, band : band + 1], enlarged(means, cell))
        return image + (w * (2 - w)).view(-1, 1, 1, 1) * change


def enlarged(x: Tensor, factor: int) -> Tensor:
    """Bilinear, (B, C, H, W) -> (B, C, factor H, factor W), in float32.

    Training takes two products by matrices, which on a CPU are several times as quick as torch's kernel and
    its gradient (8 faces, 16 to 512 px: 6 and 4 ms instead of 55 and 48).
    """
    if not learns_on_cpu(x):
        return F.interpolate(x, scale_factor=float(factor), mode="bilinear")
    with torch.autocast("cpu", enabled=False):
        one_by_one = (torch.eye(side)[None] for side in x.shape[2:])
        rows, columns = (F.interpolate(x, scale_factor=float(factor), mode="linear")[0] for x in one_by_one)
        return rows.T @ (x @ columns)


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
