"""Pixel measures of fidelity: PSNR, SSIM and MS-SSIM."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.metrics.checks import check_pair, precise

_SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


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
    error = (precise(a) - precise(b)).square().mean((1, 2, 3))
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
    luminance, structure = _similarity(precise(a), precise(b))
    return (luminance * structure).mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003), mean over RGB. Higher is better.

    Contrast and structure at five scales, each half the one before (2 x 2 means), luminance at the coarsest;
    the window of `ssim`, whole pictures.

    Args:
        a: (N, 3, H, W) RGB, [0, 1]; sides at least 176 pixels.
        b: the same shape and range.

    Returns:
        (N,) float64 in [0, 1]; 1 for equal pictures.

    Raises:
        ValueError: if the shapes are wrong, differ or are too small.
    """
    check_pair(a, b)
    smallest = (2 * _SSIM_RADIUS + 1) * 2 ** (len(_SCALE_WEIGHTS) - 1)
    if min(a.shape[2:]) < smallest:
        raise ValueError(f"MS-SSIM needs sides of at least {smallest} pixels, got {tuple(a.shape[2:])}")
    x, y = precise(a), precise(b)
    product = x.new_ones(())
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        luminance, structure = _similarity(x, y)
        last = scale == len(_SCALE_WEIGHTS) - 1
        value = (luminance * structure if last else structure).mean((2, 3))
        product = product * value.clamp_min(0) ** weight
    return product.mean(1)


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance term, and contrast-and-structure term, at each place where the window fits."""
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x * mean_x
    var_y = _window(y * y) - mean_y * mean_y
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return luminance, (2 * covariance + c2) / (var_x + var_y + c2)


def _window(x: Tensor) -> Tensor:
    """Gaussian-weighted local mean of every channel, where the window fits."""
    # As two matrix products: float64 convolutions are several times slower on a CPU.
    down, across = (_band(size, str(x.device), x.dtype) for size in x.shape[2:])
    return down @ x @ across.T


@cache
def _band(size: int, device: str, dtype: torch.dtype) -> Tensor:
    """(size - 10, size): row i weighs the window's pixels i to i + 10."""
    steps = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=dtype)
    kernel = torch.exp(-steps.square() / (2 * _SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    width = len(kernel)
    band = torch.zeros(size - width + 1, size, dtype=dtype)
    for i in range(len(band)):
        band[i, i : i + width] = kernel
    return band.to(device)
