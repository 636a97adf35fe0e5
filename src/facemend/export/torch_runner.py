"""The torch backend: a network behind the same two runners as its graphs.

The weights come from a checkpoint: a file, or the one that lies in the model's folder. Where a model has only
its graphs, they are recovered from these once and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from facemend.errors import BackendError, OutputError, WeightsError
from facemend.export.importing import WEIGHTS_FILE, uses_adain
from facemend.export.onnx import DecodeGraph, EncodeGraph, decode_names, encode_names
from facemend.export.recover import recover_checkpoint
from facemend.hub.models import ModelInfo, find_model
from facemend.hub.packages import cache_dir
from facemend.models.checkpoint import Checkpoint, load_checkpoint, load_into, save_checkpoint
from facemend.models.codeformer import CodeFormer
from facemend.runtime.devices import AUTO, CPU, TORCH_DEVICES, Opened
from facemend.runtime.runner import Arrays, check_names

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
            raise BackendError(
                f"torch network: the run failed ({' '.join(str(error).split())[:300]})"
            ) from error
        values = (result,) if isinstance(result, Tensor) else result
        plain = (value.float() if value.is_floating_point() else value for value in values)
        return {name: v.cpu().numpy() for name, v in zip(self.output_names, plain, strict=True)}


def open_checkpoint(
    checkpoint: Checkpoint,
    source: Path,
    device: str = AUTO,
    *,
    adain: bool = True,
    precision: str = "fp32",
    threads: int | None = None,
) -> Opened:
    """The encode and decode half of a network.

    Args:
        checkpoint: sizes and weights.
        source: what messages call it.
        device: one of `TORCH_DEVICES`; "auto" takes the first that is there and takes the weights.
        adain: whether codes get the statistics of the LQ features.
        precision: "fp32" or "bf16".
        threads: CPU threads of torch, for the whole process; default: torch's own choice.

    Raises:
        WeightsError: the weights do not fit the sizes.
        BackendError: the device is not there or does not take the network.
    """
    net = CodeFormer(checkpoint.config)
    load_into(net, checkpoint.state, source)
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
            failed.append(f"{name} does not work ({' '.join(str(error).split())[:200]})")
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
        return Opened(halves, name, tuple(notes))
    raise BackendError(f"{source}: {'; '.join(failed)}; use --device cpu")


def open_network(
    model: str,
    device: str = AUTO,
    *,
    task: str = "restoration",
    precision: str = "fp32",
    threads: int | None = None,
) -> tuple[Opened, int, str]:
    """The same for a checkpoint file or any model: its halves, image size and alignment template.

    Args:
        model: a .safetensors file of ours, or what `find_model` takes.
        device: see `open_checkpoint`.
        task: what the model must be for; a checkpoint file is taken to be for it.
        precision: "fp32" or "bf16".
        threads: see `open_checkpoint`.

    Raises:
        ModelNotFoundError: there is no such model.
        WeightsError: the weights are unusable, or the model is a single graph of somebody else.
        BackendError: see `open_checkpoint`.
    """
    path, adain, template = Path(model), uses_adain(task), "ffhq"
    if path.suffix != ".safetensors" or not path.is_file():
        info = find_model(model, task)
        if info.io is not None:
            raise WeightsError(f"{info.name}: torch cannot run a graph of somebody else; use --backend onnx")
        path, adain, template = (
            info.folder / WEIGHTS_FILE,
            bool(info.details.get("adain", True)),
            info.template,
        )
        path = path if path.is_file() else _recovered(info)
    checkpoint = load_checkpoint(path)
    opened = open_checkpoint(checkpoint, path, device, adain=adain, precision=precision, threads=threads)
    return opened, checkpoint.config.autoencoder.image_size, template


def _recovered(info: ModelInfo) -> Path:
    """The checkpoint made of a model's graphs, in the user's cache."""
    digest = hashlib.sha256("".join(info.sha256[name] for name in sorted(info.sha256)).encode()).hexdigest()
    path = cache_dir() / "recovered" / f"{info.name}-{digest[:16]}.safetensors"
    if not path.is_file():
        logger.info("%s: recovering its weights from the graphs, once, into %s", info.name, path)
        found = recover_checkpoint(info.folder)
        try:
            save_checkpoint(path, found.state, found.config, found.info)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); set FACEMEND_CACHE to another folder"
            ) from error
    return path
