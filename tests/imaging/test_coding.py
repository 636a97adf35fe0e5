"""A file of the same format is compressed as its source was."""

from __future__ import annotations

import io
import logging
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from facemend.imaging import Picture, encode_picture, read_picture
from picture_files import Metadata, make_file

RGB = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
SMOOTH = cv2.resize(RGB[:4, :6], (56, 40), interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray = SMOOTH, **options: Any) -> bytes:
    return make_file("jpeg", image if image.ndim == 3 else image[..., None], **options)


def look(data: bytes) -> tuple[dict[int, list[int]], int, bool]:
    """Tables, sampling (numbers of Pillow) and whether it is progressive."""
    with Image.open(io.BytesIO(data)) as image:
        tables = {number: list(table) for number, table in image.quantization.items()}
        return tables, JpegImagePlugin.get_sampling(image), "progressive" in image.info


@pytest.mark.parametrize("quality", [90, 93, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("gray", [False, True])
def test_a_jpeg_keeps_its_tables_and_sampling(
    quality: int, subsampling: int, progressive: bool, gray: bool
) -> None:
    image = SMOOTH[..., 1] if gray else SMOOTH
    source = jpeg(image, quality=quality, subsampling=subsampling, progressive=progressive)
    assert look(encode_picture(read_picture(source), "jpeg")) == look(source)


def test_a_jpeg_of_own_tables_keeps_them() -> None:
    tables = [list(range(1, 65)), [3] * 64]
    tables[0][10:] = [11] * 54
    source = jpeg(qtables=tables)
    got = look(encode_picture(read_picture(source), "jpeg"))[0]
    finest = look(jpeg(quality=90))[0]
    assert got[1] == [min(a, b) for a, b in zip(tables[1], finest[1], strict=True)]
    assert got[0] == [min(a, b) for a, b in zip(look(source)[0][0], finest[0], strict=True)]


@pytest.mark.parametrize("quality", [1, 30, 75, 89])
def test_coarse_tables_are_not_taken_over(quality: int) -> None:
    """They would undo the restoration; the sampling is kept."""
    got = look(encode_picture(read_picture(jpeg(quality=quality)), "jpeg"))
    tables, sampling, _ = look(jpeg(quality=90))
    assert got[0] == tables
    assert got[1] == sampling == 2


def test_a_given_quality_wins() -> None:
    picture = read_picture(jpeg(quality=92, subsampling=2))
    assert look(encode_picture(picture, "jpeg", quality=50))[0] == look(jpeg(quality=50))[0]
    assert look(encode_picture(picture, "jpeg", quality=97))[1] == 0


def test_a_cmyk_jpeg_says_nothing_of_rgb_tables() -> None:
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "jpeg", quality=20)
    picture = read_picture(buffer.getvalue())
    assert picture.coding.tables == ()
    assert look(encode_picture(picture, "jpeg"))[0] == look(jpeg(quality=95))[0]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("metadata", [False, True])
def test_a_tiff_keeps_its_compression(compression: str, deep: bool, metadata: bool) -> None:
    code = {"raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773}[compression]
    if deep:
        pixels = RGB[..., ::-1].astype(np.uint16) * 257
        source = bytes(cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, code])[1])
    else:
        source = make_file("tiff", RGB, compression=compression)
    picture = read_picture(source)
    if metadata:
        picture = Picture(picture.pixels, xmp=b"<x/>", format="tiff", coding=picture.coding)
    data = encode_picture(picture, "tiff")
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[259] == code
    np.testing.assert_array_equal(read_picture(data).pixels, RGB if not deep else RGB.astype(np.uint16) * 257)


@pytest.mark.parametrize("compression", ["jpeg", "lzma", "group4"])
def test_other_compressions_of_tiff_become_deflate(compression: str) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(RGB)
    (image.convert("1") if compression == "group4" else image).save(buffer, "tiff", compression=compression)
    picture = read_picture(buffer.getvalue())
    data = encode_picture(picture, "tiff")
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[259] == 8
    np.testing.assert_array_equal(read_picture(data).pixels, picture.pixels)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("metadata", [Metadata(), Metadata(xmp=b"<x/>")])
def test_webp_is_lossless_where_it_was(alpha: bool, metadata: Metadata) -> None:
    pixels = np.dstack([RGB, RGB[..., 0]]) if alpha else RGB
    for lossless in (True, False):
        picture = read_picture(make_file("webp", pixels, metadata, lossless=lossless, exact=True))
        assert picture.coding.lossless == lossless
        again = read_picture(encode_picture(picture, "webp"))
        assert np.array_equal(again.pixels, picture.pixels) == lossless
        assert again.coding.lossless == lossless


@pytest.mark.parametrize("lossless", [True, False])
def test_of_an_animated_webp_the_first_frame_tells(lossless: bool) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    buffer = io.BytesIO()
    frames[0].save(buffer, "webp", save_all=True, append_images=frames[1:], lossless=lossless)
    assert read_picture(buffer.getvalue()).coding.lossless == lossless


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_avif_keeps_its_sampling(subsampling: str) -> None:
    picture = read_picture(make_file("avif", SMOOTH, subsampling=subsampling))
    assert picture.coding.subsampling == subsampling
    assert not picture.coding.lossless
    assert read_picture(encode_picture(picture, "avif")).coding.subsampling == subsampling


def test_avif_by_an_opencv_built_without_it_is_written_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cannot(*given: object) -> None:
        raise cv2.error("could not find encoder")

    source = bytes(cv2.imencode(".avif", RGB, [cv2.IMWRITE_AVIF_QUALITY, 100])[1])
    picture = read_picture(source)
    assert picture.coding.lossless
    monkeypatch.setattr(cv2, "imencodeWithMetadata", cannot)
    with caplog.at_level(logging.WARNING, "facemend"):
        again = read_picture(encode_picture(picture, "avif"))
    assert "without loss" in caplog.text
    assert again.pixels.shape == RGB.shape


@pytest.mark.parametrize(("bits", "note"), [(8, False), (10, True), (12, True)])
def test_avif_of_more_bits_says_that_it_is_read_with_8(bits: int, note: bool) -> None:
    image = SMOOTH if bits == 8 else SMOOTH.astype(np.uint16) << (bits - 8)
    settings = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 95]
    picture = read_picture(bytes(cv2.imencode(".avif", image[..., ::-1], settings)[1]))
    assert picture.notes == ((f"has {bits} bits per channel: AVIF is read with 8",) if note else ())
    assert np.abs(picture.pixels.astype(int) - SMOOTH).mean() < 6


def test_avif_in_hdr_colours_says_that_they_are_not_understood() -> None:
    data = make_file("avif", SMOOTH)
    at = data.index(b"colrnclx") + 8
    hdr = data[:at] + b"\0\x09\0\x10" + data[at + 4 :]  # BT.2020, PQ
    assert read_picture(data).notes == ()
    assert "primaries 9, transfer 16" in read_picture(hdr).notes[0]
