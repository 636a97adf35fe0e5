"""Writing pictures: whole or not at all, and never over an existing file unless asked to."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from facemend.errors import ExistsError, FacemendError, MissingExtraError, OutputError, one_line
from facemend.files import place, unwritable
from facemend.imaging.encoding import encode, left_out
from facemend.imaging.formats import FORMATS, WRITABLE
from facemend.imaging.picture import Picture

_log = logging.getLogger(__name__)


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


def encode_picture(picture: Picture, format: str, *, quality: int | None = None) -> bytes:
    """A picture as the content of a file.

    Kept where the format can (see `formats.FORMATS`): alpha, more than 8 bits, a single gray channel, colour
    profile, EXIF, XMP. A picture of the same format is compressed as its source was: without loss, or with
    its quantisation tables and subsampling (`Coding`). What is lost is logged; `left_out` tells it before.

    Args:
        picture: what to write.
        format: "png", "jpeg", "webp", "tiff", "avif", "heif" or "bmp".
        quality: 1..100 for JPEG, WebP, AVIF and HEIC; None: the picture's own, or as the source, or 95
            (AVIF and HEIC: 90).

    Raises:
        OutputError: unknown format, or the picture is too large for it.
        MissingExtraError: HEIC, and pillow-heif is not installed.
    """
    data = _encode(picture, format, quality)
    for note in left_out(picture, format):
        _log.warning("picture from memory: %s", note)
    return data


def _encode(picture: Picture, format: str, quality: int | None) -> bytes:
    if format not in WRITABLE.values():
        known = ", ".join(dict.fromkeys(WRITABLE.values()))
        raise OutputError(f"cannot write the format {format!r}: use one of {known}")
    most = FORMATS[format].side
    if most and max(picture.width, picture.height) > most:
        raise OutputError(
            f"a picture of {picture.width}x{picture.height} cannot be written as {format}, which holds "
            f"{most} pixels a side: write it as PNG or TIFF"
        )
    try:
        return encode(picture, format, quality)
    except FacemendError:
        raise
    except Exception as error:  # each library has its own
        size = f"{picture.width}x{picture.height}"
        reason = one_line(error)
        raise OutputError(f"a picture of {size} cannot be written as {format} ({reason})") from error


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, overwrite: bool = False, quality: int | None = None
) -> None:
    """Write a picture to a file, in the format of its suffix (see `encode_picture`).

    The file appears whole or not at all. Without `overwrite` an existing file is never replaced, not even one
    that appears while this function runs.

    Args:
        path: target; its folder must exist.
        picture: what to write.
        overwrite: replace an existing file.
        quality: see `encode_picture`.

    Raises:
        OutputError: the file exists, the format is unknown, or the folder cannot be written to.
        MissingExtraError: HEIC, and pillow-heif is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder: name a file in it")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise ExistsError(path)
    data = encode_for(path, picture, quality=quality)
    for note in left_out(picture, format_of(path)):
        _log.warning("%s: %s", path, note)
    try:
        place(path, data, overwrite)
    except FileExistsError:
        raise ExistsError(path) from None
    except FileNotFoundError:
        raise OutputError(f"{path}: its folder does not exist: make it first") from None
    except OSError as error:
        raise unwritable(path, error) from error


def encode_for(path: str | os.PathLike[str], picture: Picture, *, quality: int | None = None) -> bytes:
    """A picture as the content of that file: `encode_picture` with the format of its suffix; logs nothing.

    Raises:
        OutputError: see `encode_picture`; the message names the path.
        MissingExtraError: HEIC, and pillow-heif is not installed.
    """
    format = format_of(path)
    try:
        return _encode(picture, format, quality)
    except OutputError as error:
        raise OutputError(f"{os.fspath(path)}: {error}") from error
    except MissingExtraError as error:
        raise MissingExtraError(f"{os.fspath(path)}: writing {format.upper()}", error.extra) from None
