import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facemend.degradations.damage import dust, folds, scratches
from facemend.degradations.jpeg import jpeg
from facemend.degradations.parts import Damage, Dust, Folds, Scratches
from facemend.degradations.plan import Plan, apply
from facemend.errors import InputError

Floats = NDArray[np.float32]
SIDE = 256


def gray() -> Floats:
    return np.full((SIDE, SIDE), 0.5, np.float32)


def changed(image: Floats) -> NDArray[np.bool_]:
    return np.abs(image - 0.5) > 0.01


def directions(image: Floats) -> NDArray[np.float64]:
    """How far from the vertical each line of a picture runs, radians: the axis of its own pixels."""
    count, labels = cv2.connectedComponents(changed(image).astype(np.uint8), connectivity=8)
    angles = []
    for label in range(1, count):
        y, x = np.nonzero(labels == label)
        if len(y) > 30:
            _, vectors = np.linalg.eigh(np.cov(np.stack((x, y))))
            angles.append(abs(math.atan2(vectors[0, 1], vectors[1, 1])))
    tilt = np.array(angles) % math.pi
    return np.minimum(tilt, math.pi - tilt)


@pytest.mark.parametrize("slant", [0.02, 0.2])
def test_scratches_are_thin_lines_about_the_vertical(slant: float):
    images = [scratches(gray(), Scratches(1, 1.0, 1.0, slant, seed)) for seed in range(120)]
    tilts = np.concatenate([directions(image) for image in images])
    assert len(tilts) > 90
    # Deviation of a normal distribution from that of its absolute value; the bends of the lines add .015.
    assert math.sqrt(np.mean(tilts**2)) == pytest.approx(math.hypot(slant, 0.01), rel=0.3)
    lengths = [changed(image).any(axis=1).sum() for image in images]
    areas = [changed(image).sum() for image in images]
    assert 1 <= np.sum(areas) / np.sum(lengths) <= 3.5
    lighter = np.mean(
        [np.sum(image[changed(image)] > 0.5) > np.sum(image[changed(image)] < 0.5) for image in images]
    )
    assert 0.5 < lighter < 0.8


def test_more_and_wider_scratches_change_more():
    def share(count: int, width: float) -> float:
        return float(
            np.mean([changed(scratches(gray(), Scratches(count, width, 1, 0.1, s))) for s in range(10)])
        )

    assert share(4, 1) == pytest.approx(2 * share(2, 1), rel=0.5)
    assert share(2, 6) > 2.5 * share(2, 1)
    assert share(1, 1) < 0.01


def test_opacity_is_how_far_towards_white_and_black():
    for opacity in (0.3, 1.0):
        result = scratches(np.full((SIDE, SIDE), 0.2, np.float32), Scratches(60, 3, opacity, 0.1, 1))
        assert result.max() == pytest.approx(0.2 + opacity * 0.8, abs=0.1 * opacity)
        assert result.min() == pytest.approx(0.2 - opacity * 0.2, abs=0.05 * opacity)


def test_dust_is_as_many_specks_of_that_size():
    result = dust(np.full((1024, 1024), 0.5, np.float32), Dust(100, 0, 3.0, 1.0, 2))
    count, _, stats, _ = cv2.connectedComponentsWithStats(changed(result).astype(np.uint8))
    assert 85 <= count - 1 <= 100  # some touch, or lie at the edge
    radii = np.sqrt(stats[1:, cv2.CC_STAT_AREA] / np.pi)
    # Radius 3 e^(.6 normal) along one axis, .4 to 1 of it along the other, and half a pixel of soft edge.
    assert np.median(radii) == pytest.approx(3 * math.sqrt(0.7) + 0.5, rel=0.25)


def test_hairs_are_long_and_thin():
    images = [dust(gray(), Dust(0, 1, 2.0, 1.0, seed)) for seed in range(30)]
    for image in images:
        y, x = np.nonzero(changed(image))
        if len(y) > 40:
            assert len(y) < 5 * (np.ptp(x) + np.ptp(y) + 60)
    assert np.median([changed(image).sum() for image in images]) > 100
    assert max(changed(image).mean() for image in images) < 0.02


