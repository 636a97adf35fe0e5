"""Writing pictures: whole or not at all, and never over an existing file unless asked to."""

from __future__ import annotations

import errno
import io
import logging
import os
import secrets
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemend.errors import OutputError
from facemend.imaging import sixteen_bit
from facemend.imaging.color import Pixels
from facemend.imaging.picture import Picture

_log = logging.getLogger(__name__)

WRITABLE = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
}
"""Lower-case suffix -> format, of everything that can be written."""

_HAS_ALPHA = ("png", "webp", "tiff")
_HAS_16_BITS = ("png", "tiff")


def format_of(path: str | os.PathLike[str]) -> str:
    """Format that a path asks for by its suffix.

    Raises:
        OutputError: no format of that suffix can be written.
    """
    try:
        return WRITABLE[Path(path).suffix.lower()]
    except KeyError:
        known = " ".join(WRITABLE)
        raise OutputError(f"{os.fspath(path)}: cannot write this kind of file: use one of {known}") from None


def encode_picture(picture: Picture, format: str, *, quality: int = 95) -> bytes:
    """A picture as the content of a file.

    Kept where the format can: alpha, 16 bits, a single gray channel, colour profile, EXIF. What is lost is
    logged: alpha is laid on white for JPEG and BMP, EXIF is left out of 16-bit TIFF.

    Args:
        picture: what to write.
        format: "png", "jpeg", "webp", "tiff" or "bmp".
        quality: 1..100 for JPEG and WebP.

    Raises:
        OutputError: unknown format, or the picture is too large for it.
    """
    if format not in WRITABLE.values():
        known = ", ".join(dict.fromkeys(WRITABLE.values()))
        raise OutputError(f"cannot write the format {format!r}: use one of {known}")
    pixels = _channels(picture, format)
    try:
        if pixels.dtype == np.uint16:
            return _encode_deep(pixels.astype(np.uint16, copy=False), picture, format)
        return _encode_plain(pixels, picture, format, quality)
    except (
        OSError,
        ValueError,
        OverflowError,
        RuntimeError,
        MemoryError,
        Image.DecompressionBombError,
    ) as error:
        size = f"{picture.width}x{picture.height}"
        raise OutputError(f"a picture of {size} cannot be written as {format} ({error})") from error


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, overwrite: bool = False, quality: int = 95
) -> None:
    """Write a picture to a file, in the format of its suffix (see `encode_picture`).

    The file appears whole or not at all. Without `overwrite` an existing file is never replaced, not even one
    that appears while this function runs.

    Args:
        path: target; its folder must exist.
        picture: what to write.
        overwrite: replace an existing file.
        quality: 1..100 for JPEG and WebP.

    Raises:
        OutputError: the file exists, the format is unknown, or the folder cannot be written to.
    """
    path = Path(path)
    format = format_of(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder: name a file in it")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise _exists(path)
    try:
        data = encode_picture(picture, format, quality=quality)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error
    try:
        place(path, data, overwrite)
    except FileExistsError:
        raise _exists(path) from None
    except FileNotFoundError:
        raise OutputError(f"{path}: its folder does not exist: make it first") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path}: exists already: choose another name or allow overwriting")


def place(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file whole or not at all: beside the target first, then moved into place in one step.

    Raises:
        FileExistsError: it exists and `overwrite` is off.
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        if overwrite:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)  # fails if the target exists, unlike a rename
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES):
                raise
            # A file system without links: claim the name first, then replace the empty claim.
            path.open("xb").close()
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _channels(picture: Picture, format: str) -> Pixels:
    """(H, W, C) as the format holds it: gray, gray + alpha, RGB or RGBA; 8 or 16 bits."""
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.dtype == np.uint16 and format not in _HAS_16_BITS:
        _log.info("%s holds 8 bits per channel: the picture is rounded from 16", format)
        pixels, alpha = _to_8_bits(pixels), None if alpha is None else _to_8_bits(alpha)
    if alpha is not None and format not in _HAS_ALPHA:
        _log.warning("%s has no transparency: the picture is laid on white", format)
        pixels, alpha = _on_white(pixels, alpha), None
    deep_alpha_tiff = format == "tiff" and pixels.dtype == np.uint16 and alpha is not None
    if picture.gray and format != "webp" and not deep_alpha_tiff:
        pixels = pixels[..., :1]
    return pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)


def _to_8_bits(values: Pixels) -> Pixels:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    share = (alpha / np.float32(255))[..., None]
    return np.rint(255 + (pixels - np.float32(255)) * share).astype(np.uint8)


def _fitting_icc(picture: Picture, channels: int) -> bytes | None:
    """The profile, unless it belongs to another number of channels than will be written."""
    icc = picture.icc
    fits = icc is not None and icc[16:20] == (b"GRAY" if channels < 3 else b"RGB ")
    if icc is not None and not fits:
        _log.warning("the colour profile does not fit the channels written and is left out")
    return icc if fits else None


def _encode_deep(pixels: Any, picture: Picture, format: str) -> bytes:
    icc = _fitting_icc(picture, pixels.shape[2])
    if format == "png":
        return sixteen_bit.encode_png(pixels, icc, picture.exif)
    if picture.exif:
        _log.warning("EXIF is left out of a 16-bit TIFF")
    return sixteen_bit.encode_tiff(pixels, icc)


def _encode_plain(pixels: Pixels, picture: Picture, format: str, quality: int) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    options: dict[str, Any] = {}
    if icc := _fitting_icc(picture, pixels.shape[2]):
        options["icc_profile"] = icc
    if picture.exif:
        options["exif"] = picture.exif
    if format == "jpeg":
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2, "optimize": True}
    elif format == "webp":
        options["quality"] = quality
    elif format == "tiff" and not picture.exif:  # Pillow writes EXIF only into an uncompressed TIFF
        options["compression"] = "tiff_adobe_deflate"
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (OSError, ValueError, SyntaxError, RuntimeError, struct.error) as error:
        if "exif" not in options:
            raise
        # EXIF of more than 64 kB does not fit into a JPEG: the picture matters more.
        _log.warning("EXIF is left out: it does not fit into %s (%s)", format, error)
        del options["exif"]
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
    return buffer.getvalue()
