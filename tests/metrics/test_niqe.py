from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.metrics import niqe
from facemend.metrics.niqe import _normalised
from facemend.networks.perceptual.weights import niqe_state

PORTRAIT = Path(__file__).parents[1] / "data" / "portrait.jpg"


@pytest.fixture(scope="module")
def sharp() -> torch.Tensor:
    """The face of a portrait, (1, 3, 512, 512) in [0, 1]."""
    with Image.open(PORTRAIT) as picture:
        left = (picture.width - 512) // 2
        face = np.asarray(picture.convert("RGB").crop((left, 0, left + 512, 512)))
    return torch.from_numpy(face / 255).permute(2, 0, 1)[None]


def test_blur_and_noise_are_worse_than_sharp(sharp):
    blurred = torch.nn.functional.avg_pool2d(sharp, 9, 1, 4, count_include_pad=False)
    more = torch.nn.functional.avg_pool2d(blurred, 9, 1, 4, count_include_pad=False)
    noise = torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0), dtype=sharp.dtype)
    noisy = (sharp + 0.1 * noise).clamp(0, 1)
    values = niqe(torch.cat([sharp, blurred, more, noisy]))
    assert values.dtype == torch.float64
    assert 2 < values[0] < 6
    assert values[0] < values[1] < values[2]
    assert values[3] > values[0] + 2
    np.testing.assert_allclose(niqe(sharp), values[:1], rtol=1e-9)


def test_only_whole_blocks_count(sharp):
    # 480 is five blocks: what lies beyond is cut away before anything else.
    changed = sharp.clone()
    changed[..., 480:, :] = 0
    changed[..., 480:] = 1
    torch.testing.assert_close(niqe(changed), niqe(sharp[..., :480, :480]))
    assert niqe(changed[..., :480, :]).item() != niqe(sharp[..., 96:, :480]).item()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_picture_has_no_score_and_stops_nothing(level, sharp):
    flat = torch.full_like(sharp[..., :192, :192], level)
    values = niqe(torch.cat([flat, sharp[..., 160:352, 160:352]]))
    assert values[0].isnan()
    assert values[1].isfinite()


def test_flat_regions_have_no_sign():
    # Rounding noise has one, and it differs from machine to machine.
    window = niqe_state()["window"]
    levels = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255
    for level in levels.tolist():
        assert not _normalised(torch.full((1, 1, 32, 32), level, dtype=torch.float64), window).any()
    step = torch.full((1, 1, 32, 32), 77.0, dtype=torch.float64)
    step[..., 16, 16] = 78
    assert _normalised(step, window).count_nonzero() == 49


def test_small_and_wrong_pictures_are_refused():
    for height, width in ((191, 400), (400, 191)):
        with pytest.raises(ValueError, match="at least 192"):
            niqe(torch.zeros(1, 3, height, width))
    with pytest.raises(ValueError, match="metrics take"):
        niqe(torch.zeros(1, 1, 200, 200))
