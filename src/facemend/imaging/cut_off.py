"""JPEGs that were cut off near their end: a copy that was stopped, a card that was full."""

from __future__ import annotations

import numpy as np

from facemend.imaging.color import Pixels
from facemend.imaging.jpeg_segments import SCAN, segments

_END = b"\xff\xd9"
EDGE = 4
"""Columns at the right that are looked at."""
_MOST_MISSING = 1 / 8
"""Share of the lines that may be missing: with more it is no photo with a flaw but half of one."""


def ended(data: bytes) -> bytes | None:
    """The file with the end marker that it lacks; None where it has one."""
    data = data.rstrip(b"\0").removesuffix(b"\xff")
    return None if data.endswith(_END) else data + _END


def what_is_missing(data: bytes, pixels: Pixels) -> str | None:
    """A note on a JPEG that was decoded with the end marker that it lacked; None where too much is missing.

    Args:
        data: the file.
        pixels: (H, W, C) uint8, as stored, or its last `EDGE` columns. What is not in the file was decoded as
            middle gray.
    """
    if not _has_all_bits(data):
        return None
    is_blank = (pixels[:, -EDGE:] == 128).all(axis=(1, 2))[::-1]
    missing = len(is_blank) if is_blank.all() else int(np.argmin(is_blank))
    if missing > _MOST_MISSING * len(pixels):
        return None
    if missing:
        return f"is cut off: its last {missing} lines are missing and gray"
    return "lacks its end: it may have been cut off"


def _has_all_bits(data: bytes) -> bool:
    """Whether of a progressive JPEG each component's last scan has begun: none is left coarse as a whole."""
    coarse = dict[int, int]()
    for marker, start, end in segments(data):
        count = data[start + 4] if start + 4 < len(data) else 0
        last = start + 5 + 2 * count  # of the header: first and last coefficient, bits before and after
        if marker == SCAN and 1 <= count <= 4 and last + 2 < min(end, len(data)) and data[last + 1]:
            # with coefficients beside the mean
            coarse |= dict.fromkeys(data[start + 5 : last : 2], data[last + 2] & 15)
    return bool(coarse) and not any(coarse.values())
