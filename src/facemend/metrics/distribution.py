"""Distances between two sets of pictures: Fréchet and kernel distance of the features of a network.

The network decides what a value means, so it is in the name of every result. `fid` and `kid` are those of
the standard InceptionV3 file only; with the LPIPS AlexNet, which stands in where that file is not at hand,
they are `fd_alex` and `kd_alex`. Values of different networks do not compare, nor do Fréchet distances of
sets of different sizes: those of small sets are too high.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from facemend.networks.perceptual.inception import InceptionV3, inception_weights
from facemend.networks.perceptual.lpips import LPIPS

_ROWS = 1024


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017). Lower is better.

    |mean a - mean b|^2 + tr(Ca + Cb - 2 (Ca Cb)^(1/2)), with the sample covariances C. It is biased: the
    distance of two samples of one distribution is above 0 and falls as they grow.

    Args:
        a: (N, D) features, N >= 2; N may be below D.
        b: (M, D) features, M >= 2.

    Returns:
        The distance, >= 0, no upper bound; 0 for equal sets. Computed in float64.

    Raises:
        ValueError: if a shape is wrong, or a feature is not finite.
    """
    x, y = _features(a, b)
    shift = x.mean(0) - y.mean(0)
    p, q = _root(x), _root(y)
    # tr (Ca Cb)^(1/2) is the sum of the singular values of P Q^T where Ca = P^T P and Cb = Q^T Q. No matrix
    # is squared and no root is taken of an eigenvalue that rounding made negative, so N < D does no harm.
    common = torch.linalg.svdvals(p @ q.T).sum()
    distance = shift.square().sum() + p.square().sum() + q.square().sum() - 2 * common
    return max(float(distance), 0.0)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Kernel distance of two sets of features (KID; Bińkowski et al. 2018). Lower is better.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, over the
    whole sets. Many programs average over random subsets instead, which changes the value a little at every
    call; papers often print it times 1000.

    Args:
        a: (N, D) features, N >= 2.
        b: (M, D) features, M >= 2.

    Returns:
        The distance, no upper bound. It may be slightly negative when both sets follow one distribution,
        where its expectation is 0. Computed in float64.

    Raises:
        ValueError: if a shape is wrong, or a feature is not finite.
    """
    x, y = _features(a, b)
    n, m = len(x), len(y)
    within = _kernel_sum(x, x, same=True) / (n * (n - 1)) + _kernel_sum(y, y, same=True) / (m * (m - 1))
    return float(within - 2 * _kernel_sum(x, y) / (n * m))


class AlexFeatures(nn.Module):
    """The stand-in feature network: the last convolution of the LPIPS AlexNet, averaged over the picture.

    Args:
        weights: a state dict of `models.perceptual.LPIPS`; by default the published ones, fetched once.

    Raises:
        WeightsError: if the weights cannot be fetched or do not fit.
    """

    num_features = 256

    def __init__(self, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.net = LPIPS("alex", weights)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Features of pictures, at the size they have: compare sets of one size only.

        Args:
            pictures: (N, 3, H, W) RGB, [0, 1]; sides at least 31 pixels.

        Returns:
            (N, 256) float32, >= 0: activations after the rectifier, not brought to unit length as LPIPS does,
            because their size tells too.

        Raises:
            ValueError: if the shape is wrong or too small.
        """
        smallest = self.net.trunk.min_size
        if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < smallest:
            raise ValueError(
                f"AlexNet features need (N, 3, H, W), sides >= {smallest}, got {tuple(pictures.shape)}"
            )
        x = (pictures.float() * 2 - 1 - self.net.shift) / self.net.scale
        taps: list[Tensor] = self.net.trunk(x)
        return taps[-1].mean((2, 3))


def alex_features(pictures: Tensor) -> Tensor:
    """Features of `AlexFeatures` with the published weights.

    Args:
        pictures: (N, 3, H, W) RGB, [0, 1]; sides at least 31 pixels.

    Returns:
        (N, 256) float32, >= 0, on the device of the pictures.

    Raises:
        ValueError: if the shape is wrong or too small.
        WeightsError: if the weights cannot be fetched.
    """
    features: Tensor = _alex(str(pictures.device))(pictures)
    return features


