import cv2
import numpy as np
import pytest

from facemend.imaging import gaussian_blur


def exact(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("sigma", [0.5, 3, 8, 12, 24, 41])
@pytest.mark.parametrize("shape", [(256, 256), (201, 333), (130, 90, 3), (7, 300, 2)])
def test_a_wide_blur_is_as_good_as_an_exact_one(shape: tuple[int, ...], sigma: float) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    image[: shape[0] // 2] *= 0.2
    blurred = gaussian_blur(image, sigma)
    assert blurred.shape == shape
    assert np.abs(blurred - exact(image, sigma)).max() < 0.012
    if sigma < 6:
        assert (blurred == exact(image, sigma)).all()
