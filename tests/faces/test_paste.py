from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemend.faces.align import align
from facemend.faces.detail import keep_detail
from facemend.faces.mask import ellipse_mask
from facemend.faces.paste import (
    _blend_new,
    _new_face,
    blend_into_pixels,
    match_colour,
    paint_into_pixels,
    paste,
)
from facemend.faces.patch import crop_onto, mask_onto, patch_under
from facemend.faces.template import template_points
from facemend.faces.warp import transform
from facemend.imaging import luma, to_float
from facemend.types import Box, Face

SIZE = 128


def portrait(side: int, seed: int = 0) -> np.ndarray:
    """A made-up sharp face: flat skin with a few hard strokes (brows, eyes, mouth) and fine hair lines."""
    big = np.full((side, side, 3), (0.8, 0.6, 0.5), np.float32)
    u = lambda x, y: (int(x * side), int(y * side))  # noqa: E731
    for x in (0.38, 0.62):
        cv2.circle(big, u(x, 0.47), side // 22, (0.95, 0.95, 0.95), -1, cv2.LINE_AA)
        cv2.circle(big, u(x, 0.47), side // 45, (0.1, 0.1, 0.1), -1, cv2.LINE_AA)
    cv2.ellipse(big, u(0.5, 0.725), (side // 9, side // 30), 0, 0, 360, (0.6, 0.2, 0.2), -1, cv2.LINE_AA)
    rng = np.random.default_rng(seed)
    for x in rng.uniform(0.3, 0.7, 80):
        y = 0.3 + rng.uniform(0, 0.05)
        cv2.line(big, u(x, y), u(x + 0.01, y + 0.06), (0.2, 0.15, 0.1), max(1, side // 500), cv2.LINE_AA)
    return big


def face_in(side: int) -> Face:
    return Face(Box(0, 0, side - 1, side - 1), template_points(side).astype(np.float32), 1.0)


def blend_face(canvas, aligned, restored, matrix, mask, strength: float = 1.0) -> None:
    """`blend_into_pixels` on floats, the whole face at once."""
    _blend_new(canvas, _new_face(aligned, restored, matrix, mask), matrix, strength)


def gradient(image: np.ndarray, mask: np.ndarray) -> float:
    gray = image.mean(2)
    return float((np.hypot(*np.gradient(gray)) * mask).sum() / mask.sum())


@settings(max_examples=25, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(0.3, 3), st.floats(-60, 160), st.floats(-60, 160))
def test_outside_the_mask_the_photo_is_bit_exact(angle: float, scale: float, x: float, y: float) -> None:
    rng = np.random.default_rng(0)
    photo = rng.random((90, 120, 3), np.float32)
    crop = rng.random((48, 48, 3), np.float32)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0]])
    matrix[:, 2] = 24 - matrix[:, :2] @ (x, y)
    for put in (paste, lambda *a: blend_face(a[0], crop, *a[1:])):
        canvas = photo.copy()
        put(canvas, crop, matrix, ellipse_mask(48))
        changed = np.argwhere((canvas != photo).any(2))
        # The mask ends inside the crop; interpolation may carry it one pixel of the canvas further.
        inside = transform(matrix, changed[:, ::-1]) if len(changed) else np.empty((0, 2))
        assert (np.abs(inside - 23.5) < 24 + scale).all()
        assert canvas.min() >= 0
        assert canvas.max() <= 1


def test_mask_of_zeros_changes_nothing() -> None:
    photo = np.random.default_rng(0).random((64, 64, 3), np.float32)
    canvas = photo.copy()
    paste(canvas, np.ones((32, 32, 3), np.float32), np.eye(2, 3), np.zeros((32, 32), np.float32))
    assert (canvas == photo).all()


def test_paste_puts_the_crop_where_the_matrix_says() -> None:
    canvas = np.zeros((100, 100, 3), np.float32)
    crop = np.ones((32, 32, 3), np.float32)
    paste(canvas, crop, np.array([[1.0, 0, -40], [0, 1, -50]]), np.ones((32, 32), np.float32))
    assert (canvas[50:82, 40:72] > 0.999).all()
    assert canvas.sum() == pytest.approx(32 * 32 * 3, rel=1e-3)


def test_paste_beside_the_canvas() -> None:
    canvas = np.zeros((10, 10, 3), np.float32)
    far = np.array([[1.0, 0, 900], [0, 1, 900]])
    paste(canvas, np.ones((8, 8, 3), np.float32), far, np.ones((8, 8), np.float32))
    assert not canvas.any()


def test_colours_meet_the_photo() -> None:
    """A restored crop that is lighter and warmer than the photo must not show as a light, warm patch."""
    photo = cv2.GaussianBlur(portrait(SIZE), (0, 0), 3)
    tinted = np.clip(photo + np.array([0.12, 0.02, -0.08], np.float32), 0, 1)
    mask = ellipse_mask(SIZE)
    matched = match_colour(photo, tinted, mask)
    before, after = np.abs(tinted - photo)[mask > 0.05], np.abs(matched - photo)[mask > 0.05]
    assert after.max() < 0.02 < before.mean()


def test_colour_match_leaves_what_was_repaired_inside() -> None:
    photo = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    photo[64:76, 60:72] = 1  # a white stain in the middle of the face
    matched = match_colour(photo, np.full_like(photo, 0.5), ellipse_mask(SIZE))
    assert np.abs(matched - 0.5).max() < 0.01


@pytest.mark.parametrize("side", [64, 128, 2000])
def test_identity_restoration_of_a_sharp_face_keeps_its_detail(side: int) -> None:
    photo = portrait(side)
    aligned = align(photo, face_in(side), SIZE)
    canvas = photo.copy()
    blend_face(canvas, aligned.crop, aligned.crop.copy(), aligned.matrix, ellipse_mask(SIZE))
    mask = cv2.resize(ellipse_mask(SIZE), (side, side))
    assert gradient(canvas, mask) > 0.98 * gradient(photo, mask)
    assert np.abs(canvas - photo).mean() < 0.002


def test_soft_restoration_of_a_sharp_large_face_keeps_its_detail() -> None:
    photo = portrait(1000)
    aligned = align(photo, face_in(1000), SIZE)
    soft = cv2.GaussianBlur(aligned.crop, (0, 0), 1.0)
    canvas, plain = photo.copy(), photo.copy()
    mask = ellipse_mask(SIZE)
    blend_face(canvas, aligned.crop, soft, aligned.matrix, mask)
    paste(plain, soft, aligned.matrix, mask)
    there = cv2.resize(mask, (1000, 1000))
    assert gradient(canvas, there) > 0.95 * gradient(photo, there)
    assert gradient(plain, there) < 0.8 * gradient(photo, there)  # what it would be without


@pytest.mark.parametrize("side", [128, 1000])
def test_blurred_photo_takes_the_restored_detail(side: int) -> None:
    sharp = portrait(side)
    photo = cv2.GaussianBlur(sharp, (0, 0), side / 40)
    photo = np.clip(photo + np.random.default_rng(0).normal(0, 0.02, photo.shape), 0, 1).astype(np.float32)
    aligned = align(photo, face_in(side), SIZE)
    restored = align(sharp, face_in(side), SIZE).crop
    canvas = photo.copy()
    mask = ellipse_mask(SIZE)
    blend_face(canvas, aligned.crop, restored, aligned.matrix, mask)
    there = cv2.resize(mask, (side, side)) > 0.9
    error = lambda image: np.abs(image - sharp)[there].mean()  # noqa: E731
    # What is left of the error: a crop of this size cannot hold more, and colours match a blurred ring.
    limit = photo.copy()
    paste(limit, restored, aligned.matrix, mask)
    assert error(canvas) < error(limit) + 0.15 * error(photo)
    assert gradient(canvas, there) > 0.9 * gradient(limit, there)


@pytest.mark.parametrize("side", [40, 300])
def test_the_change_is_as_strong_as_asked_for(side: int) -> None:
    photo = portrait(side)
    aligned = align(photo, face_in(side), SIZE)
    restored = np.clip(aligned.crop[:, ::-1] * 1.2, 0, 1)

    def blended(**strength: float) -> np.ndarray:
        canvas = photo.copy()
        blend_face(canvas, aligned.crop, restored, aligned.matrix, ellipse_mask(SIZE), **strength)
        return canvas

    full = blended()
    assert np.array_equal(blended(strength=1.0), full)
    assert np.array_equal(blended(strength=0.0), photo)
    assert np.abs(full - photo).max() > 0.1
    np.testing.assert_allclose(blended(strength=0.3) - photo, 0.3 * (full - photo), atol=1e-6)


@pytest.mark.parametrize("damage", ["noise", "dots"])
def test_noise_is_not_taken_for_detail(damage: str) -> None:
    clean = portrait(256)
    if damage == "noise":
        photo = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype(np.float32)
    else:
        y, x = np.mgrid[:256, :256]
        photo = clean + (0.15 * np.sin(x * 1.9) * np.sin(y * 1.9))[..., None].astype(np.float32)
    photo = np.clip(photo, 0, 1).astype(np.float32)
    mask = ellipse_mask(256)
    kept, finest = keep_detail(photo, clean, mask)
    assert finest.max() < 0.05
    assert np.abs(kept - clean).mean() < 0.2 * np.abs(photo - clean).mean()


def plainly_kept(photo: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The formula of faces/detail.py as it stands, on all pixels."""
    blur = lambda x, s: cv2.GaussianBlur(x, (0, 0), s, borderType=cv2.BORDER_REFLECT)  # noqa: E731
    smoothstep = lambda x, a, b: (t := np.clip((x - a) / (b - a), 0, 1)) * t * (3 - 2 * t)  # noqa: E731
    inside, result, trust = mask > 0.5, restored.astype(np.float64), 1.0
    for k, clean, dirty in ((2, 0.2, 0.4), (1, 0.12, 0.3), (0, 0.1, 0.25)):
        band = lambda x: (blur(x, 2.0 ** (k - 1)) if k else x) - blur(x, 2.0**k)  # noqa: B023, E731
        energy, own = band(luma(photo)) ** 2, band(luma(restored)) ** 2
        smooth, total = blur(own, 2 * 2.0**k), energy[inside].mean()
        quiet = energy[inside & (smooth <= np.quantile(smooth[inside], 0.4))].mean() / total
        noise2 = total * max(0, quiet - clean)
        sharp = smoothstep(np.sqrt((total - noise2) / own[inside].mean()), 0.6, 1)
        trust = min(trust, sharp * (1 - smoothstep(quiet, clean, dirty)))
        local = blur(energy, 4 * 2.0**k)
        keep = trust * np.clip((local - noise2) / np.maximum(local, 1e-10), 0, 1)
        result += keep[..., None] * (band(photo) - band(restored))
    return result


@pytest.mark.parametrize(("soft", "noise"), [(0.7, 0.0), (1.0, 0.02), (2.5, 0.0)])
@pytest.mark.parametrize("side", [256, 333])
def test_detail_is_kept_as_the_formula_says(soft: float, noise: float, side: int) -> None:
    """Trust is made on half the grid, a wide blur on a coarser one: that may cost less than a step of 255."""
    photo = portrait(side) + np.random.default_rng(0).normal(0, noise, (side, side, 3)).astype(np.float32)
    photo = cv2.GaussianBlur(photo, (0, 0), 0.6)
    restored = cv2.GaussianBlur(portrait(side) * np.float32([1.02, 1, 0.98]), (0, 0), soft)
    mask = ellipse_mask(side)
    expected, (kept, _) = plainly_kept(photo, restored, mask), keep_detail(photo, restored, mask)
    assert np.abs(expected - restored)[mask > 0].max() > 5 / 255  # there is something to keep
    assert np.abs(kept - expected)[mask > 0].max() < 1 / 255


def test_a_large_face_keeps_what_is_finer_than_its_crop() -> None:
    """As by two warps: the new crop, and what the photo holds beyond the crop that was cut out of it."""
    photo = portrait(400)
    aligned = align(photo, face_in(400), SIZE)
    crop, matrix, mask = aligned.crop, aligned.matrix, ellipse_mask(SIZE)
    soft = cv2.GaussianBlur(crop, (0, 0), 0.7)
    kept, finest = keep_detail(crop, match_colour(crop, soft, mask), mask)
    assert finest.max() > 0.5
    where, onto = patch_under(matrix, mask, photo)
    old = photo[where]
    new = crop_onto(kept, onto, old.shape)
    new += mask_onto(finest, onto, old.shape)[..., None] * (old - crop_onto(crop, onto, old.shape))
    expected = photo.copy()
    expected[where] += mask_onto(mask, onto, old.shape)[..., None] * (np.clip(new, 0, 1) - old)
    blend_face(photo, crop, soft, matrix, mask)
    assert np.abs(photo - expected).max() < 1 / 255


def test_tiny_faces_are_possible() -> None:
    photo = portrait(12)
    aligned = align(photo, face_in(12), SIZE)
    canvas = photo.copy()
    blend_face(canvas, aligned.crop, aligned.crop[::-1], aligned.matrix, ellipse_mask(SIZE))
    assert (canvas != photo).any()
    assert np.isfinite(canvas).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("turn", [0.0, 0.6])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_on_integer_pixels_it_is_the_same_blend(dtype: type, turn: float, scale: float) -> None:
    """As on the whole photo in floats, rounded at the end; outside the mask every pixel stays as it was."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    pixels = (cv2.GaussianBlur(rng.random((150, 200, 3)), (0, 0), 2) * top).astype(dtype)
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[c, -s, 0], [s, c, 0]])
    matrix[:, 2] = 24 - matrix[:, :2] @ (60, 70)
    aligned, restored = (cv2.GaussianBlur(rng.random((48, 48, 3), np.float32), (0, 0), 3) for _ in range(2))
    floats = (pixels / top).astype(np.float32)
    blend_face(floats, aligned, restored, matrix, ellipse_mask(48))
    before = pixels.copy()
    blend_into_pixels(pixels, aligned, restored, matrix, ellipse_mask(48))
    assert (pixels != before).any()
    assert np.abs(pixels - floats.astype(np.float64) * top).max() <= 0.5 + 2e-6 * top
    unchanged = (floats == (before / top).astype(np.float32)).all(2)
    assert (pixels[unchanged] == before[unchanged]).all()


def test_gray_pixels_stay_gray() -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (60, 60, 1), np.uint8), 3, axis=2)
    crop = rng.random((32, 32, 3), np.float32)
    matrix = np.array([[1.0, 0, -10], [0, 1, -10]])
    blend_into_pixels(pixels, crop, crop[::-1].copy(), matrix, ellipse_mask(32), gray=True)
    assert (np.ptp(pixels, axis=2) == 0).all()


