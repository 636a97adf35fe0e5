"""Views of training faces: exact where nothing is asked for, and each range does what it says."""

import numpy as np
import pytest

from facemend.data.augment import Augmentation
from facemend.data.augment import augment as augment_and_tell

STILL = Augmentation(flip=0.0)


def augment(*arguments):
    return augment_and_tell(*arguments)[0]


@pytest.fixture
def face(rng):
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def smooth():
    """Bright in the middle, red to the right, green downwards."""
    y, x = np.mgrid[:64, :64] / 63
    blob = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) * 8)
    return np.rint(np.stack([x, y, blob], 2) * 255).astype(np.uint8)


def test_nothing_asked_nothing_done_and_flip_is_exact(face, rng):
    assert np.array_equal(augment(face, STILL, 32, rng), face)
    assert np.array_equal(augment(face, Augmentation(flip=1.0), 32, rng), face[:, ::-1])


def test_flip_probability(face, rng):
    flipped = [
        np.array_equal(augment(face, Augmentation(flip=0.3), 32, rng), face[:, ::-1]) for _ in range(300)
    ]
    assert 0.2 < np.mean(flipped) < 0.4


def test_same_seed_same_view_and_the_source_is_not_touched(face):
    how, before = Augmentation(crop=(0.5, 1.2), rotate=20, shift=0.1, light=0.3), face.copy()
    one, two, other = (augment(face, how, 24, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one.shape, one.dtype) == ((24, 24, 3), np.uint8)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert np.array_equal(face, before)


@pytest.mark.parametrize("size", [16, 20, 64, 128])
def test_other_sizes_keep_the_picture(smooth, rng, size):
    """A view of the whole at any size has the same colours in the same places: no shift, no aliasing."""
    view = augment(smooth, STILL, size, rng).astype(float)
    centres = (np.arange(size) + 0.5) / size * 64 - 0.5  # picture pixels
    inner = slice(size // 8, -size // 8)
    red = np.broadcast_to(centres / 63 * 255, (size, size))
    assert np.abs(view[..., 0] - red)[inner, inner].max() < 3
    assert np.abs(view[..., 1] - red.T)[inner, inner].max() < 3


def test_shrinking_does_not_alias(rng):
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    view = augment(stripes, STILL, 32, rng).astype(float)
    assert np.abs(view[4:-4, 4:-4] - 127.5).max() < 10


def test_crop_magnifies(smooth):
    """Half the side: the red ramp runs half as far over the same width."""
    rng = np.random.default_rng(0)
    view = augment(smooth, Augmentation(crop=(0.5, 0.5), flip=0.0), 64, rng).astype(float)
    slope = (view[32, 50, 0] - view[32, 14, 0]) / 36
    assert slope == pytest.approx(0.5 * 255 / 63, rel=0.1)


def test_crop_stays_inside_the_picture(smooth):
    how = Augmentation(crop=(0.5, 0.9), flip=0.0)
    for seed in range(20):
        red = augment(smooth, how, 64, np.random.default_rng(seed))[32, :, 0].astype(int)
        assert (np.diff(red) >= 0).all()  # a reflection at the border would turn the ramp back


def test_rotation_keeps_the_middle_and_shift_moves_it(smooth):
    still = augment(smooth, STILL, 64, np.random.default_rng(0)).astype(int)
    turned = [
        augment(smooth, Augmentation(rotate=45, flip=0.0), 64, np.random.default_rng(s)) for s in range(5)
    ]
    assert max(np.abs(view - still)[31:33, 31:33].max() for view in turned) <= 6
    assert max(np.abs(view - still).mean() for view in turned) > 2
    moved = augment(smooth, Augmentation(shift=0.2, flip=0.0), 64, np.random.default_rng(0))
    assert np.abs(moved - still).mean() > 2


def test_light_changes_brightness_and_contrast_within_range():
    gray = np.full((8, 8, 3), 100, np.uint8)
    seen = [
        int(augment(gray, Augmentation(light=0.2, flip=0.0), 8, np.random.default_rng(s))[0, 0, 0])
        for s in range(50)
    ]
    # 100 * (1 +- 0.2) +- 0.2 * 128
    assert 100 * 0.8 - 25.6 - 1 <= min(seen) < 90
    assert 110 < max(seen) <= 100 * 1.2 + 25.6 + 1


def test_light_does_not_wrap_around():
    for value in (0, 255):
        flat = np.full((8, 8, 3), value, np.uint8)
        for seed in range(30):
            view = augment(flat, Augmentation(light=0.3, flip=0.0), 8, np.random.default_rng(seed))
            assert abs(int(view[0, 0, 0]) - value) <= 0.3 * 255 + 0.3 * 128 + 1
