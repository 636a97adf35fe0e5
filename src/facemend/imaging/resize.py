"""Resizing with one convention: pixels are squares, and shrinking averages what each new pixel covers."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.imaging.color import AnyPixels, to_float
from facemend.imaging.rows import bands

ResizeKind = Literal["area", "bicubic", "lanczos"]
_ENLARGE: dict[ResizeKind, int] = {
    "area": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
_Pixel = TypeVar("_Pixel", bound=np.generic)


def resize(image: NDArray[_Pixel], size: tuple[int, int], kind: ResizeKind = "area") -> NDArray[_Pixel]:
    """Resize a picture or a mask.

    The outer edges of the picture stay its outer edges: pixel centre x goes to (x + 0.5) * new / old - 0.5.
    An axis that shrinks is averaged over the area of each new pixel, whatever the kind, so that nothing
    aliases; `kind` says how an axis grows.

    Args:
        image: (H, W, C) or (H, W), uint8, uint16 or float32 in [0, 1].
        size: new (width, height), each >= 1.
        kind: "area" (bilinear when growing), "bicubic" or "lanczos" (8x8).

    Returns:
        The resized array, of the same type and number of axes; overshoot of the sharper kinds is clipped.
        The input itself when the size is the same.
    """
    height, width = image.shape[:2]
    if size == (width, height):
        return image
    smaller = min(size[0], width), min(size[1], height)
    result: NDArray[Any] = image
    if smaller != (width, height):
        result = cv2.resize(result, smaller, interpolation=cv2.INTER_AREA)
    if smaller != size:
        result = cv2.resize(result, size, interpolation=_ENLARGE[kind])
        if result.dtype == np.float32:
            np.clip(result, 0, 1, out=result)
    return cast("NDArray[_Pixel]", result.reshape(size[1], size[0], *image.shape[2:]))


def shrink(image: AnyPixels, size: tuple[int, int]) -> NDArray[np.float32]:
    """A picture or a mask averaged to a smaller size, as floats.

    Of integers only a band is ever held as floats at its full width. Averaging goes row by row first anyway,
    so that the result is that of the picture as floats.

    Args:
        image: (H, W, C) or (H, W), uint8, uint16 or float32 in [0, 1].
        size: new (width, height), each >= 1 and none larger than before.

    Returns:
        float32 in [0, 1]; floats of the same size are the input itself.
    """
    height, width = image.shape[:2]
    if size == (width, height):
        return to_float(image)
    across = image
    if image.dtype != np.float32:
        across = np.empty((height, size[0], *image.shape[2:]), np.float32)
        for rows in bands(height, width):
            band = to_float(image[rows])
            across[rows] = cv2.resize(band, (size[0], len(band)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(across, size, interpolation=cv2.INTER_AREA), np.float32)
