from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from facemend import files
from facemend.errors import OutputError
from facemend.imaging import Picture, encode_picture, left_out, read_picture, write_picture

RGB = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
RGB16 = np.random.default_rng(1).integers(0, 65536, (7, 11, 3), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[271] = "camera"
    exif.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    return exif.tobytes()


def gray_of(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :1].repeat(3, axis=2)


def camera(exif: bytes | None) -> object:
    block = Image.Exif()
    block.load(exif or b"")
    return block.get(271)


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_small_16_bits_round_trip(format: str, gray: bool, with_alpha: bool, size: tuple[int, int]) -> None:
    pixels = RGB16[: size[0], : size[1]]
    pixels = gray_of(pixels) if gray else pixels.copy()
    alpha = pixels[..., 1] ^ 0x5555 if with_alpha else None
    data = encode_picture(Picture(pixels, alpha, gray, SRGB if not gray else GRAY_ICC), format)
    again = read_picture(data)
    assert again.pixels.dtype == np.uint16
    np.testing.assert_array_equal(again.pixels, pixels)
    if with_alpha:
        np.testing.assert_array_equal(again.alpha, alpha)
    else:
        assert again.alpha is None
    if not (gray and with_alpha and format == "tiff"):  # written as RGBA, where a gray profile does not fit
        assert again.gray == gray
        assert again.icc == (GRAY_ICC if gray else SRGB)


def test_what_a_bmp_cannot_hold_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    everything = Picture(
        RGB,
        icc=SRGB,
        exif=exif_block(),
        xmp=b"<x/>",
        iptc=b"iptc",
        text=(("prompt", "a face"),),
        dpi=(600, 600),
    )
    encode_picture(everything, "bmp")
    for what in ("its colour profile", "EXIF", "XMP", "IPTC", "the texts of the PNG"):
        assert f"bmp cannot hold {what}" in caplog.text
    (note,) = left_out(Picture(RGB, dpi=(600, 600)), "webp")
    assert note == "webp cannot hold its resolution of 600 dpi: left out"
    assert left_out(Picture(RGB, dpi=(72, 72)), "webp") == left_out(everything, "tiff")[1:] == ()


def test_too_much_exif_costs_the_exif_and_not_the_picture(caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[270] = "x" * 70_000
    again = read_picture(encode_picture(Picture(RGB, exif=exif.tobytes()), "jpeg"))
    assert again.exif is None
    assert "EXIF is left out" in caplog.text
    again = read_picture(encode_picture(Picture(RGB, exif=exif_block(), xmp=b"<x>" * 30_000), "jpeg"))
    assert (camera(again.exif), again.xmp) == ("camera", None)
    assert "XMP is left out" in caplog.text


def test_a_profile_of_another_kind_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert read_picture(encode_picture(Picture(RGB, icc=GRAY_ICC), "png")).icc is None
    assert "profile does not fit" in caplog.text


@pytest.mark.parametrize("format", ["jpeg", "bmp"])
def test_alpha_is_laid_on_white_with_a_warning(format: str, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    alpha = np.repeat(np.array([0, 128, 255], np.uint8), 16)[None].repeat(16, axis=0)
    with caplog.at_level(logging.WARNING, "facemend"):
        again = read_picture(encode_picture(Picture(pixels, alpha), format))
    np.testing.assert_allclose(again.pixels[8, [8, 24, 40], 0], [255, 127, 0], atol=2)
    assert again.alpha is None
    assert "laid on white" in caplog.text


@pytest.mark.parametrize("format", ["jpeg", "webp", "bmp"])
def test_16_bits_are_rounded_to_8_where_needed(format: str) -> None:
    values = np.array([0, 128, 129, 257, 32768, 65535], np.uint16)
    pixels = values.repeat(16)[None, :, None].repeat(16, axis=0).repeat(3, axis=2)
    again = read_picture(encode_picture(Picture(pixels), format))
    assert again.pixels.dtype == np.uint8
    got = again.pixels[8, 8::16, 0].astype(int)
    np.testing.assert_allclose(got, [0, 0, 1, 1, 128, 255], atol=0 if format == "bmp" else 3)


def test_quality_changes_the_size() -> None:
    picture = Picture(cv2.resize(RGB, (64, 64)))
    for format in ("jpeg", "webp"):
        assert len(encode_picture(picture, format, quality=40)) < len(encode_picture(picture, format))


@pytest.mark.parametrize("quality", [85, 94, 100])
def test_strong_grain_fits_into_a_jpeg(quality: int) -> None:
    grain = np.random.default_rng(0).normal(128, 60, (300, 300, 3)).clip(0, 255).astype(np.uint8)
    again = read_picture(encode_picture(Picture(grain), "jpeg", quality=quality))
    assert np.abs(again.pixels.astype(int) - grain).mean() < 40


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"a\.png: exists already"):
        write_picture(path, Picture(RGB))
    assert path.read_bytes() == b"precious"
    write_picture(path, Picture(RGB), overwrite=True)
    np.testing.assert_array_equal(read_picture(path).pixels, RGB)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_overwritten(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    link = os.link

    def late(source: Path, target: Path) -> None:
        target.write_bytes(b"precious")
        if not links:
            raise OSError(errno.EPERM, "no links here")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(OutputError, match="exists already"):
        write_picture(path, Picture(RGB))
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EINVAL])
def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def none(*_: object) -> None:
        raise OSError(code, "no links here")

    monkeypatch.setattr(os, "link", none)
    write_picture(tmp_path / "a.png", Picture(RGB))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, RGB)
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written \(No space left"):
        write_picture(path, Picture(RGB), overwrite=True)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["a.png"]


def test_bad_targets(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for name, reason in {
        "a.gif": "cannot write this kind of file: use one of .png",
        "a": "cannot write this kind of file",
        "folder.png": "is a folder",
        "missing/a.png": "folder does not exist",
        "file/a.png": "cannot be written",
    }.items():
        with pytest.raises(OutputError) as info:
            write_picture(tmp_path / name, Picture(RGB))
        assert reason in str(info.value)
        assert str(tmp_path / name) in str(info.value)
    with pytest.raises(OutputError, match="'gif'"):
        encode_picture(Picture(RGB), "gif")


@pytest.mark.parametrize(("name", "format", "most"), [("a.webp", "webp", 16_383), ("a.jpg", "jpeg", 65_500)])
def test_too_large_for_the_format(tmp_path: Path, name: str, format: str, most: int) -> None:
    wide = Picture(np.zeros((1, most + 1, 3), np.uint8))
    told = (
        rf"{name}: a picture of {most + 1}x1 cannot be written as {format}, which holds {most} pixels a side"
    )
    with pytest.raises(OutputError, match=f"{told}: write it as PNG or TIFF"):
        write_picture(tmp_path / name, wide)
    assert os.listdir(tmp_path) == []
    write_picture(tmp_path / name, Picture(wide.pixels[:, :most]))
    assert read_picture(tmp_path / name).pixels.shape == (1, most, 3)


def test_the_file_gets_the_usual_rights(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(RGB))
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize(
    "name", ["写真" * 20 + ".png", "Фотография бабушки и дедушки на даче в июле 1962 года, скан.png"]
)
def test_the_file_in_the_making_has_a_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    names = []
    monkeypatch.setattr(files, "begin", lambda part: names.append(part.name) or part)
    write_picture(tmp_path / name, Picture(RGB))
    assert all(part.encode().decode() == part and len(part.encode()) < 255 for part in names)
    assert os.listdir(tmp_path) == [name]
