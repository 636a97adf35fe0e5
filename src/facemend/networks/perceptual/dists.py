"""DISTS: a distance of structure and texture between pictures (Ding, Ma, Wang and Simoncelli, 2020).

The taps of VGG-16 (its max pooling replaced by a smooth one) and the picture itself are compared by their
channel means (texture) and correlations (structure); learnt weights sum them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import WeightsError, one_line
from facemend.networks.perceptual.lpips import VGG16Trunk
from facemend.networks.perceptual.weights import dists_state

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_EPS = 1e-6
_POOL_EPS = 1e-12


class DISTS(nn.Module):
    """The network and the weights of its channels.

    Args:
        state: its state dict; by default the published weights, fetched on the first use.

    Raises:
        WeightsError: if the weights cannot be fetched or do not fit.
    """

    mean: Tensor
    std: Tensor
    alpha: Tensor
    beta: Tensor
    window: Tensor

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.trunk = VGG16Trunk()
        channels = 3 + sum(self.trunk.channels)
        for name in ("alpha", "beta"):
            self.register_buffer(name, torch.zeros(channels))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        hann = torch.tensor([0.5, 1.0, 0.5])  # the inner taps of a Hann window of five
        self.register_buffer("window", torch.outer(hann, hann) / hann.sum() ** 2, persistent=False)
        try:
            self.load_state_dict(dict(dists_state() if state is None else state))
        except RuntimeError as error:
            raise WeightsError(f"DISTS weights do not fit: {one_line(error)}") from error
        self.requires_grad_(False)
        self.eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """The picture itself and five taps.

        Args:
            x: (N, 3, H, W) RGB, [0, 1]; sides at least 16 pixels.

        Returns:
            Six maps (N, C, h, w).
        """
        taps = [x]
        x = (x - self.mean) / self.std
        layers = iter(self.trunk.convs)
        for block, depth in enumerate(self.trunk.depths):
            if block:
                x = self._pool(x)
            for _ in range(depth):
                x = F.relu(next(layers)(x))
            taps.append(x)
        return taps

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distance of two sets of `features`; a set of one picture is compared with each of the other.

        Returns:
            (N,) distances, 0 for equal pictures, at most about 1.
        """
        total = self.alpha.sum() + self.beta.sum()
        sizes = [tap.shape[1] for tap in a]
        alpha, beta = (w.split(sizes) for w in (self.alpha / total, self.beta / total))
        similarity = torch.zeros(())
        for x, y, texture_weight, structure_weight in zip(a, b, alpha, beta, strict=True):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
            centred_x, centred_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
            var_x, var_y = centred_x.square().mean((2, 3)), centred_y.square().mean((2, 3))
            covariance = (centred_x * centred_y).mean((2, 3))
            texture = (2 * mean_x * mean_y + _EPS) / (mean_x.square() + mean_y.square() + _EPS)
            structure = (2 * covariance + _EPS) / (var_x + var_y + _EPS)
            similarity = similarity + (texture_weight * texture + structure_weight * structure).sum(1)
        return 1 - similarity

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of two batches (N, 3, H, W), RGB, [0, 1]; returns (N,)."""
        return self.distance(self.features(a), self.features(b))

    def _pool(self, x: Tensor) -> Tensor:
        """Root of the windowed mean of squares, halving the size: no aliasing, unlike taking the largest."""
        kernel = self.window.expand(x.shape[1], 1, 3, 3)
        power = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1])
        return (power + _POOL_EPS).sqrt()
