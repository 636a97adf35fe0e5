"""What every metric checks of its arguments, and the precision in which formulas are evaluated."""

from __future__ import annotations

from torch import Tensor


def check_pictures(pictures: Tensor) -> None:
    """Refuse anything but a batch of RGB pictures.

    Raises:
        ValueError: if the shape is not (N, 3, H, W) or the numbers are not floating point.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"metrics take (N, 3, H, W) batches, got {tuple(pictures.shape)}")
    if not pictures.is_floating_point():
        raise ValueError(f"metrics take floating point pictures in [0, 1], got {pictures.dtype}")


def check_pair(a: Tensor, b: Tensor) -> None:
    """Refuse anything but two equal batches of RGB pictures; either may hold one for all of the other.

    Raises:
        ValueError: if a shape is not (N, 3, H, W), the shapes differ or the numbers are not floating point.
    """
    check_pictures(a)
    check_pictures(b)
    if a.shape[1:] != b.shape[1:] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        raise ValueError(
            f"metrics compare equal (N, 3, H, W) batches, got {tuple(a.shape)} and {tuple(b.shape)}"
        )


def precise(x: Tensor) -> Tensor:
    """In float64: variances come from differences of near-equal numbers, float32 is too coarse for them."""
    # Apple's GPU has no float64.
    return (x.cpu() if x.device.type == "mps" else x).double()