def test_only_the_place_of_the_face_is_touched() -> None:
    """The work goes with the face's area: a photo that is a file of 3 GB of zeros, never read, will do."""
    photo = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (30_000, 35_000, 3))
    part = np.zeros((100, 100, 3), np.uint8)

    class Photo:
        """Hands out the one place that may be asked for."""

        shape, dtype = photo.shape, photo.dtype
        asked: list[tuple[slice, slice]] = []  # noqa: RUF012

        def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
            self.asked.append(where)
            return part[: where[0].stop - where[0].start, : where[1].stop - where[1].start]

    crop = np.full((64, 64, 3), 0.5, np.float32)
    matrix = np.array([[1.0, 0, -20_000], [0, 1, -10_000]])
    blend_into_pixels(Photo(), crop, crop, matrix, ellipse_mask(64))  # type: ignore[arg-type]
    assert part.any()
    for rows, columns in Photo.asked:
        assert rows.stop - rows.start < 70
        assert columns.stop - columns.start < 70


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_paint_adds_colour_and_keeps_luma(dtype: type, scale: float) -> None:
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    before = np.repeat(rng.integers(0, top, (120, 150, 1), endpoint=True), 3, axis=2).astype(dtype)
    matrix = np.array([[scale, 0, 24 - 70 * scale], [0, scale, 24 - 60 * scale]])
    coloured = np.broadcast_to(np.array([0.8, 0.5, 0.4], np.float32), (48, 48, 3))
    pixels = before.copy()
    paint_into_pixels(pixels, coloured, matrix, ellipse_mask(48))
    assert np.abs(luma(to_float(pixels)) - luma(to_float(before))).max() <= 0.5 / top + 1e-6
    changed = np.argwhere((pixels != before).any(2))
    there = transform(matrix, changed[:, ::-1])
    assert there.min() >= -1
    assert there.max() <= 48
    assert pixels[60, 70, 0] > pixels[60, 70, 1] > pixels[60, 70, 2] or not 0 < before[60, 70, 0] < top
    painted = pixels.copy()
    paint_into_pixels(pixels, coloured, np.array([[1.0, 0, 500], [0, 1, 500]]), ellipse_mask(48))
    assert (pixels == painted).all()


