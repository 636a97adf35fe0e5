"""Pictures as the bytes of files: one function a format."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from facemend.imaging import heif, sixteen_bit, tiff
from facemend.imaging.coding import UNKNOWN, Coding, jpeg_tables
from facemend.imaging.color import Pixels, to_8_bits
from facemend.imaging.formats import FORMATS, Format
from facemend.imaging.metadata import Metadata, iptc_segment
from facemend.imaging.picture import Picture
from facemend.imaging.rows import by_bands

_log = logging.getLogger(__name__)

_SCREEN_DPI = 100
"""What programs write that know nothing of a resolution is 72 or 96."""
_JPEG_MOST = 65_000
"""Bytes of a block of metadata: a segment holds 65,533 with its name."""
_QUALITY = {"jpeg": 95, "webp": 95, "avif": 90}
"""Where the caller says nothing and the source is of another format."""


def encode(picture: Picture, format: str, quality: int | None) -> bytes:
    """A picture as the content of a file; see `writing.encode_picture`. Raises what the libraries raise.

    Args:
        picture: what to write.
        format: a name of `FORMATS` that is written.
        quality: 1..100; None: the picture's own, or as the source.
    """
    kind = FORMATS[format]
    quality = quality or picture.quality or None
    pixels = _channels(picture, kind)
    metadata = _metadata(picture, kind, pixels.shape[2])
    coding = picture.coding if picture.format == format else UNKNOWN
    if format == "tiff":
        return _tiff(pixels, coding, metadata)
    if format == "heif":
        return heif.encode(pixels, coding, quality, metadata)
    if pixels.dtype == np.uint16:
        return sixteen_bit.encode_png(pixels.astype(np.uint16, copy=False), metadata)
    if format == "avif" and coding.lossless and quality is None:
        data = _lossless_avif(pixels, metadata)
        if data is not None:
            return data
        _log.warning("the installed OpenCV cannot write AVIF without loss: a newer one can")
    return _with_pillow(pixels, format, _options(format, coding, quality), metadata)


def left_out(picture: Picture, format: str) -> tuple[str, ...]:
    """What of a picture a file of that format cannot hold, one line each."""
    kind = FORMATS[format]
    notes = []
    if picture.pixels.dtype == np.uint16 and kind.bits == 8:
        notes.append(f"{kind.name} holds 8 bits a channel: it is rounded from 16")
    if picture.alpha is not None and not kind.alpha:
        notes.append(f"{kind.name} has no transparency: it is laid on white")
    channels = _channels_written(picture, kind)
    if picture.icc and kind.icc and not icc_fits(picture.icc, channels):
        notes.append("its colour profile does not fit the channels written and is left out")
    what = {
        "its colour profile": (picture.icc, kind.icc),
        "EXIF": (picture.exif, kind.exif),
        "XMP": (picture.xmp, kind.xmp),
        "IPTC": (picture.iptc, kind.iptc),
        "the texts of the PNG": (picture.text, kind.text),
    }
    notes += [
        f"{kind.name} cannot hold {name}: left out"
        for name, (block, held) in what.items()
        if block and not held
    ]
    if picture.dpi and not kind.dpi and not picture.exif and max(picture.dpi) > _SCREEN_DPI:
        notes.append(f"{kind.name} cannot hold its resolution of {max(picture.dpi):.0f} dpi: left out")
    if kind.name == "jpeg":
        long = {"EXIF": picture.exif, "XMP": picture.xmp, "IPTC": picture.iptc}
        notes += [
            f"{name} is left out: more than 64 kB do not fit into jpeg"
            for name, block in long.items()
            if block and len(block) > _JPEG_MOST
        ]
    return tuple(notes)


def _channels(picture: Picture, kind: Format) -> Pixels:
    """(H, W, C) as the format holds it: gray, gray + alpha, RGB or RGBA; 8 or 16 bits."""
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.dtype == np.uint16 and kind.bits == 8:
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
    if alpha is not None and not kind.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
    if _channels_written(picture, kind) < 3:
        pixels = pixels[..., :1]
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


def _channels_written(picture: Picture, kind: Format) -> int:
    alpha = picture.alpha is not None and kind.alpha
    gray = picture.gray and kind.gray and (not alpha or _holds_gray_alpha(kind, picture.pixels))
    return (1 if gray else 3) + alpha


def _holds_gray_alpha(kind: Format, pixels: Pixels) -> bool:
    """Two channels, gray and alpha; elsewhere gray with alpha is written as RGBA."""
    return kind.name == "png" or (kind.name == "tiff" and pixels.dtype == np.uint8)


def _on_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    def laid(colours: Pixels, share: Pixels) -> NDArray[np.float32]:
        opaque = (share / np.float32(255))[..., None]
        return np.rint(255 + (colours - np.float32(255)) * opaque)

    return by_bands(laid, pixels, alpha, dtype=np.uint8)


def icc_fits(icc: bytes, channels: int) -> bool:
    """Whether a profile is one of pictures with so many channels, alpha counted."""
    return icc[16:20] == (b"GRAY" if channels < 3 else b"RGB ")  # colour space in its header


def _metadata(picture: Picture, kind: Format, channels: int) -> Metadata:
    """As far as the format holds it; `left_out` says what it does not."""

    def short(block: bytes | None) -> bytes | None:
        return None if block and kind.name == "jpeg" and len(block) > _JPEG_MOST else block

    return Metadata(
        picture.icc if picture.icc and kind.icc and icc_fits(picture.icc, channels) else None,
        short(picture.exif) if kind.exif else None,
        short(picture.xmp) if kind.xmp else None,
        short(picture.iptc) if kind.iptc else None,
        picture.text if kind.text else (),
        picture.dpi if kind.dpi else None,
    )


def _options(format: str, coding: Coding, quality: int | None) -> dict[str, Any]:
    """Settings of Pillow's writer."""
    best = quality or _QUALITY.get(format)
    if format == "jpeg":
        if coding.tables and quality is None:
            look: dict[str, Any] = {"qtables": jpeg_tables(coding.tables), "subsampling": coding.subsampling}
        else:
            look = {"quality": best, "subsampling": 0 if best and best >= 90 else 2}
        return look | {"optimize": True, "progressive": coding.progressive}
    if format == "webp":
        if coding.lossless and quality is None:
            return {"lossless": True, "exact": True}  # exact: also the colours of what is transparent
        return {"quality": best}
    if format == "avif":
        return {"quality": best, **({"subsampling": coding.subsampling} if coding.subsampling else {})}
    return {}


