"""Optimisers: Muon for matrices and convolutions, AdamW for the rest or for everything.

Muon (Keller Jordan, 2024) makes the update of a matrix orthogonal, so that all its directions learn at one
pace. Twice the faces for the same time, measured (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from facemend.training.engine import bf16_pays
from facemend.training.settings import OptimConfig

# The ends of the network and its tables, which are no maps from features to features.
NOT_MATRICES = ("encoder.stem.weight", "decoder.out.weight", "positions", "vectors")
MOMENTUM = 0.95
# Newton-Schulz iteration towards the nearest orthogonal matrix: x <- a x + b (x x') x + c (x x')^2 x. These
# coefficients take singular values above about .01 to near 1 in five rounds; they need not come nearer.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Muon in one optimiser with AdamW: groups with `muon = True` are made orthogonal.

    Convolutions are taken as (out, in * k * k) matrices. The update of an (m, n) matrix is scaled by
    .2 sqrt(max(m, n)), which gives it the size that AdamW's would have; weight decay is decoupled.

    Args:
        groups: parameter groups with "params", "lr", "muon" and, for AdamW, "betas" and "eps".
        weight_decay: of both.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], weight_decay: float) -> None:
        super().__init__(groups, {"weight_decay": weight_decay, "betas": (0.9, 0.99), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; `closure` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                (self._muon if group["muon"] else self._adam)(parameter, group)

    def _muon(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        assert parameter.grad is not None
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = parameter.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov
        scale = 0.2 * max(ahead.shape) ** 0.5
        parameter.add_(orthogonal(ahead).view_as(parameter), alpha=-group["lr"] * scale)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        assert parameter.grad is not None
        first, second = group["betas"]
        state["mean"].lerp_(parameter.grad, 1 - first)
        state["square"].mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
        size = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["mean"], size, value=-group["lr"] / (1 - first ** state["step"]))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest orthogonal matrix, (m, n): singular values end between .7 and 1.2.

    In bf16 where that pays; in float32 on a CPU without instructions for it, whose bf16 is many times slower.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.to(torch.bfloat16 if bf16_pays(matrix.device) else torch.float32)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def make_optimizer(module: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    """The config's optimiser over what is not frozen.

    Each group carries `share`, its rate as a share of the config's.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if optim.kind == "adamw":
        return torch.optim.AdamW(
            trained.values(), lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay
        )
    matrices = [p for name, p in trained.items() if p.ndim > 1 and not name.endswith(NOT_MATRICES)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained.values() if id(p) not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "lr": optim.lr, "muon": True},
        {"params": rest, "lr": optim.lr, "muon": False, "betas": optim.betas, "share": optim.adam_share},
    ]
    return Muon([group for group in groups if group["params"]], optim.weight_decay)
