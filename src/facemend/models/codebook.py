"""The discrete codebook: nearest-neighbour matching with a straight-through gradient (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Quantized:
    """What a lookup returns.

    Attributes:
        features: (B, C, h, w) code vectors; their gradient goes straight through to the encoder output.
        vectors: (B, C, h, w) the same values with gradient to the codebook, for the code loss.
        codes: (B, h*w) int64 code indices, row by row.
    """

    features: Tensor
    vectors: Tensor
    codes: Tensor


class Codebook(nn.Module):
    """A table of code vectors, (codebook_size, code_dim), initialised uniformly in +-1/codebook_size."""

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(codebook_size, code_dim))
        nn.init.uniform_(self.vectors, -1 / codebook_size, 1 / codebook_size)

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest code by squared L2 distance.

        Args:
            z: (B, C, h, w) encoder output.

        Returns:
            (B, h*w) int64 code indices, row by row.
        """
        flat = z.flatten(2).transpose(1, 2).float()
        vectors = self.vectors.float()
        # Half precision would confuse neighbouring codes.
        with torch.autocast(z.device.type, enabled=False):
            # |z - e|^2 without |z|^2, which is the same for every code.
            distance = vectors.square().sum(1) - 2 * flat @ vectors.T
        return distance.argmin(2)

    def lookup(self, codes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Code vectors of given indices: (B, h*w) int64 -> (B, C, h, w)."""
        vectors: Tensor = self.vectors[codes].transpose(1, 2).unflatten(2, grid)
        return vectors

    def forward(self, z: Tensor) -> Quantized:
        """Quantise an encoder output (B, C, h, w)."""
        codes = self.nearest(z.detach())
        vectors = self.lookup(codes, (z.shape[2], z.shape[3]))
        return Quantized(features=z + (vectors - z).detach(), vectors=vectors, codes=codes)


@dataclass(frozen=True)
class CodeUsage:
    """How evenly a batch of code indices uses the codebook.

    Attributes:
        used: share of the codes that occur at all, [0, 1].
        perplexity: exp of the entropy of the code histogram, [1, codebook_size].
    """

    used: float
    perplexity: float


def code_usage(counts: Tensor) -> CodeUsage:
    """Usage from a histogram of code indices, (codebook_size,) counts."""
    share = counts.double() / counts.sum().clamp(min=1)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return CodeUsage(used=(counts > 0).double().mean().item(), perplexity=entropy.exp().item())
