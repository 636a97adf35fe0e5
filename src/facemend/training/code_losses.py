"""Losses on codes: the codebook's own (stage I) and code prediction (stages II and III)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def code_loss(z: Tensor, vectors: Tensor, beta: float = 0.25, form: str = "release") -> Tensor:
    """Pull encoder output and code vectors towards each other.

    Args:
        z: (B, C, h, w) encoder output.
        vectors: (B, C, h, w) chosen code vectors, with gradient to the codebook.
        beta: weight of the lesser term.
        form: "release": mean((sg[e]-z)^2) + beta mean((e-sg[z])^2), commitment in full; "paper": beta on the
            commitment term instead.
    """
    commitment = F.mse_loss(z, vectors.detach())
    codebook = F.mse_loss(vectors, z.detach())
    return commitment + beta * codebook if form == "release" else beta * commitment + codebook


def feature_loss(z: Tensor, target: Tensor) -> Tensor:
    """mean((sg[C(s)] - z)^2): pull the LQ encoder output to the HQ code vectors, both (B, C, h, w)."""
    return F.mse_loss(z, target.detach())


def token_loss(logits: Tensor, codes: Tensor, targets: Tensor | None = None) -> Tensor:
    """Cross entropy of logits (B, T, K) with true codes; ln K at chance.

    Args:
        logits: (B, T, K).
        codes: (B, T) int64 true codes; with `targets` rows of these.
        targets: (N, K) distributions of `soft_targets`, of one or more tables; None = the true code alone.
    """
    wanted = codes.flatten() if targets is None else targets[codes.flatten()]
    return F.cross_entropy(logits.flatten(0, 1).float(), wanted)


@torch.no_grad()
def soft_targets(table: Tensor, temperature: float) -> Tensor:
    """What to predict where a code is true, if codes near it are nearly as good.

    Args:
        table: (K, d) code vectors.
        temperature: in units of the table's mean squared distance from a code to its nearest neighbour; with
            0 nearly reached, the code alone.

    Returns:
        (K, K), rows are softmax(-|e_s - e_k|^2 / (temperature * unit)) and sum to 1.
    """
    # The difference itself: of |a|^2 - 2ab + |b|^2 rounding would leave no zero for near codes.
    distances = torch.cdist(
        table.float(), table.float(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    others = distances.clone().fill_diagonal_(torch.inf)
    unit = others.amin(1).mean().clamp(min=torch.finfo(torch.float32).tiny)
    return torch.softmax(-distances / (temperature * unit), 1)


def code_accuracy(logits: Tensor, codes: Tensor) -> tuple[float, float]:
    """Share of tokens whose true code (B, T) is the first, and among the first five, of logits (B, T, K)."""
    hits = logits.topk(min(5, logits.shape[2]), dim=2).indices == codes.unsqueeze(2)
    return hits[..., 0].float().mean().item(), hits.any(2).float().mean().item()
