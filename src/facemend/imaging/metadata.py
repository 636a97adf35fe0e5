"""Metadata of a picture that is turned upright and changed: kept, but for what is no longer true."""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass

from PIL import Image

from facemend.imaging import xmp
from facemend.imaging.color import Pixels

_log = logging.getLogger(__name__)

ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_PIXEL_SIZE = (0xA002, 0xA003)
_XMP, _ICC, _IPTC, _IPTC_RESOURCE = 700, 34675, 33723, 0x0404
_X_PIXELS, _Y_PIXELS, _PIXELS_UNIT = 282, 283, 296
_WINDOWS = range(0x9C9B, 0x9CA0)  # title, comment, author, keywords, subject
# A TIFF file keeps its layout in the same directory as its EXIF: only these describe the photo.
_TIFF_EXIF = (
    *(269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432),
    *(*_WINDOWS, _EXIF_IFD, _GPS_IFD),
)


def read_exif(image: Image.Image, name: str) -> tuple[bytes | None, int]:
    """EXIF of an opened picture without what a changed one makes wrong, and its orientation.

    Args:
        image: as Pillow opened it.
        name: of the picture, for the log.

    Returns:
        The block as in a JPEG (starting "Exif"), without thumbnail, pixel size and orientation, or None if
        nothing is left or it is damaged; and the orientation, 1 to 8, or 0 where it tells none.
    """
    orientation = 0
    try:
        exif = image.getexif()
        orientation = int(exif.pop(_ORIENTATION, 0))
        return _cleaned(exif, is_tiff=image.format == "TIFF"), orientation
    except Exception as error:  # metadata must not cost the picture
        _log.warning("%s: EXIF is damaged and left out (%s)", name, error)
        return None, orientation


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; see `Picture`."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None


def tiff_metadata(data: bytes, name: str) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata of the first page of a TIFF, cleaned as by `read_exif` and `xmp.clean`; and notes."""
    big = data[2:4] in (b"+\0", b"\0+")  # BigTIFF
    exif = Image.Exif()
    exif.bigtiff, exif.endian = big, "<" if data[:2] == b"II" else ">"
    try:
        at = struct.unpack(f"{exif.endian}{'Q' if big else 'I'}", data[8:16] if big else data[4:8])[0]
        exif.load_from_fp(io.BytesIO(data), at)
        packet, icc = xmp.clean(exif.get(_XMP)), exif.get(_ICC)
        # Its bytes: many programs say that they are whole numbers.
        iptc = exif._info._tagdata.get(_IPTC) if exif._info else None
        dpi = dpi_of((exif.get(_X_PIXELS), exif.get(_Y_PIXELS)))
        if dpi and exif.get(_PIXELS_UNIT, 2) != 2:
            dpi = None if exif[_PIXELS_UNIT] != 3 else (dpi[0] * 2.54, dpi[1] * 2.54)
        exif.pop(_ORIENTATION, 1)
        found = Metadata(icc or None, _cleaned(exif, is_tiff=True), packet.packet, iptc or None, dpi=dpi)
        return found, packet.notes
    except Exception as error:  # metadata must not cost the picture
        _log.warning("%s: its metadata are damaged and left out (%s)", name, error)
        return Metadata(), ("its metadata are damaged and left out",)


def clean_exif(block: bytes | None, name: str) -> bytes | None:
    """`read_exif` for a block of bytes; its orientation is dropped."""
    if not block:
        return None
    try:
        exif = Image.Exif()
        exif.load(block)
        exif.pop(_ORIENTATION, 1)
        return _cleaned(exif)
    except Exception as error:
        _log.warning("%s: EXIF is damaged and left out (%s)", name, error)
        return None


def _cleaned(exif: Image.Exif, *, is_tiff: bool = False) -> bytes | None:
    details = exif.get_ifd(_EXIF_IFD)
    if is_tiff:
        for tag in set(exif) - set(_TIFF_EXIF):
            del exif[tag]
    for tag in _PIXEL_SIZE:
        details.pop(tag, None)
    exif.bigtiff = False  # what it was read from; EXIF itself is never one
    return exif.tobytes() if len(exif) else None


def iptc_of(resources: object) -> bytes | None:
    """The IPTC block (captions, names, keywords) among a JPEG's Photoshop resources, as Pillow gives them."""
    block = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    return block if isinstance(block, bytes) and block else None


def iptc_segment(block: bytes) -> bytes:
    """An IPTC block as a segment of a JPEG."""
    body = b"Photoshop 3.0\08BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(block)) + block
    body += bytes(len(body) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def dpi_of(told: object) -> tuple[float, float] | None:
    """Pixels an inch across and down, as Pillow gives them; None where that says nothing."""
    try:
        across, down = (float(value) for value in told)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 < across < 1e6 and 1 < down < 1e6 else None


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation 1..8 to (H, W, C); other numbers change nothing."""
    if orientation in ON_ITS_SIDE:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
