"""Less noise, fewer JPEG blocks and half-tone dots: overlapping DCT blocks without what may be mere noise.

The picture is cut into blocks of 8 pixels four times, each time shifted; of each block the coefficients that
the noise alone may have made become 0, and the four results are averaged. How strong the noise is at each
frequency is measured (`facemend.imaging.noise`), so that a picture without any comes out as it is.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.imaging.color import luma, rgb_to_ycbcr, to_float, ycbcr_to_rgb
from facemend.imaging.noise import (
    Power,
    at_least,
    block_energies,
    block_jump,
    cosines,
    noise_power,
    screen_power,
)
from facemend.imaging.picture import Picture
from facemend.imaging.rows import BAND
from facemend.types import FloatImage

SIDE = 8
SHIFTS = ((0, 0), (2, 6), (4, 4), (6, 2))
_SAMPLES = 4000  # blocks that the noise is measured on
_WINDOW = 1024  # side of the middle part on which JPEG's blocks are looked for, pixels
_SURE = 2.7  # a coefficient of so many standard deviations of the noise is the photo's
_UNSEEN = 1 / 255  # noise of less deviation is left
# As measured on training portraits: thresholds and jumps of JPEG at qualities 5 to 40 go together so.
_JPEG_THRESHOLD = 7.0


def clean(picture: Picture) -> Picture:
    """The picture with less noise, JPEG blocks and half-tone dots; itself if it has none.

    Depth, gray, alpha and metadata stay. Memory is that of the result and of a band of rows.
    """
    limits = _limits(picture)
    if not any(limit.any() for limit in limits):
        return picture
    pixels = np.empty_like(picture.pixels)
    height, width = pixels.shape[:2]
    # Bands begin where blocks do, with a block to spare: so there are no seams.
    step = max(SIDE, BAND // width // SIDE * SIDE)
    for top in range(0, height, step):
        first = max(0, top - SIDE)
        band = _shrunk(to_float(picture.pixels[first : top + step + SIDE]), limits)
        pixels[top : top + step] = picture.from_floats(band[top - first :][:step])
    return replace(picture, pixels=pixels)


def _limits(picture: Picture) -> list[Power]:
    """For each plane (luma alone of a gray picture) the energies below which a coefficient may be noise."""
    height, width = picture.pixels.shape[:2]
    y, x = max(0, height - _WINDOW) // 2, max(0, width - _WINDOW) // 2
    middle = luma(to_float(picture.pixels[y : y + _WINDOW, x : x + _WINDOW]))
    # Chroma, whose blocks are larger and often smoothed, is compressed as hard as luma shows it.
    jpeg = max(0.0, (_JPEG_THRESHOLD * block_jump(middle)) ** 2 - _UNSEEN**2)
    energies = block_energies(picture.pixels, SIDE, _SAMPLES, gray=picture.gray)
    powers = (np.maximum(noise_power(each), screen_power(each)) for each in energies)
    return [np.asarray(_SURE**2 * at_least(power, _UNSEEN) + jpeg, np.float32) for power in powers]


def _shrunk(image: FloatImage, limits: list[Power]) -> FloatImage:
    """A band, (H, W, 3) RGB, each plane without what lies below its limits."""
    if len(limits) == 1:
        return np.asarray(cv2.merge([_without(luma(image), limits[0])] * 3), np.float32)
    planes = rgb_to_ycbcr(image)
    for k, limit in enumerate(limits):
        if limit.any():
            planes[..., k] = _without(planes[..., k], limit)
    return ycbcr_to_rgb(planes)


def _without(plane: NDArray[np.float32], limit: Power) -> NDArray[np.float32]:
    height, width = plane.shape
    rows, columns = -(-(height + SIDE) // SIDE), -(-(width + SIDE) // SIDE)
    padded = cv2.copyMakeBorder(
        np.ascontiguousarray(plane),
        SIDE,
        rows * SIDE - height,
        SIDE,
        columns * SIDE - width,
        cv2.BORDER_REFLECT,
    )
    limit = limit.ravel().copy()
    limit[0] = -1  # the mean of a block always stays
    transform = np.kron(cosines(SIDE), cosines(SIDE))
    total = np.zeros_like(padded)
    for y, x in SHIFTS:
        part = (slice(y, y + rows * SIDE), slice(x, x + columns * SIDE))
        blocks = padded[part].reshape(rows, SIDE, columns, SIDE).transpose(0, 2, 1, 3).reshape(-1, SIDE**2)
        coefficients = blocks @ transform.T
        coefficients *= coefficients * coefficients > limit
        blocks = (coefficients @ transform).reshape(rows, columns, SIDE, SIDE).transpose(0, 2, 1, 3)
        total[part] += blocks.reshape(rows * SIDE, columns * SIDE)
    return np.asarray(total[SIDE : SIDE + height, SIDE : SIDE + width] / len(SHIFTS), np.float32)
