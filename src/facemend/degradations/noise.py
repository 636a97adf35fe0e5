"""Sensor noise."""

from __future__ import annotations

import numpy as np

from facemend.types import FloatImage


def gaussian_noise(image: FloatImage, sigma: float, seed: int) -> FloatImage:
    """Add Gaussian noise, independent for each pixel and channel, and clip.

    Args:
        image: (H, W, 3) float32 in [0, 1].
        sigma: standard deviation on the 0..255 scale.
        seed: seed of the noise; the same seed gives the same noise.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    field = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
    field *= np.float32(sigma / 255)
    field += image
    return np.clip(field, 0, 1, out=field)
