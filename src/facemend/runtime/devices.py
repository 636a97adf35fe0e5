"""Which hardware runs a graph: one table from the names that users say to onnxruntime's providers.

Light to import: the command line reads the names for its help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from facemend.errors import BackendError

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
