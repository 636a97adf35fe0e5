"""Codes of several scales: what each grid stands for, how a face is coded, and back. Ours, unpublished.

Up to the latent's own grid each scale codes what the coarser ones have left of the latent: the rest is
averaged over the cells of the grid, matched, enlarged (bilinear) and taken off; the sum of all of them stands
for the latent. A finer scale codes the latent of a finer level of the encoder by itself. With one scale, the
latent's, all of this is one lookup.

Enlarging by repetition instead leaves more of a latent behind the second of two scales: 1 % more at 8 and 16,
3 % more at 4 and 16 (512 codes each by k-means, latents of 40 faces by the shipped encoder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from facemend.networks.codeformer.codebook import Codebook, Quantized
from facemend.networks.codeformer.config import AutoencoderConfig


@dataclass(frozen=True)
class CodedFace:
    """A face in codes.

    Attributes:
        scales: the lookup of each scale, coarse to fine.
        features: (B, C, h, w) sum of the code vectors up to the latent's grid, gradient straight through.
        fine: the same of each finer scale by its side, (B, C, side, side).
    """

    scales: tuple[Quantized, ...]
    features: Tensor
    fine: dict[int, Tensor]

    @property
    def codes(self) -> Tensor:
        """All codes, (B, T) int64: scale after scale."""
        return joined([scale.codes for scale in self.scales])


def codebook_of(config: AutoencoderConfig) -> Codebook:
    """A fresh codebook for these sizes."""
    return Codebook(config.codebook_size, config.code_dim, config.codes_per_position, len(config.grids))


def pooled(latent: Tensor, side: int, grid: int) -> Tensor:
    """A latent (B, C, h, w) averaged over the cells of a coarser scale.

    Args:
        latent: of any picture; on a full-size one h = w = `grid`.
        side: of the scale's grid on a full-size picture.
        grid: side of the latent on a full-size picture.
    """
    if side == grid:
        return latent
    height, width = (max(1, round(length * side / grid)) for length in latent.shape[2:])
    return F.adaptive_avg_pool2d(latent, (height, width))


def enlarged(vectors: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Code vectors (B, C, h, w) of a coarse scale on the grid of the latent."""
    if vectors.shape[2:] == torch.Size(size):
        return vectors
    return F.interpolate(vectors, size=tuple(size), mode="bilinear")


def joined(parts: list[Tensor]) -> Tensor:
    """(B, N, ...) of each scale, one after the other."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def code_face(
    codebook: Codebook, config: AutoencoderConfig, z: Tensor, fine: Mapping[int, Tensor]
) -> CodedFace:
    """Code a face.

    Args:
        codebook: with the tables of all scales.
        config: which scales there are.
        z: (B, C, h, w) latent.
        fine: latents of the finer scales by side.
    """
    left, scales, sums, features = z, [], [], {}
    for scale, side in enumerate(config.grids):
        if side > config.code_grid:
            found = codebook(fine[side], scale)
            features[side] = found.features
        else:
            found = codebook(pooled(left, side, config.code_grid), scale)
            sums.append(enlarged(found.vectors, z.shape[2:]))
            left = left - sums[-1].detach()
        scales.append(found)
    total = reduce(torch.add, sums)
    return CodedFace(tuple(scales), z + (total - z).detach(), features)


def look_up(codebook: Codebook, config: AutoencoderConfig, codes: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """What codes of full-size faces, (B, T) int64, stand for: the latent, and each finer scale's vectors.

    Returns:
        (B, C, g, g), and (B, C, side, side) by side.
    """
    grid = config.code_grid
    sums, fine = [], {}
    rows = [codes] if len(config.grids) == 1 else codes.split(config.code_counts, 1)
    for scale, (side, own) in enumerate(zip(config.grids, rows, strict=True)):
        vectors = codebook.lookup(own, (side, side), scale)
        if side > grid:
            fine[side] = vectors
        else:
            sums.append(enlarged(vectors, (grid, grid)))
    return reduce(torch.add, sums), fine
