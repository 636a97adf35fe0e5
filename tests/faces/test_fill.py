"""Holes filled from crops."""

import cv2
import numpy as np
import pytest

from facemend.faces.fill import (
    fill_from_crop,
    fill_hole,
    hole_in_crop,
    meet_ring,
    nearest_crop,
    soft_edge,
)
from facemend.faces.warp import invert, resize_matrix, transform, warp

SIZE = 64


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    """Photo -> crop: the crop's middle shows the photo at (x, y)."""
    turn = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (SIZE - 1) / 2)
    return np.column_stack([linear, middle - linear @ np.array([x, y])])


def disc(height, width, x, y, radius) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns - x, rows - y) <= radius


@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (0.3, 20), (1.7, -35), (4, 90)])
def test_the_crop_shows_nothing_that_the_hole_has_touched(rng, scale, degrees):
    """What lies outside the hole as the crop shows it does not depend on the hole."""
    matrix = similarity(scale, degrees, 210, 200)
    hole = disc(400, 420, 212, 197, 9)
    photo = rng.random((400, 420, 3)).astype(np.float32)
    other = photo.copy()
    other[hole] = 1 - other[hole]
    seen = hole_in_crop(hole, matrix, SIZE)
    first, second = (warp(image, matrix, (SIZE, SIZE), interpolation="linear") for image in (photo, other))
    moved = np.abs(first - second).max(axis=2) > 1e-6
    assert not moved[~seen].any()
    # And no more than that is taken away: the disc's area, and a rim of some pixels of the coarser grid.
    rim = 2.5 * max(scale, 1.0)
    assert seen.sum() <= np.pi * (9 * scale + rim) ** 2 + 1


def test_a_hole_outside_the_crop_is_not_seen():
    hole = disc(100, 120, 100, 80, 5)
    assert not hole_in_crop(hole, similarity(1, 0, 40, 40), SIZE).any()


def test_colours_are_met_round_the_hole(rng):
    """A network that tints everything: the tint goes, what it painted stays."""
    crop = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    painted = crop.copy()
    painted[30:34, 30:34] += 0.2
    hole = disc(SIZE, SIZE, 32, 32, 10)
    tinted = painted + np.array([0.1, -0.05, 0.02], np.float32)
    np.testing.assert_allclose(meet_ring(crop, tinted, hole)[hole], painted[hole], atol=1e-3)
    # What the crop has in the hole itself has no say.
    spoiled = crop.copy()
    spoiled[hole] = 0
    assert np.array_equal(meet_ring(spoiled, tinted, hole)[hole], meet_ring(crop, tinted, hole)[hole])


def test_the_edge_is_soft_inside_the_hole_only():
    hole = np.zeros((30, 40), bool)
    hole[5:25, 10:30] = True
    edge = soft_edge(hole, 4)
    assert not edge[~hole].any()
    np.testing.assert_allclose(edge[15, 9:17], [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1], atol=1e-6)
    assert np.all(soft_edge(hole, 0)[hole] == 1)


def test_the_nearest_crop_by_brute_force(rng):
    matrices = [similarity(1, 10, 30, 40), similarity(0.5, -50, 70, 50), similarity(2, 0, 40, 80)]
    points = rng.uniform(0, 120, (200, 2))
    for point, index in zip(points, nearest_crop(points, matrices, SIZE), strict=True):
        away = [np.abs(transform(m, point[None])[0] - (SIZE - 1) / 2).max() for m in matrices]
        assert away[index] == min(away)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_the_hole_changes_and_its_middle_is_the_filling(rng, dtype):
    top = np.iinfo(dtype).max
    before = rng.integers(0, top, (50, 60, 3)).astype(dtype)
    hole = disc(50, 60, 30, 25, 12)
    plain = np.full((50, 60, 3), 0.25, np.float32)
    filled = np.full((50, 60, 3), 0.75, np.float32)
    pixels = before.copy()
    fill_hole(pixels, plain, filled, hole, np.ones((50, 60), np.float32), width=4)
    assert np.array_equal(pixels[~hole], before[~hole])
    middle = disc(50, 60, 30, 25, 7)
    assert np.all(pixels[middle] == round(0.75 * top))
    edge = hole & ~disc(50, 60, 30, 25, 11)  # nearly the plain filling, nothing of what was there
    assert np.all(np.abs(pixels[edge] / top - 0.25) < 0.5 * 0.5)
    half = before.copy()
    fill_hole(half, plain, filled, hole, np.full((50, 60), 0.5, np.float32), width=0)
    expected = np.rint(before[middle] * 0.5 + 0.75 * top * 0.5)
    assert np.abs(half[middle] - expected).max() <= 1


