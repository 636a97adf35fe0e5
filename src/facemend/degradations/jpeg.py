"""JPEG artefacts."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from facemend.types import FloatImage


def jpeg(image: FloatImage, quality: int) -> FloatImage:
    """Compress and decompress, which also rounds to 8 bits.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        quality: libjpeg quality, 1 (worst) to 100.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    """
    bgr = cv2.cvtColor(cv2.convertScaleAbs(image, alpha=255), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    rgb = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return cast(FloatImage, rgb.astype(np.float32) / np.float32(255))
