"""LPIPS: a perceptual distance between pictures, as a metric and as a loss.

Both pictures go through a frozen classification network; the squared differences of its unit-length features
at five depths, weighted per channel by learnt heads, are averaged over the picture and summed (Zhang et al.,
"The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import WeightsError, one_line
from facemend.networks.perceptual.weights import LPIPSNet, lpips_state

_LPIPS_SHIFT = (-0.030, -0.088, -0.188)
_LPIPS_SCALE = (0.458, 0.448, 0.450)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_NORM_EPS = 1e-10


class AlexNetTrunk(nn.Module):
    """The five convolutions of AlexNet (the one-column form with 64 first channels)."""

    channels = (64, 192, 384, 256, 256)
    min_size = 31
    """Smallest side, pixels, that leaves a pixel at the last tap."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, stride=4, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features after each rectifier.

        Args:
            x: (N, 3, H, W) normalised pictures; sides >= `min_size`.

        Returns:
            Five maps with `channels` channels.
        """
        taps: list[Tensor] = []
        for index, conv in enumerate(self.convs):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(conv(x))
            taps.append(x)
        return taps


class VGG16Trunk(nn.Module):
    """The thirteen convolutions of VGG-16 in five blocks; a tap at the end of each block."""

    channels = (64, 128, 256, 512, 512)
    min_size = 16
    """Smallest side, pixels, that leaves a pixel at the last tap."""
    depths = (2, 2, 3, 3, 3)
    """Convolutions of each block."""

    def __init__(self) -> None:
        super().__init__()
        convs: list[nn.Module] = []
        before = 3
        for width, depth in zip(self.channels, self.depths, strict=True):
            for _ in range(depth):
                convs.append(nn.Conv2d(before, width, 3, padding=1))
                before = width
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at the end of each block, after the rectifier.

        Args:
            x: (N, 3, H, W) normalised pictures; sides >= `min_size`.

        Returns:
            Five maps with `channels` channels.
        """
        taps: list[Tensor] = []
        layers = iter(self.convs)
        for block, depth in enumerate(self.depths):
            if block:
                x = F.max_pool2d(x, 2)
            for _ in range(depth):
                x = F.relu(next(layers)(x))
            taps.append(x)
        return taps


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity, version 0.1; lower is closer.

    Args:
        net: "alex" (the usual metric) or "vgg" (the usual loss).
        weights: a state dict of this module; by default the published ones, fetched on the first use.
        double_normalised: apply the ImageNet mean and deviation to the [0, 1] pictures and then LPIPS's own
            shift and scale on top, as the published CodeFormer trainings do. Values then do not compare with
            LPIPS anywhere else: leave it off for a metric.

    Parameters never train and the module stays in evaluation mode; gradients flow to the pictures.

    Raises:
        WeightsError: if `weights` do not fit, or the published ones cannot be fetched.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        net: LPIPSNet = "alex",
        weights: Mapping[str, Tensor] | None = None,
        *,
        double_normalised: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.double_normalised = double_normalised
        self.trunk: AlexNetTrunk | VGG16Trunk = AlexNetTrunk() if net == "alex" else VGG16Trunk()
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(c)) for c in self.trunk.channels])
        shift, scale = _input_affine(double_normalised)
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        try:
            self.load_state_dict(dict(lpips_state(net) if weights is None else weights))
        except RuntimeError as error:
            raise WeightsError(f"LPIPS-{net}: the weights do not fit ({one_line(error)})") from error
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> LPIPS:
        """Stay in evaluation mode: the network is a fixed measure."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features, to be compared with `distance`.

        Args:
            x: (N, 3, H, W) RGB, [-1, 1]; sides at least 31 ("alex") or 16 ("vgg") pixels.

        Returns:
            Five maps (N, C, h, w), each of length 1 over the channels.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < self.trunk.min_size:
            raise ValueError(
                f"LPIPS needs (N, 3, H, W), sides >= {self.trunk.min_size}, got {tuple(x.shape)}"
            )
        taps: list[Tensor] = self.trunk((x - self.shift) / self.scale)
        return [_unit(tap) for tap in taps]

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distance of two sets of `features`.

        Returns:
            (N,) distances, >= 0; 0 for equal pictures.
        """
        total = a[0].new_zeros(len(a[0]))
        for head, x, y in zip(self.heads, a, b, strict=True):
            total = total + torch.einsum("nchw,c->n", (x - y).square(), head) / (x.shape[2] * x.shape[3])
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance of two batches of pictures.

        A batch that asks for no gradient (the target of a loss) gets no graph.

        Args:
            a: (N, 3, H, W) RGB, [-1, 1].
            b: the same shape and range, or one picture to compare all of `a` with.

        Returns:
            (N,) distances, >= 0; 0 for equal pictures.

        Raises:
            ValueError: if a shape is wrong or too small.
        """
        if a.shape[1:] != b.shape[1:] or len(b) not in (1, len(a)):
            raise ValueError(f"LPIPS compares equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
        return self.distance(self.features(a), self.features(b))


def _input_affine(double_normalised: bool) -> tuple[Tensor, Tensor]:
    """Shift and scale, (1, 3, 1, 1) each, so that the trunk sees `(x - shift) / scale` for x in [-1, 1]."""
    shift = torch.tensor(_LPIPS_SHIFT).view(1, 3, 1, 1)
    scale = torch.tensor(_LPIPS_SCALE).view(1, 3, 1, 1)
    if double_normalised:
        mean = torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1)
        std = torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1)
        # ((((x + 1) / 2 - mean) / std) - shift) / scale, gathered into one affine map.
        shift, scale = 2 * (mean + std * shift) - 1, 2 * std * scale
    return shift, scale


def _unit(features: Tensor) -> Tensor:
    # sqrt has no finite slope at 0, where all channels of a pixel are rectified away: keep clear of it.
    square = features.square().sum(1, keepdim=True)
    return features / (square.clamp_min(_NORM_EPS**2).sqrt() + _NORM_EPS)
