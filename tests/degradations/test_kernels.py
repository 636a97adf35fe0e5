import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.degradations.blur import gaussian_blur
from facemend.degradations.kernels import gaussian_kernel, gaussian_radius, motion_kernel, separable_terms
from facemend.degradations.resample import bilinear, translate

ANGLE = st.floats(-math.pi, math.pi)


def moments(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass (x, y) and covariance of a kernel about its middle."""
    r = kernel.shape[0] // 2
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    points = np.stack([x.ravel(), y.ravel()])
    mean = points @ kernel.ravel()
    centred = points - mean[:, None]
    return mean, (centred * kernel.ravel()) @ centred.T


@given(rotation=ANGLE, sigma_x=st.floats(0.8, 4), sigma_y=st.floats(0.8, 4))
def test_gaussian_has_the_asked_covariance(rotation: float, sigma_x: float, sigma_y: float):
    kernel = gaussian_kernel(20, sigma_x, sigma_y, rotation)
    mean, covariance = moments(kernel)
    turn = np.array([[math.cos(rotation), -math.sin(rotation)], [math.sin(rotation), math.cos(rotation)]])
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(covariance, turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T, atol=0.05)


@pytest.mark.parametrize("sigmas", [(3.0, 3.0), (5.0, 2.0), (8.0, 0.5), (1.2, 0.6)])
def test_fast_paths_equal_the_plain_convolution(sigmas: tuple[float, float]):
    image = np.random.default_rng(1).random((64, 48, 3), dtype=np.float32)
    radius = gaussian_radius(max(sigmas), 20)
    result = gaussian_blur(image, radius, *sigmas, 0.6)
    kernel = gaussian_kernel(radius, *sigmas, 0.6)
    expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(result - expected).max() < 1e-3


def test_separable_terms_sum_to_the_kernel_or_give_up():
    kernel = gaussian_kernel(15, 6, 3, 0.7)
    terms = separable_terms(kernel, 1e-3, 7)
    assert terms is not None
    assert 2 <= len(terms) <= 7
    total = sum(np.outer(column, row) for row, column in terms)
    assert np.abs(total - kernel).sum() < 1.1e-3
    assert separable_terms(np.eye(31, dtype=np.float32) / 31, 1e-3, 7) is None


@given(length=st.floats(1, 40), angle=ANGLE, bend=st.floats(-1, 1))
def test_motion_kernel_lies_along_its_path(length: float, angle: float, bend: float):
    kernel = motion_kernel(length, angle, bend)
    mean, covariance = moments(kernel)
    values, vectors = np.linalg.eigh(covariance)
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean, 0, atol=0.01)
    # A straight path of length L has the variance L^2 / 12; bilinear taps add at most 1/4, an arc loses some.
    assert length**2 / 12 * 0.9 <= values[1] <= length**2 / 12 + 0.3
    if length > 8:
        direction = vectors[:, 1]
        assert abs(direction @ [math.cos(angle), math.sin(angle)]) > 0.98


def test_translate_moves_and_fills():
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1).repeat(3, axis=2)
    moved = translate(image, 1, -1)
    np.testing.assert_array_equal(moved[:2, 1:], image[1:, :3])
    np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
    np.testing.assert_array_equal(moved[2], moved[1])


def test_bilinear_keeps_a_ramp_centred():
    ramp = np.tile(np.arange(32, dtype=np.float32)[None, :, None], (8, 1, 3))
    np.testing.assert_allclose(bilinear(ramp, (16, 8))[0, :, 0], np.arange(16) * 2 + 0.5)
