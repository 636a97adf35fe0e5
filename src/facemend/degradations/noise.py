"""Random fields: sensor noise, and correlated noise for grain and paper."""

from __future__ import annotations

import math

import cv2
import numpy as np

from facemend.degradations.kernels import gaussian_taps
from facemend.imaging.color import FloatPlane
from facemend.types import FloatImage

_COARSE = 2.0  # deviation in pixels that bilinear enlarging keeps without a visible grid


def gaussian_noise(image: FloatImage, sigma: float, seed: int) -> FloatImage:
    """Add Gaussian noise, independent for each pixel and channel, and clip.

    Args:
        image: (H, W, 3) or (H, W) float32 in [0, 1].
        sigma: standard deviation on the 0..255 scale.
        seed: seed of the noise; the same seed gives the same noise.

    Returns:
        The shape of `image`, float32 in [0, 1].
    """
    field = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
    field *= np.float32(sigma / 255)
    field += image
    return np.clip(field, 0, 1, out=field)


def noise_field(height: int, width: int, size: float, seed: int) -> FloatPlane:
    """White noise blurred with a Gaussian: mean 0, deviation 1, correlation exp(-d^2 / (4 size^2)).

    The white noise is a sum of four random bytes: quicker than Gaussian numbers and nearly as normal. Large
    clumps are drawn on a coarser grid and enlarged, so that they cost less than small ones.

    Args:
        height: rows.
        width: columns.
        size: standard deviation of the blur, pixels, > 0.
        seed: seed of the noise.

    Returns:
        (height, width) float32.
    """
    step = max(1.0, size / _COARSE)
    rows, columns = math.ceil(height / step) + 1, math.ceil(width / step) + 1
    radius = math.ceil(3 * size / step)
    shape = (4, rows + 2 * radius, columns + 2 * radius)
    words = np.random.default_rng(seed).integers(0, 2**64, -(-math.prod(shape) // 8), dtype=np.uint64)
    octets = words.view(np.uint8)[: math.prod(shape)].reshape(shape)
    field = np.asarray(octets.sum(axis=0, dtype=np.uint16), np.float32)
    field -= 510  # mean; the variance of a byte is (256^2 - 1) / 12
    field /= np.float32(math.sqrt(65535 / 3))
    taps = gaussian_taps(radius, size / step)
    taps /= np.sqrt(np.sum(taps * taps))
    field = cv2.sepFilter2D(field, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    field = field[radius : radius + rows, radius : radius + columns]
    if step > 1:
        large = (math.ceil(columns * step), math.ceil(rows * step))
        field = cv2.resize(field, large, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(field[:height, :width])
