"""Which hardware runs a graph: one table from the names that users say to onnxruntime's providers.

Light to import: the command line reads the names for its help.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemend.errors import BackendError

if TYPE_CHECKING:
    from facemend.runtime.runner import Array, Runner

logger = logging.getLogger(__name__)

AUTO, CPU = "auto", "cpu"


@dataclass(frozen=True)
class Device:
    """A row of the table.

    Attributes:
        name: as `--device` takes it.
        provider: onnxruntime's name.
        package: what brings it.
        automatic: whether "auto" may choose it.
        any_shape: whether graphs whose input has another shape each time (the face detector) do well on it.
        options: settings of the provider.
    """

    name: str
    provider: str
    package: str
    automatic: bool = True
    any_shape: bool = False
    options: dict[str, Any] = field(default_factory=dict)


DEVICES = (
    # Builds an engine for minutes when a graph is first run, so it is taken only where it is asked for.
    Device("tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu and TensorRT", automatic=False),
    Device(
        "cuda",
        "CUDAExecutionProvider",
        "onnxruntime-gpu, with CUDA and cuDNN",
        any_shape=True,
        options={"cudnn_conv_algo_search": "HEURISTIC"},  # the default tries all, for every new shape
    ),
    Device("coreml", "CoreMLExecutionProvider", "onnxruntime on macOS"),
    Device("directml", "DmlExecutionProvider", "onnxruntime-directml on Windows"),
    Device("openvino", "OpenVINOExecutionProvider", "onnxruntime-openvino"),
    Device(CPU, "CPUExecutionProvider", "onnxruntime", any_shape=True),
)
"""Best first, as "auto" tries them. The pip packages named onnxruntime-* take the place of onnxruntime."""

ONNX_DEVICES = (AUTO, *(device.name for device in DEVICES))
TORCH_DEVICES = (AUTO, "cuda", "mps", CPU)


@dataclass(frozen=True)
class Opened:
    """Graphs that were opened together.

    Attributes:
        runners: one a graph, in the order asked for.
        device: where they run.
        notes: what the user should know, such as that a better device did not work.
    """

    runners: tuple[Runner, ...]
    device: str = CPU
    notes: tuple[str, ...] = ()


def available() -> list[Device]:
    """The devices that the installed onnxruntime knows, best first; whether they work shows on opening."""
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    return [device for device in DEVICES if device.provider in providers]


def find_device(name: str) -> Device:
    """The row of that name.

    Raises:
        BackendError: there is none, or the installed onnxruntime has it not.
    """
    rows = {device.name: device for device in DEVICES}
    if name not in rows:
        raise BackendError(f"no device {name!r}; there are: {', '.join(ONNX_DEVICES)}")
    here = [device.name for device in available()]
    if name not in here:
        raise BackendError(
            f"device {name} is not there (onnxruntime here has: {', '.join(here)}); "
            f"it comes with {rows[name].package}"
        )
    return rows[name]


def open_graphs(
    paths: Sequence[Path],
    device: str = AUTO,
    *,
    threads: int | None = None,
    any_shape: bool = False,
    weights: Mapping[str, Array] | None = None,
) -> Opened:
    """Open graphs with onnxruntime, all on one device.

    Args:
        paths: the ONNX files.
        device: a name of the table; "auto" takes the first that opens all graphs.
        threads: CPU threads inside one operator; default: all usable cores.
        any_shape: "auto" takes only a device that does well on inputs of another shape each time.
        weights: those that the files leave out, by name.

    Raises:
        BackendError: the device is not there or does not work, or a graph cannot be loaded.
    """
    from facemend.runtime.onnx import OnnxRunner

    def opened(row: Device) -> tuple[Runner, ...]:
        return tuple(OnnxRunner(path, threads=threads, device=row, weights=weights) for path in paths)

    if device != AUTO:
        return Opened(opened(find_device(device)), device)
    failed: list[str] = []
    candidates = [row for row in available() if row.automatic and (row.any_shape or not any_shape)]
    for row in candidates:
        try:
            runners = opened(row)
        except BackendError as error:
            if row is candidates[-1]:
                raise
            failed.append(f"{row.name} does not work ({error})")
            continue
        notes = (f"{'; '.join(failed)}: going on with {row.name}",) if failed else ()
        for note in notes:
            logger.warning("%s", note)
        return Opened(runners, row.name, notes)
    raise BackendError("onnxruntime has no device that facemend knows; install onnxruntime again")
