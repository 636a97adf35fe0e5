"""Pixel measures of fidelity: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.metrics.checks import check_pair

_SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all pixels and channels. Higher is better.

    Args:
        a: (N, 3, H, W) RGB, [0, 1].
        b: the same shape and range.

    Returns:
        (N,) decibels, float64, about 15 to 40 for restored faces; infinity for equal pictures.

    Raises:
        ValueError: if the shapes are wrong or differ.
    """
    check_pair(a, b)
    error = (_precise(a) - _precise(b)).square().mean((1, 2, 3))
    return -10 * torch.log10(error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), the mean over the three RGB channels. Higher is better.

    A Gaussian window of 11 pixels and sigma 1.5 with population covariances, at the places where the window
    lies inside the picture: what scikit-image computes with `gaussian_weights=True`,
    `use_sample_covariance=False` and `data_range=1`.

    Args:
        a: (N, 3, H, W) RGB, [0, 1]; sides at least 11 pixels.
        b: the same shape and range.

    Returns:
        (N,) float64 in [-1, 1]; 1 for equal pictures.

    Raises:
        ValueError: if the shapes are wrong, differ or are too small.
    """
    check_pair(a, b)
    width = 2 * _SSIM_RADIUS + 1
    if min(a.shape[2:]) < width:
        raise ValueError(f"SSIM needs sides of at least {width} pixels, got {tuple(a.shape[2:])}")
    x, y = _precise(a), _precise(b)
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x * mean_x
    var_y = _window(y * y) - mean_y * mean_y
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2)
    return (top / bottom).mean((1, 2, 3))


def _precise(x: Tensor) -> Tensor:
    # Variances come from differences of near-equal numbers: float32 is not enough in flat regions.
    # Apple's GPU has no float64.
    return (x.cpu() if x.device.type == "mps" else x).double()


def _window(x: Tensor) -> Tensor:
    """Gaussian-weighted local mean of every channel, where the window fits."""
    steps = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-steps.square() / (2 * _SSIM_SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = F.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])
    return F.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])
