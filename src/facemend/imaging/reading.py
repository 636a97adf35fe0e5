"""Reading pictures. Files are not trusted: every failure ends as an `InputError` of one line."""

from __future__ import annotations

import io
import logging
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from facemend.errors import InputError
from facemend.imaging import sixteen_bit
from facemend.imaging.color import Pixels
from facemend.imaging.picture import Picture

_log = logging.getLogger(__name__)

# Only formats that are pictures and nothing else: Pillow would hand others (EPS) to outside programs.
_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),  # the JPEG of phones that keep a second picture behind the first
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
}
Image.init()
_READABLE = tuple(name for name in _FORMATS if name in Image.OPEN)

SUFFIXES = frozenset(suffix for name in _READABLE for suffix in _FORMATS[name])
"""Lower-case suffixes of files that `read_picture` may be able to read."""

MAX_PIXELS = 178_000_000
"""Default limit of `read_picture`; Pillow's own limit lies just above and stays in force."""

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_PIXEL_SIZE = (0xA002, 0xA003)
# A TIFF file keeps its layout in the same directory as its EXIF: only these describe the photo.
_TIFF_EXIF = (270, 271, 272, 305, 306, 315, 33432, _EXIF_IFD, _GPS_IFD)


def read_picture(
    source: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> Picture:
    """Read a picture from a file or from bytes.

    EXIF orientation is applied. Of an animation or a multi-page file the first frame is read, and the log
    says so. CMYK is converted to RGB (through its profile if it has one), palettes are resolved. 16 bits per
    channel are kept for PNG, TIFF and gray Netpbm files; other formats give 8.

    Args:
        source: path of a file, or its content.
        max_pixels: largest width x height, checked before anything is decoded.
        name: what to call the picture in messages; by default its path.

    Returns:
        The picture.

    Raises:
        InputError: no such file, no picture, damaged, too large, or a kind that is not supported.
    """
    if isinstance(source, bytes):
        name = name or "picture from memory"
        data = source
    else:
        name = name or os.fspath(source)
        data = _read_file(Path(source), name, limit=8 * max_pixels + 2**26)
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large pictures and odd metadata
            return _decode(data, name, max_pixels)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "the picture", max_pixels) from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: {_why_unknown(data)}") from None
    except MemoryError:
        raise InputError(f"{name}: not enough memory to decode it") from None
    except Exception as error:  # a decoder fed with garbage may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged or cut off ({reason})") from error


def _read_file(path: Path, name: str, limit: int) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name}: is not a regular file")
        if status.st_size > limit:
            raise InputError(f"{name}: {status.st_size / 1e9:.1f} GB is too large for a picture file")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _too_large(name: str, what: str, max_pixels: int) -> InputError:
    return InputError(
        f"{name}: {what} is over the limit of {max_pixels / 1e6:.0f} megapixels: shrink it first"
    )


def _why_unknown(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "this kind of TIFF is not supported (float, or more than 16 bits?): save it as 16-bit integers"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        return "HEIC is not supported: export it as JPEG or PNG"
    return f"not a picture that can be read (known: {', '.join(_READABLE)})"


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=_READABLE) as image:
        kind = image.format or ""
        width, height = image.size
        if width < 1 or height < 1:
            raise InputError(f"{name}: has no pixels ({width}x{height})")
        if width * height > max_pixels:
            raise _too_large(name, f"{width}x{height} = {width * height / 1e6:.0f} megapixels", max_pixels)
        bits = _bits(image, data, name)
        if kind != "MPO" and getattr(image, "is_animated", False):
            _log.info("%s: has several frames, the first is used", name)
        image.load()
        exif, orientation = _exif(image, name)
        icc = image.info.get("icc_profile") or None
        if image.mode == "CMYK":
            pixels, gray, icc = np.asarray(_from_cmyk(image, icc)), False, None
        else:
            pixels, gray = _channels(image, data, bits, name)
    if kind != "TIFF":  # decoders turn TIFF pictures themselves
        pixels = _upright(pixels, orientation)
    rgb = np.repeat(pixels[..., :1], 3, axis=2) if gray else pixels[..., :3].copy()
    alpha = pixels[..., -1].copy() if pixels.shape[2] in (2, 4) else None
    return Picture(rgb, alpha, gray, icc, exif, "jpeg" if kind == "MPO" else kind.lower())


def _bits(image: Image.Image, data: bytes, name: str) -> int:
    """Bits per channel that the picture is to be read with: 8 or 16. Refuses what would be read wrongly."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if 3 in np.atleast_1d(tags.get(339, 1)):
            raise InputError(f"{name}: floating-point TIFF is not supported: save it as 16-bit integers")
        bits = set(np.atleast_1d(tags.get(258, 1)).tolist())
        if not bits <= {1, 2, 4, 8, 16}:
            raise InputError(f"{name}: {max(bits)} bits per channel are not supported: save it with 8 or 16")
        return 16 if 16 in bits else 8
    if image.format == "PNG":
        return 16 if data[24] == 16 else 8
    return 16 if image.mode.startswith("I") else 8


def _channels(image: Image.Image, data: bytes, bits: int, name: str) -> tuple[Pixels, bool]:
    """Pixels as (H, W, C), and whether they are gray (C = 1 or 2) or RGB (C = 3 or 4)."""
    mode = image.mode
    if mode.startswith("I"):  # gray with 16 bits, or 32 that hold no more (Netpbm)
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{name}: more than 16 bits per channel are not supported: save it with 8 or 16")
        return values.astype(np.uint16)[..., None], True
    if bits == 16 and mode in ("RGB", "RGBA"):
        deep = sixteen_bit.decode(data)
        if deep is None or deep.shape[:2] != (image.height, image.width):
            raise InputError(
                f"{name}: this layout of 16-bit {image.format} is not supported: save it as 8-bit"
            )
        # Gray with alpha is colour type 4 of PNG; both decoders spread it over four channels.
        gray_alpha = image.format == "PNG" and data[25] == 4 and deep.shape[2] == 4
        return (deep[..., [0, 3]], True) if gray_alpha else (deep, False)
    if mode in ("F", "LAB", "HSV"):
        raise InputError(f"{name}: colour mode {mode} is not supported: save it as RGB")
    gray = mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    wanted = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    pixels = np.array(image if mode == wanted else image.convert(wanted))
    return pixels.reshape(image.height, image.width, len(wanted)), gray


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            _log.warning("CMYK profile cannot be used, converting without it (%s)", error)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


def _exif(image: Image.Image, name: str) -> tuple[bytes | None, int]:
    """EXIF without what a changed picture makes wrong (thumbnail, size, orientation), and the orientation."""
    orientation = 1
    try:
        exif = image.getexif()
        orientation = int(exif.pop(_ORIENTATION, 1))
        exif.get_ifd(_EXIF_IFD)
        if image.format == "TIFF":
            for tag in set(exif) - set(_TIFF_EXIF):
                del exif[tag]
        for tag in _PIXEL_SIZE:
            exif.get_ifd(_EXIF_IFD).pop(tag, None)
        return (exif.tobytes() if len(exif) else None), orientation
    except Exception as error:  # metadata must not cost the picture
        _log.warning("%s: EXIF is damaged and left out (%s)", name, error)
        return None, orientation


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation 1..8 to (H, W, C); other numbers change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
