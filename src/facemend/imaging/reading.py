"""Reading pictures. Files are not trusted: every failure ends as an `InputError` of one line."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError, features

from facemend.errors import FacemendError, InputError, missing, one_line
from facemend.files import as_address
from facemend.imaging import heif, sixteen_bit, xmp
from facemend.imaging.channels import Channels
from facemend.imaging.coding import av1_bits, coding_of, nclx_of, tiff_coding
from facemend.imaging.color import Pixels
from facemend.imaging.cut_off import EDGE, ended, what_is_missing
from facemend.imaging.extras import has_extras
from facemend.imaging.formats import FORMATS
from facemend.imaging.limits import MAX_PIXELS, check_scans, check_size, too_large, usual_pixels
from facemend.imaging.metadata import ON_ITS_SIDE, dpi_of, iptc_of, read_exif, tiff_metadata
from facemend.imaging.picture import Picture
from facemend.imaging.quiet import quiet
from facemend.imaging.tiff_samples import check_kind, full_picture, is_tiff, read_samples
from facemend.imaging.tiff_samples import size as tiff_size

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")

for _plugin in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{_plugin}ImagePlugin")  # Image.init() would bring thirty more, which takes as long
READABLE = tuple(name.upper() for name in FORMATS if name.upper() in Image.OPEN)
_ANY = frozenset(name.lower() for name in READABLE) | {"heif", "mpo"}  # Pillow opens MPO as JPEG

SUFFIXES = frozenset(suffix for name in _ANY for suffix in FORMATS[name].suffixes)
"""Lower-case suffixes of files that `read_picture` may be able to read, HEIC with its extra."""
_OPTIONAL = {"avif": "avif", "webp": "webp", "jpeg2000": "jpg_2000"}
"""Formats that Pillow may have been built without, and what it calls their decoders."""

CMYK_NOTE = "is CMYK: it was converted to RGB"
_SRGB_POINTS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue
_SRGB_LIKE = frozenset({0, 1, 2, 4, 5, 6, 13})  # primaries, transfers (ITU-T H.273): near enough, or not told


def readable_suffixes() -> frozenset[str]:
    """Those of `SUFFIXES` whose decoders are installed."""
    return frozenset(suffix for name in _readable() for suffix in FORMATS[name].suffixes)


def _readable() -> list[str]:
    """Names of the formats whose decoders are installed, sorted."""

    def is_here(name: str) -> bool:
        extra, decoder = FORMATS[name].extra, _OPTIONAL.get(name)
        return not (extra and missing(extra)) and (decoder is None or bool(features.check(decoder)))

    return sorted(filter(is_here, _ANY))


def read_picture(
    source: str | os.PathLike[str] | bytes, *, max_pixels: int = 0, name: str | None = None
) -> Picture:
    """Read a picture from a file or from bytes.

    EXIF orientation is applied. CMYK is converted to RGB (through its profile if it has one), palettes are
    resolved. More than 8 bits per channel are kept for PNG, TIFF, HEIC and gray Netpbm files; other formats
    give 8. What is not kept is said in `notes`: of an animation or a multi-page file only the first frame is.

    Args:
        source: path of a file, or its content.
        max_pixels: largest width x height, checked before anything is decoded; 0: `usual_pixels`.
        name: what to call the picture in messages; by default its path.

    Returns:
        The picture.

    Raises:
        InputError: no such file, no picture, damaged, too large, or a kind that is not supported.
        MissingExtraError: a HEIC, and pillow-heif is not installed.
    """
    return _read(source, max_pixels, name, _decode)


@dataclass(frozen=True)
class Header:
    """What a file says of its picture: the format as in `Picture`, and the upright size in pixels."""

    format: str
    width: int
    height: int


def read_header(
    source: str | os.PathLike[str] | bytes, *, max_pixels: int = 0, name: str | None = None
) -> Header:
    """What `read_picture` would give, without decoding anything; the rest may still turn out damaged.

    Args:
        source: see `read_picture`.
        max_pixels: see `read_picture`.
        name: see `read_picture`.

    Raises:
        TooLargeError: it has more pixels than that.
        InputError: no such file, no picture, or a kind that is not supported.
    """
    return _read(source, max_pixels, name, _header)


def _read(
    source: str | os.PathLike[str] | bytes,
    max_pixels: int,
    name: str | None,
    decode: Callable[[bytes, str, int], _Read],
) -> _Read:
    """What `decode` makes of the content, name and limit; every failure as a `FacemendError`."""
    max_pixels = min(max_pixels or usual_pixels(), MAX_PIXELS)
    if isinstance(source, bytes):
        name = name or "picture from memory"
        data = source
    else:
        name = name or os.fspath(source)
        data = read_content(Path(source), max_pixels=max_pixels, name=name)
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        with quiet():
            return decode(data, name, max_pixels)
    except FacemendError:
        raise
    except Image.DecompressionBombError:
        raise too_large(name, "the picture", max_pixels) from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: {_why_unknown(data)}") from None
    except MemoryError:
        raise InputError(f"{name}: not enough memory to decode it") from None
    except Exception as error:  # a decoder fed with garbage may raise anything
        reason = one_line(error)
        raise InputError(f"{name}: damaged or cut off ({reason})") from error


def largest_file(max_pixels: int = MAX_PIXELS) -> int:
    """The most bytes that the file of a picture of so many pixels may have."""
    return 8 * max_pixels + 2**26


def read_content(path: Path, *, max_pixels: int = MAX_PIXELS, name: str | None = None) -> bytes:
    """The bytes of a picture file, as `read_picture` would take them.

    Raises:
        InputError: no such file, no regular file, larger than `largest_file`, or it cannot be read.
    """
    name = name or os.fspath(path)
    limit = largest_file(max_pixels)
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
        if address := as_address(path):
            raise InputError(f"{address}: addresses are not fetched: download the file first") from None
        raise InputError(f"{name}: no such file") from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _why_unknown(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "this kind of TIFF is not supported (float, or more than 16 bits?): save it as 16-bit integers"
    if b"<svg" in data[:1024].lower():
        return "SVG is a drawing, not a photo: export it as PNG"
    return f"not a picture that can be read (known: {', '.join(_readable())})"


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """The picture with its header read; refused if it is too large."""
    with Image.open(io.BytesIO(data), formats=READABLE) as image:
        width, height = image.size
        check_size(name, width, height, max_pixels)
        if image.format in ("JPEG", "MPO"):
            check_scans(name, data, width * height, max_pixels)
        yield image


def _header(data: bytes, name: str, max_pixels: int) -> Header:
    if heif.is_heif(data):
        return Header("heif", *heif.size(data, name, max_pixels))
    if is_tiff(data):
        _, tags, _ = full_picture(data, name)
        check_kind(tags, name)
        width, height = tiff_size(tags)
        check_size(name, width, height, max_pixels)
        return Header("tiff", width, height)
    with _opened(data, name, max_pixels) as image:
        orientation = read_exif(image, name)[1] or xmp.clean(image.info.get("xmp")).orientation
        turned = orientation in ON_ITS_SIDE
        width, height = reversed(image.size) if turned else image.size
        return Header(_format_name(image.format or ""), width, height)


def _format_name(kind: str) -> str:
    return "jpeg" if kind == "MPO" else kind.lower()


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    if heif.is_heif(data):
        return heif.decode(data, name, max_pixels)
    if is_tiff(data):
        return _tiff(data, name, max_pixels)
    with _opened(data, name, max_pixels) as image:
        coding, notes = coding_of(image, data), _notes(image, data)
        icc = image.info.get("icc_profile") or None
        image, more = _loaded(image, data, name)
        channels = _channels(image, data, name)
        exif, orientation = read_exif(image, name)
        packet = xmp.clean(image.info.get("xmp"))
        return Picture(
            *channels.arrays(orientation or packet.orientation),
            channels.gray,
            icc=None if image.mode == "CMYK" else icc,
            exif=exif,
            xmp=packet.packet,
            iptc=iptc_of(image.info.get("photoshop")),
            text=_texts(image),
            dpi=dpi_of(image.info.get("dpi")),
            extras=has_extras(data),
            format=_format_name(image.format or ""),
            coding=coding,
            notes=(*notes, *more, *packet.notes),
        )


def _loaded(image: Image.Image, data: bytes, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture with its pixels; of a JPEG a few lines may be missing, which a note says."""
    try:
        image.load()
        return image, ()
    except OSError:
        whole = ended(data) if image.format in ("JPEG", "MPO") else None
        if whole is None:
            raise
        mended = Image.open(io.BytesIO(whole), formats=READABLE)
        edge = mended.crop((max(0, mended.width - EDGE), 0, mended.width, mended.height))
        note = what_is_missing(data, np.atleast_3d(np.asarray(edge)))
        if note is None:
            raise
        return mended, (note,)


