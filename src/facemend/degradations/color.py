"""Colour changes: channel shifts, gray, and jitter of brightness, contrast, saturation and hue."""

from __future__ import annotations

import math
from typing import Literal, cast, get_args

import cv2
import numpy as np

from facemend.imaging import luma
from facemend.types import FloatImage

JitterKind = Literal["brightness", "contrast", "saturation", "hue"]
JITTER_KINDS: tuple[JitterKind, ...] = get_args(JitterKind)


def shift_channels(image: FloatImage, shift: tuple[float, float, float]) -> FloatImage:
    """Add one number per channel (R, G, B; 0..255 scale) and clip. (H, W, 3) float32 [0, 1]."""
    return np.clip(image + np.asarray(shift, np.float32) / np.float32(255), 0, 1)


def to_gray(image: FloatImage) -> FloatImage:
    """BT.601 luma on all three channels. (H, W, 3) float32."""
    return cast(FloatImage, cv2.cvtColor(luma(image), cv2.COLOR_GRAY2RGB))


def jitter(image: FloatImage, kind: JitterKind, value: float) -> FloatImage:
    """Change one photometric property and clip.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        kind: which property.
        value: factor for brightness, contrast and saturation (1 changes nothing); for hue the turn as a share
            of the colour circle (0 changes nothing).

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    """
    if kind == "hue":
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hue = hsv[..., 0] + np.float32(360 * math.fmod(value, 1))
        hue[hue >= 360] -= 360
        hue[hue < 0] += 360
        hsv[..., 0] = hue
        result = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    else:
        result = image * np.float32(value)
        # Brightness moves away from or towards black, contrast the mean luma, saturation each pixel's luma.
        if kind == "contrast":
            result += np.float32((1 - value) * luma(image).mean(dtype=np.float64))
        elif kind == "saturation":
            result += np.float32(1 - value) * to_gray(image)
    return cast(FloatImage, np.clip(result, 0, 1, out=result))
