"""Gaussian blur; a wide one is made on a coarser grid, which holds all that it leaves."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

FINE = 3.0
"""Least sigma on the coarser grid, its pixels, with which what it leaves is fine enough for anything."""


def gaussian_blur(image: NDArray[np.float32], sigma: float, *, fine: float = FINE) -> NDArray[np.float32]:
    """Blur a picture; its border is reflected.

    Args:
        image: (H, W) or (H, W, C) float32.
        sigma: standard deviation, pixels.
        fine: least sigma on the coarser grid, its pixels; less is quicker and less exact.

    Returns:
        The same shape. From sigma 2 `fine` on it differs from an exact blur by up to .7 % of the range, most
        where a side is no multiple of the coarser grid's pixels.
    """
    factor = 1 << max(0, math.floor(math.log2(max(sigma, 1.0) / fine)))
    if factor == 1:
        return _exact(image, sigma)
    height, width = image.shape[:2]
    small = cv2.resize(image, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    # Averaging and interpolating blur too: together as much as this variance, in pixels of the coarser grid.
    own = (1 - factor**-2) / 4
    small = _exact(small, math.sqrt((sigma / factor) ** 2 - own))
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _exact(image: NDArray[np.floating], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
