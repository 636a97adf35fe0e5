"""`clean`: less noise, fewer JPEG blocks and half-tone dots, and next to nothing of a clean picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facemend.degradations.film import grain
from facemend.degradations.parts import Grain, Halftone
from facemend.degradations.print import halftone
from facemend.imaging import Picture, clean, from_float, luma, to_float
from facemend.imaging.noise import block_energies, block_jump, noise_power


def psnr(a, b) -> float:
    return float(-10 * np.log10(np.mean((to_float(a) - to_float(b)) ** 2)))


def jpeg(image, quality: int):
    coded = cv2.imencode(".jpg", from_float(image)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return to_float(np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]))


SPOILT = {
    "fine grain": (lambda image: grain(image, Grain(10, 0.3)), 2.5),
    "coarse grain": (lambda image: grain(image, Grain(15, 1.0)), 1.2),
    "JPEG 10": (lambda image: jpeg(image, 10), 0.5),
    "JPEG 25": (lambda image: jpeg(image, 25), 0.4),
    "half-tone": (lambda image: halftone(image, Halftone(4.0, 1.0, (0.6,))), 4.0),
    "four inks": (lambda image: halftone(image, Halftone(3.0, 0.8, (0.26, 1.3, 0.0, 0.78))), 1.5),
}


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("kind", SPOILT)
def test_it_is_closer_to_the_truth(portrait, kind, gray, depth):
    spoil, gain = SPOILT[kind]
    truth = portrait.as_float()
    truth = cv2.merge([luma(truth)] * 3) if gray else truth
    spoilt = spoil(truth)
    spoilt = cv2.merge([luma(spoilt)] * 3) if gray else spoilt
    picture = Picture(from_float(spoilt, depth), from_float(spoilt[..., 0], depth), gray)
    cleaned = clean(picture)
    assert psnr(cleaned.pixels, truth) > psnr(picture.pixels, truth) + gain
    assert cleaned.pixels.dtype == depth
    assert cleaned.alpha is picture.alpha
    assert not gray or (cleaned.pixels == cleaned.pixels[..., :1]).all()


def test_a_clean_picture_stays(portrait):
    assert psnr(clean(portrait).pixels, portrait.pixels) > 45
    smooth = Picture(from_float(cv2.GaussianBlur(portrait.as_float(), (0, 0), 8)))
    assert clean(smooth) is smooth
    dot = Picture(np.full((1, 5, 3), 9, np.uint8))
    assert clean(dot) is dot


@pytest.mark.parametrize("rows", [8, 56])
def test_bands_make_no_difference(portrait, monkeypatch, rows):
    picture = Picture(from_float(grain(portrait.as_float()[:203, :150], Grain(12, 0.3))))
    whole = clean(picture).pixels
    monkeypatch.setattr("facemend.imaging.denoise.BAND", rows * 150)
    apart = clean(picture).pixels.astype(int)
    assert (apart != whole).mean() < 1e-3  # sums are rounded otherwise
    assert np.abs(apart - whole).max() <= 1


def test_noise_is_measured_beside_what_a_photo_shows(portrait, rng):
    noise = np.float32(8 / 255) * rng.standard_normal((400, 320, 1), np.float32)
    picture = from_float(0.2 + 0.6 * cv2.GaussianBlur(portrait.as_float(), (0, 0), 1.5) + noise)
    power = noise_power(block_energies(picture, 16, 2000, gray=True)[0])
    # Independent noise of variance v has energy v in each coefficient of an orthonormal transform.
    np.testing.assert_allclose(np.sqrt(power.mean()) * 255, 8, rtol=0.08)
    np.testing.assert_allclose(power[4:, 4:].mean(0), (8 / 255) ** 2, rtol=0.5)


def test_the_jump_at_blocks_is_that_between_them():
    blocks = np.indices((6, 8)).sum(0) % 2 * np.float32(0.05)  # a chequerboard of 8 pixels
    plane = blocks.repeat(8, 0).repeat(8, 1)[3:, 5:]
    assert block_jump(plane) == pytest.approx(0.05)
    assert block_jump(np.ascontiguousarray(plane[:1].repeat(40, 0))) == 0  # stripes are no blocks
