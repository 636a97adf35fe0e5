"""Bands of rows: arithmetic on a large picture in pieces, so that it is never held as floats as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BAND = 1 << 20
"""Pixels of a band, about."""


def bands(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture of that size (pixels, >= 1) in bands of about `BAND` pixels, from the top."""
    step = max(1, BAND // width)
    return (slice(start, min(start + step, height)) for start in range(0, height, step))


def by_bands(work: Callable[..., NDArray[Any]], *arrays: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """What `work` makes of each band of the arrays, put together.

    Args:
        work: takes the same rows of each array; gives as many, of the shape of the first's.
        arrays: (H, W, ...) each.
        dtype: of the result.
    """
    result = np.empty(arrays[0].shape, dtype)
    for rows in bands(len(result), result[0].shape[0]):
        result[rows] = work(*(each[rows] for each in arrays))
    return result
