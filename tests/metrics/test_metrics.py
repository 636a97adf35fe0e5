from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facemend.metrics import METRICS, dists, identity_measures, lpips, ms_ssim, psnr, ssim

FACES = Path(__file__).parents[1] / "networks" / "data"


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    """FFHQ-aligned 256 pixel face (White House photo, public domain), (1, 3, 256, 256) in [0, 1]."""
    picture = np.asarray(Image.open(FACES / "obama.jpg").convert("RGB"), dtype=np.float32)
    return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255


def waves() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y, x = np.mgrid[0:48, 0:40].astype(np.float64)
    a = 0.5 + 0.5 * np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)])
    b = 0.5 + 0.5 * np.stack([np.sin(x / 5 + 0.5), np.cos(y / 6), np.sin((x - y) / 9)])
    c = np.clip(a * 0.9 + 0.02, 0, 1)
    return tuple(torch.from_numpy(p)[None] for p in (a, b, c))  # type: ignore[return-value]


def test_psnr_and_ssim_equal_scikit_image():
    a, b, c = waves()
    # scikit-image 0.26: peak_signal_noise_ratio(data_range=1) and structural_similarity(data_range=1,
    # gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1).
    pair = torch.cat([a, a]), torch.cat([b, c])
    np.testing.assert_allclose(psnr(*pair), [9.194294697683073, 26.30641902564756], rtol=1e-9)
    np.testing.assert_allclose(ssim(*pair), [0.3793843294722634, 0.9717424410424526], rtol=1e-9)
    np.testing.assert_allclose(ssim(*(p.float() for p in pair)), ssim(*pair), atol=1e-5)


def test_ms_ssim_equals_torchmetrics(portrait):
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    noise = torch.randn(portrait.shape, generator=torch.Generator().manual_seed(1))
    blurred = torch.nn.functional.avg_pool2d(portrait, 9, 1, 4, count_include_pad=False)
    damaged = torch.cat([(portrait + 0.1 * noise).clamp(0, 1), blurred])
    originals = portrait.expand_as(damaged)
    # Channel by channel: theirs joins the channels before the product over scales, ours after it. And at the
    # coarsest scale theirs also counts places where the window leaves the picture: hence the 1e-4.
    parts = [x.double().flatten(0, 1)[:, None] for x in (damaged, originals)]
    expected = theirs(*parts, data_range=1.0, reduction="none").unflatten(0, (2, 3)).mean(1)
    assert (expected < 0.99).all()
    np.testing.assert_allclose(ms_ssim(damaged, originals), expected, atol=1e-4)


def test_values_that_can_be_worked_out():
    flat = torch.full((2, 3, 16, 16), 0.5)
    np.testing.assert_allclose(psnr(flat, flat + 0.1), [20, 20], atol=1e-4)
    assert psnr(flat, flat).tolist() == [float("inf")] * 2
    assert ssim(flat, flat).tolist() == [1, 1]
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)  # of two flat pictures: no structure term
    np.testing.assert_allclose(ssim(flat, flat + 0.1), [luminance] * 2, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "dists"])  # see test_calibration.py
def test_more_damage_moves_every_metric_the_way_it_says_and_one_original_serves_a_batch(name, portrait):
    metric = METRICS[name]
    noise = torch.randn(portrait.shape, generator=torch.Generator().manual_seed(0))
    damaged = torch.cat([(portrait + strength * noise).clamp(0, 1) for strength in (0.02, 0.1, 0.4)])
    reference = (portrait,) if metric.reference else ()
    values = metric(damaged, *reference)
    assert values.shape == (3,)
    assert (values.diff() < 0 if metric.higher_is_better else values.diff() > 0).all()
    np.testing.assert_allclose(metric(damaged[1:2], *reference), values[1:2], rtol=1e-5)
    if metric.reference:
        np.testing.assert_allclose(metric(portrait, damaged), values, rtol=1e-4)  # one for all on either side
        ideal = {"psnr": float("inf"), "ssim": 1, "ms_ssim": 1, "ids": 1}.get(name, 0)
        # Near zero the angle is the root of a rounding error.
        near = 0.05 if name == "ids_degrees" else 1e-5
        assert metric(portrait, portrait).item() == pytest.approx(ideal, abs=near)


@pytest.mark.parametrize("function", [psnr, ssim, ms_ssim, lpips, dists, identity_measures])
def test_arguments_that_are_no_pair_of_pictures_are_refused(function):
    good = torch.zeros(1, 3, 64, 64)
    for bad in (
        torch.zeros(1, 3, 64, 63),
        torch.zeros(3, 64, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match="metrics"):
            function(good, bad)
    with pytest.raises(ValueError, match="metrics"):
        function(good[:, :1], good[:, :1])


def test_too_small_for_the_window():
    with pytest.raises(ValueError, match="at least 11"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))
    with pytest.raises(ValueError, match="at least 176"):
        ms_ssim(torch.zeros(1, 3, 175, 200), torch.zeros(1, 3, 175, 200))
    assert ms_ssim(torch.zeros(1, 3, 176, 200), torch.zeros(1, 3, 176, 200)).item() == 1


def test_an_original_is_asked_for_or_refused():
    pictures = torch.zeros(1, 3, 192, 192)
    with pytest.raises(ValueError, match="PSNR needs original"):
        METRICS["psnr"](pictures)
    with pytest.raises(ValueError, match="NIQE takes no original"):
        METRICS["niqe"](pictures, pictures)
