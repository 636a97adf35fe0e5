"""The running mean of weights."""

import pytest
import torch
from torch import nn

from facemend.training.ema import EMA


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def fill(module, value):
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(value)


def test_ramp_and_decay_by_hand(module):
    fill(module, 1.0)
    ema = EMA(module, decay=0.25)
    fill(module, 0.0)
    wanted = 1.0
    for step in range(1, 6):
        ema.update(module)
        wanted *= min(0.25, (1 + step) / (10 + step))
        torch.testing.assert_close(ema.state["0.weight"], torch.full((2, 3), wanted))


def test_constant_weights_stay(module):
    ema = EMA(module, decay=0.9)
    for _ in range(10):
        ema.update(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    other = ema.averaged(module)
    fill(module, 5.0)
    assert not other.training
    for name, value in before.items():
        torch.testing.assert_close(other.state_dict()[name], value)


def test_the_mean_is_a_copy(module):
    ema = EMA(module, decay=0.9)
    before = ema.state["0.weight"].clone()
    fill(module, 5.0)
    assert torch.equal(ema.state["0.weight"], before)


def test_running_statistics_go_along_and_counters_do_not(module):
    ema = EMA(module, decay=0.9)
    assert "1.running_mean" in ema.state
    assert "1.num_batches_tracked" not in ema.state


def test_half_precision_weights_are_averaged_in_full(module):
    module.bfloat16()
    ema = EMA(module, decay=0.999)
    ema.update(module)
    assert ema.state["0.weight"].dtype == torch.float32
    assert ema.averaged(module)[0].weight.dtype == torch.bfloat16
