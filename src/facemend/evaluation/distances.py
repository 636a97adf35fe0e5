"""The distribution measures of a run: which network, which names, which weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemend.errors import ConfigError
from facemend.metrics.distribution import alex_features, frechet_distance, kernel_distance
from facemend.networks.perceptual.inception import InceptionV3, inception_weights
from facemend.weights.catalog import PACKAGES

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SetMeasures:
    """Distances between sets of pictures.

    Attributes:
        features: (N, 3, H, W) RGB [0, 1] -> (N, D).
        functions: name -> distance of two (N, D) sets.
        descriptions: name -> what a report says of it.
        weights: file -> sha256.
    """

    features: Callable[[Tensor], Tensor]
    functions: Mapping[str, Callable[[Features, Features], float]]
    descriptions: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, str]


def set_measures(network: str) -> SetMeasures:
    """Open the feature network.

    Args:
        network: "alex" (always at hand; results `fd_alex`, `kd_alex`) or "inception" (`fid`, `kid`).

    Raises:
        ConfigError: there is no such network.
        WeightsError: its weights are not at hand; the message says where to put them.
    """
    if network == "alex":
        alex = next(m for a in PACKAGES["lpips"] for m in a.members if m.filename == "alexnet.ckpt")
        weights = {alex.filename: alex.sha256}
        return _measures(
            alex_features, ("fd_alex", "kd_alex"), ("FD-Alex", "KD-Alex"), "LPIPS AlexNet", weights
        )
    if network == "inception":
        net = InceptionV3(inception_weights())
        weights = {"FID InceptionV3 state": _state_sha256(net)}
        return _measures(
            lambda x: net.to(x.device)(x), ("fid", "kid"), ("FID", "KID"), "FID InceptionV3", weights
        )
    raise ConfigError(f"no feature network {network!r}: alex or inception")


def _measures(
    features: Callable[[Tensor], Tensor],
    names: tuple[str, str],
    labels: tuple[str, str],
    network: str,
    weights: Mapping[str, str],
) -> SetMeasures:
    explain = (
        f"How far the whole set of restored faces is from the originals in the eyes of {network}; a fog that "
        "lies over every face shows here. It falls with the number of pictures, so compare equal sets only"
        + ("." if network.startswith("FID") else ", and never with a paper's FID."),
        "The same question answered with a kernel, which does not depend on the number of pictures. Values "
        "near 0 mean that the sets cannot be told apart.",
    )
    common = {
        "higher_is_better": False,
        "range": "0 upwards",
        "unit": "",
        "network": network,
        "colour": "RGB",
        "crop": "whole picture",
    }
    rows = {
        name: {"label": label, "explain": text, **common}
        for name, label, text in zip(names, labels, explain, strict=True)
    }
    functions = {names[0]: _on_arrays(frechet_distance), names[1]: _on_arrays(kernel_distance)}
    return SetMeasures(features, functions, rows, weights)


def _on_arrays(distance: Callable[[Tensor, Tensor], float]) -> Callable[[Features, Features], float]:
    return lambda a, b: distance(torch.from_numpy(a), torch.from_numpy(b))


def _state_sha256(net: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
