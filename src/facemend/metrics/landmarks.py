"""LMD: how far the parts of a face have moved."""

from __future__ import annotations

import torch
from torch import Tensor

REFERENCE_SIZE = 512
"""Side of the faces, pixels, in whose pixels the distance is given."""


def landmark_distance(a: Tensor, b: Tensor, size: int) -> Tensor:
    """Mean distance of corresponding landmarks. Lower is better.

    The landmarks come from outside: facemend uses the 468 points of its face mesh on the whole aligned face;
    papers use 68 points of another network, so that their values do not compare.

    Args:
        a: (N, P, 2) landmarks, pixels of a face of side `size`.
        b: the same shape, or (1, P, 2).
        size: side of the faces, pixels.

    Returns:
        (N,) float64, pixels of a 512 pixel face, >= 0.

    Raises:
        ValueError: if the shapes are not equal sets of points.
    """
    if a.ndim != 3 or a.shape[2] != 2 or a.shape[1:] != b.shape[1:] or len(b) not in (1, len(a)):
        raise ValueError(f"LMD compares equal sets of points, got {tuple(a.shape)} and {tuple(b.shape)}")
    distances = torch.linalg.vector_norm(a.double() - b.double(), dim=2)
    result: Tensor = distances.mean(1) * (REFERENCE_SIZE / size)
    return result
