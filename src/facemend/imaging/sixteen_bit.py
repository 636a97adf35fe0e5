"""PNG and TIFF with 16 bits per channel, which Pillow cuts to 8 for colour pictures.

Reading PNG and writing TIFF go through OpenCV; TIFF is read by `tiff_samples`. PNG is written here: it is
simple when only one layout is needed.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from facemend.imaging.metadata import Metadata
from facemend.imaging.rows import bands

_TIFF_COMPRESSION = {"raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773}
_METRES_AN_INCH = 0.0254
_PNG_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> code in the header


def decode(data: bytes) -> NDArray[np.uint16] | None:
    """Decode a 16-bit PNG.

    Returns:
        (H, W, 3) or (H, W, 4) uint16, RGB or RGBA; None if OpenCV cannot, or reads something else.
        Orientation is not applied.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint16 or image.ndim != 3:
        return None
    order = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    for rows in bands(*image.shape[:2]):  # in place
        image[rows] = cv2.cvtColor(image[rows], order)
    return np.asarray(image, dtype=np.uint16)


def encode_png(image: NDArray[np.uint16], metadata: Metadata) -> bytes:
    """Write a 16-bit PNG.

    Args:
        image: (H, W, C) uint16 with 1 to 4 channels: gray, gray + alpha, RGB, RGBA.
        metadata: what to embed; EXIF with or without its "Exif" prefix.
    """
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOR_TYPE[channels], 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header)]
    if metadata.icc:
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        across, down = (round(value / _METRES_AN_INCH) for value in metadata.dpi)
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif:
        parts.append(_chunk(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        parts.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    for key, text in metadata.text:
        parts.append(_chunk(b"iTXt", key.encode("latin-1", "replace") + b"\0\0\0\0\0" + text.encode()))
    parts += [_chunk(b"IDAT", _compressed(image)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _compressed(image: NDArray[np.uint16]) -> bytes:
    """The rows, filtered, as one stream of zlib."""
    packer = zlib.compressobj(6)
    parts = []
    above = np.zeros((1, image[0].nbytes), np.uint8)
    for span in bands(*image.shape[:2]):
        rows = image[span].astype(">u2").reshape(span.stop - span.start, -1).view(np.uint8)
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2  # filter "up": each byte minus the one above
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=filtered[:, 1:])
        parts.append(packer.compress(filtered.data))
        above = rows[-1:]
    return b"".join([*parts, packer.flush()])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encode_tiff(image: NDArray[np.uint16], compression: str) -> bytes:
    """Write a 16-bit TIFF without metadata; see `tiff.with_tags` for those.

    Args:
        image: (H, W, C) uint16 with 1, 3 or 4 channels: gray, RGB, RGBA.
        compression: one of `coding.KEPT_TIFF`.

    Raises:
        ValueError: OpenCV cannot.
    """
    order = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[2]]
    swapped = image if order is None else cv2.cvtColor(image, order)
    done, data = cv2.imencode(
        ".tiff", swapped, [cv2.IMWRITE_TIFF_COMPRESSION, _TIFF_COMPRESSION[compression]]
    )
    if not done:
        raise ValueError("OpenCV cannot write it")
    return bytes(data)
