"""Colour taken over, luma kept exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facemend.imaging import luma, rgb_to_ycbcr, take_chroma

pixel = arrays(np.float32, (6, 5, 3), elements=st.floats(0, 1, width=32))
plane = arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32))


@given(pixel, pixel, plane)
def test_luma_stays_whatever_the_colours(photo, coloured, weight):
    result = take_chroma(photo, coloured, weight)
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(luma(result) - luma(photo)).max() < 1e-6


@given(pixel, pixel)
def test_weight_0_changes_nothing(photo, coloured):
    assert np.array_equal(take_chroma(photo, coloured, np.zeros((6, 5), np.float32)), photo)


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_chroma_is_the_other_pictures_where_such_colours_exist(rng, weight):
    """Against YCbCr: pale colours on middle gray are never out of range."""
    photo, coloured = (rng.uniform(0.4, 0.6, (8, 9, 3)).astype(np.float32) for _ in range(2))
    result = rgb_to_ycbcr(take_chroma(photo, coloured, np.full((8, 9), weight, np.float32)))
    old, new = rgb_to_ycbcr(photo), rgb_to_ycbcr(coloured)
    np.testing.assert_allclose(result[..., 0], old[..., 0], atol=1e-6)
    expected = (1 - weight) * old[..., 1:] + weight * new[..., 1:]
    np.testing.assert_allclose(result[..., 1:], expected, atol=1e-6)


def test_colours_that_do_not_exist_become_paler_of_the_same_hue():
    photo = np.full((1, 1, 3), 0.1, np.float32)
    red = np.array([[[1, 0, 0]]], np.float32)
    result = rgb_to_ycbcr(take_chroma(photo, red, np.ones((1, 1), np.float32)))[0, 0] - 0.5
    wanted = rgb_to_ycbcr(red)[0, 0] - 0.5
    assert 0.05 < result[2] < wanted[2]
    assert result[1] / result[2] == pytest.approx(wanted[1] / wanted[2], abs=1e-4)
