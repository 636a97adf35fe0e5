"""Whether a file holds anything beside its picture: what a copy of it would pass on."""

from __future__ import annotations

import struct

from facemend.imaging.jpeg_segments import END, SCAN, segments

_PNG = frozenset(b"IHDR PLTE IDAT IEND tRNS bKGD sBIT iCCP sRGB gAMA cHRM pHYs".split())
_CODING = frozenset((*range(0xC0, 0xD0), SCAN, 0xDB, 0xDD))
"""Segments of a JPEG that the decoder needs: frames, tables, scans."""


def has_extras(data: bytes) -> bool:
    """Whether a picture file may hold more than pixels, colour profile and resolution.

    False is only said of PNG and JPEG files all of whose parts are known; also what hangs behind the picture
    counts as a part.

    Args:
        data: the content of the file.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_has(data)
    return not data.startswith(b"\xff\xd8") or _jpeg_has(data)


def _png_has(data: bytes) -> bool:
    at, kind = 8, b""
    while at + 12 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind not in _PNG:
            return True
        at += 12 + length
    return kind != b"IEND" or at != len(data)


def _jpeg_has(data: bytes) -> bool:
    at = 2
    for marker, start, end in segments(data):
        if start != at or not _is_plain(marker, data[start + 4 : end]):
            return True
        at = end
    return data[at:] != bytes((0xFF, END))


def _is_plain(marker: int, body: bytes) -> bool:
    """Whether a segment is of the coding, or tells of resolution (without a thumbnail) or colours."""
    return (
        marker in _CODING
        or (marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) == 14)
        or (marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"))
        or (marker == 0xEE and body.startswith(b"Adobe") and len(body) == 12)
    )
