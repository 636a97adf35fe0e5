"""Spikes of feature maps are seen, and unlearned."""

import pytest
import torch
from torch import nn

from facemend.networks.codeformer.group_norm import GroupNorm
from facemend.training.spikes import MOST, Spikes, spikes


def test_only_what_lies_far_above_its_channel_counts():
    x = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    assert spikes(x) == 0
    x[0, 1, 31, 15] = 100.0
    unit = float(x[0, 1].abs().mean())
    assert float(spikes(x)) == pytest.approx((100 / unit - MOST) ** 2 / x.numel(), rel=1e-3)
    assert torch.isclose(spikes(1000 * x), spikes(x))


def test_a_spike_before_a_norm_is_unlearned():
    torch.manual_seed(0)
    place = nn.Parameter(torch.zeros(1, 4, 16, 16))
    place.data[..., 15, 7] = 200.0
    net = GroupNorm(4, 2)
    loss = Spikes(net, 0.01)
    optimizer = torch.optim.Adam([place], lr=5)
    ground = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        net(place + ground)
    assert loss.take() == {}  # without gradients nothing is collected
    seen = []
    for _ in range(50):
        net(place + ground)
        total = loss.take()["spikes"]
        seen.append(float(total.detach()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert seen[-1] < 0.05 * seen[0]


def test_without_a_weight_nothing_is_looked_at():
    net = GroupNorm(4, 2)
    loss = Spikes(net, 0.0)
    net(torch.randn(1, 4, 8, 8, requires_grad=True))
    assert loss.take() == {}
