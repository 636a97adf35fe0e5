"""Anything that is a picture: the door from files, bytes, Pillow images and arrays; and back to Pillow."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemend.errors import InputError, one_line
from facemend.imaging.arrays import HasArray
from facemend.imaging.color import to_8_bits
from facemend.imaging.encoding import icc_fits
from facemend.imaging.picture import Picture
from facemend.imaging.reading import CMYK_NOTE, from_cmyk, read_picture

AnyPath = str | os.PathLike[str]
AnyPicture = AnyPath | bytes | Image.Image | HasArray | Picture
"""A path, the content of a file, a Pillow image, what `Picture.from_array` takes, or a `Picture`."""

_AS_PNG = {mode: mode for mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")} | {
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
}
"""Modes that a PNG holds, or with transparency; others become RGB."""
_NUMBERS = ("F", "I", "I;16B", "I;16L", "I;16N")
"""Modes without a range of their own: taken, or refused, as arrays."""


def as_picture(x: AnyPicture | bytearray) -> Picture:
    """A picture of any kind as a `Picture`.

    Args:
        x: see `AnyPicture`. Pillow images are turned upright, as files are, where their EXIF says so. Floats
            get 16 bits, which hold them well enough to come back unseen.

    Raises:
        InputError: no picture, damaged or too large; of an array see `Picture.from_array`.
        MissingExtraError: a HEIC file, and pillow-heif is not installed.
    """
    if isinstance(x, Picture):
        return x
    if isinstance(x, str | os.PathLike):
        return read_picture(Path(x))
    if isinstance(x, bytes | bytearray):
        return read_picture(bytes(x))
    if isinstance(x, Image.Image):
        return _from_pillow(x)
    if isinstance(x, HasArray):
        return Picture.from_array(x, np.uint16)
    raise InputError(f"cannot take a {type(x).__name__}: give a path, bytes, an array or a Pillow image")


def to_pillow(picture: Picture) -> Image.Image:
    """A picture as a Pillow image: L, LA, I;16, RGB or RGBA, with its profile and metadata in `info`.

    Pillow has no 16 bits for more than one channel: such pictures are cut to 8.
    """
    array = picture.to_array()
    image = Image.fromarray(array if array.ndim == 2 else to_8_bits(array))
    icc = picture.icc if picture.icc and icc_fits(picture.icc, len(image.getbands())) else None
    known: dict[str, Any] = {"icc_profile": icc, "exif": picture.exif, "xmp": picture.xmp, "dpi": picture.dpi}
    image.info |= dict(picture.text)
    image.info |= {name: value for name, value in known.items() if value}
    return image


def _from_pillow(image: Image.Image) -> Picture:
    """Through a PNG, so that every mode is understood as it is in files."""
    if image.mode in _NUMBERS:
        return Picture.from_array(np.asarray(image), np.uint16)
    if 0 in image.size:
        raise InputError(f"a Pillow image of {image.width}x{image.height} has no pixels")
    buffer = io.BytesIO()
    kept: dict[str, Any] = {name: image.info[name] for name in ("exif", "dpi") if image.info.get(name)}
    is_cmyk = image.mode == "CMYK"
    if is_cmyk:
        kept["icc_profile"] = None  # its profile is of CMYK, and used up
    try:
        known = from_cmyk(image) if is_cmyk else image.convert(_AS_PNG.get(image.mode, "RGB"))
        known.save(buffer, "png", compress_level=1, **kept)
    except Exception as error:  # its file is read only now
        raise InputError(f"the Pillow image cannot be read ({one_line(error)})") from error
    picture = read_picture(buffer.getvalue(), name="picture")
    return replace(picture, notes=(*picture.notes, CMYK_NOTE)) if is_cmyk else picture
