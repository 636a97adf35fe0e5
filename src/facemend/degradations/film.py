"""Photographs: soft focus, film grain, levels and tints. (H, W) gray or (H, W, 3) RGB, float32 [0, 1]."""

from __future__ import annotations

import colorsys
from typing import cast

import cv2
import numpy as np

from facemend.degradations.noise import noise_field
from facemend.degradations.parts import Grain, Levels, SoftFocus, Tone
from facemend.imaging.color import LUMA, FloatPlane
from facemend.types import FloatImage


def soft_focus(image: FloatImage, lens: SoftFocus) -> FloatImage:
    """Mix the picture with a wide Gaussian blur of itself, as a soft-focus lens or a diffuser does.

    The blur is made at a smaller size: it holds nothing that the small picture cannot.
    """
    height, width = image.shape[:2]
    factor = max(1.0, lens.sigma / 3)
    small = max(1, round(width / factor)), max(1, round(height / factor))
    blurred = image if factor == 1 else cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    # Averaging over `factor` pixels and interpolating between them spread by about 1/12 + 1/6 of its square.
    sigma = max(0.01, lens.sigma / factor) if factor == 1 else ((lens.sigma / factor) ** 2 - 0.25) ** 0.5
    blurred = cv2.GaussianBlur(blurred, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return cast(FloatImage, cv2.addWeighted(image, 1 - lens.share, blurred, lens.share, 0))


def grain(image: FloatImage, film: Grain) -> FloatImage:
    """Add film grain and clip: clumps of silver, the same in all channels.

    The deviation is `strength` at mid-gray and falls along 4 x (1 - x) to a quarter of it in black and white.
    """
    field = noise_field(image.shape[0], image.shape[1], film.size, film.seed)
    weight = image * image
    np.subtract(image, weight, out=weight)
    weight *= np.float32(3 * film.strength / 255)
    weight += np.float32(0.25 * film.strength / 255)
    weight *= field if image.ndim == 2 else cv2.merge([field] * 3)
    weight += image
    return np.clip(weight, 0, 1, out=weight)


def levels(image: FloatImage, curve: Levels) -> FloatImage:
    """Apply black + (white - black) * x^gamma and clip: a faded print, or an over-contrasty copy."""
    result = image if curve.gamma == 1 else cv2.pow(np.clip(image, 0, 1), curve.gamma)
    result = result * np.float32(curve.white - curve.black) + np.float32(curve.black)
    return cast(FloatImage, np.clip(result, 0, 1, out=result))


def tint(gray: FloatPlane, tone: Tone) -> FloatImage:
    """Colour a gray picture as toning baths and yellowed paper do; the luma stays, but for clipping.

    Args:
        gray: (H, W) float32 [0, 1].
        tone: `strength` is the weight of the hue in mid-tones, where toners show, `paper` that in white.

    Returns:
        (H, W, 3) float32 RGB [0, 1].
    """
    color = np.array(colorsys.hsv_to_rgb(tone.hue, 1, 1))
    chroma = (color - color @ LUMA).astype(np.float32)
    weight = np.float32(4 * tone.strength) * (gray - gray * gray) + np.float32(tone.paper) * gray
    result = cv2.merge([gray + weight * share for share in chroma])
    return cast(FloatImage, np.clip(result, 0, 1, out=result))
