"""JPEG artefacts."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from facemend.degradations.parts import JpegGeneration
from facemend.degradations.resample import bilinear, shrunk_size
from facemend.errors import InputError
from facemend.imaging.formats import JPEG_SIDE
from facemend.types import FloatImage


def jpeg(image: FloatImage, quality: int) -> FloatImage:
    """Compress and decompress, which also rounds to 8 bits.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1], or (H, W) gray.
        quality: libjpeg quality, 1 (worst) to 100.

    Returns:
        The shape of `image`, float32 in [0, 1].

    Raises:
        InputError: no encoder makes a JPEG as long.
    """
    if max(image.shape) > JPEG_SIDE:
        raise InputError(f"a JPEG has at most {JPEG_SIDE} pixels a side: cut the picture into parts")
    gray = image.ndim == 2
    pixels = cv2.convertScaleAbs(image, alpha=255)
    if not gray:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    pixels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    if not gray:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return cast(FloatImage, pixels.astype(np.float32) / np.float32(255))


def jpeg_generation(image: FloatImage, earlier: JpegGeneration) -> FloatImage:
    """One earlier life of the picture: made smaller, compressed, and brought back to its size.

    (H, W) or (H, W, 3) float32 [0, 1] in and out. Its blocks do not lie on those of the next JPEG.
    """
    height, width = image.shape[:2]
    small = bilinear(image, shrunk_size(width, height, 1 / earlier.scale))
    return bilinear(jpeg(small, earlier.quality), (width, height))
