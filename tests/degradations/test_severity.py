"""What the figures of a plan mean."""

import math

import numpy as np
import pytest

from facemend.degradations import GaussianBlur, MotionBlur, Plan, apply, preset
from facemend.degradations.parts import Grain, Halftone, JpegGeneration, Print, Sharpening, Tone
from facemend.degradations.severity import LUMA_OF_NOISE, severity

SIZE = 256


@pytest.mark.parametrize(
    ("parts", "figures"),
    [
        ({}, (256, 0, 0, 100)),
        ({"down": 0.5}, (256, 0, 0, 100)),  # enlarging adds nothing
        ({"down": 4.0, "noise_sigma": 7.0}, (64, 0, 7 * LUMA_OF_NOISE, 100)),
        ({"noise_sigma": 1.0, "jpeg_quality": 60}, (256, 0, 0, 60)),  # less than half of the least step
        ({"blur": GaussianBlur(9, 4.0, 1.0, 0.0)}, (256 / math.hypot(1, 2.355 * 2), 2, 0, 100)),
        (
            {"motion": MotionBlur(12.0, 0.0, 0.0)},
            (256 / math.hypot(1, 2.355 * math.sqrt(12)), math.sqrt(12), 0, 100),
        ),
        ({"print": Print(halftone=Halftone(3.0, 1.0, (0.7,)))}, (256 / math.hypot(1, 3), 0, 0, 100)),
        (
            {"print": Print(grain=Grain(8.0, 1.0)), "down": 4.0, "noise_sigma": 1.5},
            (64, 0, math.hypot(2, 1.5 * LUMA_OF_NOISE), 100),
        ),
        ({"print": Print(tone=Tone(), grain=Grain(8.0, 1.0)), "noise_sigma": 6.0}, (256, 0, 10, 100)),
        ({"generations": (JpegGeneration(0.5, 40),), "jpeg_quality": 90}, (128, 0, 0, 40)),
    ],
)
def test_figures(parts, figures):
    found = severity(Plan(size=SIZE, **parts))
    assert (found.resolution, found.blur, found.noise, found.jpeg) == pytest.approx(figures)


@pytest.mark.parametrize("quality", [None, 95, 80, 60, 35])
@pytest.mark.parametrize(
    "parts",
    [
        {"noise_sigma": 4.0},
        {"noise_sigma": 18.0},
        {"noise_sigma": 9.0, "print": Print(tone=Tone())},
        {"noise_sigma": 9.0, "gray": True},
        {"noise_sigma": 6.0, "sharpening": Sharpening(1.2, 1.5)},
    ],
)
def test_noise_is_what_is_left_of_it(parts, quality):
    plan = Plan(size=SIZE, jpeg_quality=quality, **parts)
    assert deviation_of_flat(plan) == pytest.approx(severity(plan).noise, rel=0.12, abs=0.4)


@pytest.mark.parametrize("quality", [None, 90, 60])
@pytest.mark.parametrize("scale", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("earlier", [90, 70, 50])
def test_noise_behind_an_earlier_jpeg_is_told_roughly(quality, scale, earlier):
    plan = Plan(
        size=SIZE,
        noise_sigma=15.0,
        generations=(JpegGeneration(scale, earlier),),
        jpeg_quality=quality,
    )
    assert deviation_of_flat(plan) == pytest.approx(severity(plan).noise, rel=0.4)


def deviation_of_flat(plan):
    flat = apply(np.full((SIZE, SIZE, 3), 128, np.uint8), plan)
    return (flat.astype(float) @ (0.299, 0.587, 0.114)).std()


def test_resolution_is_where_a_wave_is_lost(rng):
    """Of a wave of two such pixels less than half is left, of one of eight most: of a scan as of a blur."""
    for plan in (Plan(size=SIZE, down=8.0), Plan(size=SIZE, blur=GaussianBlur(20, 3.4, 3.4, 0.0))):
        pixel = SIZE / severity(plan).resolution
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
        return np.mean([severity(preset(name).draw(rng, SIZE)).resolution for _ in range(200)])

    assert mean("heavy") < mean("medium") < mean("light") < SIZE
