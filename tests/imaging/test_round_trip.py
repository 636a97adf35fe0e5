"""What goes in comes out, for every format and all that it can hold; the table is `formats.FORMATS`.

Files are made and opened by other programs (see `picture_files`), so that reader and writer cannot agree on
the same mistake.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from facemend.imaging import Picture, encode_picture, read_picture
from facemend.imaging.formats import FORMATS, Format
from picture_files import (
    COMMENT,
    EXIF_IFD,
    GPS_IFD,
    GRAY_ICC,
    MAKE,
    ORIENTATION,
    SRGB,
    TAKEN,
    WIDTH,
    Metadata,
    exif_block,
    make_file,
    open_file,
    xmp_packet,
)

WRITTEN = [format for format in FORMATS.values() if format.written]
SIZE = (16, 24)
NOISE = np.random.default_rng(0).integers(0, 65536, (*SIZE, 4), dtype=np.uint16)
SMOOTH = cv2.resize(NOISE[:2, :2], SIZE[::-1], interpolation=cv2.INTER_LINEAR) // 2 + 16384
LOSSLESS = {"webp": {"lossless": True, "exact": True}}
TURNS = {  # EXIF 2.32: which side of the scene the stored row 0 and column 0 show
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def depths(format: Format) -> list[int]:
    return [8, 10, 12] if format.name == "heif" else [8, 16] if format.bits == 16 else [8]


def holds_gray_alpha(format: Format, bits: int) -> bool:
    """TIFF with 16 bits, AVIF and HEIC make RGBA of gray with alpha."""
    return format.name == "png" or (format.name == "tiff" and bits == 8)


def kinds_of_pixels() -> list[tuple[Format, int, int]]:
    """Every format with each number of channels and depth that it can hold."""
    found = []
    for format in WRITTEN:
        for bits, gray, alpha in itertools.product(depths(format), (False, True), (False, True)):
            if (gray and not format.gray) or (alpha and not format.alpha):
                continue
            if gray and alpha and not holds_gray_alpha(format, bits):
                continue
            found.append((format, bits, (1 if gray else 3) + alpha))
    return found


def kinds_of_metadata(format: Format, channels: int) -> list[tuple[Metadata, int]]:
    """Every subset of the metadata that it can hold, in every orientation that can be told."""
    profile = GRAY_ICC if channels < 3 else SRGB
    # x265 takes a tenth of a second for the smallest picture: all turns of a HEIC are tried below.
    turns = (1, 6) if format.name == "heif" else TURNS
    found = []
    for icc, exif, xmp in itertools.product(
        *((False, True) if held else (False,) for held in (format.icc, format.exif, format.xmp))
    ):
        for orientation in turns if exif else (1,):
            metadata = Metadata(
                profile if icc else None,
                exif_block(orientation) if exif else None,
                xmp_packet(orientation) if xmp else None,
            )
            found.append((metadata, orientation))
    return found


def pixels_of(format: Format, bits: int, channels: int) -> np.ndarray:
    stored = NOISE if format.lossless == "always" or format.name == "webp" else SMOOTH
    values = stored[..., {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]] >> (16 - bits)
    return np.ascontiguousarray(values.astype(np.uint8 if bits == 8 else np.uint16))


@pytest.mark.parametrize(
    ("format", "bits", "channels"),
    kinds_of_pixels(),
    ids=lambda value: value.name if isinstance(value, Format) else str(value),
)
def test_the_same_kind_comes_out(format: Format, bits: int, channels: int) -> None:
    stored = pixels_of(format, bits, channels)
    for metadata, orientation in kinds_of_metadata(format, channels):
        source = make_file(format.name, stored, metadata, bits=bits, **LOSSLESS.get(format.name, {}))
        picture = read_picture(source)
        assert (picture.format, picture.gray, picture.notes) == (format.name, channels < 3, ())
        opened = open_file(encode_picture(picture, picture.format))

        upright = TURNS[orientation](stored)
        if bits == 16 and channels == 2:
            upright = upright[..., [0, 0, 0, 1]]  # as OpenCV shows it
        assert opened.pixels.shape == upright.shape
        assert opened.bits == bits
        if is_lossless(format, channels, metadata):
            np.testing.assert_array_equal(opened.pixels, upright)
        else:
            difference = np.abs(opened.pixels.astype(int) - upright.astype(int))
            assert difference.mean() < (6 << (bits - 8)), (metadata, difference.mean())
        assert opened.icc == metadata.icc
        assert_exif_kept(opened.exif, metadata, deep_tiff=format.name == "tiff" and bits == 16)
        assert_xmp_kept(opened.xmp, metadata)


def is_lossless(format: Format, channels: int, metadata: Metadata) -> bool:
    if format.name == "heif":  # told by colours that gray has not, and that a profile takes the place of
        return channels > 1 and metadata.icc is None
    return format.lossless == "always" or format.name == "webp"  # AVIF: see below


def assert_exif_kept(exif: object, metadata: Metadata, *, deep_tiff: bool) -> None:
    if metadata.exif is None:
        assert exif.get(MAKE) is None
        return
    assert (exif.get(MAKE), exif.get(ORIENTATION, 1)) == ("camera", 1)
    if not deep_tiff:  # made without these here
        details = exif.get_ifd(EXIF_IFD)
        assert (details.get(TAKEN), details.get(COMMENT)) == ("2001:02:03 04:05:06", b"ASCII\0\0\0hi")
        assert WIDTH not in details
        assert [float(part) for part in exif.get_ifd(GPS_IFD)[2]] == [52.0, 30.0, 15.5]


def assert_xmp_kept(xmp: bytes | None, metadata: Metadata) -> None:
    if metadata.xmp is None:
        assert xmp is None
        return
    assert xmp is not None
    upright = xmp_packet(1).replace(b' exif:PixelXDimension="24"', b"")
    # Of a TIFF Pillow takes the orientation out instead of setting it.
    assert xmp.rstrip(b"\0") in (upright, upright.replace(b'tiff:Orientation="1"', b""))


@pytest.mark.parametrize("format", WRITTEN, ids=lambda format: format.name)
@pytest.mark.parametrize("gray", [False, True])
def test_what_a_format_cannot_hold_is_lost_and_nothing_else(format: Format, gray: bool) -> None:
    """A picture with everything, written as each format: exactly what the table says is there."""
    pixels = SMOOTH[..., [0] * 3 if gray else [0, 1, 2]]
    everything = Picture(
        np.ascontiguousarray(pixels),
        SMOOTH[..., 3].copy(),
        gray,
        icc=GRAY_ICC if gray and holds_gray_alpha(format, 16) else SRGB,
        exif=exif_block(1),
        xmp=xmp_packet(1),
    )
    opened = open_file(encode_picture(everything, format.name))
    one_channel = gray and (holds_gray_alpha(format, 16) if format.alpha else format.gray)
    # HEIC gets 10 bits where the source was none; OpenCV shows a 16-bit gray + alpha PNG as RGBA.
    assert opened.bits == {8: 8, 12: 10, 16: 16}[format.bits]
    shown = 3 if one_channel and opened.bits == 16 else 1 if one_channel else 3
    assert opened.pixels.shape[2] == shown + format.alpha
    fits = format.icc and not (one_channel and not format.alpha)  # then the profile is one of RGB
    assert (opened.icc is not None) == fits
    assert (opened.exif.get(MAKE) is not None) == format.exif
    assert (opened.xmp is not None) == format.xmp


@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_avif_stays_lossless_and_keeps_its_metadata(channels: int) -> None:
    stored = pixels_of(FORMATS["avif"], 8, channels)
    order = [2, 1, 0, 3][:3] + [3] * (channels == 4)
    blocks = [
        (cv2.IMAGE_METADATA_EXIF, exif_block(1).removeprefix(b"Exif\0\0")),
        (cv2.IMAGE_METADATA_XMP, xmp_packet(1)),
        (cv2.IMAGE_METADATA_ICCP, SRGB),
    ]
    source = cv2.imencodeWithMetadata(
        ".avif",
        np.ascontiguousarray(stored[..., order]),
        [kind for kind, _ in blocks],
        [np.frombuffer(block, np.uint8) for _, block in blocks],
        [cv2.IMWRITE_AVIF_QUALITY, 100],
    )[1].tobytes()
    picture = read_picture(source)
    assert picture.coding.lossless
    opened = open_file(encode_picture(picture, "avif"))
    np.testing.assert_array_equal(opened.pixels, stored)
    assert opened.icc == SRGB
    assert_exif_kept(opened.exif, Metadata(exif=b"yes"), deep_tiff=False)
    assert_xmp_kept(opened.xmp, Metadata(xmp=b"yes"))


@pytest.mark.parametrize("orientation", TURNS)
def test_every_turn_of_a_heic_is_applied_once(orientation: int) -> None:
    stored = pixels_of(FORMATS["png"], 8, 3)
    source = make_file("heif", stored, Metadata(exif=exif_block(orientation), xmp=xmp_packet(orientation)))
    again = read_picture(encode_picture(read_picture(source), "heif"))
    np.testing.assert_array_equal(again.pixels, TURNS[orientation](stored))
    assert again.exif is not None
    exif = Image.Exif()
    exif.load(again.exif)
    assert (exif.get(MAKE), exif.get(ORIENTATION)) == ("camera", None)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("form", [b'tiff:Orientation="%d"', b"tiff:Orientation='%d'"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_that_only_xmp_tells_is_applied_once(
    format: str, form: bytes, orientation: int
) -> None:
    stored = pixels_of(FORMATS["jpeg"], 8, 3)
    xmp = xmp_packet(1).replace(b'tiff:Orientation="1"', form % orientation)
    picture = read_picture(make_file(format, stored, Metadata(xmp=xmp)))
    upright = TURNS[orientation](stored)
    assert np.abs(picture.pixels.astype(int) - upright).mean() < 6
    again = read_picture(encode_picture(picture, format))
    assert again.pixels.shape == upright.shape
    assert np.abs(again.pixels.astype(int) - upright).mean() < 6
    assert form % 1 in (again.xmp or b"")