def _with_pillow(pixels: Pixels, format: str, options: dict[str, Any], metadata: Metadata) -> bytes:
    given: dict[str, Any] = {
        "icc_profile": metadata.icc,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
        "extra": metadata.iptc and iptc_segment(metadata.iptc),
    }
    if format == "png":
        texts = PngImagePlugin.PngInfo()
        if metadata.xmp:
            texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        for key, text in metadata.text:
            texts.add_text(key, text)
        given["pnginfo"] = texts
    image, held = _image(pixels), {name: value for name, value in given.items() if value}
    try:
        return _saved(image, format, options | held)
    except OSError:
        if format != "jpeg":
            raise
        # With these two, Pillow gives libjpeg a buffer of a byte or two a pixel; strong grain needs more.
        return _saved(image, format, options | held | {"optimize": False, "progressive": False})


def _saved(image: Image.Image, format: str, options: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


def _tiff(pixels: Pixels, coding: Coding, metadata: Metadata) -> bytes:
    compression = coding.compression or "tiff_adobe_deflate"
    alpha = pixels.shape[2] in (2, 4)
    if pixels.dtype == np.uint16:
        data = sixteen_bit.encode_tiff(pixels.astype(np.uint16, copy=False), compression)
    else:
        buffer = io.BytesIO()
        _image(pixels).save(buffer, "tiff", compression=compression)
        data = buffer.getvalue()
    if alpha or metadata != Metadata():
        data = tiff.with_tags(data, metadata, alpha=alpha)
    return data


def _lossless_avif(pixels: Pixels, metadata: Metadata) -> bytes | None:
    """Through OpenCV, as Pillow always converts colours to YCbCr, which rounds; None if it lacks AVIF."""
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    blocks = {
        cv2.IMAGE_METADATA_ICCP: metadata.icc,
        cv2.IMAGE_METADATA_EXIF: metadata.exif and metadata.exif.removeprefix(b"Exif\0\0"),
        cv2.IMAGE_METADATA_XMP: metadata.xmp,
    }
    given = {kind: np.frombuffer(block, np.uint8) for kind, block in blocks.items() if block}
    settings = [cv2.IMWRITE_AVIF_QUALITY, 100]  # which OpenCV writes as RGB, without loss
    try:
        done, data = cv2.imencodeWithMetadata(
            ".avif", cv2.cvtColor(pixels, order), list(given), list(given.values()), settings
        )
    except cv2.error:
        return None
    return bytes(data) if done else None
