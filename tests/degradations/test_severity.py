"""What the figures of a plan mean."""

import math

import numpy as np
import pytest

from facemend.degradations import GaussianBlur, MotionBlur, Plan, apply, preset
from facemend.degradations.parts import Grain, Halftone, JpegGeneration, Print, Tone
from facemend.degradations.severity import severity

SIZE = 256
GRAY = np.full((SIZE, SIZE, 3), 128, np.uint8)
LUMA_OF_NOISE = math.hypot(0.299, 0.587, 0.114)


@pytest.mark.parametrize(
    ("parts", "figures"),
    [
        ({}, (256, 0, 0, 100)),
        ({"down": 0.5}, (256, 0, 0, 100)),  # enlarging adds nothing
        ({"noise_sigma": 7.0}, (256, 0, 7 * LUMA_OF_NOISE, 100)),
        ({"noise_sigma": 7.0, "gray": True}, (256, 0, 7 * LUMA_OF_NOISE, 100)),
        # Enlarged bilinearly, where a pixel is on average 2/3 of one and 1/3 of its neighbours, both ways.
        ({"down": 4.0, "noise_sigma": 7.0}, (64, 0, 7 * LUMA_OF_NOISE * 2 / 3, 100)),
        ({"noise_sigma": 1.0, "jpeg_quality": 40}, (256, 0, 0, 40)),  # rounded away
        ({"blur": GaussianBlur(20, 4.0, 1.0, 0.5)}, (256 / math.hypot(1, 2.355 * 2), 2, 0, 100)),
        # Cut off, a wide Gaussian is a box of 2r + 1 taps.
        (
            {"blur": GaussianBlur(9, 1e5, 1e5, 0.0)},
            (256 / math.hypot(1, 2.355 * math.sqrt(30)), math.sqrt(30), 0, 100),
        ),
        (
            {"motion": MotionBlur(12.0, 0.0, 0.0)},
            (256 / math.hypot(1, 2.355 * math.sqrt(12)), math.sqrt(12), 0, 100),
        ),
        ({"print": Print(halftone=Halftone(3.0, 1.0, (0.7,)))}, (256 / math.hypot(1, 3), 0, 0, 100)),
        ({"print": Print(tone=Tone(), grain=Grain(8.0, 1.0)), "noise_sigma": 6.0}, (256, 0, 10, 100)),
        ({"generations": (JpegGeneration(0.5, 40),), "jpeg_quality": 90}, (128, 0, 0, 40)),
    ],
)
def test_figures(parts, figures):
    found = severity(Plan(size=SIZE, **parts), GRAY)
    resolution, blur, noise, jpeg = figures
    assert (found.resolution, found.blur, found.jpeg) == pytest.approx((resolution, blur, jpeg))
    assert found.noise == pytest.approx(noise, rel=0.06)


def test_resolution_is_where_a_wave_is_lost(rng):
    """Of a wave of two such pixels less than half is left, of one of eight most: of a scan as of a blur."""
    for plan in (Plan(size=SIZE, down=8.0), Plan(size=SIZE, blur=GaussianBlur(20, 3.4, 3.4, 0.0))):
        pixel = SIZE / severity(plan, GRAY).resolution
        kept = {}
        for period in (2 * pixel, 8 * pixel):
            wave = 128 + 60 * np.sin(2 * np.pi * (np.arange(SIZE) + 3) / period)
            image = np.broadcast_to(wave[None, :, None], (SIZE, SIZE, 3)).astype(np.uint8)
            middle = apply(image, plan)[64:-64, 64:-64].astype(float)
            kept[period] = middle.std() / image[64:-64, 64:-64].astype(float).std()
        few, many = kept.values()
        assert few < 0.5 < 0.75 < many


def test_presets_get_worse_in_their_order():
    def mean(name):
        rng = np.random.default_rng(0)
        return np.mean([severity(preset(name).draw(rng, SIZE), GRAY).resolution for _ in range(200)])

    assert mean("heavy") < mean("medium") < mean("light") < SIZE
