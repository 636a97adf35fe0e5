"""HEIC pictures (HEIF files coded with HEVC), through pillow-heif, which the extra `heif` brings."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemend.errors import InputError, require_extra
from facemend.imaging.channels import Channels
from facemend.imaging.coding import Coding, nclx_of
from facemend.imaging.color import Pixels
from facemend.imaging.limits import check_size
from facemend.imaging.metadata import Metadata, clean_exif
from facemend.imaging.picture import Picture
from facemend.imaging.rows import by_bands
from facemend.imaging.xmp import clean

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
_SRGB = (1, 13)  # primaries and transfer, ITU-T H.273


def is_heif(data: bytes) -> bool:
    """Whether the content of a file begins as that of a HEIC does (AVIF shares its container)."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[at : at + 4] for at in (8, *range(16, end - 3, 4))}
    return bool(brands & _BRANDS) and not brands & _AVIF


def decode(data: bytes, name: str, max_pixels: int) -> Picture:
    """Decode the primary picture of a HEIC; the container's turns and mirrors are applied.

    Args:
        data: content of the file.
        name: of the picture, for messages.
        max_pixels: largest width x height, checked before anything is decoded.

    Raises:
        MissingExtraError: pillow-heif is not installed.
        InputError: too large, or of a kind that is not supported. What pillow-heif raises goes through.
    """
    heif = _opened(data, name, max_pixels)
    width, height = heif.size
    bits = int(heif.info.get("bit_depth") or 8)
    if bits not in (8, 10, 12):
        raise InputError(
            f"{name}: HEIC with {bits} bits per channel is not supported: save it with 8, 10 or 12"
        )
    notes = []
    if len(heif) > 1:
        notes.append(f"the file holds {len(heif)} pictures: only the main one is used")
    if heif.info.get("depth_images") or heif.info.get("aux"):
        notes.append("its depth or gain map is left out")
    values = np.asarray(heif)
    values = values.reshape(*values.shape[:2], -1)[:height, :width]
    if heif.premultiplied_alpha and values.shape[2] in (2, 4):
        values = _straight(values, (1 << bits) - 1)
    pixels = values if bits == 8 else _widened(values, bits)
    channels = Channels.of_array(pixels)
    packet = clean(heif.info.get("xmp"))
    return Picture(
        *channels.arrays(),
        channels.gray,
        icc=heif.info.get("icc_profile") or None,
        exif=clean_exif(heif.info.get("exif"), name),
        xmp=packet.packet,
        format="heif",
        coding=_coding(heif.info, data, bits),
        notes=(*notes, *packet.notes),
    )


def encode(
    pixels: Pixels,
    coding: Coding,
    quality: int | None,
    metadata: Metadata,
) -> bytes:
    """A picture as the content of a HEIC.

    Args:
        pixels: (H, W, C) uint8 or uint16 with 1, 3 or 4 channels: gray, RGB, RGBA.
        coding: what to be like: loss, subsampling, bits (16-bit pixels of another source get 10), colours.
        quality: 1..100; None: without loss where `coding` is, else 90.
        metadata: what to embed: profile, EXIF, XMP.

    Raises:
        MissingExtraError: pillow-heif is not installed. What pillow-heif raises goes through.
    """
    library = _library("writing HEIC")
    height, width, channels = pixels.shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    bits = 8
    if pixels.dtype == np.uint16:
        bits = coding.bits if coding.bits > 8 else 10
        pixels = _narrowed(pixels, bits)
        mode = f"{mode};{bits}"
    lossless = quality is None and coding.lossless
    primaries, transfer = coding.nclx or _SRGB
    options: dict[str, Any] = {
        "quality": -1 if lossless else quality or 90,
        "subsampling": "4:4:4" if lossless else coding.subsampling or "4:2:0",
        "color_primaries": primaries,
        "transfer_characteristics": transfer,
        "matrix_coefficients": 0 if lossless and channels > 1 else 6,
        "full_range_flag": 1,
        "bit_depth": bits,
        "icc_profile": metadata.icc,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
    }
    buffer = io.BytesIO()
    library.encode(mode, (width, height), np.ascontiguousarray(pixels).tobytes(), buffer, **options)
    return buffer.getvalue()


def size(data: bytes, name: str, max_pixels: int) -> tuple[int, int]:
    """Upright width and height of the primary picture, not decoded; arguments and errors as `decode`."""
    width, height = _opened(data, name, max_pixels).size
    return width, height


def _opened(data: bytes, name: str, max_pixels: int) -> Any:
    library = _library(f"{name}: reading HEIC")
    heif = library.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    width, height = heif.size
    check_size(name, width, height, max_pixels)
    return heif


def _library(feature: str) -> Any:
    require_extra(feature, "heif")
    import pillow_heif

    return pillow_heif


def _coding(info: dict[str, Any], data: bytes, bits: int) -> Coding:
    chroma = str(info.get("chroma", ""))
    subsampling = ":".join(chroma) if chroma in ("444", "422", "420") else None
    told = info.get("nclx_profile") or {}
    matrix = told.get("matrix_coefficients", (nclx_of(data) or (0, 0, -1))[2])
    colours = (told["color_primaries"], told["transfer_characteristics"]) if told else None
    lossless = matrix == 0 and subsampling == "4:4:4"
    return Coding(lossless=lossless, subsampling=subsampling, bits=bits, nclx=colours)


def _widened(values: Pixels, bits: int) -> NDArray[np.uint16]:
    """10 or 12 bits spread over 16, so that white is white; `_narrowed` gives them back exactly."""
    top = (1 << bits) - 1
    return by_bands(lambda x: (x.astype(np.uint32) * 65535 + top // 2) // top, values, dtype=np.uint16)


def _narrowed(values: Pixels, bits: int) -> NDArray[np.uint16]:
    top = (1 << bits) - 1
    return by_bands(lambda x: (x.astype(np.uint32) * top + 32767) // 65535, values, dtype=np.uint16)


def _straight(values: Pixels, top: int) -> Pixels:
    """Undo the multiplication of the colours with alpha, the last channel."""
    alpha = values[..., -1:].astype(np.float32)
    colours = values[..., :-1] * (top / np.maximum(alpha, 1))
    return np.concatenate([np.rint(np.minimum(colours, top)).astype(values.dtype), values[..., -1:]], axis=2)
