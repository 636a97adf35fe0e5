from __future__ import annotations

import numpy as np
import pytest

from facemend.faces.mask import (
    above_jaw,
    border_mask,
    combine,
    ellipse_mask,
    head_mask,
    head_zone,
    hull_mask,
    is_sure,
)


def mesh(size: int, centre: tuple[float, float] = (0.5, 0.55)) -> np.ndarray:
    """Points that fill an oval of a face's shape."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(t) * 0.25, np.sin(t) * 0.33], 1)
    return ((np.vstack([ring, ring * 0.5]) + centre) * size).astype(np.float32)


@pytest.mark.parametrize("size", [64, 256, 512])
def test_every_mask_is_soft_bounded_and_clear_of_the_border(size: int) -> None:
    person = np.ones((size, size), np.float32)
    for mask in (
        hull_mask(mesh(size), size),
        head_mask(person, mesh(size)),
        ellipse_mask(size),
        border_mask(size),
    ):
        assert mask.shape == (size, size)
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not edge.any()
        # No step larger than a feather allows: a hard edge would show as a line.
        assert (
            max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max())
            < 0.3 * 64 / size + 0.02
        )
        assert mask[round(0.6 * size), size // 2] > 0.99


def test_hull_covers_the_face_and_little_else() -> None:
    mask = hull_mask(mesh(256), 256)
    assert mask[int(0.3 * 256) : int(0.8 * 256), 120:136].min() > 0.9
    assert mask[:20].max() == 0
    assert mask[:, :30].max() < 0.05


def test_hull_outside_the_crop_is_harmless() -> None:
    for points in (mesh(64, (-9, -9)), mesh(64) * 1e6):
        assert np.isfinite(hull_mask(points, 64)).all()


def test_head_has_hair_but_no_neck() -> None:
    person = np.zeros((256, 256), np.float32)
    person[30:, 40:216] = 1  # hair from row 30, shoulders to the bottom
    mask = head_mask(person, mesh(256))
    assert mask[52, 128] > 0.9  # hair over the forehead
    assert hull_mask(mesh(256), 256)[38, 128] < 0.1
    assert mask[245, 128] < 0.05  # neck
    assert mask[225, 50] < 0.05  # shoulder
    assert mask[140, 20] == 0  # background


def test_background_taken_for_a_person_does_not_make_a_square() -> None:
    mask = head_mask(np.ones((256, 256), np.float32), mesh(256))
    for row, column in ((40, 30), (40, 226), (200, 30), (200, 226)):
        assert mask[row, column] < 0.05


def test_jaw_line() -> None:
    jaw = above_jaw(mesh(256), 256)
    assert jaw[10, 10] == jaw[140, 128] == 1
    assert jaw[250, 128] == jaw[230, 40] == 0


def test_unsure_person_masks_are_refused() -> None:
    points = mesh(256)
    hull, zone = hull_mask(points, 256), head_zone(points, 256)
    assert is_sure(np.ones((256, 256), np.float32), hull, zone)
    for person in (np.zeros((256, 256), np.float32), np.full((256, 256), 0.7, np.float32)):
        assert not is_sure(person, hull, zone)
        assert (head_mask(person, points) == hull).all()


def test_combine_is_the_minimum() -> None:
    zone = head_zone(mesh(64), 64)
    assert (combine(zone, border_mask(64)) == np.minimum(zone, border_mask(64))).all()
