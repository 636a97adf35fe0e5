"""A metric over many batches: the thin class on top of the functions."""

from __future__ import annotations

import torch
from torch import Tensor

from facemend.metrics.table import METRICS


class MeanMetric:
    """Collects the values of a metric batch by batch.

    Args:
        name: a key of `METRICS`.

    Raises:
        KeyError: there is no such metric.
    """

    def __init__(self, name: str) -> None:
        self.metric = METRICS[name]
        self._values: list[Tensor] = []

    def update(self, pictures: Tensor, reference: Tensor | None = None) -> Tensor:
        """Measure a batch; returns its (N,) values.

        Args:
            pictures: (N, 3, H, W) RGB, [0, 1].
            reference: the originals, the same shape; not for a metric without reference.

        Raises:
            ValueError: shapes are wrong, or a reference is missing or superfluous.
        """
        values = self.metric(pictures, reference)
        self._values.append(values.detach().cpu().double())
        return values

    @property
    def values(self) -> Tensor:
        """(total,) float64 values so far."""
        return torch.cat(self._values) if self._values else torch.zeros(0, dtype=torch.float64)

    def compute(self) -> float:
        """Mean of the values so far; NaN before the first."""
        return float(self.values.mean())

    def reset(self) -> None:
        """Forget all values."""
        self._values.clear()
