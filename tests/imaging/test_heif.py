from __future__ import annotations

import io
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from facemend.errors import InputError, MissingExtraError, TooLargeError
from facemend.imaging import Picture, encode_picture, read_header, read_picture, write_picture
from facemend.imaging.heif import is_heif
from picture_files import SRGB, Metadata, make_file, open_file

RGB = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def test_without_the_extra_the_message_names_file_and_pip_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "a.heic").write_bytes(make_file("heif", RGB))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (read_picture, read_header):
        with pytest.raises(MissingExtraError, match=r'a\.heic: .*pip install .*\[heif\]"'):
            read(tmp_path / "a.heic")
    with pytest.raises(MissingExtraError, match=r"b\.heic: .*\[heif\]"):
        write_picture(tmp_path / "b.heic", Picture(RGB))
    assert not (tmp_path / "b.heic").exists()


def test_avif_is_not_taken_for_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = make_file("avif", RGB)
    assert read_picture(data).format == "avif"
    # A container brand first, AVIF among the compatible ones: both libraries write such files.
    assert not is_heif(data[:8] + b"mif1" + data[12:])
    assert is_heif(make_file("heif", RGB))
    assert not is_heif(b"\0\0\0\x10ftypqt  \0\0\0\0")


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_depth_is_kept_and_white_is_white(bits: int) -> None:
    top = (1 << bits) - 1
    stored = np.arange(32 * 48 * 3).reshape(32, 48, 3) * top // (32 * 48 * 3 - 1)
    source = make_file("heif", stored.astype(np.uint8 if bits == 8 else np.uint16), bits=bits)
    picture = read_picture(source)
    assert picture.pixels.max() == np.iinfo(picture.pixels.dtype).max
    assert picture.coding.bits == bits
    assert picture.coding.lossless
    opened = open_file(encode_picture(picture, "heif"))
    assert opened.bits == bits
    np.testing.assert_array_equal(opened.pixels, stored)


def test_lossy_heic_keeps_its_sampling_and_colours() -> None:
    smooth = np.asarray(Image.fromarray(RGB[:3, :4]).resize((48, 32), Image.Resampling.BICUBIC))
    for subsampling in ("4:2:0", "4:2:2", "4:4:4"):
        source = make_file(
            "heif",
            smooth,
            quality=90,
            subsampling=subsampling,
            matrix_coefficients=9,
            color_primaries=9,
            transfer_characteristics=16,
        )
        picture = read_picture(source)
        assert (picture.coding.lossless, picture.coding.subsampling) == (False, subsampling)
        again = read_picture(encode_picture(picture, "heif"))
        assert again.coding == picture.coding
        assert again.coding.nclx == (9, 16)
        assert np.abs(again.pixels.astype(int) - picture.pixels).mean() < 6


def test_a_profile_is_kept() -> None:
    assert read_picture(encode_picture(Picture(RGB, icc=SRGB), "heif")).icc == SRGB


def test_further_pictures_are_left_out_with_a_notice() -> None:
    heif = pillow_heif.from_pillow(Image.fromarray(RGB))
    heif.add_from_pillow(Image.fromarray(RGB[::-1].copy()))
    buffer = io.BytesIO()
    heif.save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    picture = read_picture(buffer.getvalue())
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.notes == ("the file holds 2 pictures: only the main one is used",)


def test_premultiplied_colours_are_made_straight() -> None:
    alpha = np.tile(np.array([[0, 64, 128, 255]], np.uint8), (32, 12))
    premultiplied = np.rint(RGB * (alpha[..., None] / 255)).astype(np.uint8)
    buffer = io.BytesIO()
    pillow_heif.encode(
        "RGBa",
        (48, 32),
        np.dstack([premultiplied, alpha]).tobytes(),
        buffer,
        quality=-1,
        chroma=444,
        matrix_coefficients=0,
        color_primaries=1,
        transfer_characteristics=13,
        full_range_flag=1,
    )
    data = buffer.getvalue()
    assert pillow_heif.open_heif(data).premultiplied_alpha
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels[alpha == 255], RGB[alpha == 255])
    assert np.abs(picture.pixels[alpha > 0].astype(int) - RGB[alpha > 0]).max() <= 2


def test_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_file("heif", RGB)
    header = read_header(data)
    assert (header.format, header.width, header.height) == ("heif", 48, 32)

    def no_decoding(_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pillow_heif.heif.BaseImage, "load", no_decoding)
    with pytest.raises(TooLargeError, match="48x32"):
        read_picture(data, max_pixels=48 * 32 - 1)


def test_damaged_files_are_input_errors() -> None:
    data = make_file("heif", RGB, Metadata(icc=SRGB))
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(InputError, match=r"damaged or cut off|not a picture"):
            read_picture(data[: int(share * len(data))])
