"""Fill holes of a photo from inpainted crops: what the hole does not cover stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.faces.holes import Hole
from facemend.faces.mask import border_mask
from facemend.faces.paste import meet_colour
from facemend.faces.patch import crop_onto, mask_onto, patch_under
from facemend.faces.warp import scale_of, transform, warp
from facemend.imaging import AnyPixels, Pixels, bands, from_float, luma, to_float
from facemend.types import FloatImage, Matrix23

EDGE, EDGE_PIXELS = 0.01, 2.0  # width of the soft edge inside the hole: share of the crop's side, at least
RING = 0.03  # width of the ring round the hole in which colours are matched, the same


def hole_in_crop(hole: Hole, matrix: Matrix23, size: int) -> Hole:
    """The hole as a crop (size, size) shows it: every pixel to which the hole contributes.

    Args:
        hole: (H, W) of the photo; beyond the photo it is reflected, as the crop is.
        matrix: 2x3, photo pixels -> crop pixels.
        size: side of the crop, pixels.
    """
    seen: Hole = warp(hole.view(np.uint8), matrix, (size, size), interpolation="linear") > 0
    return seen


def meet_ring(crop: FloatImage, filled: FloatImage, hole: Hole) -> FloatImage:
    """Shift the colours of a filled crop so that they meet the photo's in a ring round the hole.

    Args:
        crop: (S, S, 3) float32 RGB [0, 1], with any filling in the hole.
        filled: (S, S, 3) float32 RGB [0, 1], from the network.
        hole: (S, S).

    Returns:
        (S, S, 3) float32; may leave [0, 1] a little.
    """
    reach = 2 * max(1, round(RING * len(hole))) + 1
    grown = cv2.dilate(hole.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return meet_colour(crop, filled, np.asarray((grown > 0) & ~hole, np.float32))


def edge_width(side: float) -> float:
    """Width of the soft edge in pixels of the photo, where a crop covers `side` of these."""
    return max(EDGE * side, EDGE_PIXELS)


def soft_edge(hole: Hole, width: float) -> NDArray[np.float32]:
    """(H, W) float32: 0 outside the hole, rising to 1 over `width` pixels inside it."""
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.clip(depth / (1 + width), 0, 1), np.float32)


def nearest_crop(points: NDArray[np.floating], matrices: Sequence[Matrix23], size: int) -> NDArray[np.intp]:
    """In the middle of which crop each point lies most.

    Args:
        points: (N, 2), photo pixels.
        matrices: 2x3 each, photo pixels -> pixels of a crop of side `size`.
        size: side of the crops, pixels.

    Returns:
        (N,) indices into `matrices`.
    """
    middle = (size - 1) / 2
    # The larger of both distances: whoever is nearest by it sees the point if anybody does.
    away = [np.abs(transform(matrix, points) - middle).max(1) for matrix in matrices]
    nearest: NDArray[np.intp] = np.argmin(away, axis=0)
    return nearest


def fill_hole(
    pixels: Pixels,
    plain: AnyPixels,
    filled: FloatImage,
    hole: Hole,
    weight: NDArray[np.float32],
    *,
    width: float,
    gray: bool = False,
) -> None:
    """Fill a hole in place, with an edge that goes softly from a plain filling to the network's.

    Args:
        pixels: (H, W, 3) uint8 or uint16 RGB; changed only in the hole, where the weight is above 0.
        plain: the same with a plain filling, or such floats in [0, 1].
        filled: (H, W, 3) float32 RGB, lying on the photo; may leave [0, 1].
        hole: (H, W).
        weight: (H, W) in [0, 1], 1: the filling alone, 0: what was in the hole stays.
        width: of the soft edge, pixels.
        gray: keep the three channels equal.
    """
    soft = soft_edge(hole, width)[..., None]
    for rows in bands(*hole.shape):
        part, plainly, old = pixels[rows], to_float(plain[rows]), to_float(pixels[rows])
        new = plainly + soft[rows] * (np.clip(filled[rows], 0, 1) - plainly)
        share = weight[rows, :, None]
        mixed = share * new + (1 - share) * old  # nothing of the old is left at 1, not even by rounding
        if gray:
            mixed = np.repeat(luma(mixed)[..., None], 3, axis=2)
        inside = hole[rows] & (weight[rows] > 0)
        part[inside] = from_float(mixed[inside], pixels.dtype)


def fill_from_crop(
    pixels: Pixels,
    plain: AnyPixels,
    filled: FloatImage,
    matrices: Sequence[Matrix23],
    index: int,
    hole: Hole,
    *,
    gray: bool = False,
) -> int:
    """Fill what one of several crops sees of the hole, in place.

    Pixels that lie more in the middle of another crop are left to that. Towards the crop's border the
    filling fades into what was there.

    Args:
        pixels: see `fill_hole`, the whole photo.
        plain: see `fill_hole`.
        filled: (S, S, 3) float32 RGB, the crop with the hole filled; may leave [0, 1].
        matrices: 2x3 each, photo pixels -> crop pixels, of all crops.
        index: which of them it is.
        hole: (H, W).
        gray: keep the three channels equal.

    Returns:
        How many pixels of the hole were filled, by half or more.
    """
    size = len(filled)
    border = border_mask(size)
    found = patch_under(matrices[index], border, pixels)
    if found is None:
        return 0
    where, onto = found
    weight = mask_onto(border, onto, hole[where].shape)
    rows, columns = np.nonzero(hole[where])
    points = np.stack([columns + where[1].start, rows + where[0].start], axis=1)
    weight[rows, columns] *= nearest_crop(points, matrices, size) == index
    there = crop_onto(filled, onto, weight.shape)
    width = edge_width(size * scale_of(onto))
    fill_hole(pixels[where], plain[where], there, hole[where], weight, width=width, gray=gray)
    return int(np.count_nonzero(weight[rows, columns] > 0.5))
