"""Against spikes: places of a feature map far above all others, which set the scale of its normalisation.

A norm divides by what it finds in the whole map, so one huge value somewhere that no loss looks at sets the
scale of everything else (the droplets of Karras et al., "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020). The picture has coloured dots there. Ours, not in the paper.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MOST = 16.0
"""What is no spike: so many times the mean absolute value of its channel."""


def spikes(x: Tensor) -> Tensor:
    """Mean square of what lies above `MOST` in (B, C, H, W), in units of each channel's mean size."""
    size = x.float().abs()
    unit = size.detach().mean((2, 3), keepdim=True) + 1e-6
    return (size / unit - MOST).clamp(min=0).square().mean()


class Spikes:
    """The loss over what goes into all norms of a module, collected while it runs with gradients.

    Args:
        module: such as the decoder.
        weight: of the loss; with 0 nothing is looked at.
    """

    def __init__(self, module: nn.Module, weight: float) -> None:
        self._weight, self._found = weight, list[Tensor]()
        for part in module.modules() if weight else ():
            if isinstance(part, nn.GroupNorm):
                part.register_forward_pre_hook(self._look)

    def _look(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and inputs[0].requires_grad:
            self._found.append(spikes(inputs[0]))

    def take(self) -> dict[str, Tensor]:
        """`spikes`, the weighted loss of what ran since the last call, with its graph; {} for nothing."""
        found, self._found = self._found, []
        return {"spikes": self._weight * torch.stack(found).mean()} if found else {}
