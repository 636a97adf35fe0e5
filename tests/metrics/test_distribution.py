from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from facemend.metrics import distribution
from facemend.metrics.distribution import (
    AlexFeatures,
    Distribution,
    alex_features,
    frechet_distance,
    kernel_distance,
)
from facemend.networks.perceptual.lpips import LPIPS


class Colours(nn.Module):
    """Mean and spread of each channel: six features."""

    num_features = 6

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat([pictures.mean((2, 3)), pictures.std((2, 3))], 1)


def normal(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Correlated features about an uneven mean, float64."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 1, (columns, columns))
    return torch.from_numpy(rng.normal(0, 1, (rows, columns)) @ mix + rng.normal(0, 1, columns))


def crosses(scales: list[float], columns: int, shift: float) -> torch.Tensor:
    """Points at ±scale on each axis: mean `shift` everywhere, a diagonal covariance."""
    points = torch.zeros(2 * len(scales), columns, dtype=torch.float64)
    for i, scale in enumerate(scales):
        points[2 * i, i], points[2 * i + 1, i] = scale, -scale
    return points + shift


def pictures(count: int, seed: int, size: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, 3, size, size), dtype=np.float32))


@pytest.mark.parametrize("columns", [3, 50])
def test_frechet_distance_of_diagonal_gaussians(columns):
    """By hand, for more and for far fewer points than features."""
    scales = [1.0, 2.0, 5.0], [4.0, 2.0, 0.5]
    a, b = crosses(scales[0], columns, 0.0), crosses(scales[1], columns, 0.25)
    root = (2 / 5) ** 0.5  # of the variance 2 scale² / (6 - 1)
    expected = columns * 0.25**2 + sum((root * (s - t)) ** 2 for s, t in zip(*scales, strict=True))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_gaussians_that_do_not_commute():
    """In the plane tr M^(1/2) = (tr M + 2 (det M)^(1/2))^(1/2)."""
    a, b = normal(9, 2, 2), normal(12, 2, 3)
    p, q = np.cov(a.numpy().T), np.cov(b.numpy().T)
    assert np.abs(p @ q - q @ p).max() > 0.1
    cross = np.sqrt(np.trace(p @ q) + 2 * np.sqrt(np.linalg.det(p @ q)))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(p) + np.trace(q) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("rows", [(40, 64), (5, 7), (8, 30)])
def test_frechet_distance_equals_torchmetrics(rows):
    a, b = (normal(n, 12, seed) for seed, n in enumerate(rows))
    features = nn.Identity()
    features.num_features = 12  # type: ignore[assignment]
    measure = FrechetInceptionDistance(features).set_dtype(torch.float64)
    measure.update(a, real=True)
    measure.update(b, real=False)
    assert frechet_distance(a, b) == pytest.approx(measure.compute().item(), rel=1e-5)


def test_equal_sets_are_at_no_frechet_distance_even_with_few_points():
    a = normal(6, 200, 0) * 1e3
    size = a.var(0).sum().item()
    assert 0 <= frechet_distance(a, a.flip(0)) < 1e-13 * size
    assert 0 <= frechet_distance(a, a) < 1e-13 * size


