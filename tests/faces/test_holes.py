"""What a mask covers, and the plain filling."""

import numpy as np
import pytest

from facemend.errors import InputError
from facemend.faces.holes import hole_of, without_hole
from facemend.imaging import Picture, to_float


def picture(rng, height=40, width=60, dtype=np.uint8) -> Picture:
    top = np.iinfo(dtype).max
    return Picture(rng.integers(0, top, (height, width, 3), endpoint=True).astype(dtype))


def square(height=40, width=60) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[10:20, 15:40] = True
    return hole


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_the_hole(rng, channels, dtype):
    top = np.iinfo(dtype).max
    mask = square().astype(dtype) * top
    if channels is not None:
        mask = np.repeat(mask[..., None], channels, axis=2)
    if channels in (2, 4):
        mask[..., -1] = top
        mask[:15, :, -1] = 0  # white and transparent is no hole
    expected = square()
    if channels in (2, 4):
        expected[:15] = False
    assert np.array_equal(hole_of(Picture.from_array(mask), picture(rng)), expected)


def test_soft_masks_are_cut_at_one_half(rng):
    levels = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
    assert np.array_equal(hole_of(Picture.from_array(levels), picture(rng)), levels > 127)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((40, 60), np.uint8), "nothing in the mask is white"),
        (np.full((40, 60), 120, np.uint8), "nothing in the mask is white"),
        (np.full((40, 60), 255, np.uint8), "the whole mask is white"),
        (np.full((60, 40), 255, np.uint8), "the mask is 40x60 and the photo 60x40"),
    ],
)
def test_masks_that_do_not_fit(rng, mask, message):
    with pytest.raises(InputError, match=message):
        hole_of(Picture.from_array(mask), picture(rng))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(40, 60), (1500, 1200)])
def test_only_the_hole_is_filled_and_what_was_in_it_does_not_count(rng, dtype, size):
    photo, hole = picture(rng, *size, dtype), square(*size)
    plain = without_hole(photo, hole)
    assert np.array_equal(plain[~hole], photo.pixels[~hole])
    spoiled = photo.pixels.copy()
    spoiled[hole] = rng.integers(0, 255, (hole.sum(), 3))
    assert np.array_equal(without_hole(Picture(spoiled), hole), plain)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(80, 100), (1300, 1600)])
def test_the_filling_goes_on_with_what_lies_round_it(dtype, size):
    """On a ramp the filling has the tones that the ramp has there."""
    top = np.iinfo(dtype).max
    ramp = np.linspace(0.2, 0.8, size[1])
    pixels = np.repeat(np.tile(ramp * top, (size[0], 1))[..., None], 3, axis=2).astype(dtype)
    hole = np.zeros(size, bool)
    hole[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = True
    truth = Picture(pixels).as_float()[hole]
    pixels[hole] = top
    filling = to_float(without_hole(Picture(pixels), hole)[hole])
    assert truth.min() - 0.06 <= filling.min() <= filling.max() <= truth.max() + 0.06  # slopes go on
    assert abs(filling.mean() - truth.mean()) < 0.02


def test_a_fine_pattern_gets_the_mean(rng):
    """Every pixel of the small copy is touched by the hole."""
    hole = np.zeros((2100, 2100), bool)
    hole[::2, ::2] = True
    pixels = np.full((2100, 2100, 3), (50, 100, 150), np.uint8)
    pixels[hole] = 255
    plain = to_float(without_hole(Picture(pixels), hole))
    np.testing.assert_allclose(
        plain[hole], np.broadcast_to(np.array([50, 100, 150]) / 255, (hole.sum(), 3)), atol=1e-6
    )
