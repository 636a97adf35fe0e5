"""Over-sharpening."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from facemend.degradations.parts import Sharpening
from facemend.types import FloatImage


def unsharp_mask(image: FloatImage, mask: Sharpening) -> FloatImage:
    """Add `amount` times what a Gaussian blur takes away, and clip: halos along edges.

    (H, W) or (H, W, 3) float32 [0, 1] in and out.
    """
    blurred = cv2.GaussianBlur(image, (0, 0), mask.sigma, borderType=cv2.BORDER_REFLECT_101)
    result = cv2.addWeighted(image, 1 + mask.amount, blurred, -mask.amount, 0)
    return cast(FloatImage, np.clip(result, 0, 1, out=result))
