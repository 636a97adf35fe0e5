"""How a file was compressed, told from its bytes, so that the result can be compressed alike."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image, JpegImagePlugin

Tables = tuple[tuple[int, ...], ...]

KEPT_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
"""Compressions of TIFF that are used again (names of Pillow); all are lossless."""

JPEG_FLOOR = 90
"""A JPEG is never written with coarser tables than those of this quality: they would undo the restoration."""

_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # numbers of Pillow


@dataclass(frozen=True)
class Coding:
    """How the source was compressed. The defaults say that nothing is known.

    Attributes:
        lossless: WebP, AVIF, HEIC: without loss.
        subsampling: chroma of JPEG, AVIF and HEIC: "4:4:4", "4:2:2" or "4:2:0".
        tables: quantisation tables of a JPEG, 64 numbers each, row by row.
        progressive: JPEG: in several scans.
        compression: of a TIFF, one of `KEPT_TIFF`.
        bits: of a HEIC: 8, 10 or 12 per channel.
        nclx: colours of a HEIC without a profile: primaries and transfer, numbers of ITU-T H.273.
    """

    lossless: bool = False
    subsampling: str | None = None
    tables: Tables = ()
    progressive: bool = False
    compression: str | None = None
    bits: int = 8
    nclx: tuple[int, int] | None = None


UNKNOWN = Coding()


def coding_of(image: Image.Image, data: bytes) -> Coding:
    """How an opened picture was compressed.

    Args:
        image: as Pillow opened it.
        data: the content of its file.
    """
    if image.format in ("JPEG", "MPO"):
        return _jpeg(image)
    if image.format == "WEBP":
        return Coding(lossless=_webp_is_lossless(data))
    if image.format == "AVIF":
        return _avif(data)
    return UNKNOWN


def tiff_coding(tags: Mapping[int, Any]) -> Coding:
    """How a TIFF was compressed, by its tags."""
    names = {1: "raw", 5: "tiff_lzw", 8: "tiff_adobe_deflate", 32773: "packbits"}
    return Coding(compression=names.get(tags.get(259, 1)))


def jpeg_tables(source: Tables) -> Tables:
    """The tables to write with: the source's, finer where they are coarser than at quality `JPEG_FLOOR`."""
    pairs = zip(source, _standard_tables(JPEG_FLOOR), strict=False)  # a gray picture has only the first
    return tuple(tuple(max(1, min(a, b)) for a, b in zip(own, least, strict=True)) for own, least in pairs)


@cache
def _standard_tables(quality: int) -> Tables:
    """The tables of the standard at a quality, luma and chroma, as libjpeg scales them."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "jpeg", quality=quality)
    with Image.open(buffer) as image:
        return _tables(image)


def _tables(image: Any) -> Tables:
    tables = image.quantization  # by number
    return tuple(tuple(tables[number]) for number in sorted(tables))


def _jpeg(image: Any) -> Coding:
    if image.mode == "CMYK":  # its tables are for other channels
        return UNKNOWN
    tables = _tables(image)
    if not 1 <= len(tables) <= 2 or any(len(table) != 64 for table in tables):
        return UNKNOWN
    sampling = _SAMPLING.get(JpegImagePlugin.get_sampling(image), "4:4:4")
    return Coding(subsampling=sampling, tables=tables, progressive="progressive" in image.info)


def _webp_is_lossless(data: bytes) -> bool:
    """Whether the first picture among the chunks of a WebP is of the lossless kind."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        if kind == b"ANMF":  # a frame: 16 bytes of its own, then chunks
            size = 16
        at += 8 + size + size % 2
    return False


def nclx_of(data: bytes) -> tuple[int, int, int] | None:
    """Primaries, transfer and matrix in the first `colr` box of kind nclx; None if there is none."""
    at = data.find(b"colrnclx")
    return None if at < 0 or at + 14 > len(data) else struct.unpack_from(">HHH", data, at + 8)


def av1_bits(data: bytes) -> int:
    """Bits per channel of the first AV1 picture of an AVIF: 8, 10 or 12."""
    flags = _av1_flags(data)
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _av1_flags(data: bytes) -> int:
    """Third byte of the `av1C` box: tier, depth, monochrome and subsampling as bits; 0 if it is missing."""
    at = data.find(b"av1C")
    return data[at + 6] if 0 <= at < len(data) - 6 else 0


def _avif(data: bytes) -> Coding:
    flags = _av1_flags(data)
    if flags & 0x10:  # gray, of which nothing more can be told
        return UNKNOWN
    sampling = "4:2:0" if flags & 0x04 else "4:2:2" if flags & 0x08 else "4:4:4"
    nclx = nclx_of(data)
    # Other matrices than 0 (RGB as it is) round, so that nothing is coded without loss through them.
    return Coding(lossless=nclx is not None and nclx[2] == 0 and sampling == "4:4:4", subsampling=sampling)
