from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facemend.errors import InputError
from facemend.imaging import Picture, read_picture
from facemend.imaging.jpeg_segments import SCAN, segments
from facemend.imaging.quiet import quiet

RGB = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
RGB16 = np.random.default_rng(1).integers(0, 65536, (7, 11, 3), dtype=np.uint16)
SMOOTH = cv2.resize(RGB, (110, 70), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def rgb_bytes(format: str = "PNG", **options: Any) -> bytes:
    return encoded(Image.fromarray(RGB), format, **options)


def refused(source: str | Path | bytes, *parts: str, **options: Any) -> None:
    """Reading must fail with one line that names the source and holds all `parts`."""
    with pytest.raises(InputError) as info:
        read_picture(source, **options)
    message = str(info.value)
    assert "\n" not in message
    for part in (*parts, str(source) if not isinstance(source, bytes) else "picture from memory"):
        assert part in message


# --- right results ---


# What each format holds, and every orientation, is tested with `test_round_trip`.


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_formats_come_back_exactly(format: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(rgb_bytes(format))
    for source in (path, str(path), path.read_bytes()):
        picture = read_picture(source)
        np.testing.assert_array_equal(picture.pixels, RGB)
        assert (picture.alpha, picture.gray, picture.format) == (None, False, format.lower())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_back_in_the_right_colours(format: str) -> None:
    picture = read_picture(encoded(Image.fromarray(SMOOTH), format, quality=95))
    assert np.abs(picture.pixels.astype(int) - SMOOTH).mean() < 6
    assert picture.format == format.lower()


@pytest.mark.parametrize(("mode", "format"), [("L", "JPEG"), ("L", "PPM"), ("1", "PNG")])
def test_gray(mode: str, format: str) -> None:
    source = Image.fromarray(SMOOTH[..., 0]).convert(mode)
    picture = read_picture(encoded(source, format))
    assert picture.gray
    assert picture.alpha is None
    wanted = np.asarray(source.convert("L")).astype(int)[..., None]
    assert np.abs(picture.pixels - wanted).max() <= (8 if format == "JPEG" else 0)


def test_palette_with_and_without_transparency() -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    source = Image.fromarray(indices).convert("P")
    source.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])[indices]
    opaque = read_picture(encoded(source, "PNG"))
    np.testing.assert_array_equal(opaque.pixels, colours)
    assert opaque.alpha is None
    for transparency, alphas in ((1, [255, 0, 255]), (b"\x10\x80\xff", [16, 128, 255])):
        picture = read_picture(encoded(source, "PNG", transparency=transparency))
        np.testing.assert_array_equal(picture.pixels, colours)
        np.testing.assert_array_equal(picture.alpha, np.array(alphas)[indices])


