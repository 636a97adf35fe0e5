"""Processes and devices: one on a CPU or GPU, many by `torchrun`.

Gradients are averaged by ourselves after the backward pass instead of by DistributedDataParallel: our losses
end as a gradient at the picture, the networks are called part by part (encode, decode), and the adaptive
weight looks at single layers, all of which the wrapper's hooks do not see.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Gradients are sent in pieces of about this many numbers: few messages, little extra memory.
BUCKET = 16_000_000


def bf16_pays(device: torch.device) -> bool:
    """Whether bf16 pays there: a CPU without instructions for it takes some fifty times as long."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Engine:
    """This process among those of the run.

    Attributes:
        device: where its tensors live.
        rank: its number, from 0.
        processes: how many there are.
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        if torch.accelerator.is_available():
            torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
            kind = torch.accelerator.current_accelerator()
            assert kind is not None
            self.device = torch.device(kind.type, torch.accelerator.current_device_index())
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        if self.processes > 1 and not dist.is_initialized():
            # All wait for the first to read the faces or fill a cache; torchrun ends them all when one ends.
            patience = timedelta(days=1)
            dist.init_process_group(dist.get_default_backend_for_device(self.device), timeout=patience)
            atexit.register(dist.destroy_process_group)
        self.rank = dist.get_rank() if self.processes > 1 else 0

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 pays on this process's device."""
        return bf16_pays(self.device)

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum(torch.zeros((), device=self.device))

    def mean(self, value: Tensor) -> Tensor:
        """Average over the processes."""
        return value if self.processes == 1 else self.sum(value) / self.processes

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.processes == 1:
            return value
        total = value.detach().clone(memory_format=torch.contiguous_format)  # reduced in place
        dist.all_reduce(total)
        return total

    def gather(self, value: Tensor) -> Tensor:
        """(N, ...) of every process, one after the other along the first dimension."""
        if self.processes == 1:
            return value
        parts = [
            torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(self.processes)
        ]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.processes == 1:
            return
        waiting: list[Tensor] = []
        for gradient in [parameter.grad for parameter in parameters if parameter.grad is not None]:
            waiting.append(gradient)
            if sum(own.numel() for own in waiting) >= BUCKET:
                self._average(waiting)
                waiting = []
        if waiting:
            self._average(waiting)

    def _average(self, gradients: list[Tensor]) -> None:
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))
