from __future__ import annotations

import numpy as np
import pytest

from facemend.imaging import (
    is_gray,
    keep_chroma,
    luma,
    match_statistics,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)

IMAGE = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
OTHER = np.random.default_rng(1).random((20, 30, 3), dtype=np.float32) * 0.3 + 0.4


def test_luma_weights() -> None:
    np.testing.assert_allclose(luma(np.eye(3, dtype=np.float32)[None]), [[0.299, 0.587, 0.114]], atol=1e-6)
    np.testing.assert_allclose(luma(IMAGE[:, ::-1]), (IMAGE @ [0.299, 0.587, 0.114])[:, ::-1], atol=1e-6)


def test_ycbcr_is_the_standard_matrix_and_inverts() -> None:
    # BT.601, full range, as in JFIF
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    np.testing.assert_allclose(rgb_to_ycbcr(IMAGE), IMAGE @ matrix.T + [0, 0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(IMAGE)), IMAGE, atol=1e-5)


def test_gray_and_tinted_pictures_are_gray_and_coloured_ones_are_not() -> None:
    plane = luma(IMAGE)[..., None]
    assert is_gray(plane.repeat(3, axis=2))
    assert is_gray(np.clip(plane * 0.7 + np.array([0.2, 0.1, 0.0], np.float32), 0, 1))  # even sepia tint
    assert not is_gray(IMAGE)


@pytest.mark.parametrize(("spread", "gray"), [(3.8, True), (3.95, False)])
def test_the_published_limit(spread: float, gray: bool) -> None:
    # Red off by +-spread: variances spread^2, 0, spread^2, mean 2/3 spread^2, which is 10 at spread 3.873.
    image = np.full((10, 10, 3), 0.5, np.float32)
    image[::2, :, 0] += spread / 255
    image[1::2, :, 0] -= spread / 255
    assert is_gray(image) == gray


def test_statistics_are_matched() -> None:
    result = match_statistics(IMAGE, OTHER)
    np.testing.assert_allclose(result.mean((0, 1)), OTHER.mean((0, 1)), atol=1e-4)
    np.testing.assert_allclose(result.std((0, 1)), OTHER.std((0, 1)), atol=1e-4)
    flat = match_statistics(np.full((4, 4, 3), 0.2, np.float32), OTHER)
    np.testing.assert_allclose(flat, np.broadcast_to(OTHER.mean((0, 1)), (4, 4, 3)), atol=1e-5)


def test_keep_chroma_takes_light_from_one_and_colour_from_the_other() -> None:
    restored = luma(IMAGE)[..., None] * 0.2 + np.array([0.3, 0.4, 0.5], np.float32)
    result = keep_chroma(restored, OTHER)
    np.testing.assert_allclose(luma(result), luma(restored), atol=1e-5)
    np.testing.assert_allclose(rgb_to_ycbcr(result)[..., 1:], rgb_to_ycbcr(OTHER)[..., 1:], atol=1e-5)


def test_keep_chroma_leaves_gray_gray() -> None:
    result = keep_chroma(IMAGE, luma(OTHER)[..., None].repeat(3, axis=2))
    assert np.ptp(result, axis=2).max() == 0
