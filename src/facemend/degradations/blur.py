"""Blurs of a float picture."""

from __future__ import annotations

from typing import cast

import cv2

from facemend.degradations.kernels import gaussian_kernel, gaussian_taps, motion_kernel, separable_terms
from facemend.types import FloatImage

_BORDER = cv2.BORDER_REFLECT_101
_TOLERANCE = 1e-3  # a quarter of one 8-bit step


def gaussian_blur(
    image: FloatImage, radius: int, sigma_x: float, sigma_y: float, rotation: float
) -> FloatImage:
    """Blur with a Gaussian cut off at `radius`.

    Args:
        image: (H, W, 3) float32.
        radius: taps each side of the centre, >= 1.
        sigma_x: standard deviation along the first axis, pixels.
        sigma_y: standard deviation along the second axis, pixels; equal to `sigma_x` for an isotropic blur.
        rotation: angle of the first axis, radians; without effect on an isotropic blur.

    Returns:
        (H, W, 3) float32.
    """
    if sigma_x == sigma_y:  # separable, so much cheaper
        taps = gaussian_taps(radius, sigma_x)
        return cast(FloatImage, cv2.sepFilter2D(image, -1, taps, taps, borderType=_BORDER))
    kernel = gaussian_kernel(radius, sigma_x, sigma_y, rotation)
    # Measured: a small kernel is quickest as it is; a large one costs as much as eight separable passes.
    terms = separable_terms(kernel, _TOLERANCE, limit=7) if radius > 5 else None
    if terms:
        total = cv2.sepFilter2D(image, -1, *terms[0], borderType=_BORDER)
        for row, column in terms[1:]:
            total += cv2.sepFilter2D(image, -1, row, column, borderType=_BORDER)
        return cast(FloatImage, total)
    return cast(FloatImage, cv2.filter2D(image, -1, kernel, borderType=_BORDER))


def motion_blur(image: FloatImage, length: float, angle: float, bend: float) -> FloatImage:
    """Blur along an arc; see `motion_kernel` for the numbers. (H, W, 3) float32 in and out."""
    return cast(FloatImage, cv2.filter2D(image, -1, motion_kernel(length, angle, bend), borderType=_BORDER))
