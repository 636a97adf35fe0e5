"""The discrete codebook: nearest-neighbour matching with a straight-through gradient (paper section 3.1).

As published there is one table. With `codes_per_position` a latent is cut into parts, each with a table of
its own; with scales (see `scales.py`) each scale has its own tables. All tables lie one below the other in
one tensor: scale by scale, part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Quantized:
    """What a lookup returns.

    Attributes:
        latent: (B, C, h, w) what was matched.
        features: (B, C, h, w) code vectors; their gradient goes straight through to the encoder output.
        vectors: (B, C, h, w) the same values with gradient to the codebook, for the code loss.
        codes: (B, h*w*parts) int64 code indices, row by row, the parts of a position side by side.
    """

    latent: Tensor
    features: Tensor
    vectors: Tensor
    codes: Tensor


class Codebook(nn.Module):
    """Tables of code vectors, (scales * parts * size, code_dim / parts), uniform in +-1/size to begin with.

    Args:
        size: code vectors of a table.
        code_dim: channels of a latent.
        parts: equal parts that a latent is cut into.
        scales: grids of codes.
    """

    def __init__(self, size: int, code_dim: int, parts: int = 1, scales: int = 1) -> None:
        super().__init__()
        self.size, self.parts, self.scales = size, parts, scales
        self.vectors = nn.Parameter(torch.empty(scales * parts * size, code_dim // parts))
        nn.init.uniform_(self.vectors, -1 / size, 1 / size)

    def table(self, scale: int) -> Tensor:
        """The rows of `vectors` that belong to a scale: a view, (parts * size, code_dim / parts)."""
        rows = self.parts * self.size
        return self.vectors if self.scales == 1 else self.vectors[scale * rows : (scale + 1) * rows]

    def nearest(self, z: Tensor, scale: int = 0) -> Tensor:
        """Index of the nearest code by squared L2 distance.

        Args:
            z: (B, C, h, w) encoder output.
            scale: whose tables to look in.

        Returns:
            (B, h*w*parts) int64 code indices, each within its table.
        """
        flat = z.flatten(2).transpose(1, 2).float()
        tables = self.table(scale).float().split(self.size)
        # Half precision would confuse neighbouring codes.
        with torch.autocast(z.device.type, enabled=False):
            # |z - e|^2 without |z|^2, which is the same for every code.
            codes = [
                (table.square().sum(1) - 2 * part @ table.T).argmin(2)
                for table, part in zip(tables, flat.chunk(self.parts, 2), strict=True)
            ]
        found: Tensor = codes[0] if self.parts == 1 else torch.stack(codes, 2).flatten(1)
        return found

    def rows(self, codes: Tensor, scale: int = 0) -> Tensor:
        """Rows of `vectors` that codes (B, h*w*parts) of a scale mean; the same shape."""
        first = scale * self.parts * self.size
        if self.parts > 1:
            starts = torch.arange(self.parts, device=codes.device) * self.size + first
            within: Tensor = codes.unflatten(1, (-1, self.parts)) + starts
            return within.flatten(1)
        return codes + first if first else codes

    def lookup(self, codes: Tensor, grid: tuple[int, int], scale: int = 0) -> Tensor:
        """Code vectors of given indices: (B, h*w*parts) int64 -> (B, C, h, w)."""
        found = self.vectors[self.rows(codes, scale)]
        if self.parts > 1:
            found = found.unflatten(1, (-1, self.parts)).flatten(2)
        # Laid out by channel, so that the decoder's weights decide. As it comes from the table, by pixel, the
        # whole decoder would follow it, and on a CPU without AMX its backward pass takes a third longer.
        vectors: Tensor = found.transpose(1, 2).unflatten(2, grid).contiguous()
        return vectors

    def forward(self, z: Tensor, scale: int = 0) -> Quantized:
        """Quantise a latent (B, C, h, w) by the tables of a scale."""
        codes = self.nearest(z.detach(), scale)
        vectors = self.lookup(codes, (z.shape[2], z.shape[3]), scale)
        return Quantized(latent=z, features=z + (vectors - z).detach(), vectors=vectors, codes=codes)

    def histogram(self, codes: Sequence[Tensor]) -> Tensor:
        """(scales, parts, size) int64: how often each code occurs in the codes of each scale, (B, N) each."""
        rows = [self.rows(own, scale).flatten() for scale, own in enumerate(codes)]
        counts = torch.bincount(torch.cat(rows), minlength=len(self.vectors))
        return counts.view(self.scales, self.parts, self.size)


@dataclass(frozen=True)
class CodeUsage:
    """How evenly a batch of code indices uses the codebook.

    Attributes:
        used: share of the codes that occur at all, [0, 1].
        perplexity: exp of the entropy of the code histogram, [1, codebook_size]; of several tables the mean.
    """

    used: float
    perplexity: float


def code_usage(counts: Tensor) -> CodeUsage:
    """Usage from a histogram of code indices, (..., codebook_size) counts of one or more tables."""
    counts = counts.cpu()  # Apple's GPU has no float64
    share = counts.double() / counts.sum(-1, keepdim=True).clamp(min=1)
    entropy = -(share * share.clamp(min=1e-12).log()).sum(-1)
    return CodeUsage(used=(counts > 0).double().mean().item(), perplexity=entropy.exp().mean().item())