def test_not_a_bit_of_what_was_in_the_hole_is_left(rng):
    plain, filled = (rng.random((200, 200, 3)).astype(np.float32) for _ in range(2))
    hole = np.ones((200, 200), bool)
    results = [rng.integers(0, 65_536, (200, 200, 3), np.uint16) for _ in range(2)]
    for pixels in results:
        fill_hole(pixels, plain, filled, hole, np.ones(hole.shape, np.float32), width=2)
    np.testing.assert_array_equal(*results)


def test_gray_stays_gray():
    gray = np.repeat(np.arange(50, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(40, axis=0)
    hole = disc(40, 50, 20, 20, 8)
    colour = np.broadcast_to(np.array([0.9, 0.4, 0.1], np.float32), (40, 50, 3))
    fill_hole(gray, colour, colour, hole, np.ones((40, 50), np.float32), width=2, gray=True)
    assert np.ptp(gray, axis=2).max() == 0
    expected = 255 * (0.299 * 0.9 + 0.587 * 0.4 + 0.114 * 0.1)
    assert abs(int(gray[20, 20, 0]) - expected) <= 0.5


@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (0.4, 15), (2.5, -30)])
def test_a_crop_fills_what_it_sees(rng, scale, degrees):
    """The crop knows the truth: the hole's middle comes back, at every size and turn."""
    truth = cv2.GaussianBlur(rng.random((200, 220, 3)).astype(np.float32), (0, 0), 6)
    matrix = similarity(scale, degrees, 100, 90)
    reach = SIZE / scale
    hole = disc(200, 220, 100, 90, reach / 8)
    pixels = (truth * 255).round().astype(np.uint8)
    before = pixels.copy()
    pixels[hole] = 0
    crop = warp(truth, matrix, (SIZE, SIZE))
    count = fill_from_crop(pixels, truth, crop, [matrix], 0, hole)
    assert count == hole.sum()
    assert np.abs(pixels.astype(int) - before).max() <= 6


def test_two_crops_share_the_hole(rng):
    """Each pixel comes from the crop in whose middle it lies; what neither sees stays."""
    left, right = similarity(1, 0, 40, 50), similarity(1, 0, 80, 50)
    hole = np.zeros((100, 160), bool)
    hole[45:55, 5:155] = True
    pixels = np.zeros((100, 160, 3), np.uint8)
    plain = np.full((100, 160, 3), 0.5, np.float32)
    counts = [
        fill_from_crop(pixels, plain, np.full((SIZE, SIZE, 3), value, np.float32), [left, right], index, hole)
        for index, value in enumerate((0.4, 0.8))
    ]
    row = pixels[50, :, 0]
    assert np.all(row[30:60] == 102)  # 0.4
    assert np.all(row[61:90] == 204)  # 0.8
    assert not row[:8].any()
    assert not row[112:].any()
    assert not pixels[~hole].any()
    assert sum(counts) == np.count_nonzero(row > 0.5 * np.where(np.arange(160) < 60.5, 102, 204)) * 10


def test_a_crop_beside_the_photo_fills_nothing():
    matrix = similarity(1, 0, 500, 500)
    hole = disc(50, 50, 25, 25, 9)
    pixels, plain = np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50, 3), np.float32)
    assert fill_from_crop(pixels, plain, np.ones((SIZE, SIZE, 3), np.float32), [matrix], 0, hole) == 0
    assert not pixels.any()


def test_a_squeezed_crop_is_undone():
    """Matrices of aligned pictures that are not square."""
    matrix = resize_matrix(SIZE / 100, SIZE / 80)
    hole = disc(80, 100, 50, 40, 6)
    seen = hole_in_crop(hole, matrix, SIZE)
    there = transform(invert(matrix), np.argwhere(seen)[:, ::-1].mean(0)[None])[0]
    np.testing.assert_allclose(there, [50, 40], atol=0.5)
