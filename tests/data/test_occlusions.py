"""Drawn occlusions: each changes what it should cover and leaves the rest, and can be replayed."""

import numpy as np
import pytest

from facemend.data.augment import Augmentation, augment
from facemend.data.occlusions import KINDS, occlude
from facemend.faces.template import template_points

SIDE = 128


@pytest.fixture
def face(rng):
    """Skin with a little noise."""
    return np.clip(np.array([200, 150, 120]) + rng.normal(0, 3, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def changed(before, after):
    return np.abs(before.astype(int) - after.astype(int)).max(2) > 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_each_kind_covers_a_part(kind, seed, face):
    after = KINDS[kind](face.astype(np.float32) / 255, np.random.default_rng(seed))
    assert after.shape == face.shape
    assert after.min() > -0.01
    share = changed(face, np.clip(after, 0, 1) * 255).mean()
    assert 0.002 < share < 0.8


@pytest.mark.parametrize("seed", range(8))
def test_glasses_sit_on_the_eyes_and_a_hat_leaves_the_mouth(seed, face):
    glasses, hat = (
        changed(face, KINDS[kind](face.astype(np.float32) / 255, np.random.default_rng(seed)) * 255)
        for kind in ("glasses", "hat")
    )
    left, right, _, mouth, _ = template_points(SIDE).astype(int)
    half = (right[0] - left[0]) // 2
    for x, y in (left, right):
        assert glasses[y - half : y + half, x - half : x + half].mean() > 0.03
    assert not glasses[mouth[1] :].any()
    assert not glasses[: SIDE // 5].any()
    assert hat[:8].mean() > 0.9
    assert not hat[int(SIDE * 0.62) :].any()


def test_all_kinds_are_drawn_and_replayed(face):
    results = [occlude(face, np.random.default_rng(seed)) for seed in range(30)]
    again = [occlude(face, np.random.default_rng(seed)) for seed in range(30)]
    assert all(np.array_equal(a, b) for a, b in zip(results, again, strict=True))
    assert len({r.tobytes() for r in results}) == 30
    assert all(r.dtype == np.uint8 for r in results)


def test_probability_and_source(face):
    before = face.copy()
    rng = np.random.default_rng(0)
    how = Augmentation(flip=0.0, occlude=0.4)
    hits = [not np.array_equal(augment(face, how, SIDE, rng)[0], face) for _ in range(100)]
    assert 0.25 < np.mean(hits) < 0.55
    assert np.array_equal(face, before)
    one, two = np.random.default_rng(1), np.random.default_rng(1)
    augment(face, Augmentation(occlude=0.0), SIDE, one)
    augment(face, Augmentation(), SIDE, two)
    assert one.random() == two.random()  # without it nothing is drawn from the generator
