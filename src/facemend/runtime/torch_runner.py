"""The torch backend: a network behind the same two runners as its graphs. Light rooms open it lazily."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from facemend.errors import BackendError, one_line
from facemend.networks.codeformer.checkpoint import load_checkpoint, network_of
from facemend.networks.codeformer.halves import DecodeGraph, EncodeGraph, decode_names, encode_names
from facemend.runtime.devices import AUTO, CPU, TORCH_DEVICES
from facemend.runtime.runner import Arrays, Opened, check_names

logger = logging.getLogger(__name__)

_PRESENT: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    CPU: lambda: True,
}


class TorchRunner:
    """Half a network behind the `Runner` protocol. Several threads may use it; they take turns.

    Args:
        half: takes tensors in the order of `inputs`, gives one tensor or a tuple in the order of `outputs`.
        inputs: names of the inputs.
        outputs: names of the outputs.
        device: torch's name.
        precision: "fp32", or "bf16" for the operators that torch thinks fit.
    """

    def __init__(
        self, half: nn.Module, inputs: Sequence[str], outputs: Sequence[str], device: str, precision: str
    ) -> None:
        self._half, self._device, self._bf16 = half.to(device).eval(), device, precision == "bf16"
        self.input_names, self.output_names = tuple(inputs), tuple(outputs)
        self._turn = threading.Lock()

    def run(self, inputs: Arrays) -> Arrays:
        """Run the half. See `Runner.run`."""
        check_names("torch network", list(inputs), self.input_names)
        try:
            with self._turn, torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, self._bf16):
                given = [torch.from_numpy(inputs[name]).to(self._device) for name in self.input_names]
                result: Tensor | tuple[Tensor, ...] = self._half(*given)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise BackendError(f"torch network: the run failed ({one_line(error, 300)})") from error
        values = (result,) if isinstance(result, Tensor) else result
        plain = (value.float() if value.is_floating_point() else value for value in values)
        return {name: v.cpu().numpy() for name, v in zip(self.output_names, plain, strict=True)}


def open_network(
    path: Path,
    device: str = AUTO,
    *,
    adain: bool = True,
    precision: str = "fp32",
    threads: int | None = None,
) -> tuple[Opened, int]:
    """The encode and decode half of a network, and its image size.

    Args:
        path: a .safetensors file of ours.
        device: one of `TORCH_DEVICES`; "auto" takes the first that is there and takes the weights.
        adain: whether codes get the statistics of the LQ features.
        precision: "fp32" or "bf16".
        threads: CPU threads of torch, for the whole process; default: torch's own choice.

    Raises:
        WeightsError: the file is missing, damaged, or its weights do not fit its sizes.
        BackendError: the device is not there or does not take the network.
    """
    checkpoint = load_checkpoint(path)
    net = network_of(checkpoint, path)
    present = [name for name in TORCH_DEVICES if name in _PRESENT and _PRESENT[name]()]
    if device not in (AUTO, *present):
        raise BackendError(
            f"device {device} is not there (torch here has: {', '.join(present)}); install torch for {device}"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    failed: list[str] = []
    for name in present if device == AUTO else [device]:
        try:
            net.to(name)
        except RuntimeError as error:  # no memory, or a card that this torch was not built for
            failed.append(f"{name} does not work ({one_line(error)})")
            continue
        notes = [f"{'; '.join(failed)}: going on with {name}"] if failed else []
        if precision == "bf16" and name == CPU and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            notes.append("this CPU has no instructions for bf16 and is slow with it: use precision fp32")
        for note in notes:
            logger.warning("%s", note)
        halves = (
            TorchRunner(EncodeGraph(net), ["image"], encode_names(net), name, precision),
            TorchRunner(DecodeGraph(net, adain), decode_names(net, adain), ["restored"], name, precision),
        )
        return Opened(halves, name, tuple(notes)), checkpoint.config.autoencoder.image_size
    raise BackendError(f"{path}: {'; '.join(failed)}; use --device cpu")