def test_kernel_distance_equals_a_plain_loop(monkeypatch):
    monkeypatch.setattr(distribution, "_ROWS", 4)
    a, b = normal(9, 5, 0), normal(7, 5, 1)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return (sum(float(i * j) for i, j in zip(x, y, strict=True)) / 5 + 1) ** 3

    def within(x: torch.Tensor) -> float:
        pairs = [kernel(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j]
        return sum(pairs) / len(pairs)

    between = [kernel(p, q) for p in a for q in b]
    expected = within(a) + within(b) - 2 * sum(between) / len(between)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert kernel_distance(b, a) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_equals_torchmetrics_on_whole_sets():
    a, b = normal(30, 5, 0), normal(30, 5, 1)
    assert kernel_distance(a, b) == pytest.approx(poly_mmd(a, b).item(), rel=1e-10)
    assert kernel_distance(a, b) == kernel_distance(a, b)


def test_kernel_distance_is_about_zero_for_halves_of_one_distribution():
    a = normal(1000, 4, 0)
    far = kernel_distance(a, a + 0.5)
    assert abs(kernel_distance(a[:500], a[500:])) < 0.1 * far


@pytest.mark.parametrize("function", [frechet_distance, kernel_distance])
def test_features_that_are_no_two_sets_are_refused(function):
    good = torch.randn(3, 4)
    for bad in (torch.zeros(3, 5), torch.zeros(1, 4), torch.zeros(3, 4, 1)):
        with pytest.raises(ValueError, match="features"):
            function(good, bad)
    with pytest.raises(ValueError, match="finite"):
        function(good, torch.full((3, 4), float("nan")))


def test_alex_features_are_the_mean_of_the_last_tap():
    x = pictures(2, 0)
    taps = []
    net = LPIPS("alex")
    net.trunk.register_forward_hook(lambda module, inputs, output: taps.append(output[-1]))
    net.features(x * 2 - 1)
    features = alex_features(x)
    torch.testing.assert_close(features, taps[0].mean((2, 3)))
    assert features.shape == (2, 256)
    assert (features[0] - features[1]).abs().max() > 1e-3
    assert not features.requires_grad
    for bad in (torch.zeros(2, 3, 30, 40), torch.zeros(3, 40, 40), torch.zeros(1, 1, 40, 40)):
        with pytest.raises(ValueError, match="AlexNet"):
            alex_features(bad)


def test_batches_give_what_the_whole_set_gives():
    real, fake = pictures(9, 0), pictures(6, 1) * 0.8
    measure = Distribution(Colours(), name="colours")
    for start in range(0, 9, 4):
        measure.update(real=real[start : start + 4])
    measure.update(fake=fake[:5])
    measure.update(fake=fake[5:])
    a, b = Colours()(real), Colours()(fake)
    expected = {"fd_colours": frechet_distance(a, b), "kd_colours": kernel_distance(a, b)}
    assert measure.compute() == pytest.approx(expected, rel=1e-5)
    assert measure.compute()["fd_colours"] > 0.01

    measure.reset()
    measure.update(real=real, fake=real)
    assert measure.compute()["fd_colours"] == pytest.approx(0, abs=1e-12)


def test_default_network_is_named_in_the_results_and_rises_with_damage():
    real = pictures(6, 0, 64)
    values = []
    for strength in (0.1, 0.5):
        measure = Distribution()
        measure.update(real=real, fake=real * (1 - strength) + strength * real.mean((2, 3), keepdim=True))
        values.append(measure.compute())
    assert set(values[0]) == {"fd_alex", "kd_alex"}
    assert 0 < values[0]["fd_alex"] < values[1]["fd_alex"]
    assert values[0]["kd_alex"] < values[1]["kd_alex"]
    assert not Distribution.higher_is_better


def test_networks_fit_the_classes_of_torchmetrics_too():
    real, fake = pictures(5, 0), pictures(5, 1) * 0.5
    theirs = FrechetInceptionDistance(AlexFeatures())
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = Distribution()
    ours.update(real=real, fake=fake)
    assert ours.compute()["fd_alex"] == pytest.approx(theirs.compute().item(), rel=1e-3)


def test_only_the_standard_network_gives_fid_and_kid(monkeypatch):
    asked = []
    monkeypatch.setattr(distribution, "inception_weights", lambda path: asked.append(path) or {})
    monkeypatch.setattr(distribution, "InceptionV3", lambda weights: Colours())
    measure = Distribution("inception", weights=Path("given.pth"))
    measure.update(real=pictures(4, 0), fake=pictures(4, 1))
    assert set(measure.compute()) == {"fid", "kid"}
    assert asked == [Path("given.pth")]


def test_arguments_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="name"):
        Distribution(Colours())
    with pytest.raises(ValueError, match="name"):
        Distribution("alex", name="mine")
    with pytest.raises(ValueError, match="weight file"):
        Distribution("alex", weights=Path("file.pth"))
    with pytest.raises(ValueError, match="known are alex, inception"):
        Distribution("vgg")  # type: ignore[arg-type]


def test_sets_that_are_too_small_are_refused():
    measure = Distribution(Colours(), name="colours")
    measure.update(real=pictures(3, 0))
    with pytest.raises(ValueError, match="fake set needs at least 2 pictures, got 0"):
        measure.compute()
    measure.update(fake=pictures(1, 0))
    with pytest.raises(ValueError, match="got 1"):
        measure.compute()
