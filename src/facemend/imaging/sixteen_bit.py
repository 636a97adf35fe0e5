"""PNG and TIFF with 16 bits per channel, which Pillow cuts to 8 for colour pictures.

Reading goes through OpenCV. Writing is done here, since OpenCV drops colour profiles and marks no alpha in
TIFF; both formats are simple when only one layout is needed.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

_PNG_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> code in the header


def decode(data: bytes) -> NDArray[np.uint16] | None:
    """Decode a 16-bit PNG or TIFF.

    Returns:
        (H, W, 3) or (H, W, 4) uint16, RGB or RGBA; None if OpenCV cannot, or reads something else. TIFF
        orientation is applied, PNG orientation is not.
    """
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)  # OpenCV would write to stderr about odd files
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        log.setLogLevel(level)
    if image is None or image.dtype != np.uint16 or image.ndim != 3:
        return None
    order = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(image, order), dtype=np.uint16)


def encode_png(image: NDArray[np.uint16], icc: bytes | None, exif: bytes | None) -> bytes:
    """Write a 16-bit PNG.

    Args:
        image: (H, W, C) uint16 with 1 to 4 channels: gray, gray + alpha, RGB, RGBA.
        icc: colour profile to embed.
        exif: EXIF block to embed, with or without its "Exif" prefix.
    """
    height, width, channels = image.shape
    rows = image.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # filter "up": each byte minus the one above
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOR_TYPE[channels], 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header)]
    if icc:
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        parts.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    parts += [_chunk(b"IDAT", zlib.compress(filtered.data, 6)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encode_tiff(image: NDArray[np.uint16], icc: bytes | None) -> bytes:
    """Write a 16-bit TIFF: little-endian, one deflated strip.

    Args:
        image: (H, W, C) uint16 with 1, 3 or 4 channels: gray, RGB, RGBA.
        icc: colour profile to embed.
    """
    height, width, channels = image.shape
    differences = image.astype("<u2")
    differences[:, 1:] -= differences[:, :-1].copy()
    strip = zlib.compress(differences.data, 6)
    short, long, byte = ("H", 3), ("I", 4), ("B", 7)
    entries: list[tuple[int, tuple[str, int], tuple[int, ...] | bytes]] = [
        (256, long, (width,)),
        (257, long, (height,)),
        (258, short, (16,) * channels),
        (259, short, (8,)),  # deflate
        (262, short, (1 if channels == 1 else 2,)),  # black is zero, or RGB
        (273, long, (8,)),  # the strip follows the header
        (277, short, (channels,)),
        (278, long, (height,)),
        (279, long, (len(strip),)),
        (284, short, (1,)),  # channels interleaved
        (317, short, (2,)),  # horizontal differences
    ]
    if channels == 4:
        entries.append((338, short, (2,)))  # the fourth channel is straight alpha
    if icc:
        entries.append((34675, byte, icc))
    body = strip + b"\0" * (len(strip) % 2)
    directory = 8 + len(body)
    overflow = directory + 2 + 12 * len(entries) + 4
    table, extra = struct.pack("<H", len(entries)), b""
    for tag, (code, kind), values in entries:
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{code}", *values)
        table += struct.pack("<HHI", tag, kind, len(values))
        if len(data) <= 4:
            table += data.ljust(4, b"\0")
        else:
            table += struct.pack("<I", overflow + len(extra))
            extra += data + b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", directory) + body + table + b"\0" * 4 + extra
