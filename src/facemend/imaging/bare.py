"""Size and pixels of a picture file and nothing else: for training, which reads the same files many times."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facemend.imaging.color import to_8_bits
from facemend.imaging.quiet import quiet
from facemend.imaging.reading import READABLE, read_content, read_header, read_picture
from facemend.imaging.srgb import in_srgb

_WEBP_HEAD = 30  # bytes that hold the size of a WebP of any kind (RFC 9649)


def read_size(file: Path) -> tuple[int, int]:
    """Width and height in pixels as stored (before EXIF orientation), from the first bytes of a file.

    `read_header` reads the whole file and checks more of it.

    Raises:
        InputError: no such file, no picture, or a kind that is not supported.
    """
    try:
        with file.open("rb") as content, quiet():
            if size := _webp_size(content.read(_WEBP_HEAD)):
                return size
            content.seek(0)
            with Image.open(content, formats=READABLE) as image:
                return image.size
    except Exception:  # HEIC; or `read_header` says what is wrong
        header = read_header(file)
        return header.width, header.height


def read_rgb(file: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB of a picture file, upright: the pixels of `read_picture`, 16 bits rounded to 8.

    WebP without metadata is decoded by OpenCV: the same pixels, and other threads go on meanwhile, which
    Pillow does not let them for this format.

    Raises:
        InputError: see `read_picture`.
    """
    content = read_content(file)
    if _kind(content) in (b"VP8 ", b"VP8L"):
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return to_8_bits(in_srgb(read_picture(content, name=os.fspath(file))).pixels)


def _kind(head: bytes) -> bytes:
    """Name of a WebP file's first chunk: "VP8 " lossy, "VP8L" lossless, "VP8X" with more than a picture."""
    return head[12:16] if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else b""


def _webp_size(head: bytes) -> tuple[int, int] | None:
    if len(head) < _WEBP_HEAD:
        return None
    match _kind(head):
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":  # start code; then 14 bits each, and a scale
            width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
            return width, height
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
            return width, height
    return None
