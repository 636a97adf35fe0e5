"""NIQE: how natural a picture looks, without a reference (Mittal, Soundararajan and Bovik, 2013).

Blocks of the picture are described by the shape of their locally normalised brightness and of the products of
neighbours, at two scales; the distance of their Gaussian from that of undistorted photographs is the score.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.metrics.checks import check_pictures, precise
from facemend.networks.perceptual.weights import niqe_state

BLOCK = 96
"""Side of a block at full scale, pixels; at half scale it is half."""
# Brightness of ITU-R BT.601, 16 to 235, from RGB in [0, 1].
_LUMA, _LUMA_OFFSET = (65.481, 128.553, 24.966), 16.0
# Of 255 steps: far below what one step in the window's corner gives, far above float64 noise.
_FLAT = 1e-7
_PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))


@torch.no_grad()
def niqe(pictures: Tensor) -> Tensor:
    """Natural image quality evaluator. Lower is better.

    No reference. Colour: the rounded BT.601 brightness. Crop: the largest part from the top left that holds
    whole blocks of 96 pixels; a 256 pixel face has four blocks, so its score is rough and does not compare
    with that of the same face at 512 pixels.

    Args:
        pictures: (N, 3, H, W) RGB, [0, 1]; sides at least 192 pixels (two blocks each way).

    Returns:
        (N,) float64, >= 0; about 3 to 5 for sharp photographs, above 10 for blurred faces.

    Raises:
        ValueError: if the shape is wrong or too small.
        WeightsError: if the parameters cannot be fetched.
    """
    check_pictures(pictures)
    height, width = (side // BLOCK * BLOCK for side in pictures.shape[2:])
    if min(height, width) < 2 * BLOCK:
        raise ValueError(f"NIQE needs sides of at least {2 * BLOCK} pixels, got {tuple(pictures.shape[2:])}")
    return torch.stack([_one(luma) for luma in _luma(precise(pictures))[..., :height, :width]])


def _one(luma: Tensor) -> Tensor:
    """(1, H, W) brightness 0..255, sides in whole blocks -> the score."""
    state = _state(str(luma.device))
    features = []
    for scale in (1, 2):
        x = luma[None] if scale == 1 else _halved(luma[None])
        features.append(_features(_normalised(x, state["window"]), BLOCK // scale))
    described = torch.cat(features, 1)  # (blocks, 36)
    described = described[described.isfinite().all(1)]
    if len(described) < 2:  # a flat picture: no block has a shape to fit
        return luma.new_tensor(float("nan"))
    difference = state["mean"] - described.mean(0)
    spread = (state["covariance"] + torch.cov(described.T)) / 2
    score: Tensor = (difference @ torch.linalg.pinv(spread, hermitian=True) @ difference).clamp_min(0).sqrt()
    return score


def _luma(pictures: Tensor) -> Tensor:
    weights = pictures.new_tensor(_LUMA).view(1, 3, 1, 1)
    return ((pictures * weights).sum(1, keepdim=True) + _LUMA_OFFSET).round()


def _halved(x: Tensor) -> Tensor:
    # Cubic with antialiasing: the same cubic (a = -0.5) over twice the width.
    half = (x.shape[2] // 2, x.shape[3] // 2)
    return F.interpolate(x, half, mode="bicubic", antialias=True)


def _normalised(x: Tensor, window: Tensor) -> Tensor:
    """Mean-subtracted, contrast-normalised brightness."""
    reach = window.shape[0] // 2
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    mean = F.conv2d(padded, window[None, None])
    square = F.conv2d(padded.square(), window[None, None])
    deviation = x - mean
    # Where the picture is flat the difference is rounding noise, whose sign differs from machine to machine,
    # and _fit() counts signs.
    deviation = torch.where(deviation.abs() < _FLAT, 0.0, deviation)
    return deviation / ((square - mean.square()).abs().sqrt() + 1)


def _features(x: Tensor, side: int) -> Tensor:
    """(1, 1, H, W) -> 18 numbers a block, blocks column by row."""
    blocks = x[0, 0].unfold(0, side, side).unfold(1, side, side).reshape(-1, side, side)
    alpha, left, right = _fit(blocks)
    numbers = [alpha, (left + right) / 2]
    for shift in _PAIRS:
        alpha, left, right = _fit(blocks * blocks.roll(shift, (1, 2)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha))
        numbers += [alpha, mean, left, right]
    return torch.stack(numbers, 1)


def _fit(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric generalised Gaussian of each block, by moments: shape and the two scales, (blocks,) each."""
    x = blocks.flatten(1)
    negative, positive = x < 0, x > 0
    left = ((x.square() * negative).sum(1) / negative.sum(1)).sqrt()
    right = ((x.square() * positive).sum(1) / positive.sum(1)).sqrt()
    ratio = left / right
    flatness = x.abs().mean(1).square() / x.square().mean(1)
    wanted = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    shapes, ratios = _shapes(str(x.device))
    alpha = shapes[(ratios[None] - wanted[:, None]).square().argmin(1)]
    scale = torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)
    return alpha, left * scale, right * scale


@cache
def _shapes(device: str) -> tuple[Tensor, Tensor]:
    """The shapes that are tried, 0.2 to 10, and the moment ratio of each."""
    shapes = torch.arange(200, 10_001, dtype=torch.float64) / 1000
    logs = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    return shapes.to(device), logs.exp().to(device)


@cache
def _state(device: str) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in niqe_state().items()}
