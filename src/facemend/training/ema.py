"""Exponential moving average of weights: what is saved as the product of a run."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class EMA:
    """Running mean of a module's state.

    The decay is ramped up from zero, so early random weights do not linger.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {name: value.detach().clone().float() for name, value in _floats(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in _floats(module).items():
            self.state[name].lerp_(value.detach().float(), 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """For resuming."""
        return {"steps": self.steps, **self.state}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Inverse of `state_dict`."""
        state = dict(state)
        steps = state.pop("steps")
        assert isinstance(steps, int)
        self.steps = steps
        for name, value in state.items():
            assert isinstance(value, Tensor)
            self.state[name].copy_(value)

    @torch.no_grad()
    def averaged(self, module: Net) -> Net:
        """A copy of the module with the averaged weights, for metrics and for the product."""
        copy = deepcopy(module)
        for name, value in _floats(copy).items():
            value.copy_(self.state[name])
        return copy.eval()


def _floats(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
