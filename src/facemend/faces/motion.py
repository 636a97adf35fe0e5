"""How the picture under a face moved from one frame to the next, and where a film cuts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.warp import compose, invert, resize_matrix, scale_of
from facemend.types import Box, Matrix23

GrayPlane = NDArray[np.uint8]
"""(H, W) uint8 luma."""

CUT = 0.10  # mean change of a thumbnail's luma, [0, 1]
_FLUCTUATION = 3.0  # a cut stands out by this factor from the change of the frame before
_THUMBNAIL = (32, 18)
_GRID = 9  # points a side
_SIDE = 160  # larger boxes are followed on a smaller copy, pixels
_WINDOW, _LEVELS = 15, 3
_ERROR = 1.0  # pixels between where a point began and where it comes back to
_LEAST = 8  # points that must agree
_SCALE = 1.25  # a face grows or shrinks by no more than this within a frame


def motion(before: GrayPlane, after: GrayPlane, box: Box) -> Matrix23 | None:
    """The similarity transform by which what is in a box moved to the next frame.

    Points on a grid are followed (Lucas and Kanade, on a pyramid) forth and back; those that come back to
    where they began vote (RANSAC, whose random numbers are the same for the same points).

    Args:
        before: the frame before.
        after: this frame, same size.
        box: in the frame before, pixels.

    Returns:
        2x3, pixels of `before` -> pixels of `after`; None if too few points agree.
    """
    found = _around(before.shape, box)
    if found is None:
        return None
    where, onto = found
    size = max(1, round(onto[0, 0] * where[1])), max(1, round(onto[1, 1] * where[3]))
    parts = _part(before, where, size), _part(after, where, size)
    matrix = _moved(*parts, _grid(box, onto, size))
    return None if matrix is None else compose(invert(onto), compose(matrix, onto))


def _around(shape: tuple[int, ...], box: Box) -> tuple[tuple[int, int, int, int], Matrix23] | None:
    """The part (x, width, y, height) of a frame round a box, and frame pixels -> pixels of its copy."""
    margin = max(box.width, box.height) / 2 + _WINDOW
    x1, y1 = max(0, int(box.x1 - margin)), max(0, int(box.y1 - margin))
    x2, y2 = min(shape[1], int(box.x2 + margin) + 1), min(shape[0], int(box.y2 + margin) + 1)
    if x2 - x1 < 2 * _WINDOW or y2 - y1 < 2 * _WINDOW:
        return None
    scale = min(1.0, _SIDE / max(box.width, box.height, 1.0))
    shift = np.array([[1, 0, -x1], [0, 1, -y1]], np.float64)
    return (x1, x2 - x1, y1, y2 - y1), compose(resize_matrix(scale, scale), shift)


def _part(frame: GrayPlane, where: tuple[int, int, int, int], size: tuple[int, int]) -> GrayPlane:
    x, width, y, height = where
    part = frame[y : y + height, x : x + width]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grid(box: Box, onto: Matrix23, size: tuple[int, int]) -> NDArray[np.float32]:
    """Points inside the box that lie in the part, (N, 1, 2)."""
    steps = np.linspace(0.1, 0.9, _GRID)
    x, y = box.x1 + steps * box.width, box.y1 + steps * box.height
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2) @ onto[:, :2].T + onto[:, 2]
    inside = ((points >= 0) & (points < size)).all(1)
    return np.asarray(points[inside][:, None], np.float32)


def _moved(before: GrayPlane, after: GrayPlane, points: NDArray[np.float32]) -> Matrix23 | None:
    if len(points) < _LEAST:
        return None
    there, found = _follow(before, after, points)
    back, found_back = _follow(after, before, there)
    good = found & found_back & (np.linalg.norm(back - points, axis=-1)[:, 0] < _ERROR)
    if np.count_nonzero(good) < _LEAST:
        return None
    matrix, votes = cv2.estimateAffinePartial2D(points[good], there[good], ransacReprojThreshold=_ERROR)
    if matrix is None or np.count_nonzero(votes) < _LEAST or not np.isfinite(matrix).all():
        return None
    moved: Matrix23 = np.array(matrix, np.float64)
    return moved if 1 / _SCALE < scale_of(moved) < _SCALE else None


def _follow(
    before: GrayPlane, after: GrayPlane, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    nothing: Any = None  # OpenCV makes the array
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, nothing, winSize=(_WINDOW, _WINDOW), maxLevel=_LEVELS
    )
    return np.array(there, np.float32), np.array(found, np.bool_)[:, 0]


def thumbnail(frame: GrayPlane) -> NDArray[np.float32]:
    """A frame so small that only its composition is left, float32 in [0, 1]."""
    return np.asarray(cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32) / np.float32(
        255
    )


def is_cut(change: float, usual: float) -> bool:
    """Whether a scene begins.

    Args:
        change: mean absolute change of the thumbnail to this frame, [0, 1].
        usual: the same to the frame before: a fast pan or a flickering light changes much in every frame.
    """
    return change > max(CUT, _FLUCTUATION * usual)
