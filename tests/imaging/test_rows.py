"""Work by bands: the same as on the whole picture, wherever a band ends; and the limit that memory sets."""

import cv2
import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.imaging import bands as bands_of
from facemend.imaging import by_bands, shrink, to_float, usual_pixels
from facemend.imaging.channels import Channels
from facemend.imaging.metadata import upright


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Bands of three rows, of which the last may be shorter."""
    monkeypatch.setattr("facemend.imaging.rows.BAND", 3 * 50)


@pytest.mark.parametrize("height", [1, 3, 40])
def test_bands_cover_each_row_once(height):
    rows = [row for band in bands_of(height, 50) for row in range(height)[band]]
    assert rows == list(range(height))
    assert len(list(bands_of(height, 10**9))) == height  # at least a row


def test_arrays_are_worked_on_side_by_side(rng):
    a, b = rng.integers(0, 100, (40, 50, 3)), rng.integers(0, 100, (40, 50))
    work = by_bands(lambda x, y: x + y[..., None], a, b, dtype=np.int64)
    assert np.array_equal(work, a + b[..., None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(50, 40), (23, 17), (50, 9), (25, 20), (7, 40)])
def test_integers_shrink_as_their_floats_do(rng, dtype, size):
    image = rng.integers(0, np.iinfo(dtype).max, (40, 50, 3)).astype(dtype)
    expected = cv2.resize(to_float(image), size, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(shrink(image, size), expected, atol=5e-7)
    assert np.array_equal(shrink(to_float(image), size), expected)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_decoded_bands_become_upright_arrays(rng, orientation, channels):
    values = rng.integers(0, 255, (40, 50, channels)).astype(np.uint8)
    parts = (values[rows] for rows in bands_of(40, 50))
    pixels, alpha = Channels(values.shape, values.dtype, parts).arrays(orientation)
    expected = upright(values, orientation)
    assert np.array_equal(pixels, np.broadcast_to(expected[..., : channels - 1 + channels % 2], pixels.shape))
    assert (alpha is None) == (channels % 2 == 1)
    assert alpha is None or np.array_equal(alpha, expected[..., -1])


@pytest.mark.parametrize(("gigabytes", "megapixels"), [(2, 52), (4, 104), (8, 178), (64, 178)])
def test_the_usual_limit_goes_with_the_memory(monkeypatch, gigabytes, megapixels):
    sizes = {"SC_PHYS_PAGES": gigabytes * 10**6, "SC_PAGE_SIZE": 1000}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert usual_pixels() // 10**6 == megapixels
    monkeypatch.setenv("FACEMEND_MAX_PIXELS", "7000000")
    assert usual_pixels() == 7_000_000
    for wrong in ("0", "-5", "many", "1e6"):
        monkeypatch.setenv("FACEMEND_MAX_PIXELS", wrong)
        with pytest.raises(ConfigError, match="FACEMEND_MAX_PIXELS must be a whole number from 1 on"):
            usual_pixels()
