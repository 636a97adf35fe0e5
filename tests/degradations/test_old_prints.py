"""Each part of an old print, and of its scan, against an independent measure of what it says."""

import colorsys
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facemend.degradations.film import grain, levels, soft_focus, tint
from facemend.degradations.jpeg import jpeg, jpeg_generation
from facemend.degradations.noise import noise_field
from facemend.degradations.parts import (
    Grain,
    Halftone,
    JpegGeneration,
    Levels,
    Paper,
    Sharpening,
    SoftFocus,
    Tone,
)
from facemend.degradations.print import halftone, paper, screen
from facemend.degradations.sharpen import unsharp_mask

Floats = NDArray[np.float32]


def flat(value: float, side: int = 512) -> Floats:
    return np.full((side, side), value, np.float32)


def in_color(plane: Floats) -> Floats:
    return np.repeat(plane[..., None], 3, axis=2)


def correlation(field: Floats, lag: int) -> float:
    along_x = np.corrcoef(field[:, lag:].ravel(), field[:, :-lag].ravel())[0, 1]
    along_y = np.corrcoef(field[lag:].ravel(), field[:-lag].ravel())[0, 1]
    return float((along_x + along_y) / 2)


@pytest.mark.parametrize("size", [0.2, 0.7, 1.5, 2.0, 3.0, 6.5])
def test_noise_fields_have_unit_deviation_and_the_asked_correlation(size: float):
    fields = [noise_field(500, 420, size, seed) for seed in range(4)]
    assert fields[0].shape == (500, 420)
    assert np.mean([f.std() for f in fields]) == pytest.approx(1, abs=0.05)
    assert abs(np.mean(fields)) < 0.05
    for lag in (1, 2, 5):
        expected = math.exp(-(lag**2) / (4 * size**2)) if size > 0.3 else 0
        assert np.mean([correlation(f, lag) for f in fields]) == pytest.approx(expected, abs=0.04), lag
    np.testing.assert_array_equal(fields[0], noise_field(500, 420, size, 0))
    assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.1
    if size == 0.2:  # nearly normal
        for limit, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
            assert np.mean(np.abs(fields) < limit) == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(
    ("size", "row"), [(1.5, [-2.349, -1.4306, -0.19]), (6.5, [-1.5248, -1.5248, -1.2974])]
)
def test_noise_fields_are_those_of_earlier_plans(size, row):
    np.testing.assert_allclose(noise_field(2, 3, size, 7)[0], row, atol=2e-4)


@pytest.mark.parametrize(("tone", "share"), [(0.5, 1.0), (0.2, 0.25 + 3 * 0.2 * 0.8), (0.8, 0.25 + 3 * 0.16)])
def test_grain_is_strongest_in_mid_tones(tone: float, share: float):
    result = grain(flat(tone), Grain(12, 1.3, 4)) - np.float32(tone)
    assert result.std() * 255 == pytest.approx(12 * share, rel=0.04)
    assert correlation(result, 2) == pytest.approx(math.exp(-4 / (4 * 1.3**2)), abs=0.04)
    color = grain(in_color(flat(tone)), Grain(12, 1.3, 4))
    np.testing.assert_allclose(color, in_color(result + np.float32(tone)), atol=1e-6)


def test_levels_move_black_white_and_the_middle():
    ramp = np.linspace(0, 1, 1001, dtype=np.float32)[None].repeat(3, axis=0)
    faded = levels(ramp, Levels(0.2, 0.85, 1.5))
    assert faded.min() == pytest.approx(0.2)
    assert faded.max() == pytest.approx(0.85)
    np.testing.assert_allclose(faded[1], 0.2 + 0.65 * np.linspace(0, 1, 1001) ** 1.5, atol=1e-4)
    harsh = levels(ramp, Levels(-0.1, 1.2, 1))
    assert np.mean(harsh == 0) == pytest.approx(0.1 / 1.3, abs=0.002)
    assert np.mean(harsh == 1) == pytest.approx(0.2 / 1.3, abs=0.002)


