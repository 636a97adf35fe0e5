"""Size and pixels alone: what `read_picture` and Pillow say of the same file."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from facemend.errors import InputError
from facemend.imaging import bare, in_srgb, read_picture, read_rgb, read_size, write_picture

TURNED = Image.Exif()
TURNED[0x0112] = 6  # orientation: a quarter turn
KINDS = {
    "lossy.webp": {"quality": 80},
    "lossless.webp": {"lossless": True},
    "turned.webp": {"exif": TURNED},
    "turned.jpg": {"exif": TURNED},
    "plain.jpg": {"quality": 90},
    "plain.png": {},
    "plain.tiff": {},
    "plain.avif": {},
}


@pytest.fixture
def image(rng):
    rough = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    return rough.resize((300, 200), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_size_and_pixels_of_all_kinds(image, kind, mode, tmp_path):
    image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = tmp_path / kind
    try:
        image.save(file, **KINDS[kind])
    except OSError:
        pytest.skip("the format has no such mode")
    with Image.open(file) as opened:
        assert read_size(file) == opened.size == (300, 200)
    pixels, whole = read_rgb(file), read_picture(file).pixels
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, whole)
    assert pixels.shape == ((300, 200, 3) if "exif" in KINDS[kind] else (200, 300, 3))


def test_webp_sizes_of_all_digits(tmp_path):
    """Each of the three kinds keeps 14 bits or more of a side; against libwebp by way of Pillow."""
    file, alpha = tmp_path / "a.webp", Image.new("L", (1, 1), 128)
    seen = set()
    for width, height in ((1, 1), (255, 3), (256, 2), (4097, 5), (7, 16383)):
        for options in ({"quality": 10}, {"lossless": True}, {"quality": 10, "exif": b"Exif\0\0II*\0"}):
            image = Image.new("RGB", (width, height), (90, 40, 10))
            if "exif" in options:
                image.putalpha(alpha.resize(image.size))
            image.save(file, method=0, **options)
            seen.add(file.read_bytes()[12:16])
            assert read_size(file) == (width, height)
    assert seen == {b"VP8 ", b"VP8L", b"VP8X"}


def test_the_size_needs_no_more_than_the_header(image, tmp_path):
    for kind in KINDS:
        file = tmp_path / kind
        image.save(file, **KINDS[kind])
        content = file.read_bytes()
        if kind in ("plain.tiff", "plain.avif"):  # these may keep their header at the end
            continue
        file.write_bytes(content[: 30 if kind.endswith("webp") else 700])
        assert read_size(file) == (300, 200)


def test_sixteen_bits_are_rounded(tmp_path):
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    file = tmp_path / "deep.png"
    assert cv2.imwrite(str(file), np.repeat(deep[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_rgb(file)[..., 0], np.rint(deep / 257))
    assert read_size(file) == (256, 256)


def test_plain_webp_goes_by_opencv_and_others_do_not(image, tmp_path, monkeypatch):
    """Pillow would hold up all other threads while it decodes WebP."""
    seen = []
    monkeypatch.setattr(bare, "read_picture", lambda *_, name: seen.append(name) or read_picture(name))
    for kind in KINDS:
        image.save(tmp_path / kind, **KINDS[kind])
        read_rgb(tmp_path / kind)
    assert seen == [str(tmp_path / kind) for kind in KINDS if kind not in ("lossy.webp", "lossless.webp")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: b"", "the file is empty"),
        (lambda content: b"no picture", "not a picture"),
        (lambda content: content[:16], "damaged|not a picture"),
    ],
)
@pytest.mark.parametrize("kind", ["lossy.webp", "lossless.webp", "plain.png"])
def test_damage_is_named(image, kind, change, message, tmp_path):
    content = io.BytesIO()
    image.save(content, kind.split(".")[1], **KINDS[kind])
    file = tmp_path / kind
    file.write_bytes(change(content.getvalue()))
    with pytest.raises(InputError, match=rf"{kind}: .*({message})"):
        read_rgb(file)


def test_what_is_no_file(tmp_path):
    for read in (read_size, read_rgb):
        with pytest.raises(InputError, match=r"gone\.webp: no such file"):
            read(tmp_path / "gone.webp")
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path)


def test_pixels_without_a_profile_are_srgb(tmp_path):
    """Adobe RGB by Pillow's own conversion; that of a JPEG and of 16 bits; a damaged profile is left out."""
    wide = Path(__file__).parents[1] / "data/cases/adobergb.jpg"
    with Image.open(wide) as opened:
        profile = opened.info["icc_profile"]
        given, own = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        expected = np.asarray(ImageCms.profileToProfile(opened, given, own))
        stored = np.asarray(opened)
    assert np.abs(stored.astype(int) - expected).max() > 20
    np.testing.assert_array_equal(read_rgb(wide), expected)
    picture = read_picture(wide)
    write_picture(tmp_path / "deep.png", replace(picture, pixels=picture.pixels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_rgb(tmp_path / "deep.png"), expected)
    srgb = ImageCms.ImageCmsProfile(own).tobytes()
    for icc in (srgb, b"nonsense" * 20, None):
        kept = in_srgb(replace(picture, icc=icc))
        assert kept.icc is None
        np.testing.assert_array_equal(kept.pixels, stored)
