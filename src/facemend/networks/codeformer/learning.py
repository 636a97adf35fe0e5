"""When layers take other operators, with the same results, because their gradients are quicker on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def learns_on_cpu(x: Tensor) -> bool:
    """Whether gradients are wanted on a CPU. An exporter traces with gradients on, but wants none."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_exporting()