def test_specks_below_a_pixel_are_fainter():
    def effect(size: float) -> float:
        return float(np.abs(dust(gray(), Dust(50, 0, size, 1.0, 3)) - 0.5).sum())

    assert 0 < effect(0.1) < 0.3 * effect(0.4)


def test_folds_run_from_edge_to_edge_with_a_light_and_a_dark_side():
    for seed in range(12):
        result = folds(gray(), Folds(1, 6.0, 0.8, seed))
        touched = np.abs(result - 0.5) > 0.002
        edges = (touched[0], touched[-1], touched[:, 0], touched[:, -1])
        assert sum(bool(edge.any()) for edge in edges) >= 2
        assert touched.mean() < 0.2
        # Signed distance of the light and of the dark pixels to the axis of all that is touched.
        y, x = np.nonzero(touched)
        _, vectors = np.linalg.eigh(np.cov(np.stack((x, y))))
        distance = vectors[0, 0] * (x - x.mean()) + vectors[1, 0] * (y - y.mean())
        values = result[y, x]
        dark, light = distance[values < 0.45], distance[(values > 0.55) & (np.abs(distance) > 3)]
        assert min(len(dark), len(light)) > 100
        side = np.sign(np.median(dark))
        assert np.mean(dark * side > -2) > 0.95
        assert np.mean(light * side < 2) > 0.95
        # The shading is .6 * .8 * u e^(-u^2) at u widths from the axis.
        shading = 0.48 * (u := np.linspace(0, 3, 3001)) * np.exp(-(u**2))
        assert np.percentile(values, 1) == pytest.approx(0.5 - shading.max(), abs=0.01)
        bins = np.round(distance).astype(int)
        profile = {place: values[bins == place].mean() for place in np.unique(bins)}
        marked = [place for place, mean in profile.items() if abs(mean - 0.5) > 0.05]
        assert max(marked) - min(marked) == pytest.approx(2 * 6 * u[shading > 0.05].max(), abs=2)


@pytest.mark.parametrize(
    "how",
    [
        Damage(scratches=Scratches(8, 2.0, 0.8, 0.1, 5)),
        Damage(dust=Dust(30, 2, 2.0, 0.8, 5)),
        Damage(folds=Folds(2, 8.0, 0.8, 5)),
    ],
    ids=("scratches", "dust", "folds"),
)
def test_color_is_damaged_as_gray_is_and_only_there(how: Damage):
    image = np.full((SIDE, SIDE, 3), (40, 90, 200), np.uint8)
    before = image.copy()
    result = apply(image, Plan(size=SIDE, damage=how)).astype(int)
    np.testing.assert_array_equal(image, before)
    touched = (result != image).any(axis=2)
    assert 0.001 < touched.mean() < 0.4
    gray_result = apply(np.full((SIDE, SIDE, 3), 128, np.uint8), Plan(size=SIDE, damage=how)).astype(int)
    same = touched == (gray_result != 128).any(axis=2)
    assert same.mean() > 0.98


def test_damage_lies_in_the_same_places_at_another_size():
    for how, half in (
        (Scratches(4, 4.0, 1.0, 0.1, 3), Scratches(4, 2.0, 1.0, 0.1, 3)),
        (Dust(20, 0, 6.0, 1.0, 3), Dust(20, 0, 3.0, 1.0, 3)),
        (Folds(1, 16.0, 1.0, 3), Folds(1, 8.0, 1.0, 3)),
    ):
        draw = {Scratches: scratches, Dust: dust, Folds: folds}[type(how)]
        large = draw(np.full((512, 512), 0.5, np.float32), how)  # type: ignore[operator]
        small = draw(gray(), half)  # type: ignore[operator]
        averaged = large.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
        assert np.corrcoef(averaged.ravel(), small.ravel())[0, 1] > 0.8, type(how)


def test_a_picture_that_no_jpeg_can_hold_is_an_error_in_one_line():
    assert jpeg(np.zeros((1, 65_500), np.float32), 90).shape == (1, 65_500)
    with pytest.raises(InputError, match="at most 65500 pixels a side"):
        jpeg(np.zeros((1, 65_501), np.float32), 90)
