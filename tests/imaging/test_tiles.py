from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemend.imaging.tiles import tiles


@settings(deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 12), st.sampled_from([1, 2, 4])
)
def test_tiles_cover_every_pixel_once_and_see_their_margin(
    width: int, height: int, side: int, margin: int, scale: int
) -> None:
    counts = np.zeros((height * scale, width * scale), int)
    at = np.indices((height, width)).sum(axis=0)
    for tile in tiles(width, height, side=side, margin=margin):
        counts[tile.result(scale)] += 1
        assert max(tile.place[0].stop - tile.place[0].start, tile.place[1].stop - tile.place[1].start) <= side
        for place, outer, length in zip(tile.place, tile.outer, (height, width), strict=True):
            assert outer.start == max(0, place.start - margin)
            assert outer.stop == min(length, place.stop + margin)
        # The inner part of what was made of the outer one is what belongs there.
        enlarged = at[tile.outer].repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(
            enlarged[tile.inner(scale)], at.repeat(scale, 0).repeat(scale, 1)[tile.result(scale)]
        )
    assert (counts == 1).all()


@pytest.mark.parametrize("margin", [6, 5])
def test_a_margin_of_the_reach_leaves_no_seams(margin: int) -> None:
    """Two 7x7 filters reach 6 pixels: with less, tiles and the whole differ."""
    image = np.random.default_rng(0).random((61, 83), dtype=np.float32)
    kernel = np.full((7, 7), 0.05, np.float32)

    def net(x: np.ndarray) -> np.ndarray:
        for _ in range(2):
            x = np.tanh(cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_CONSTANT))
        return x

    result = np.empty_like(image)
    for tile in tiles(83, 61, side=20, margin=margin):
        result[tile.result(1)] = net(image[tile.outer])[tile.inner(1)]
    assert np.allclose(result, net(image), atol=1e-5) == (margin == 6)
