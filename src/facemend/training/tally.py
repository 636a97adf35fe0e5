"""Means of metrics over parts of different sizes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Tally:
    """Means of metrics over the parts of a step."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[Tensor, int]]] = {}

    def add(self, metrics: Mapping[str, Tensor | float], count: int = 1) -> None:
        """Take in one part, the mean of so many."""
        for name, value in metrics.items():
            self._values.setdefault(name, []).append(
                (torch.as_tensor(value, dtype=torch.float32).cpu(), count)
            )

    def means(self) -> dict[str, Tensor]:
        """Metrics of all parts."""
        return {
            name: torch.stack([value * count for value, count in parts]).sum()
            / sum(count for _, count in parts)
            for name, parts in self._values.items()
        }
