from __future__ import annotations

import numpy as np
import pytest

from facemend.errors import InputError
from facemend.imaging import Picture, luma

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_float_and_back_is_exact(dtype: type) -> None:
    top = np.iinfo(dtype).max
    values = np.arange(top + 1, dtype=dtype)[None, :, None].repeat(3, axis=2)
    picture = Picture(values)
    image = picture.as_float()
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 1)
    again = picture.with_pixels(image)
    assert again.pixels.dtype == dtype
    np.testing.assert_array_equal(again.pixels, values)


def test_with_pixels_rounds_and_clips() -> None:
    image = np.array([[[-0.2, 0.5019, 0.4999], [1.3, np.nan, 0.0]]], np.float32)
    result = Picture(RGB[:1, :2]).with_pixels(image).pixels
    np.testing.assert_array_equal(result, [[[0, 128, 127], [255, 0, 0]]])


def test_gray_stays_gray() -> None:
    image = np.random.default_rng(1).random((6, 9, 3), dtype=np.float32)
    result = Picture(RGB[..., :1].repeat(3, axis=2), gray=True, icc=b"profile").with_pixels(image)
    assert result.gray
    assert result.icc == b"profile"
    np.testing.assert_array_equal(result.pixels, np.rint(luma(image) * 255)[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("scale", [2, 0.5, 1.5, 0.01])
def test_resized_takes_alpha_along(scale: float) -> None:
    picture = Picture(RGB, RGB[..., 0], exif=b"Exif").resized(scale)
    size = max(1, round(6 * scale)), max(1, round(9 * scale))
    assert picture.pixels.shape == (*size, 3)
    assert picture.alpha is not None
    assert picture.alpha.shape == size
    assert picture.alpha.dtype == np.uint8
    np.testing.assert_array_equal(picture.alpha, picture.pixels[..., 0])
    assert picture.exif == b"Exif"


def test_with_pixels_of_another_size_resizes_alpha() -> None:
    result = Picture(RGB, np.full((6, 9), 77, np.uint8)).with_pixels(np.zeros((12, 18, 3), np.float32))
    np.testing.assert_array_equal(result.alpha, np.full((12, 18), 77))


@pytest.mark.parametrize(
    ("channels", "gray", "alpha"), [(1, True, False), (2, True, True), (3, False, False), (4, False, True)]
)
def test_from_array(channels: int, gray: bool, alpha: bool) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (4, 5, channels), dtype=np.uint16)
    picture = Picture.from_array(array)
    assert picture.gray == gray
    np.testing.assert_array_equal(
        picture.pixels, array[..., :3] if channels > 2 else array[..., :1].repeat(3, axis=2)
    )
    assert (picture.alpha is not None) == alpha
    if alpha:
        np.testing.assert_array_equal(picture.alpha, array[..., -1])
    array[:] = 0
    assert picture.pixels.any()


def test_from_array_takes_floats_and_planes() -> None:
    np.testing.assert_array_equal(Picture.from_array(np.full((2, 2), 0.5)).pixels, np.full((2, 2, 3), 128))


def test_alpha_must_fit() -> None:
    for alpha in (np.zeros((5, 9), np.uint8), np.zeros((6, 9), np.uint16)):
        with pytest.raises(InputError, match="alpha"):
            Picture(RGB, alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_hidden_does_not_darken_an_edge(dtype: type) -> None:
    most = np.iinfo(dtype).max
    pixels = np.zeros((20, 40, 3), dtype)
    pixels[:, :20] = (most * 0.8, most * 0.6, most * 0.5)
    alpha = np.zeros((20, 40), dtype)
    alpha[:, :20] = most
    large = Picture(pixels, alpha=alpha).resized(2)
    shown = large.pixels[large.alpha > 0].astype(float) / most
    np.testing.assert_allclose(shown, np.broadcast_to((0.8, 0.6, 0.5), shown.shape), atol=0.01)


def test_what_nobody_sees_and_what_all_see_stays() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    for alpha in (None, np.zeros((4, 4), np.uint8), np.full((4, 4), 9, np.uint8)):
        picture = Picture(pixels, alpha=alpha)
        assert picture.seen() is picture