def test_a_transparent_colour_becomes_alpha() -> None:
    source = Image.new("RGB", (2, 1), (10, 20, 30))
    source.putpixel((1, 0), (1, 2, 3))
    picture = read_picture(encoded(source, "PNG", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(picture.alpha, [[255, 0]])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format: str) -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    picture = read_picture(encoded(cmyk, format, icc_profile=b"not a profile"))
    assert np.abs(picture.pixels[8, 8].astype(int) - [255, 0, 0]).max() < 6
    assert picture.icc is None
    assert not picture.gray
    assert picture.notes == ("is CMYK: it was converted to RGB",)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_animations_give_their_first_frame_with_a_notice(format: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    picture = read_picture(data)
    assert np.abs(picture.pixels.astype(int) - np.asarray(frames[0])).max() <= (4 if format == "AVIF" else 0)
    assert picture.notes == ("has several frames or pages: only the first is used",)
    assert read_picture(encoded(frames[0], format)).notes == ()


def test_the_second_picture_of_a_phone_jpeg_is_left_out_with_a_notice() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    picture = read_picture(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert picture.format == "jpeg"
    assert picture.pixels[0, 0, 0] > 250
    assert "second picture in the file" in picture.notes[0]


# --- refusals ---


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text, not a picture\n" * 20, "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "damaged or cut off"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"II*\0" + b"\xff" * 30, "TIFF"),
    ],
    ids=["empty", "text", "png signature", "eps", "heic", "svg", "tiff garbage"],
)
def test_what_is_no_picture(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    refused(path, reason)
    refused(data, reason)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_truncated_files(format: str) -> None:
    data = encoded(Image.fromarray(SMOOTH), format)
    for share in (0.8 if format == "JPEG" else 0.9, 0.5, 0.1):
        refused(data[: int(share * len(data))])
    if format == "PNG":
        deep = cv2.imencode(".png", RGB16)[1].tobytes()
        refused(deep[: len(deep) // 2], "damaged or cut off")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_lacks_its_end_or_a_few_lines(mode: str, progressive: bool) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (160, 40, 3), np.uint8)
    data = encoded(Image.fromarray(pixels).convert(mode), "JPEG", progressive=progressive)
    whole = read_picture(data)
    ended = read_picture(data[:-2])
    np.testing.assert_array_equal(ended.pixels, whole.pixels)
    assert ended.notes == ("lacks its end: it may have been cut off",)
    if progressive:  # no line is missing: its last scan is cut short, or is not there at all
        assert read_picture(data[: int(0.95 * len(data))]).notes == ended.notes
        refused(data[: int(0.5 * len(data))])
        return
    cut = read_picture(data[: int(0.95 * len(data))])
    missing = int(cut.notes[0].split()[5])
    assert cut.notes == (f"is cut off: its last {missing} lines are missing and gray",)
    assert 4 <= missing <= 20
    np.testing.assert_array_equal(cut.pixels[: 160 - missing - 16], whole.pixels[: 160 - missing - 16])


def test_a_film_behind_a_jpeg_is_no_part_of_it() -> None:
    """Phones hang films behind photos: some of their bytes look like scans, in the number of a trap."""
    plain = encoded(Image.fromarray(SMOOTH), "JPEG", progressive=True)
    height, width = SMOOTH.shape[:2]
    picture = read_picture(plain + b"\0\0\0\x1cftypmp42" + b"\xff\xda" * 500, max_pixels=width * height)
    np.testing.assert_array_equal(picture.pixels, read_picture(plain).pixels)
    assert picture.extras


def test_a_thumbnail_does_not_make_a_coarse_picture_whole() -> None:
    exif = Image.Exif()
    exif[0x9286] = encoded(Image.fromarray(SMOOTH).resize((16, 16)), "JPEG")  # all bits of all its parts
    data = encoded(Image.fromarray(RGB), "JPEG", progressive=True, exif=exif)
    scans = [start for marker, start, _ in segments(data) if marker == SCAN]
    assert len(scans) == 10
    refused(data[: scans[1]])  # means alone


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"")
    chunks = [body, idat, b"IEND"]
    packed = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + packed


def test_50k_x_50k_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_decoding(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_decoding)
    refused(png_header(50_000, 50_000), "limit of 178 megapixels")
    refused(png_header(13_400, 13_300), "13400x13300 = 178 megapixels", "limit of 178 megapixels")


def test_no_warning_of_pillow_leaks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(png_header(10_000, 10_000), "damaged")  # over the size that Pillow warns about


def test_the_limit_can_be_set() -> None:
    refused(rgb_bytes(), "11x7", max_pixels=76)
    assert read_picture(rgb_bytes(), max_pixels=77).width == 11


def test_zero_sized_pictures() -> None:
    for width, height in ((0, 5), (5, 0), (0, 0)):
        refused(png_header(width, height))
        refused(f"P6 {width} {height} 255\n".encode())


def test_float_tiff() -> None:
    plane = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    refused(encoded(Image.fromarray(plane), "TIFF"), "floating-point TIFF")
    refused(cv2.imencode(".tiff", np.dstack([plane] * 3))[1].tobytes(), "TIFF", "float")


def test_32_bit_and_lab_tiff() -> None:
    refused(encoded(Image.new("I", (4, 4)), "TIFF"), "32 bits per channel")
    refused(encoded(Image.new("LAB", (4, 4)), "TIFF"), "LAB")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    refused(tmp_path, "folder")
    refused(tmp_path / "missing.png", "no such file")
    refused(tmp_path / "picture.png" / "below", "no such file")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(rgb_bytes())

    def denied(_: Path) -> bytes:  # a real refusal cannot be made for root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    refused(path, "permission")


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2 * 10**9)  # sparse
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    refused(path, "2.0 GB")


SEEDS = [
    rgb_bytes(),
    rgb_bytes("JPEG"),
    rgb_bytes("TIFF"),
    rgb_bytes("GIF"),
    rgb_bytes("BMP"),
    rgb_bytes("WEBP"),
    cv2.imencode(".png", RGB16)[1].tobytes(),
    cv2.imencode(".tiff", RGB16)[1].tobytes(),
]


@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_damaged_bytes_give_a_picture_or_an_input_error(seed: bytes, damage: list[tuple[float, int]]) -> None:
    data = bytearray(seed)
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    try:
        picture = read_picture(bytes(data), max_pixels=1_000_000)
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert isinstance(picture, Picture)
        assert picture.width * picture.height <= 1_000_000
    assert "\n" not in message


@pytest.mark.parametrize(("bits", "clear"), [(2, 1), (4, 5)])
def test_the_transparent_gray_of_few_bits(bits, clear):
    rows = bytes([0]) + bytes([0b00011011] if bits == 2 else [0x05, 0x5F])
    width = 4
    header = struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", clear)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    alpha = read_picture(data).alpha
    values = [0, 1, 2, 3] if bits == 2 else [0, 5, 5, 15]
    assert alpha is not None
    assert alpha.ravel().tolist() == [0 if value == clear else 255 for value in values]


def test_the_colours_of_an_hdr_screenshot_are_said():
    data = encoded(Image.fromarray(RGB), "png")
    chunk = b"cICP" + bytes([9, 16, 0, 1])
    at = data.find(b"IDAT") - 4
    told = data[:at] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    assert read_picture(told).notes == (
        "its colours (primaries 9, transfer 16) are taken for sRGB: they may look wrong",
    )
    assert read_picture(data).notes == ()


def test_threads_that_overlap_leave_the_callers_warnings_as_they_are() -> None:
    log = cv2.utils.logging
    before, level = list(warnings.filters), log.getLogLevel()
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with warnings.catch_warnings(record=True) as told:
        warnings.warn("still quiet", stacklevel=1)
    second.__exit__(None, None, None)
    assert told == []
    assert list(warnings.filters) == before
    assert log.getLogLevel() == level
