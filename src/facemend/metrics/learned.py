"""Measures by frozen networks: LPIPS, DISTS, identity. Their weights are fetched on the first use."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from facemend.metrics.checks import check_pair
from facemend.networks.perceptual.dists import DISTS
from facemend.networks.perceptual.identity import IdentityNet
from facemend.networks.perceptual.lpips import LPIPS
from facemend.networks.perceptual.weights import LPIPSNet


@torch.no_grad()
def lpips(a: Tensor, b: Tensor, *, net: LPIPSNet = "alex") -> Tensor:
    """Learned perceptual image patch similarity, version 0.1. Lower is better.

    For a loss with gradients use `networks.perceptual.lpips.LPIPS`.

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
    return _distances(_lpips_net(net, str(a.device)), a.float() * 2 - 1, b.float() * 2 - 1)


@torch.no_grad()
def dists(a: Tensor, b: Tensor) -> Tensor:
    """Deep image structure and texture similarity, as a distance. Lower is better.

    Forgives another grain of the same texture, which LPIPS does not. Whole pictures at their own size.

    Args:
        a: (N, 3, H, W) RGB, [0, 1]; sides at least 16 pixels.
        b: the same shape and range.

    Returns:
        (N,) distances, from 0 for equal pictures to about 1.

    Raises:
        ValueError: if the shapes are wrong or differ.
        WeightsError: if the weights cannot be fetched.
    """
    check_pair(a, b)
    return _distances(_dists_net(str(a.device)), a.float(), b.float())


@torch.no_grad()
def identity_measures(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """How far dlib's face embeddings are apart, in three ways; none compares with those of ArcFace.

    Args:
        a: (N, 3, S, S) RGB, [0, 1], FFHQ-aligned faces; a fixed crop of the face is cut from them.
        b: the same shape and range.

    Returns:
        (N,) values by their names in `METRICS`: `ids`, the cosine, at most 1 (different people score about .8
        too: all faces lie in one direction for this network); `ids_degrees`, their angle, 0 to 90;
        `identity_distance`, L2, >= 0: below .6 the two are taken for the same person.

    Raises:
        ValueError: if the shapes are wrong or differ.
        WeightsError: if the weights cannot be fetched.
    """
    check_pair(a, b)
    x, y = identity_embeddings(a), identity_embeddings(b)
    cosine = F.cosine_similarity(x, y)
    return {
        "ids": cosine,
        "ids_degrees": torch.rad2deg(torch.acos(cosine.double().clamp(-1, 1))),
        "identity_distance": (x - y).square().sum(1).sqrt(),
    }


@torch.no_grad()
def identity_embeddings(pictures: Tensor) -> Tensor:
    """What dlib's network knows a face by; see `identity_measures`.

    Args:
        pictures: (N, 3, S, S) RGB, [0, 1], FFHQ-aligned faces.

    Returns:
        (N, 128) embeddings, whose L2 distances are `identity_distance`.
    """
    return _identity_net(str(pictures.device)).embed_aligned(pictures.float() * 2 - 1)


def _distances(net: LPIPS | DISTS, a: Tensor, b: Tensor) -> Tensor:
    """Compare batch with batch, or each of one with the one picture of the other, which is looked at once."""
    if len(a) < len(b):
        a, b = b, a  # a distance is the same both ways
    # On a CPU one picture at a time with channels last takes two thirds of the time of a batch.
    step = 1 if a.device.type == "cpu" else len(a)
    parts = [part.contiguous(memory_format=torch.channels_last) for part in a.split(step)]
    one = net.features(b.contiguous(memory_format=torch.channels_last)) if len(b) == 1 else None
    others = [one] * len(parts) if one is not None else [net.features(part) for part in b.split(step)]
    return torch.cat([net.distance(net.features(p), q) for p, q in zip(parts, others, strict=True)])


@cache
def _lpips_net(net: LPIPSNet, device: str) -> LPIPS:
    return LPIPS(net).to(device, memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


@cache
def _dists_net(device: str) -> DISTS:
    return DISTS().to(device, memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


@cache
def _identity_net(device: str) -> IdentityNet:
    return IdentityNet().to(device)
