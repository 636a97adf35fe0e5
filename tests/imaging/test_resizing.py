from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from facemend.imaging import ResizeKind, resize

KINDS = get_args(ResizeKind)
IMAGE = np.random.default_rng(0).random((12, 18, 3), dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_shrinking_averages_areas(kind: ResizeKind) -> None:
    expected = IMAGE.reshape(4, 3, 6, 3, 3).mean((1, 3))
    np.testing.assert_allclose(resize(IMAGE, (6, 4), kind), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [64, 16, 48, 20])
def test_pixel_centres_follow_one_convention(kind: ResizeKind, width: int) -> None:
    ramp = np.tile((np.arange(32, dtype=np.float32) + 0.5)[None, :, None] / 32, (5, 1, 3))
    result = resize(ramp, (width, 5), kind)[2, :, 0]
    inside = slice(width // 6, -(width // 6))  # away from the clamped edge
    expected = (np.arange(width) + 0.5) / width
    np.testing.assert_allclose(result[inside], expected[inside], atol=4e-3)  # half a pixel off would be .016


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(12, 18), (12, 18, 1), (12, 18, 3), (12, 18, 4)])
def test_types_and_shapes_stay(kind: ResizeKind, dtype: type, shape: tuple[int, ...]) -> None:
    image = np.ones(shape, dtype) if dtype == np.float32 else np.full(shape, np.iinfo(dtype).max, dtype)
    for size in ((36, 24), (9, 6), (36, 6), (1, 1), (18, 12)):
        result = resize(image, size, kind)
        assert result.shape == (size[1], size[0], *shape[2:])
        assert result.dtype == dtype
        np.testing.assert_allclose(result, image.max(), atol=1e-6)


def test_kinds_differ_when_enlarging_and_stay_in_range() -> None:
    results = [resize(np.rint(IMAGE), (50, 40), kind) for kind in KINDS]
    for i, one in enumerate(results):
        assert one.min() >= 0
        assert one.max() <= 1
        assert all(np.abs(one - other).max() > 0.01 for other in results[i + 1 :])


def test_the_same_size_is_untouched() -> None:
    assert resize(IMAGE, (18, 12), "lanczos") is IMAGE
