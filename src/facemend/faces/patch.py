"""The part of a photo that lies under a crop, and crops and masks warped onto it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import Border, Interpolation, compose, corners, invert, scale_of, transform, warp
from facemend.imaging import bands
from facemend.types import FloatImage, Matrix23

Patch = tuple[slice, slice]
"""Rows and columns of the photo."""

_MARGIN = 8  # pixels of the photo beside the mask: blurs there have to know what lies behind its edge


def bands_of(where: Patch) -> Iterator[Patch]:
    """A part of a photo in bands of rows, so that little of it is held as floats at a time."""
    rows, columns = where
    for band in bands(rows.stop - rows.start, columns.stop - columns.start):
        yield slice(rows.start + band.start, rows.start + band.stop), columns


def box_of(mask: NDArray[np.float32], margin: int) -> Patch:
    """The part of a mask (H, W) that is not 0, with a margin of that many pixels where there is room."""
    x, y, width, height = cv2.boundingRect((mask > 0).view(np.uint8))
    return slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)


def patch_under(
    matrix: Matrix23, mask: NDArray[np.float32], canvas: NDArray[Any]
) -> tuple[Patch, Matrix23] | None:
    """The part of a photo under what a mask leaves of a crop.

    Args:
        matrix: 2x3, photo pixels -> crop pixels.
        mask: (S, S) of the crop; where it is 0 the photo is left alone.
        canvas: the photo, (H, W, ...).

    Returns:
        The part, with a margin, and the matrix from crop pixels to its pixels; None if mask and photo do not
        meet.
    """
    back = invert(matrix)
    x, y, width, height = cv2.boundingRect((mask > 0).view(np.uint8))
    if width == 0:
        return None
    reach = transform(back, corners(width, height) + np.array([x, y]))
    height, width = canvas.shape[:2]
    low, high = np.floor(reach.min(0)) - _MARGIN, np.ceil(reach.max(0)) + 1 + _MARGIN
    x1, y1 = (max(0, int(v)) for v in low)
    x2, y2 = (min(limit, int(v)) for v, limit in zip(high, (width, height), strict=True))
    if x1 >= x2 or y1 >= y2:
        return None
    shift = np.array([[1, 0, -x1], [0, 1, -y1]], np.float64)
    return (slice(y1, y2), slice(x1, x2)), compose(shift, back)


def crop_onto(image: NDArray[np.float32], matrix: Matrix23, shape: tuple[int, ...]) -> FloatImage:
    """A crop (S, S, 3) warped onto a patch of that shape; `matrix`: crop pixels -> patch pixels."""
    kind: Interpolation = "lanczos" if scale_of(matrix) > 1 else "cubic"
    return warp(image, matrix, (shape[1], shape[0]), border="replicate", interpolation=kind)


def mask_onto(
    mask: NDArray[np.float32], matrix: Matrix23, shape: tuple[int, ...], border: Border = "zero"
) -> NDArray[np.float32]:
    """A mask (S, S) warped onto a patch of that shape, 0 outside the crop."""
    warped = warp(mask, matrix, (shape[1], shape[0]), border=border, interpolation="linear")
    return np.asarray(np.clip(warped, 0, 1), np.float32)
