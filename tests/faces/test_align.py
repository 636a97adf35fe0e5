from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemend.errors import InputError
from facemend.faces.align import align, alignment, similarity
from facemend.faces.template import TEMPLATE, template_points
from facemend.faces.warp import compose, invert, resize_matrix, scale_of, transform, warp
from facemend.types import Box, Face

angles = st.floats(-np.pi, np.pi)
scales = st.floats(0.05, 8.0)
shifts = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


def similar(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def face_at(matrix: np.ndarray, size: int) -> Face:
    """A face whose alignment to a crop of `size` is `matrix`."""
    points = transform(invert(matrix), template_points(size)).astype(np.float32)
    return Face(Box(0, 0, 10, 10), points, 1.0)


@given(angles, scales, shifts)
def test_similarity_recovers_the_transform(angle: float, scale: float, shift: tuple[float, float]) -> None:
    matrix = similar(angle, scale, shift)
    points = template_points(512)
    np.testing.assert_allclose(similarity(points, transform(matrix, points)), matrix, atol=1e-6)


def test_similarity_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(0)
    src, dst = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    # The same as an ordinary linear problem in (a, b, tx, ty).
    rows = [row for x, y in src for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), dst.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(src, dst), [[a, -b, tx], [b, a, ty]], atol=1e-12)


def test_similarity_never_mirrors() -> None:
    points = template_points(512)
    assert np.linalg.det(similarity(points, points * (-1, 1))[:, :2]) > 0


@pytest.mark.parametrize("bad", [np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_unusable_points(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        similarity(bad, template_points(256))


@given(angles, scales, shifts, angles, scales, shifts)
def test_compose_and_invert(a1, s1, t1, a2, s2, t2) -> None:  # type: ignore[no-untyped-def]
    outer, inner = similar(a1, s1, t1), similar(a2, s2, t2)
    points = np.array([(0, 0), (3, 1), (-2, 5)], float)
    np.testing.assert_allclose(
        transform(compose(outer, inner), points), transform(outer, transform(inner, points)), atol=1e-6
    )
    np.testing.assert_allclose(compose(invert(outer), outer), np.eye(2, 3), atol=1e-7)


def test_invert_refuses_singular_matrices() -> None:
    with pytest.raises(ValueError, match="inverted"):
        invert(np.zeros((2, 3)))


def test_template_is_the_published_one_at_512() -> None:
    points = template_points(512)
    np.testing.assert_allclose(points[0], (192.98138, 239.94708))
    np.testing.assert_allclose(points[4], (313.08905, 371.15118))


def test_template_scales_like_a_resize() -> None:
    half = transform(resize_matrix(0.5, 0.5), template_points(512))
    np.testing.assert_allclose(template_points(256), half)
    np.testing.assert_allclose(template_points((256, 256)), half)
    assert TEMPLATE.shape == (5, 2)


def test_resize_matrix_matches_a_resize() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    small = cv2.resize(ramp, (32, 32), interpolation=cv2.INTER_AREA)
    x = transform(invert(resize_matrix(0.5, 0.5)), np.array([[5.0, 0.0]]))[0, 0]
    assert small[0, 5] == pytest.approx(x)


@settings(max_examples=30, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(0.3, 3.0), st.floats(-6, 6), st.floats(-6, 6))
def test_align_then_inverse_is_identity_within_half_a_pixel(
    angle: float, scale: float, dx: float, dy: float
) -> None:
    """A blob of the photo is found again where the inverse matrix says."""
    size, crop = 480, 96
    y, x = np.mgrid[:size, :size].astype(np.float32)
    spot = np.array([240.0 + dx, 240.0 + dy])
    sigma = max(3.0, 3.0 / scale)
    blob = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2))
    image = np.repeat(blob[..., None], 3, 2).astype(np.float32)
    turn = similar(angle, scale, (0, 0))
    turn[:, 2] = crop / 2 - turn[:, :2] @ spot
    aligned = align(image, face_at(turn, crop), crop)
    weights = aligned.crop[..., 0].astype(np.float64) ** 2
    v, u = np.mgrid[:crop, :crop]
    seen = np.array([(u * weights).sum(), (v * weights).sum()]) / weights.sum()
    back = transform(invert(aligned.matrix), seen[None])[0]
    assert np.linalg.norm(back - spot) < 0.5


def test_align_at_two_sizes_shows_the_same_frame() -> None:
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.random((300, 300, 3)).astype(np.float32), (0, 0), 6)
    face = face_at(similar(0.2, 1.7, (-30, -60)), 256)
    large, small = align(image, face, 256).crop, align(image, face, 128).crop
    halved = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(halved - small).max() < 0.01


def test_large_faces_do_not_alias() -> None:
    """A pattern finer than the crop's pixels must turn to its mean, not to moire."""
    x = np.arange(1500)
    image = np.repeat(((x[:, None] + x[None, :]) % 2)[..., None], 3, 2).astype(np.float32)
    crop = align(image, face_at(similar(0.1, 0.15, (5, 5)), 200), 200).crop
    assert np.abs(crop[20:-20, 20:-20] - 0.5).max() < 0.05


def test_what_lies_outside_is_reflected() -> None:
    ramp = np.repeat(np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1))[..., None], 3, 2)
    shift = np.array([[1.0, 0, 30], [0, 1, 0]])
    out = warp(ramp, shift, (100, 100))
    np.testing.assert_allclose(out[50, 10:30, 0], out[50, 31:51, 0][::-1], atol=1e-4)


def test_warp_beside_the_picture_is_possible() -> None:
    out = warp(np.ones((4, 4, 3), np.float32), np.array([[1.0, 0, 500], [0, 1, 500]]), (8, 8))
    assert out.shape == (8, 8, 3)
    assert np.isfinite(out).all()


def test_alignment_is_what_align_uses() -> None:
    face = face_at(similar(0.3, 2.0, (4, 5)), 64)
    image = np.zeros((50, 50, 3), np.float32)
    np.testing.assert_array_equal(align(image, face, 64).matrix, alignment(face, 64))
    assert scale_of(alignment(face, 64)) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (40, 1, 3), (2, 2, 3)])
def test_warping_a_line_or_a_point_comes_to_an_end(shape):
    image = np.full(shape, 0.25, np.float32)
    matrix = np.array([[50.0, 0.0, -700.0], [0.0, 50.0, 300.0]])
    assert np.allclose(warp(image, matrix, (64, 64)), 0.25, atol=1e-6)
