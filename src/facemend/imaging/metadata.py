"""EXIF and XMP of a picture that is turned upright and changed: kept, but for what is no longer true."""

from __future__ import annotations

import io
import logging
import re
import struct

from PIL import Image

from facemend.imaging.color import Pixels

_log = logging.getLogger(__name__)

ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_PIXEL_SIZE = (0xA002, 0xA003)
_XMP, _ICC = 700, 34675
# A TIFF file keeps its layout in the same directory as its EXIF: only these describe the photo.
_TIFF_EXIF = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, _EXIF_IFD, _GPS_IFD)

# In XMP a property is an attribute, name="value", or an element, <name>value</name>.
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)([1-8])")
_XMP_SIZE = rb"(?:tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension)"
_XMP_SIZES = re.compile(
    rb"\s+%b\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')|<%b>[^<]*</%b>" % (_XMP_SIZE, _XMP_SIZE, _XMP_SIZE)
)


def read_exif(image: Image.Image, name: str) -> tuple[bytes | None, int]:
    """EXIF of an opened picture without what a changed one makes wrong, and its orientation.

    Args:
        image: as Pillow opened it.
        name: of the picture, for the log.

    Returns:
        The block as in a JPEG (starting "Exif"), without thumbnail, pixel size and orientation, or None if
        nothing is left or it is damaged; and the orientation, 1 to 8, also where only XMP tells it.
    """
    orientation = 1
    try:
        exif = image.getexif()
        orientation = int(exif.pop(_ORIENTATION, 0)) or _xmp_orientation(image.info.get("xmp"))
        return _cleaned(exif, is_tiff=image.format == "TIFF"), orientation
    except Exception as error:  # metadata must not cost the picture
        _log.warning("%s: EXIF is damaged and left out (%s)", name, error)
        return None, orientation


def tiff_metadata(data: bytes, name: str) -> tuple[bytes | None, bytes | None, bytes | None]:
    """EXIF as from `read_exif`, XMP and the colour profile of the first page of a TIFF."""
    big = data[2:4] in (b"+\0", b"\0+")  # BigTIFF
    exif = Image.Exif()
    exif.bigtiff, exif.endian = big, "<" if data[:2] == b"II" else ">"
    try:
        at = struct.unpack(f"{exif.endian}{'Q' if big else 'I'}", data[8:16] if big else data[4:8])[0]
        exif.load_from_fp(io.BytesIO(data), at)
        xmp, icc = exif.get(_XMP), exif.get(_ICC)
        exif.pop(_ORIENTATION, 1)
        return _cleaned(exif, is_tiff=True), clean_xmp(xmp), icc if isinstance(icc, bytes) and icc else None
    except Exception as error:  # metadata must not cost the picture
        _log.warning("%s: EXIF is damaged and left out (%s)", name, error)
        return None, None, None


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
    return exif.tobytes() if len(exif) else None


def _xmp_orientation(packet: object) -> int:
    found = _XMP_ORIENTATION.search(packet) if isinstance(packet, bytes) else None
    return int(found[2]) if found else 1


def clean_xmp(packet: object) -> bytes | None:
    """An XMP packet that says "upright" and no pixel size; the rest stays byte by byte.

    Args:
        packet: as Pillow gives it: bytes, str, or None where there is none.
    """
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet.strip(b"\0 \n"):
        return None
    return _XMP_SIZES.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", packet))


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation 1..8 to (H, W, C); other numbers change nothing."""
    if orientation in ON_ITS_SIDE:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