@pytest.mark.parametrize("hue", [0.09, 0.33, 0.58, 0.95])
def test_tints_have_the_hue_and_keep_the_luma(hue: float):
    gray = np.linspace(0.2, 0.7, 60, dtype=np.float32)[None].repeat(2, axis=0)
    toned = tint(gray, Tone(hue, 0.1, 0.03))
    np.testing.assert_allclose(toned @ (0.299, 0.587, 0.114), gray, atol=1e-5)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in toned[0].tolist()]
    np.testing.assert_allclose(hues, hue, atol=0.005)
    spread = toned[0].max(axis=1) - toned[0].min(axis=1)
    np.testing.assert_allclose(spread, 0.4 * gray[0] * (1 - gray[0]) + 0.03 * gray[0], atol=1e-5)


def test_toning_leaves_black_and_white_and_the_paper_does_not():
    ends = np.array([[0, 0.9]], np.float32)
    np.testing.assert_allclose(tint(ends, Tone(0.1, 0, 0.1))[0, 0], 0, atol=1e-6)
    white = tint(ends, Tone(0.1, 0, 0.1))[0, 1]
    assert white[0] > white[1] > white[2] + 0.05


@pytest.mark.parametrize("sigma", [1.5, 5.0, 14.0])
@pytest.mark.parametrize("period", [8, 32, 128])
def test_soft_focus_is_a_low_pass_mixed_in(sigma: float, period: int):
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * np.arange(512) / period)
    result = soft_focus(np.tile(wave.astype(np.float32), (512, 1)), SoftFocus(sigma, 0.6))[256, 128:384]
    kept = 2 * np.abs(np.fft.rfft(result)[256 // period]) / 256 / 0.4
    expected = 0.4 + 0.6 * math.exp(-2 * (math.pi * sigma / period) ** 2)
    assert kept == pytest.approx(expected, abs=0.02)
    assert result.mean() == pytest.approx(0.5, abs=0.005)


def test_soft_focus_in_color_is_that_of_each_channel():
    image = np.random.default_rng(0).random((60, 50, 3), dtype=np.float32)
    for sigma in (1.0, 7.0, 500.0):
        result = soft_focus(image, SoftFocus(sigma, 0.5))
        for channel in range(3):
            alone = soft_focus(np.ascontiguousarray(image[..., channel]), SoftFocus(sigma, 0.5))
            np.testing.assert_allclose(result[..., channel], alone, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 1.2])
def test_all_thresholds_of_a_screen_are_equally_frequent(angle: float):
    values = np.sort(screen(700, 600, 7.31828, angle).ravel())
    np.testing.assert_allclose(values, np.linspace(0, 1, values.size), atol=0.01)


def peaks(image: Floats) -> tuple[float, float]:
    """Period in pixels and angle in [0, pi/2) of the strongest wave of a picture."""
    side = image.shape[0]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((image - image.mean()) * window))
    y, x = np.unravel_index(power.argmax(), power.shape)
    fy, fx = np.fft.fftfreq(side)[y], np.fft.fftfreq(side)[x]
    return 1 / math.hypot(fx, fy), math.atan2(fy, fx) % (math.pi / 2)


@pytest.mark.parametrize(("pitch", "angle"), [(4.0, math.pi / 4), (6.5, 0.6), (10.0, 0.2), (5.0, 1.1)])
def test_halftone_has_its_pitch_and_angle(pitch: float, angle: float):
    period, direction = peaks(halftone(flat(0.7), Halftone(pitch, 1, (angle,))))
    assert period == pytest.approx(pitch, rel=0.02)
    assert direction == pytest.approx(angle, abs=0.03)


@pytest.mark.parametrize("tone", [0.1, 0.35, 0.5, 0.9])
def test_hard_dots_are_black_and_white_with_the_mean_of_the_picture(tone: float):
    result = halftone(flat(tone), Halftone(6.3, 500, (0.5,)))
    assert np.mean((result == 0) | (result == 1)) > 0.98
    assert result.mean() == pytest.approx(tone, abs=0.01)
    np.testing.assert_array_equal(
        halftone(in_color(flat(tone)), Halftone(6.3, 500, (0.5,))), in_color(result)
    )
    for end in (0, 1):
        np.testing.assert_array_equal(halftone(flat(end), Halftone(6.3, 2, (0.5,))), flat(end))


