"""The one check that every metric makes of its arguments."""

from __future__ import annotations

from torch import Tensor


def check_pair(a: Tensor, b: Tensor) -> None:
    """Refuse anything but two equal batches of RGB pictures.

    Raises:
        ValueError: if a shape is not (N, 3, H, W), the shapes differ or the numbers are not floating point.
    """
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
        raise ValueError(
            f"metrics compare equal (N, 3, H, W) batches, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"metrics take floating point pictures in [0, 1], got {a.dtype} and {b.dtype}")
