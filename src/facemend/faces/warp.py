"""Affine matrices and one anti-aliased warp that aligning, pasting and the predictors share."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.imaging import AnyPixels, shrink, to_float
from facemend.types import Matrix23

Border = Literal["reflect", "replicate", "zero"]
_BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}
Interpolation = Literal["linear", "cubic", "lanczos"]
_INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}
_KERNEL_MARGIN = 6  # pixels that the widest kernel reaches beyond the region it samples


def determinant(matrix: Matrix23) -> float:
    """Of the linear part, in closed form: for four numbers LAPACK takes longer than a small warp."""
    (a, b, _), (c, d, _) = np.asarray(matrix, np.float64).tolist()
    return float(a * d - b * c)


def invert(matrix: Matrix23) -> Matrix23:
    """The inverse of an affine matrix (2x3).

    Raises:
        ValueError: the matrix is singular or not finite.
    """
    whole = determinant(matrix)
    if not np.isfinite(matrix).all() or abs(whole) < 1e-12:
        raise ValueError("the matrix cannot be inverted")
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64).tolist()
    rows = [[d, -b, b * y - d * x], [-c, a, c * x - a * y]]
    return np.array(rows) / whole


def compose(outer: Matrix23, inner: Matrix23) -> Matrix23:
    """The affine matrix (2x3) that applies `inner` first and `outer` second."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def transform(matrix: Matrix23, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map (N, 2) points through an affine matrix (2x3)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def scale_of(matrix: Matrix23) -> float:
    """How many output pixels one input pixel covers along a side: the root of the determinant."""
    return math.sqrt(abs(determinant(matrix)))


def corners(width: float, height: float) -> NDArray[np.float64]:
    """The outer corners (4, 2) of a picture of that size; the centre of its top left pixel is (0, 0)."""
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64) - 0.5


def resize_matrix(scale_x: float, scale_y: float) -> Matrix23:
    """The affine matrix of a resize, with pixel centres at whole numbers on both sides."""
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2]], np.float64)


def _region(matrix: Matrix23, size: tuple[int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the source (x1, y1, x2, y2) that the warp reads, reflections included."""
    reach = transform(invert(matrix), corners(*size))
    margin = _KERNEL_MARGIN * max(1.0, 1.0 / scale_of(matrix))
    low, high = reach.min(0) - margin, reach.max(0) + margin
    limit = np.array([width, height], np.float64)
    overhang = np.maximum(np.maximum(-low, high - limit + 1), 0)
    low = np.clip(np.floor(low - overhang), 0, limit - 1)
    high = np.clip(np.ceil(high + overhang) + 1, low + 1, limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def warp(
    image: AnyPixels,
    matrix: Matrix23,
    size: tuple[int, int],
    *,
    border: Border = "reflect",
    interpolation: Interpolation = "cubic",
) -> NDArray[np.float32]:
    """Warp a picture; where that shrinks it, area-average first, so that nothing aliases.

    Args:
        image: (H, W) or (H, W, C) float32; or uint8 or uint16, of which only what is read becomes floats.
        matrix: 2x3, image pixels -> output pixels; a similarity or near it.
        size: (width, height) of the output in pixels.
        border: what lies outside the image.
        interpolation: kernel of the warp; "cubic" and "lanczos" may overshoot the input's range.

    Returns:
        (height, width[, C]) float32.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = _region(matrix, size, width, height)
    part = image[y1:y2, x1:x2]
    moved = compose(matrix, np.array([[1, 0, x1], [0, 1, y1]], np.float64))
    scale = scale_of(matrix)
    if scale < 1:
        w = max(1, round(part.shape[1] * scale))
        h = max(1, round(part.shape[0] * scale))
        moved = compose(moved, invert(resize_matrix(w / part.shape[1], h / part.shape[0])))
        part = shrink(part, (w, h))
    if min(part.shape[:2]) == 1:
        border = "replicate"  # reflection about a single pixel does not end in OpenCV
    warped = cv2.warpAffine(
        np.ascontiguousarray(to_float(part)),
        moved,
        size,
        flags=_INTERPOLATIONS[interpolation],
        borderMode=_BORDERS[border],
    )
    return np.asarray(warped, np.float32)
