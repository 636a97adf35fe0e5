"""Group normalisation of pictures laid out by pixel: the same numbers as torch's by channel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facemend.networks.codeformer.group_norm import NORM_EPS, GroupNorm


def pair(channels: int = 12, groups: int = 4) -> tuple[GroupNorm, nn.GroupNorm]:
    generator = torch.Generator().manual_seed(3)
    own, reference = GroupNorm(channels, groups), nn.GroupNorm(groups, channels, eps=NORM_EPS)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.copy_(torch.randn(channels, generator=generator))
    reference.load_state_dict(own.state_dict())
    return own, reference


def gradients(net: nn.Module, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = net(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *net.parameters()], target)]


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_by_pixel_it_is_torchs(dtype, error, offset):
    own, reference = pair()
    draw = torch.Generator().manual_seed(1)
    x, target = (torch.randn(3, 12, 9, 7, generator=draw).to(dtype) for _ in range(2))
    x = x + offset
    if dtype == torch.float64:
        own.double(), reference.double()
    wanted = gradients(reference, x, target)
    found = gradients(own, x.to(memory_format=torch.channels_last), target)
    assert all(one.dtype == other.dtype for one, other in zip(found, wanted, strict=True))
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= error * other.abs().max()


def test_what_needs_no_gradient_gets_none():
    """torch's own kernel crashes there: an input from frozen layers, or frozen weights."""
    own, reference = pair()
    x = torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(2))
    by_pixel = x.to(memory_format=torch.channels_last)
    own(by_pixel).square().sum().backward()
    reference(x).square().sum().backward()
    assert own.weight.grad.allclose(reference.weight.grad, rtol=1e-4)
    own.requires_grad_(False)
    by_pixel.requires_grad_()
    own(by_pixel).square().sum().backward()
    x.requires_grad_()
    reference(x).square().sum().backward()
    assert by_pixel.grad.allclose(x.grad, rtol=1e-4, atol=1e-5)
