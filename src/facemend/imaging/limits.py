"""How large a picture may be: checked from its header, before anything is decoded."""

from __future__ import annotations

from facemend.errors import InputError, TooLargeError

MAX_PIXELS = 178_000_000
"""Default limit of `read_picture`; Pillow's own limit lies just above and stays in force."""

_SCAN = b"\xff\xda"  # the marker that begins one; compressed data never holds these two bytes
_USUAL_SCANS = 12


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
    scans = data.count(_SCAN)
    if scans * pixels > _USUAL_SCANS * max_pixels:
        raise TooLargeError(f"{name}: a JPEG of {scans} scans at that size is a trap: save it again")


def too_large(name: str, what: str, max_pixels: int) -> TooLargeError:
    """The error for a picture over the limit; `what` says how large it is."""
    return TooLargeError(
        f"{name}: {what} is over the limit of {max_pixels / 1e6:.0f} megapixels: shrink it first"
    )
