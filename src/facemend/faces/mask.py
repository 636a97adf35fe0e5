"""Soft masks in the space of an aligned crop: where the restored face replaces the photo.

Every mask is (S, S) float32 in [0, 1] for a crop of side S. Lengths are shares of S, so that a mask looks the
same at every size. Masks are combined by their minimum.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.imaging import from_float, gaussian_blur, to_float

Mask = NDArray[np.float32]

HULL_GROWTH = 0.01
FEATHER = 0.03
HEAD_FEATHER = 0.045
BORDER_CLEAR = 0.02
BORDER_RAMP = 0.12
EARS = 0.2  # how far ears reach below the widest place of the face, share of the face's height
HAIR_ABOVE, HAIR_BESIDE = 0.5, 0.75  # reach of the head zone, shares of the face's height and width
SPUR = 0.05
MIN_PERSON, MAX_DOUBT = 0.6, 0.2


def border_mask(size: int) -> Mask:
    """Zero at the crop's edge, one in the middle: a smooth ramp, so that no square can show."""
    u = (np.arange(size) + 0.5) / size
    edge = np.clip((np.minimum(u, 1 - u) - BORDER_CLEAR) / BORDER_RAMP, 0, 1)
    ramp = edge * edge * (3 - 2 * edge)
    return np.asarray(np.minimum(ramp[:, None], ramp[None, :]), np.float32)


def combine(*masks: Mask) -> Mask:
    """The minimum of the masks."""
    return np.asarray(np.minimum.reduce(masks), np.float32)


def _soft(mask: NDArray[np.float32], sigma: float) -> Mask:
    return gaussian_blur(mask, max(sigma, 0.3))


def _polygon(points: NDArray[np.floating], size: int) -> Mask:
    """One inside the polygon, zero outside; points (N, 2) in crop pixels."""
    canvas = np.zeros((size, size), np.float32)
    shift = 4  # the polygon's corners count in sixteenths of a pixel
    # Far outside is as good as further outside, and keeps the numbers small.
    safe = np.clip(points, -4 * size, 5 * size) * (1 << shift)
    cv2.fillPoly(canvas, [np.round(safe).astype(np.int32)], 1.0, lineType=cv2.LINE_8, shift=shift)
    return canvas


def _without_spurs(mask: NDArray[np.float32]) -> Mask:
    """The mask without what is thinner than an ear (morphological opening)."""
    side = 2 * round(SPUR * len(mask)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # As integers, of which OpenCV does many at a time.
    return to_float(cv2.morphologyEx(from_float(mask), cv2.MORPH_OPEN, kernel))


def _hull(points: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(cv2.convexHull(np.asarray(points, np.float32)), np.float32).reshape(-1, 2)


def hull_mask(points: NDArray[np.floating], size: int) -> Mask:
    """The convex hull of a face mesh, a little grown, feathered, and clear of the crop's border.

    Args:
        points: (N, 2) mesh points, crop pixels.
        size: side of the crop.
    """
    hull = _hull(points)
    centre = hull.mean(0)
    away = hull - centre
    reach = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    grown = hull + away / reach * HULL_GROWTH * size
    return combine(_soft(_polygon(grown, size), FEATHER * size), border_mask(size))


def above_jaw(points: NDArray[np.floating], size: int) -> Mask:
    """One above the jaw line, zero below it (hard edge).

    The jaw line is the lower part of the mesh's hull. Beside the face it goes on level, a little below the
    hull's outermost points, so that the ears stay above it.

    Args:
        points: (N, 2) mesh points, crop pixels.
        size: side of the crop.
    """
    hull = _hull(points)
    left, right = hull[hull[:, 0].argmin()], hull[hull[:, 0].argmax()]
    drop = EARS * float(np.ptp(hull[:, 1]))
    middle = float(left[0] + right[0]) / 2
    level = np.where(hull[:, 0] < middle, left[1], right[1]) + drop
    jaw = hull[hull[:, 1] > level]
    jaw = jaw[np.argsort(jaw[:, 0])]
    low_left, low_right = left[1] + drop, right[1] + drop
    beside = [(left[0], low_left), *jaw, (right[0], low_right)]
    outline = [(-1, -1), (-1, low_left), *beside, (size, low_right), (size, -1)]
    return _polygon(np.array(outline, np.float32), size)


def head_zone(points: NDArray[np.floating], size: int) -> Mask:
    """Where a head with its hair can be at most, as the mesh's hull says: an ellipse with a soft edge.

    It keeps a background that was taken for a person out, and every outline round.

    Args:
        points: (N, 2) mesh points, crop pixels.
        size: side of the crop.
    """
    low, high = points.min(0), points.max(0)
    width, height = np.maximum(high - low, 1.0)
    top, bottom = low[1] - HAIR_ABOVE * height, high[1] + 0.05 * height
    pixels = np.arange(size, dtype=np.float32)
    across = (pixels - (low[0] + high[0]) / 2) / (HAIR_BESIDE * width)
    down = (2 * pixels - top - bottom) / (bottom - top)
    radius = np.sqrt(np.add.outer(down**2, across**2).astype(np.float32))
    return np.asarray(np.clip((1.05 - radius) / 0.2, 0, 1), np.float32)


def is_sure(person: NDArray[np.float32], face: Mask, head: Mask) -> bool:
    """Whether the person mask can be used: it sees a person on the face, and is decided on the head.

    Args:
        person: (S, S) probability of a person.
        face: (S, S), of the face alone, see `hull_mask`.
        head: (S, S), see `head_zone`.
    """
    on_face = float((person * face).sum()) / max(float(face.sum()), 1.0)
    doubt = float((4 * person * (1 - person) * head).sum()) / max(float(head.sum()), 1.0)
    return on_face >= MIN_PERSON and doubt <= MAX_DOUBT


def head_mask(person: NDArray[np.float32], points: NDArray[np.floating]) -> Mask:
    """(Person and above the jaw line) or mesh hull, feathered, and clear of the crop's border.

    The edge towards the background is feathered inwards, so that it lies on hair and skin. Where the person
    mask cannot be used, it is the hull's mask alone.

    Args:
        person: (S, S) probability of a person.
        points: (N, 2) mesh points, crop pixels.
    """
    size = person.shape[0]
    hull, zone = hull_mask(points, size), head_zone(points, size)
    if not is_sure(person, hull, zone):
        return hull
    head = _soft(_without_spurs(person * above_jaw(points, size)), HEAD_FEATHER * size)
    inwards = combine(np.clip(2 * head - 1, 0, 1), zone)
    return combine(np.maximum(inwards, hull), border_mask(size))


def ellipse_mask(size: int) -> Mask:
    """The last resort, when no mesh can be had: an ellipse where the template puts the face."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    radius = np.hypot((x - 0.5) / 0.29, (y - 0.57) / 0.36)
    return combine(np.clip((1.1 - radius) / 0.25, 0, 1).astype(np.float32), border_mask(size))
