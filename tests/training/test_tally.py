"""Means over parts of different sizes."""

import torch

from facemend.training.tally import Tally


def test_parts_weigh_what_they_hold():
    values, tally = torch.arange(18.0), Tally()
    for part in values.split(16):
        tally.add({"top1": part.mean()}, len(part))
    tally.add({"other": 2.0})
    tally.add({"other": 4.0})
    means = tally.means()
    torch.testing.assert_close(means["top1"], values.mean())
    assert float(means["other"]) == 3
