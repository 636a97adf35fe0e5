"""The averaging of restored faces: less flicker where nothing changes, none of it where something does."""

import numpy as np
import pytest

from facemend.faces.mask import border_mask
from facemend.video.smoothing import NEW, Look, Memory, steadied

SIZE = 64
STILL = np.eye(2, 3)


def face(crop, restored=None, mask=None, matrix=STILL, noise=0.0):
    plane = np.ones((SIZE, SIZE), np.float32) if mask is None else mask
    return Memory(matrix, crop, crop if restored is None else restored, plane, noise)


def noisy(rng, base, sigma):
    return np.clip(base + sigma * rng.standard_normal(base.shape), 0, 1).astype(np.float32)


@pytest.fixture
def base(rng):
    from cv2 import GaussianBlur

    blobs = GaussianBlur(rng.random((SIZE, SIZE, 3)), (0, 0), 4)
    return (0.25 + 0.5 * (blobs - blobs.min()) / np.ptp(blobs)).astype(np.float32)


def test_white_flicker_shrinks_as_the_formula_says(rng, base):
    # Of y + a (x - y) with white x of deviation 1 the steps deviate by a sqrt(2 / (2 - a)), those of x by
    # sqrt(2).
    memory, last, before, steady, raw = None, None, None, [], []
    for _ in range(60):
        shaking = noisy(rng, base, 0.03)
        now = face(noisy(rng, base, 0.01), shaking)
        memory = now if memory is None else steadied(memory, now, STILL)
        if last is not None:
            steady.append(np.std(memory.restored - last))
            raw.append(np.std(shaking - before))
        last, before = memory.restored, shaking
    assert np.mean(steady[20:]) / np.mean(raw[20:]) == pytest.approx(NEW / np.sqrt(2 - NEW), rel=0.15)


def test_what_changes_is_taken_at_once(rng, base):
    memory = face(noisy(rng, base, 0.01))
    for _ in range(5):
        memory = steadied(memory, face(noisy(rng, base, 0.01)), STILL)
    changed = base.copy()
    changed[40:56, 20:44] = 0.05  # a mouth opens
    now = face(noisy(rng, changed, 0.01), np.full_like(base, 0.5))
    after = steadied(memory, now, STILL)
    assert after.restored[44:52, 26:38] == pytest.approx(0.5, abs=0.01)
    elsewhere = after.restored[:28] - memory.restored[:28]
    assert elsewhere == pytest.approx(NEW * (0.5 - memory.restored[:28]), abs=0.02)


def test_a_flash_is_no_noise(rng, base):
    memory = face(base)
    for _ in range(5):
        memory = steadied(memory, face(noisy(rng, base, 0.01)), STILL)
    bright = np.clip(base + 0.2, 0, 1)
    after = steadied(memory, face(noisy(rng, bright, 0.01)), STILL)
    assert np.abs(after.restored - bright).mean() < 0.02


def test_the_memory_moves_with_the_picture(rng, base):
    shift = np.array([[1, 0, 5], [0, 1, -3.0]])
    moved = np.roll(base, (-3, 5), axis=(0, 1))
    after = steadied(face(base), face(moved), shift)
    inner = (slice(10, -10), slice(10, -10))
    assert after.restored[inner] == pytest.approx(moved[inner], abs=1e-3)
    wrong = steadied(face(base), face(moved), STILL)
    assert np.abs(wrong.crop[inner] - moved[inner]).mean() > 0.005


def test_where_the_face_travels_with_its_crop_nothing_is_moved(base):
    # The frame moved by (5, -3), and the crop was cut out as much further: the same in crop space.
    step = np.array([[1, 0, 5], [0, 1, -3.0]])
    after = steadied(face(base), face(base, matrix=np.array([[1, 0, -5], [0, 1, 3.0]])), step)
    assert after.restored == pytest.approx(base, abs=1e-5)


def test_values_stay_in_range(rng):
    edges = (rng.random((SIZE, SIZE, 3)) > 0.5).astype(np.float32)
    after = steadied(face(edges), face(edges), np.array([[1, 0, 0.4], [0, 1, 0.3]]))
    for values in (after.crop, after.restored, after.mask):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1


def test_a_frame_without_the_network_keeps_what_is_remembered_and_moves_what_moved(rng, base):
    """The restored face is the negative here, so that the film's own pixels would be far off."""
    before = face(base, 1 - base, noise=0.002)
    still = steadied(before, Look(STILL, base), STILL)
    assert still.restored == pytest.approx(before.restored, abs=1e-6)
    assert still.mask == pytest.approx(np.minimum(before.mask, border_mask(SIZE)))  # clear of the edge
    moved = base.copy()
    moved[16:48, 16:48] = base[13:45, 16:48]  # down by three pixels
    carried = steadied(before, Look(STILL, moved), STILL).restored
    inside = (slice(24, 42), slice(24, 42))
    off = [np.abs(each - (1 - moved))[inside].mean() for each in (before.restored, carried)]
    assert off[1] < off[0] / 3
    assert np.abs(before.restored + moved - base - (1 - moved))[inside].mean() > off[0]


def test_a_frame_without_the_network_takes_what_is_new_from_the_film(base):
    """No flow explains a light that goes on all over."""
    after = steadied(face(base, base, noise=0.002), Look(STILL, np.clip(base + 0.2, 0, 1)), STILL)
    assert np.abs(after.restored - base - 0.2).mean() < 0.03
