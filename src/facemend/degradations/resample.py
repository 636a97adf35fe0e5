"""Changes of the pixel grid: bilinear resampling and whole-pixel shifts."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from facemend.types import FloatImage


def bilinear(image: FloatImage, size: tuple[int, int]) -> FloatImage:
    """Resample to `size` = (width, height) by plain bilinear interpolation.

    No prefilter when shrinking: the published degradation aliases, and restorers must learn to undo that.
    """
    if (image.shape[1], image.shape[0]) == size:
        return image
    return cast(FloatImage, cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def shrunk_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """(width, height) divided by `factor`, rounded, at least one pixel each."""
    return max(1, round(width / factor)), max(1, round(height / factor))


def translate(image: FloatImage, dx: int, dy: int) -> FloatImage:
    """Move the content `dx` pixels right and `dy` down; the edge pixels fill what opens up."""
    height, width = image.shape[:2]
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    return image[rows[:, None], columns]