def _tiff(data: bytes, name: str, max_pixels: int) -> Picture:
    """Metadata are those of the first page, which is where they are where it is a reduced copy too."""
    source, tags, notes = full_picture(data, name)
    check_size(name, *tiff_size(tags), max_pixels)
    metadata, more = tiff_metadata(data, name)
    notes += more
    if check_kind(tags, name):
        found = read_samples(source, tags, name)
        channels, notes = Channels.of_array(found.pixels), notes + found.notes
        pixels, alpha = channels.arrays()
    else:
        with _opened(source, name, max_pixels) as image:
            notes = tuple(dict.fromkeys((*notes, *_notes(image, data))))  # both tell of further pages
            image.load()  # upright
            channels = _channels(image, data, name)
            if image.mode == "CMYK":
                metadata = replace(metadata, icc=None)
            pixels, alpha = channels.arrays()
    told: dict[str, Any] = {"format": "tiff", "coding": tiff_coding(tags), "notes": notes}
    return Picture(pixels, alpha, channels.gray, **vars(metadata), **told)


def _notes(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """What will not be kept of an opened picture."""
    notes = []
    if image.format == "MPO":
        notes.append("the second picture in the file (a depth or gain map, or another view) is left out")
    elif getattr(image, "is_animated", False):
        alone = getattr(image, "default_image", False)  # of an APNG, where it is no frame of the animation
        notes.append(
            "has an animation: only its still picture is used"
            if alone
            else "has several frames or pages: only the first is used"
        )
    if image.format == "PNG" and _is_odd(image):
        notes.append("its gamma and primaries (gAMA, cHRM) are left out: its colours may look different")
    if image.mode.startswith("CMYK"):
        notes.append(CMYK_NOTE)
    codes = _cicp(data) if image.format == "PNG" else None
    if image.format == "AVIF":
        bits, codes = av1_bits(data), nclx_of(data)
        if bits > 8:
            notes.append(f"has {bits} bits per channel: AVIF is read with 8")
    # In an AVIF a profile counts for more than the codes, in a PNG for less.
    if image.format != "PNG" and "icc_profile" in image.info:
        codes = None
    if codes and not _SRGB_LIKE.issuperset(codes[:2]):
        space = f"primaries {codes[0]}, transfer {codes[1]}"
        notes.append(f"its colours ({space}) are taken for sRGB: they may look wrong")
    return tuple(notes)


def _cicp(data: bytes) -> tuple[int, ...] | None:
    """What a PNG says of its colours in the codes of ITU-T H.273, as HDR screenshots do."""
    at = data.find(b"\0\0\0\4cICP", 0, data.find(b"IDAT"))
    return tuple(data[at + 8 : at + 12]) if at > 0 else None


def _is_odd(image: Image.Image) -> bool:
    """Whether a PNG tells by numbers alone of colours that are not those of sRGB."""
    told = image.info
    if "icc_profile" in told or "srgb" in told:
        return False
    primaries = told.get("chromaticity", _SRGB_POINTS)
    return abs(told.get("gamma", 1 / 2.2) - 1 / 2.2) > 0.02 or not np.allclose(
        primaries, _SRGB_POINTS, atol=0.01
    )


def _texts(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """The texts of a PNG, but for metadata that some programs put there."""
    texts: Mapping[str, str] = getattr(image, "text", {})
    return tuple(
        (key, str(text))
        for key, text in texts.items()
        if key != "XML:com.adobe.xmp"
        and not key.lower().startswith(("raw profile type exif", "raw profile type xmp"))
    )


def _channels(image: Image.Image, data: bytes, name: str) -> Channels:
    """Of a picture whose pixels are loaded."""
    mode = image.mode
    if mode == "CMYK":
        return Channels.of_pillow(from_cmyk(image), "RGB")
    if mode.startswith("I"):  # gray with 16 bits, or 32 that hold no more (Netpbm)
        return Channels.of_array(_deep_gray(image, name))
    if image.format == "PNG" and data[24] == 16:
        deep = sixteen_bit.decode(data)
        if deep is None or deep.shape[:2] != (image.height, image.width):
            raise InputError(f"{name}: this layout of 16-bit PNG is not supported: save it as 8-bit")
        # Gray with alpha is colour type 4; decoders spread it over four channels.
        return Channels.of_array(deep[..., ::3] if data[25] == 4 and deep.shape[2] == 4 else deep)
    if mode in ("F", "LAB", "HSV"):
        raise InputError(f"{name}: colour mode {mode} is not supported: save it as RGB")
    clear = image.info.get("transparency")
    if image.format == "PNG" and data[25] == 0 and data[24] in (2, 4) and isinstance(clear, int):
        # Pillow spreads the values over 8 bits, but not this one.
        image.info["transparency"] = clear * 255 // (2 ** data[24] - 1)
    gray = mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    wanted = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    return Channels.of_pillow(image, wanted)


def _deep_gray(image: Image.Image, name: str) -> Pixels:
    """(H, W, 1) uint16, or (H, W, 2) where one value is said to be transparent."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{name}: more than 16 bits per channel are not supported: save it with 8 or 16")
    pixels = values.astype(np.uint16)[..., None]
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return pixels
    return np.concatenate([pixels, np.where(pixels == clear, 0, 65535).astype(np.uint16)], axis=2)


def from_cmyk(image: Image.Image) -> Image.Image:
    """RGB, by the picture's own profile if that can be used."""
    if icc := image.info.get("icc_profile"):
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
