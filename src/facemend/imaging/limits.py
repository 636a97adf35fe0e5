"""How large a picture may be: checked from its header, before anything is decoded."""

from __future__ import annotations

import os

from facemend.errors import ConfigError, InputError, TooLargeError
from facemend.imaging.jpeg_segments import SCAN, segments

MAX_PIXELS = 178_000_000
"""The most that is ever read; Pillow's own limit lies just above and stays in force."""

VARIABLE = "FACEMEND_MAX_PIXELS"
_BYTES_A_PIXEL = 24
"""What a photo is taken to need from reading to writing: PNG, TIFF and JPEG need 13 at most, the rest is room
for the encoders of other formats and for `--compare`."""
_SHARE = 5 / 8
"""Of the machine's memory that one photo may take."""

_USUAL_SCANS = 12


def usual_pixels() -> int:
    """The most pixels of a photo, before and after, where nobody says: what the machine's memory is good for.

    The environment variable `FACEMEND_MAX_PIXELS` wins.

    Raises:
        ConfigError: the variable is no whole number from 1 on.
    """
    if text := os.environ.get(VARIABLE):
        if not (text.isascii() and text.isdecimal() and int(text)):
            raise ConfigError(f"{VARIABLE} must be a whole number from 1 on, got {text!r}")
        return int(text)
    return min(MAX_PIXELS, int(_memory() * _SHARE / _BYTES_A_PIXEL))


def _memory() -> float:
    """Bytes that the machine has; endless where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 1e12


def or_raise(limit: int) -> str:
    """The end of a message on a limit: how it is raised, if it can be."""
    return "" if limit >= MAX_PIXELS else f", or set {VARIABLE} higher"


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many.

    Args:
        name: of the picture, for the message.
        width: pixels, as its header says.
        height: pixels, as its header says.
        max_pixels: largest width x height.

    Raises:
        TooLargeError: too many.
        InputError: none.
    """
    if width < 1 or height < 1:
        raise InputError(f"{name}: has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise too_large(name, f"{width}x{height} = {width * height / 1e6:.0f} megapixels", max_pixels)


def check_scans(name: str, data: bytes, pixels: int, max_pixels: int) -> None:
    """Refuse a JPEG of so many scans that decoding takes minutes: each goes over all pixels again.

    Args:
        name: of the picture, for the message.
        data: content of the file.
        pixels: width x height.
        max_pixels: largest number of pixels; usual progressive files have ten scans.

    Raises:
        TooLargeError: there are too many for its size.
    """
    scans = sum(marker == SCAN for marker, _, _ in segments(data))
    if scans * pixels > _USUAL_SCANS * max_pixels:
        raise TooLargeError(f"{name}: a JPEG of {scans} scans at that size is a trap: save it again")


def too_large(name: str, what: str, max_pixels: int) -> TooLargeError:
    """The error for a picture over the limit; `what` says how large it is."""
    return TooLargeError(
        f"{name}: {what} is over the limit of {max_pixels / 1e6:.0f} megapixels: "
        f"shrink it first{or_raise(max_pixels)}"
    )
