"""EfficientNet-lite0, as far as its features are wanted: the trunk of the projected discriminator.

Inverted residual blocks (MobileNetV2) sized by compound scaling (Tan and Le, "EfficientNet", ICML 2019), in
the "lite" form: ReLU6 and no squeeze-and-excitation. Batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemend.errors import WeightsError
from facemend.networks.perceptual.weights import efficientnet_state

STEM_WIDTH = 32
# (expansion, kernel, stride, channels, repeats)
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
TAPS = (2, 4, 10, 15)
"""Blocks whose output is kept: the last ones at 1/4, 1/8, 1/16 and 1/32 of the side."""
TAP_CHANNELS = (24, 40, 112, 320)


class EfficientNetLite0(nn.Module):
    """The stem and the sixteen blocks.

    Args:
        weights: `convs.{i}.weight` and `convs.{i}.bias` of the 48 convolutions in the order of the network;
            by default the published ones, fetched on the first use.

    Weights are buffers that belong to no checkpoint: they never train. Gradients flow to the pictures.

    Raises:
        WeightsError: if `weights` do not fit, or the published ones cannot be fetched.
    """

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        state = efficientnet_state() if weights is None else weights
        self.convs = nn.ModuleList()
        self._residual: list[bool] = []
        self._expanded: list[bool] = []
        for index, (shape, stride) in enumerate(conv_shapes()):
            weight, bias = (state.get(f"convs.{index}.{name}") for name in ("weight", "bias"))
            if weight is None or bias is None or weight.shape != shape or bias.shape != shape[:1]:
                raise WeightsError(f"efficientnet-lite0: the weights do not fit (convolution {index})")
            self.convs.append(_SameConv(weight, bias, stride))
        for expansion, _, _, _, repeats in STAGES:
            self._expanded += [expansion > 1] * repeats
            self._residual += [repeat > 0 for repeat in range(repeats)]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features behind the blocks of `TAPS`.

        Args:
            image: (N, 3, H, W) RGB in [-1, 1].

        Returns:
            Four maps with `TAP_CHANNELS` channels; sides are the picture's over 4, 8, 16 and 32, rounded up.
        """
        convs = iter(self.convs)
        # (v - 127) / 128 for v in [0, 255], which is what the network was trained on.
        x = ((image + 1) * 127.5 - 127) / 128
        x = F.relu6(next(convs)(x.contiguous(memory_format=torch.channels_last)), inplace=True)
        taps = []
        for block, (expanded, residual) in enumerate(zip(self._expanded, self._residual, strict=True)):
            y = x
            if expanded:
                y = F.relu6(next(convs)(y), inplace=True)
            y = F.relu6(next(convs)(y), inplace=True)
            y = next(convs)(y)
            x = x + y if residual else y
            if block in TAPS:
                taps.append(x)
        return taps


def conv_shapes() -> Iterator[tuple[torch.Size, int]]:
    """(weight shape, stride) of every convolution, in the order of the network."""
    yield torch.Size((STEM_WIDTH, 3, 3, 3)), 2
    before = STEM_WIDTH
    for expansion, kernel, first_stride, channels, repeats in STAGES:
        for repeat in range(repeats):
            inner = before * expansion
            if expansion > 1:
                yield torch.Size((inner, before, 1, 1)), 1
            yield torch.Size((inner, 1, kernel, kernel)), first_stride if repeat == 0 else 1
            yield torch.Size((channels, inner, 1, 1)), 1
            before = channels


class _SameConv(nn.Module):
    """A convolution with TensorFlow's "same" padding: lopsided where the stride is 2 and the side even."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("weight", weight.clone(), persistent=False)
        self.register_buffer("bias", bias.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, groups = self.weight.shape[-1], x.shape[1] // self.weight.shape[1]
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=groups)
        pads: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            total = kernel - 2 + side % 2
            pads += [total // 2, total - total // 2]
        x = F.pad(x, pads)
        if groups == 1:
            return F.conv2d(x, self.weight, self.bias, stride=2)
        # Every second place of a convolution without a stride: on a CPU the backward pass of a depthwise
        # convolution with one takes several times as long.
        return F.avg_pool2d(F.conv2d(x, self.weight, self.bias, groups=groups), 1, 2)
