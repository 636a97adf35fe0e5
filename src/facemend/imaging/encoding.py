"""Pictures as the bytes of files: one function a format."""

from __future__ import annotations

import io
import logging
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from facemend.imaging import heif, sixteen_bit, tiff
from facemend.imaging.coding import UNKNOWN, Coding, jpeg_tables
from facemend.imaging.color import Pixels
from facemend.imaging.formats import FORMATS, Format
from facemend.imaging.picture import Picture

_log = logging.getLogger(__name__)

_QUALITY = {"jpeg": 95, "webp": 95, "avif": 90}
"""Where the caller says nothing and the source is of another format."""


def encode(picture: Picture, format: str, quality: int | None) -> bytes:
    """A picture as the content of a file; see `writing.encode_picture`. Raises what the libraries raise.

    Args:
        picture: what to write.
        format: a name of `FORMATS` that is written.
        quality: 1..100; None: as the source.
    """
    kind = FORMATS[format]
    pixels = _channels(picture, kind)
    icc, exif, xmp = _metadata(picture, kind, pixels.shape[2])
    coding = picture.coding if picture.format == format else UNKNOWN
    if format == "tiff":
        return _tiff(pixels, coding, icc, exif, xmp)
    if format == "heif":
        return heif.encode(pixels, coding, quality, icc, exif, xmp)
    if pixels.dtype == np.uint16:
        return sixteen_bit.encode_png(pixels.astype(np.uint16, copy=False), icc, exif, xmp)
    if format == "avif" and coding.lossless and quality is None:
        data = _lossless_avif(pixels, icc, exif, xmp)
        if data is not None:
            return data
        _log.warning("the installed OpenCV cannot write AVIF without loss: a newer one can")
    return _with_pillow(pixels, format, _options(format, coding, quality), icc, exif, xmp)


def _channels(picture: Picture, kind: Format) -> Pixels:
    """(H, W, C) as the format holds it: gray, gray + alpha, RGB or RGBA; 8 or 16 bits."""
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.dtype == np.uint16 and kind.bits == 8:
        _log.info("%s holds 8 bits per channel: the picture is rounded from 16", kind.name)
        pixels, alpha = _to_8_bits(pixels), None if alpha is None else _to_8_bits(alpha)
    if alpha is not None and not kind.alpha:
        _log.warning("%s has no transparency: the picture is laid on white", kind.name)
        pixels, alpha = _on_white(pixels, alpha), None
    if picture.gray and kind.gray and (alpha is None or _holds_gray_alpha(kind, pixels)):
        pixels = pixels[..., :1]
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


def _holds_gray_alpha(kind: Format, pixels: Pixels) -> bool:
    """Two channels, gray and alpha; elsewhere gray with alpha is written as RGBA."""
    return kind.name == "png" or (kind.name == "tiff" and pixels.dtype == np.uint8)


def _to_8_bits(values: Pixels) -> Pixels:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    share = (alpha / np.float32(255))[..., None]
    return np.rint(255 + (pixels - np.float32(255)) * share).astype(np.uint8)


def _metadata(
    picture: Picture, kind: Format, channels: int
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Profile, EXIF and XMP as far as the format holds them; the log says what is left out."""
    icc = picture.icc
    if icc is not None and icc[16:20] != (b"GRAY" if channels < 3 else b"RGB "):
        _log.warning("the colour profile does not fit the channels written and is left out")
        icc = None
    kept = []
    for what, block, held in (
        ("a colour profile", icc, kind.icc),
        ("EXIF", picture.exif, kind.exif),
        ("XMP", picture.xmp, kind.xmp),
    ):
        if block and not held:
            _log.warning("%s cannot hold %s: it is left out", kind.name, what)
        kept.append(block if held else None)
    return kept[0], kept[1], kept[2]


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


def _with_pillow(
    pixels: Pixels,
    format: str,
    options: dict[str, Any],
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
) -> bytes:
    image = _image(pixels)
    metadata: dict[str, Any] = {"icc_profile": icc, "exif": exif, "xmp": xmp}
    if format == "png":
        text = PngImagePlugin.PngInfo()
        if xmp:
            text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        metadata["pnginfo"] = text
    given = {name: value for name, value in metadata.items() if value}
    while True:
        buffer = io.BytesIO()
        try:
            image.save(buffer, format, **options, **given)
            return buffer.getvalue()
        except (OSError, ValueError, SyntaxError, RuntimeError) as error:
            # More than 64 kB do not fit into a JPEG: the picture matters more.
            blocks = [name for name in ("xmp", "exif") if name in given]
            if not blocks:
                raise
            dropped = max(blocks, key=lambda name: len(given[name]))
            _log.warning("%s is left out: it does not fit into %s (%s)", dropped.upper(), format, error)
            del given[dropped]


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


def _tiff(pixels: Pixels, coding: Coding, icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    compression = coding.compression or "tiff_adobe_deflate"
    alpha = pixels.shape[2] in (2, 4)
    if pixels.dtype == np.uint16:
        data = sixteen_bit.encode_tiff(pixels.astype(np.uint16, copy=False), compression)
    else:
        buffer = io.BytesIO()
        _image(pixels).save(buffer, "tiff", compression=compression)
        data = buffer.getvalue()
    if alpha or icc or exif or xmp:
        data = tiff.with_tags(data, icc=icc, exif=exif, xmp=xmp, alpha=alpha)
    return data


def _lossless_avif(pixels: Pixels, icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes | None:
    """Through OpenCV, as Pillow always converts colours to YCbCr, which rounds; None if it is too old."""
    if not hasattr(cv2, "imencodeWithMetadata"):
        return None
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    blocks = {
        cv2.IMAGE_METADATA_ICCP: icc,
        cv2.IMAGE_METADATA_EXIF: exif and exif.removeprefix(b"Exif\0\0"),
        cv2.IMAGE_METADATA_XMP: xmp,
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