@pytest.mark.parametrize("side", [64, 256, 512])
def test_colours_are_matched_as_on_the_full_grid(side: int) -> None:
    rng = np.random.default_rng(1)
    photo = np.clip(portrait(side) * (0.9, 1, 1.1) + rng.normal(0, 0.03, (side, side, 3)), 0, 1).astype(
        np.float32
    )
    restored, mask = portrait(side, 1), ellipse_mask(side)
    ring = (4 * mask * (1 - mask))[..., None]
    offset = np.clip(photo - restored, -0.25, 0.25) * ring
    blur = lambda image: cv2.GaussianBlur(image, (0, 0), 0.08 * side, borderType=cv2.BORDER_REFLECT)  # noqa: E731
    mean = offset.sum((0, 1)) / ring.sum()
    long = restored + (blur(offset) + 0.01 * mean) / (blur(ring)[..., None] + 0.01)
    assert np.abs(match_colour(photo, restored, mask) - long).max() < 1 / 255


def test_only_what_lies_under_the_mask_is_worked_on() -> None:
    canvas, mask = np.zeros((300, 300, 3), np.float32), np.zeros((100, 100), np.float32)
    mask[40:60, 30:50] = 1
    matrix = np.array([[1.0, 0, -100], [0, 1, -100]])
    found = patch_under(matrix, mask, canvas)
    assert found is not None
    assert found[0] == (slice(131, 169), slice(121, 159))
    paste(canvas, np.ones((100, 100, 3), np.float32), matrix, mask)
    assert canvas[140:160, 130:150].min() == 1
    assert canvas.sum() == 20 * 20 * 3
