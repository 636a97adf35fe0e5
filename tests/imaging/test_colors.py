from __future__ import annotations

import cv2
import numpy as np
import pytest

from facemend.imaging import (
    gaussian_blur,
    is_gray,
    is_toned,
    keep_chroma,
    luma,
    match_broad_colours,
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


def test_keep_chroma_takes_light_from_one_and_colour_from_the_other() -> None:
    restored = luma(IMAGE)[..., None] * 0.2 + np.array([0.3, 0.4, 0.5], np.float32)
    result = keep_chroma(restored, OTHER)
    np.testing.assert_allclose(luma(result), luma(restored), atol=1e-5)
    np.testing.assert_allclose(rgb_to_ycbcr(result)[..., 1:], rgb_to_ycbcr(OTHER)[..., 1:], atol=1e-5)


def test_keep_chroma_leaves_gray_gray() -> None:
    result = keep_chroma(IMAGE, luma(OTHER)[..., None].repeat(3, axis=2))
    assert np.ptp(result, axis=2).max() == 0


def face_like(rng):
    """A colour picture with regions of different hue at equal luma, (96, 96, 3)."""
    coarse = rng.uniform(0.2, 0.8, (6, 6, 3)).astype(np.float32)
    return cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def toned(image, power):
    """A print of it in one tone: each channel is its own curve of luma."""
    return (
        luma(image)[..., None] ** np.asarray(power, np.float32) * np.array([1.0, 0.93, 0.8], np.float32)
    ).astype(np.float32)


@pytest.mark.parametrize("power", [(1, 1, 1), (0.8, 1, 1.3), (1.3, 1, 0.8)])
def test_any_tone_is_seen_and_colour_is_not_taken_for_one(power):
    rng = np.random.default_rng(3)
    image = face_like(rng)
    noisy = toned(image, power) + rng.normal(0, 0.02, image.shape).astype(np.float32)
    assert is_toned(noisy.clip(0, 1).astype(np.float32))
    assert not is_toned(image)


def test_broad_colours_and_light_are_the_originals_and_fine_ones_the_restored_ones():
    rng = np.random.default_rng(4)
    original = 0.25 + 0.4 * face_like(rng)
    fine = rng.normal(0, 0.03, original.shape).astype(np.float32)
    fine -= gaussian_blur(fine, 2)
    tinted = (original * np.array([1.2, 1.1, 0.9], np.float32) + fine).astype(np.float32)
    result = match_broad_colours(tinted, original, sigma=4)
    before, after = (np.abs(gaussian_blur(p - original, 4)).mean() for p in (tinted, result))
    assert after < 0.15 * before
    kept = result - gaussian_blur(result, 2) - (original - gaussian_blur(original, 2))
    assert np.corrcoef(kept.ravel(), fine.ravel())[0, 1] > 0.95
    assert np.allclose(match_broad_colours(original, original, sigma=4), original, atol=1e-5)