def test_each_ink_has_its_own_angle():
    angles = (0.3, 0.9, 0.0, 0.6)
    for count in (3, 4):
        result = halftone(in_color(flat(0.6)), Halftone(8, 1, angles[:count]))  # type: ignore[arg-type]
        if count == 3:
            for channel, angle in enumerate(angles[:3]):
                period, direction = peaks(result[..., channel])
                assert period == pytest.approx(8, rel=0.02)
                assert math.cos(4 * (direction - angle)) > 0.99
    # Bright red: no cyan in it, hence the red channel has the screen of black alone, which is not there.
    red = halftone(np.full((64, 64, 3), (1, 0.4, 0.4), np.float32), Halftone(8, 1, angles))
    np.testing.assert_allclose(red[..., 0], 1, atol=1e-5)
    assert red[..., 1].std() > 0.05
    # Gray: half of it is black ink, whose screen all channels share; without it they share none.
    four, three = (
        halftone(in_color(flat(0.4)), Halftone(8, 1, angles[:count]))  # type: ignore[arg-type]
        for count in (4, 3)
    )
    shared = [np.corrcoef(image[..., 0].ravel(), image[..., 1].ravel())[0, 1] for image in (four, three)]
    assert abs(shared[1]) < 0.1
    assert shared[0] > 0.2


@pytest.mark.parametrize("size", [0.6, 2.0, 5.0])
def test_paper_shades_light_and_not_black(size: float):
    for tone in (0.4, 0.8):
        result = paper(flat(tone), Paper(0.05, size, 2))
        assert result.std() == pytest.approx(0.05 * tone, rel=0.08)
        assert result.mean() == pytest.approx(tone, abs=0.003)
    np.testing.assert_array_equal(paper(flat(0), Paper(0.05, size)), flat(0))
    # Lit from the upper left: bumps of `size` turn from light to dark across their diagonal.
    shading = paper(flat(0.5), Paper(0.05, size, 2))
    lag = max(1, round(2 * size))
    assert np.corrcoef(shading[lag:, lag:].ravel(), shading[:-lag, :-lag].ravel())[0, 1] < -0.1
    np.testing.assert_allclose(paper(in_color(flat(0.5)), Paper(0.05, size, 2)), in_color(shading), atol=1e-6)


def test_sharpening_overshoots_at_an_edge():
    edge = np.full((64, 64), 0.3, np.float32)
    edge[:, 32:] = 0.6
    for sigma, amount in ((1.0, 1.0), (2.0, 1.0), (2.0, 0.5)):
        row = unsharp_mask(edge, Sharpening(sigma, amount))[32]
        # The blur of a step is its height times the normal distribution function, half a pixel from the edge.
        past = 0.5 * (1 - math.erf(0.5 / sigma / math.sqrt(2)))
        assert row.max() - 0.6 == pytest.approx(0.3 * amount * past, abs=0.006)
        assert 0.3 - row.min() == pytest.approx(0.3 * amount * past, abs=0.006)
        assert row[32] == row.max()
        np.testing.assert_allclose(row[[4, 60]], [0.3, 0.6], atol=1e-3)


def test_gray_jpeg_is_that_of_a_gray_picture():
    image = cv2.GaussianBlur(np.random.default_rng(1).random((80, 72), dtype=np.float32), (0, 0), 2)
    for quality in (30, 80):
        np.testing.assert_allclose(
            jpeg(image, quality), jpeg(in_color(image), quality)[..., 0], atol=2.1 / 255
        )


def test_an_earlier_jpeg_leaves_blocks_of_its_own_size():
    ramp = np.tile(np.linspace(0.2, 0.8, 512, dtype=np.float32), (512, 1))
    image = np.clip(ramp + 0.1 * noise_field(512, 512, 3, 0), 0, 1)
    result = jpeg_generation(image, JpegGeneration(0.5, 8))
    assert result.shape == image.shape
    # Steps between neighbours gather at the edges of blocks, which are 8 / 0.5 pixels wide now.
    steps = np.abs(np.diff(result, axis=1)).mean(axis=0)
    spectrum = np.abs(np.fft.rfft(steps[:496] - steps[:496].mean()))
    assert spectrum[496 // 16] == spectrum[20:60].max()
    whole = jpeg_generation(image, JpegGeneration(1.0, 60))
    np.testing.assert_array_equal(whole, jpeg(image, 60))