class Distribution(Metric):
    """Fréchet and kernel distance between real and restored pictures, batch by batch. Lower is better.

    States, devices and gathering over processes are those of torchmetrics. Its own FID and KID classes are
    not used, though they agree: each runs the network once more, and its KID draws random subsets.

    Pictures are RGB, [0, 1], whole aligned faces as they are, without a crop. Both sets should have one size
    in pixels and the same number of pictures.

    Args:
        network: "alex" for `AlexFeatures`; "inception" for the standard FID network, whose weight file must
            be at hand; or any module from (N, 3, H, W) pictures to (N, D) features.
        name: names the results `fd_NAME` and `kd_NAME` of a module of your own; needed for it only.
        weights: the FID weight file, for "inception"; by default looked for as `inception_weights` does.

    Raises:
        ValueError: if a module of your own has no name, or a network by name takes no such argument.
        WeightsError: if the weights are not at hand.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    real: list[Tensor]
    fake: list[Tensor]

    def __init__(
        self,
        network: Literal["alex", "inception"] | nn.Module = "alex",
        *,
        name: str | None = None,
        weights: Path | None = None,
    ) -> None:
        super().__init__()
        if isinstance(network, nn.Module) != (name is not None):
            raise ValueError("a network of your own needs a name, and only such a network takes one")
        if weights is not None and network != "inception":
            raise ValueError('only the network "inception" takes a weight file')
        self.network: nn.Module
        if isinstance(network, nn.Module):
            self.network, self.names = network, (f"fd_{name}", f"kd_{name}")
        elif network == "inception":
            self.network, self.names = InceptionV3(inception_weights(weights)), ("fid", "kid")
        elif network == "alex":
            self.network, self.names = AlexFeatures(), ("fd_alex", "kd_alex")
        else:
            raise ValueError(f"{network}: no such feature network; known are alex, inception")
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("fake", default=[], dist_reduce_fx="cat")

    def update(self, real: Tensor | None = None, fake: Tensor | None = None) -> None:
        """Add pictures to one or both sets.

        Args:
            real: (N, 3, H, W) RGB, [0, 1], of the set to compare with.
            fake: (M, 3, H, W) RGB, [0, 1], restored pictures.

        Raises:
            ValueError: if a shape is wrong.
        """
        with torch.no_grad():
            if real is not None:
                self.real.append(self.network(real))
            if fake is not None:
                self.fake.append(self.network(fake))

    def compute(self) -> dict[str, float]:
        """Both distances over all pictures so far.

        Returns:
            `fid` and `kid`, or `fd_...` and `kd_...` of another network; ranges as in `frechet_distance` and
            `kernel_distance`.

        Raises:
            ValueError: if a set has fewer than two pictures.
        """
        a, b = _joined(self.real, "real"), _joined(self.fake, "fake")
        frechet, kernel = self.names
        return {frechet: frechet_distance(a, b), kernel: kernel_distance(a, b)}


def _joined(parts: list[Tensor] | Tensor, which: str) -> Tensor:
    # torchmetrics itself joins them when it gathers over processes.
    joined = parts if isinstance(parts, Tensor) else torch.cat(parts) if parts else torch.empty(0, 1)
    if len(joined) < 2:
        raise ValueError(f"the {which} set needs at least 2 pictures, got {len(joined)}")
    return joined


def _features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets in float64, checked."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"needs (N, D) and (M, D) features with N, M >= 2, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    # Apple's GPU has no float64.
    a, b = ((x.cpu() if x.device.type == "mps" else x).detach().double() for x in (a, b))
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("a feature is not a finite number")
    return a, b


def _root(x: Tensor) -> Tensor:
    """P with P^T P = the sample covariance of x, at most D rows."""
    centred: Tensor = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    if len(x) <= x.shape[1]:
        return centred
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root


def _kernel_sum(x: Tensor, y: Tensor, *, same: bool = False) -> Tensor:
    """Sum of the kernel over all pairs; over unlike pairs when x and y are the `same` set."""
    total = x.new_zeros(())
    for start in range(0, len(x), _ROWS):  # in parts: sets of 70,000 pictures have 5e9 pairs
        rows = x[start : start + _ROWS]
        total = total + _kernel(rows @ y.T, x.shape[1]).sum()
    return total - _kernel(x.square().sum(1), x.shape[1]).sum() if same else total


def _kernel(products: Tensor, width: int) -> Tensor:
    kernel: Tensor = (products / width + 1) ** 3
    return kernel


@cache
def _alex(device: str) -> AlexFeatures:
    return AlexFeatures().to(device)
