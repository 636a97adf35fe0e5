"""Blur kernels: Gaussian (isotropic or anisotropic) and motion paths. Pure functions of their numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float32]
"""(2r+1, 2r+1) float32, non-negative, sum 1."""


def gaussian_radius(sigma: float, limit: int) -> int:
    """Smallest useful kernel radius for `sigma`, at most `limit`.

    Three standard deviations hold 99.7 % of a line through the kernel; more taps only cost time. The limit is
    part of the published recipe: 41 taps at sigma 15 cut the Gaussian off visibly, and that is meant.
    """
    return max(1, min(limit, math.ceil(3 * sigma)))


def gaussian_taps(radius: int, sigma: float) -> NDArray[np.float32]:
    """One-dimensional Gaussian, (2*radius+1,) float32, sum 1: the separable half of an isotropic kernel."""
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    taps = np.exp(-0.5 * (x / sigma) ** 2)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


def gaussian_kernel(radius: int, sigma_x: float, sigma_y: float, rotation: float) -> Kernel:
    """Anisotropic Gaussian kernel.

    Args:
        radius: taps each side of the centre, >= 1.
        sigma_x: standard deviation along the first axis of the ellipse, pixels, > 0.
        sigma_y: standard deviation along the second axis, pixels, > 0.
        rotation: angle of the first axis to the picture's x axis, radians.

    Returns:
        (2*radius+1, 2*radius+1) float32 with sum 1.
    """
    grid = np.arange(-radius, radius + 1, dtype=np.float64)
    x, y = np.meshgrid(grid, grid)
    cos, sin = math.cos(rotation), math.sin(rotation)
    along, across = cos * x + sin * y, cos * y - sin * x
    kernel = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def separable_terms(
    kernel: Kernel, tolerance: float, limit: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
    """Write a kernel as a short sum of outer products, by adaptive cross approximation.

    A rotated Gaussian is not separable, yet a few row-and-column pairs hold it, and two short passes
    for each pair cost far less than one large two-dimensional one.

    Args:
        kernel: (n, n) float32.
        tolerance: allowed sum of absolute differences, which bounds the error at a pixel of a [0, 1] picture.
        limit: most pairs worth having.

    Returns:
        Pairs of (row taps, column taps), each (n,) float32; None when `limit` pairs are not enough.
    """
    rest = kernel.astype(np.float64)
    terms = []
    for _ in range(limit):
        i, j = np.unravel_index(np.abs(rest).argmax(), rest.shape)
        column, row = rest[:, j] / rest[i, j], rest[i].copy()
        rest -= column[:, None] * row
        terms.append((row.astype(np.float32), column.astype(np.float32)))
        if np.abs(rest).sum() <= tolerance:
            return terms
    return None


def motion_kernel(length: float, angle: float, bend: float) -> Kernel:
    """Kernel of a camera that moves along an arc while the shutter is open.

    Args:
        length: length of the path, pixels, > 0.
        angle: direction in the middle of the path, radians.
        bend: how far the direction turns from one end to the other, radians; 0 is a straight line.

    Returns:
        Odd-sided square float32 kernel with sum 1 and its centre of mass at most one pixel off the middle.
    """
    steps = max(2, math.ceil(4 * length))
    along = (np.arange(steps) + 0.5) / steps - 0.5
    heading = angle + bend * along
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    # Centred, so that motion blur does not also shift the face.
    x, y = (x - x.mean()) * length / steps, (y - y.mean()) * length / steps
    radius = math.ceil(max(np.abs(x).max(), np.abs(y).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            share = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
            np.add.at(kernel, (top + dy + radius, left + dx + radius), share)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
