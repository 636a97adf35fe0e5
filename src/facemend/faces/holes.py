"""Holes: what a mask says is to be filled in, and a plain filling from what lies round it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError
from facemend.imaging.color import Pixels, luma, to_float
from facemend.imaging.picture import Picture
from facemend.imaging.resize import resize
from facemend.imaging.rows import bands

Hole = NDArray[np.bool_]
"""(H, W): true where the photo is to be filled in."""

_SIDE = 1024  # longest side of the copy that is filled: the time goes with the pixels of the hole
_RADIUS = 3


def hole_of(mask: Picture, picture: Picture) -> Hole:
    """The hole that a mask cuts: its white, opaque pixels (above one half).

    Args:
        mask: white where the photo is to be filled in.
        picture: the photo.

    Raises:
        InputError: the mask has another size than the photo, nothing white, or nothing else.
    """
    if (mask.width, mask.height) != (picture.width, picture.height):
        raise InputError(
            f"the mask is {mask.width}x{mask.height} and the photo {picture.width}x{picture.height}: "
            "paint it on a copy of the photo, so that they have one size"
        )
    hole: Hole = np.empty((mask.height, mask.width), np.bool_)
    for rows in bands(*hole.shape):
        hole[rows] = luma(to_float(mask.pixels[rows])) > 0.5
        if mask.alpha is not None:
            hole[rows] &= to_float(mask.alpha[rows]) > 0.5
    if not hole.any():
        raise InputError("nothing in the mask is white: paint white what is to be filled in")
    if hole.all():
        raise InputError("the whole mask is white: only what is to be filled in may be white")
    return hole


def without_hole(picture: Picture, hole: Hole) -> Pixels:
    """The photo with a plain, blurred filling: a help for detectors and edges, not a restoration.

    Large photos are filled on a small copy. What was in the hole has no influence.

    Args:
        picture: the photo.
        hole: some of its pixels, not all.

    Returns:
        (H, W, 3) pixels as the photo's; outside the hole they are the same.
    """
    scale = min(1.0, _SIDE / max(hole.shape))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = np.ascontiguousarray(resize(picture.pixels, size))
    if small.dtype == np.uint16:
        small = (small >> 8).astype(np.uint8)
    covered = resize(hole.astype(np.float32), size) > 0
    if covered.all():  # a fine pattern, of which the small copy shows nothing clean
        small[:] = picture.pixels[~hole].mean(axis=0) * (255 / np.iinfo(picture.pixels.dtype).max)
    else:
        small = cv2.inpaint(small, covered.astype(np.uint8), _RADIUS, cv2.INPAINT_TELEA)
    filling = resize(small, (picture.width, picture.height), "bicubic")
    if picture.pixels.dtype == np.uint16:
        filling = filling.astype(np.uint16) * 257
    return np.where(hole[..., None], filling, picture.pixels)
