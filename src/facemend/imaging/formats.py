"""What each kind of picture file can hold: the one table that reading, writing, tests and docs go by."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Lossless = Literal["always", "as the source", "never"]


@dataclass(frozen=True)
class Format:
    """A kind of file and what is kept when such a file is read and written again.

    Attributes:
        name: as in `Picture.format`.
        suffixes: lower case, with the dot; the usual one first.
        written: whether it is written; what is only read comes out as PNG.
        lossless: whether pixels that were not changed come out exactly as they were decoded; "as the source":
            if they were coded without loss.
        alpha: transparency.
        bits: most bits per channel.
        gray: a single gray channel stays one; otherwise it becomes three equal ones.
        icc: colour profile.
        exif: EXIF.
        xmp: XMP.
        iptc: IPTC.
        text: texts with keywords.
        dpi: resolution outside EXIF.
        side: most pixels a side, where the writer's own word for it is unclear or late.
        extra: extra of the install that reads and writes it.
    """

    name: str
    suffixes: tuple[str, ...]
    written: bool = True
    lossless: Lossless = "always"
    alpha: bool = True
    bits: int = 8
    gray: bool = True
    icc: bool = True
    exif: bool = True
    xmp: bool = True
    iptc: bool = False
    text: bool = False
    dpi: bool = False
    side: int | None = None
    extra: str | None = None


JPEG_SIDE = 65_500
"""Most pixels a side of a JPEG: libjpeg's own limit."""

_TABLE = (
    Format("png", (".png", ".apng"), bits=16, text=True, dpi=True),
    Format(
        "jpeg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        lossless="never",
        alpha=False,
        iptc=True,
        dpi=True,
        side=JPEG_SIDE,
    ),
    Format("webp", (".webp",), lossless="as the source", gray=False, side=16_383),
    Format("tiff", (".tif", ".tiff"), bits=16, iptc=True, dpi=True),
    Format("avif", (".avif",), lossless="as the source"),
    Format("heif", (".heic", ".heif", ".hif"), lossless="as the source", bits=12, extra="heif"),
    Format("bmp", (".bmp", ".dib"), alpha=False, icc=False, exif=False, xmp=False, dpi=True),
    Format("mpo", (".mpo",), written=False, alpha=False),  # two JPEGs; read as "jpeg"
    Format("gif", (".gif",), written=False, icc=False, exif=False, xmp=False),
    Format(
        "ppm",
        (".ppm", ".pgm", ".pbm", ".pnm"),
        written=False,
        alpha=False,
        bits=16,
        icc=False,
        exif=False,
        xmp=False,
    ),
    Format("jpeg2000", (".jp2", ".j2k"), written=False, icc=False, exif=False, xmp=False),
)

FORMATS = MappingProxyType({format.name: format for format in _TABLE})
"""By name. Only what is a picture and nothing else: Pillow would hand others (EPS) to outside programs."""

WRITABLE = MappingProxyType({s: format.name for format in _TABLE if format.written for s in format.suffixes})
"""Lower-case suffix -> format, of everything that can be written."""


def suffix_of(format: str) -> str:
    """The usual suffix of what is made of a picture of that format: .png where it cannot be written again."""
    return next((suffix for suffix, written in WRITABLE.items() if written == format), ".png")
