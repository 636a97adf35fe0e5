import math

import pytest
import torch

from facemend.metrics import METRICS, MeanMetric, psnr


def test_batches_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(5, 3, 16, 16, generator=generator) for _ in range(2))
    metric = MeanMetric("psnr")
    assert metric.metric is METRICS["psnr"]
    assert metric.values.shape == (0,)
    assert math.isnan(metric.compute())
    first = metric.update(a[:2], b[:2])
    assert first.shape == (2,)
    metric.update(a[2:], b[2:])
    expected = psnr(a, b)
    torch.testing.assert_close(metric.values, expected)
    # The mean is over pictures, not over batches.
    assert metric.compute() == pytest.approx(expected.mean().item())
    metric.reset()
    assert metric.values.shape == (0,)
    assert metric.update(a[:1], b[:1]).item() == metric.compute()


def test_a_failed_batch_changes_nothing():
    metric = MeanMetric("psnr")
    with pytest.raises(ValueError, match="needs original"):
        metric.update(torch.zeros(1, 3, 16, 16))
    assert metric.values.shape == (0,)
    with pytest.raises(KeyError):
        MeanMetric("beauty")
