"""The network as one module, for converters that start from torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from facemend.convert.recover import model_checkpoint
from facemend.networks.codeformer.checkpoint import load_checkpoint, network_of
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.weights.models import ModelInfo

INPUTS, OUTPUT = ("image", "w"), "restored"


class WholeNetwork(nn.Module):
    """Face and w in, restored face out; AdaIN as the model's graphs have it."""

    def __init__(self, net: CodeFormer, adain: bool) -> None:
        super().__init__()
        self.net, self.adain = net, adain

    def forward(self, image: Tensor, w: Tensor) -> Tensor:
        """(1, 3, S, S) RGB [-1, 1] and (1,) -> (1, 3, S, S) RGB, about [-1, 1]."""
        restored: Tensor = self.net(image, w, self.adain)
        return restored


def open_network(info: ModelInfo) -> WholeNetwork:
    """The network of a model in evaluation mode, in float32.

    Raises:
        WeightsError: the model was not exported by facemend from a checkpoint.
    """
    path: Path = model_checkpoint(info)
    found = load_checkpoint(path)
    net = network_of(found, path)
    return WholeNetwork(net, bool(info.details["adain"])).eval().requires_grad_(False)


def example(side: int) -> dict[str, Tensor]:
    """A smooth picture and a w, by the names of the inputs, to trace with and to measure parity on."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
    image = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)
    return {"image": image, "w": torch.tensor([0.5])}
