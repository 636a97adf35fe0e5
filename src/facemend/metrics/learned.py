"""Measures by frozen networks: LPIPS and face identity. Their weights are fetched on the first use."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.metrics.checks import check_pair
from facemend.models.identity import IdentityNet
from facemend.models.metric_weights import LPIPSNet
from facemend.models.perceptual import LPIPS


@torch.no_grad()
def lpips(a: Tensor, b: Tensor, *, net: LPIPSNet = "alex") -> Tensor:
    """Learned perceptual image patch similarity, version 0.1. Lower is better.

    For a loss with gradients use `models.perceptual.LPIPS`.

    Args:
        a: (N, 3, H, W) RGB, [0, 1]; sides at least 31 pixels ("alex") or 16 ("vgg").
        b: the same shape and range.
        net: "alex" (the usual one) or "vgg"; their values do not compare.

    Returns:
        (N,) distances, >= 0, rarely above 1; 0 for equal pictures.

    Raises:
        ValueError: if the shapes are wrong or differ.
        WeightsError: if the weights cannot be fetched.
    """
    check_pair(a, b)
    distances: Tensor = _lpips_net(net, str(a.device))(a.float() * 2 - 1, b.float() * 2 - 1)
    return distances


@torch.no_grad()
def identity_distance(a: Tensor, b: Tensor) -> Tensor:
    """L2 distance of dlib's face embeddings. Lower is better.

    Args:
        a: (N, 3, S, S) RGB, [0, 1], FFHQ-aligned faces.
        b: the same shape and range.

    Returns:
        (N,) distances, >= 0; below .6 the two are taken for the same person. Not comparable with ArcFace.

    Raises:
        ValueError: if the shapes are wrong or differ.
        WeightsError: if the weights cannot be fetched.
    """
    x, y = _embeddings(a, b)
    return (x - y).square().sum(1).sqrt()


@torch.no_grad()
def identity_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of dlib's face embeddings. Higher is better.

    Args:
        a: (N, 3, S, S) RGB, [0, 1], FFHQ-aligned faces.
        b: the same shape and range.

    Returns:
        (N,) cosines, at most 1. All faces lie in one direction for this network: different people score
        about .8 too, so compare with other values of this function only, never with ArcFace's.

    Raises:
        ValueError: if the shapes are wrong or differ.
        WeightsError: if the weights cannot be fetched.
    """
    return F.cosine_similarity(*_embeddings(a, b))


def _embeddings(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    check_pair(a, b)
    net = _identity_net(str(a.device))
    return net.embed_aligned(a.float() * 2 - 1), net.embed_aligned(b.float() * 2 - 1)


@cache
def _lpips_net(net: LPIPSNet, device: str) -> LPIPS:
    return LPIPS(net).to(device)


@cache
def _identity_net(device: str) -> IdentityNet:
    return IdentityNet().to(device)
