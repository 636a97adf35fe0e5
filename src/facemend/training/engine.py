"""Processes and devices: one on a CPU or GPU, many by `torchrun`. The only file that knows Accelerate.

Gradients are averaged by ourselves after the backward pass instead of by DistributedDataParallel: our losses
end as a gradient at the picture, the networks are called part by part (encode, decode), and the adaptive
weight looks at single layers, all of which the wrapper's hooks do not see.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import PartialState
from accelerate.utils import gather, reduce
from torch import Tensor, nn

# Gradients are sent in pieces of about this many numbers: few messages, little extra memory.
BUCKET = 16_000_000


class Engine:
    """This process among those of the run.

    Attributes:
        device: where its tensors live.
        rank: its number, from 0.
        processes: how many there are.
    """

    def __init__(self) -> None:
        # Accelerate takes several CPU processes for one unless it is told that they are meant.
        self._state = PartialState(cpu=not torch.accelerator.is_available())
        self.device = torch.device(self._state.device)
        self.rank = int(self._state.process_index)
        self.processes = int(self._state.num_processes)

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 pays here: a CPU without instructions for it takes some fifty times as long."""
        return self.device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    @property
    def has_channels_last(self) -> bool:
        """Whether pictures may be laid out by pixel.

        torch 2.13 on a CPU crashes in the backward pass of a group norm whose input needs no gradient.
        """
        return self.device.type != "cpu"

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()

    def mean(self, value: Tensor) -> Tensor:
        """Average over the processes."""
        return value if self.processes == 1 else self._reduced(value, "mean")

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the processes."""
        return value if self.processes == 1 else self._reduced(value, "sum")

    def gather(self, value: Tensor) -> Tensor:
        """(N, ...) of every process, one after the other along the first dimension."""
        if self.processes == 1:
            return value
        parts: Tensor = gather(value.contiguous())
        return parts

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.processes == 1:
            return
        waiting: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            waiting.append(parameter.grad)
            if sum(gradient.numel() for gradient in waiting) >= BUCKET:
                self._average(waiting)
                waiting = []
        if waiting:
            self._average(waiting)

    def _average(self, gradients: list[Tensor]) -> None:
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _reduced(self, value: Tensor, how: str) -> Tensor:
        # A copy: Accelerate reduces in place.
        reduced: Tensor = reduce(value.detach().clone().contiguous(), how)
        return reduced
