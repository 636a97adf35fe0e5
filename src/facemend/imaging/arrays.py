"""Arrays as pixels: the one place where they are checked."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError, one_line
from facemend.imaging.color import Pixels, from_float

_SHAPES = "use (H, W) or (H, W, C) with C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA"
_TYPES = "use uint8 (0 to 255), uint16 (0 to 65535), floats in [0, 1], or bool"
_LEEWAY = 0.5 / 255
"""What floats may lie outside [0, 1], from rounding; they are clipped."""


@runtime_checkable
class HasArray(Protocol):
    """What numpy takes as an array: its own, a torch tensor on the CPU, ..."""

    def __array__(self) -> NDArray[Any]:
        """The values."""


def as_pixels(x: HasArray, depth: type[np.uint8] | type[np.uint16] = np.uint8) -> Pixels:
    """An array of a picture as pixels.

    Args:
        x: (H, W) or (H, W, C) with C from 1 to 4; uint8, uint16, floats in [0, 1], or bool (True is white);
            any order in memory, also read-only.
        depth: what floats become.

    Returns:
        (H, W, C) uint8 or uint16 in the machine's byte order, perhaps a view of `x`.

    Raises:
        InputError: another shape or type, no pixels, masked values, NaN, or floats outside [0, 1].
    """
    if np.ma.is_masked(x):
        raise InputError("an array with masked values is no picture: give them a value with filled()")
    try:
        array = np.asarray(x)
    except Exception as error:  # of another library: on another device, with gradients ...
        raise InputError(f"a {type(x).__name__} cannot be taken as an array ({one_line(error)})") from error
    _check_shape(array.shape)
    if array.ndim == 2:
        array = array[..., None]
    if array.dtype.kind == "b":
        return array * np.uint8(255)
    if array.dtype.kind == "f":
        _check_range(array)
        return from_float(array.astype(np.float32, copy=False), depth)
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise InputError(f"an array of {array.dtype} is no picture: {_TYPES}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) in (2, 3) and 0 in shape:
        raise InputError(f"an array of shape {shape} has no pixels: {_SHAPES}")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4):
        return
    fix = _SHAPES
    if len(shape) == 3 and shape[0] <= 4:
        fix = "channels come last: move them with numpy.moveaxis(x, 0, -1), or permute(1, 2, 0) of a tensor"
    elif len(shape) == 4:
        fix = "give one picture at a time"
    raise InputError(f"an array of shape {shape} is no picture: {fix}")


def _check_range(array: NDArray[Any]) -> None:
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise InputError("an array with NaN or infinite values is no picture: replace them first")
    if low < -_LEEWAY or high > 1 + _LEEWAY:
        fix = "divide by 255" if low >= 0 and 2 < high <= 255 else "scale or clip them"
        raise InputError(f"floats of a picture lie in [0, 1], these in [{low:g}, {high:g}]: {fix}")
