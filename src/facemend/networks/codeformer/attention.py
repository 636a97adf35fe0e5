"""Scaled dot-product attention, by whichever way is quicker where it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facemend.networks.codeformer.learning import learns_on_cpu

# With 256 tokens the plain products win, with 1,344 the fused kernel does; between them nothing was measured.
_FEW = 512


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mix values: (B, heads, T, C) each, the same shape back.

    Training in bf16 on a CPU writes the two products out, as the gradient of torch's fused kernel takes four
    times as long there (8 faces, 8 heads, 256 tokens of 32 channels: 55 and 14 ms).
    """
    if not (learns_on_cpu(query) and query.dtype == torch.bfloat16 and query.shape[2] <= _FEW):
        return F.scaled_dot_product_attention(query, key, value)
    return torch.softmax(query * query.shape[3] ** -0.5 @ key.transpose(2, 3), 3) @ value
