"""Run ONNX files with onnxruntime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from facemend.errors import BackendError, one_line
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import AUTO, CPU, Device, available, find_device
from facemend.runtime.runner import Array, Arrays, Opened, Runner, check_names

logger = logging.getLogger(__name__)


class OnnxRunner:
    """An onnxruntime session behind the `Runner` protocol. May be used from several threads at once.

    Args:
        path: the ONNX file.
        threads: CPU threads inside one operator; default: all usable cores.
        device: where to run; default: the CPU. What the device cannot do runs on the CPU.
        weights: those that the file leaves out, by the names of its initializers.

    Raises:
        BackendError: the file is missing or is not a graph that onnxruntime can run, the device is not
            there or does not work, or `threads` is below 1.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        device: Device | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> None:
        import onnxruntime as ort  # here, so that importing this module stays light

        self.path = Path(path)
        if threads is not None and threads < 1:
            raise BackendError(f"{self.path}: threads must be 1 or more, got {threads}")
        if not self.path.is_file():
            raise BackendError(f"{self.path}: no such file")
        device = device or find_device(CPU)
        on_cpu = device.name == CPU
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors only; they are raised as well
        options.enable_mem_pattern = device.name != "directml"  # which refuses it
        # Idle threads of one session must not spin while another session works.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if weights:
            # Kept: the session reads them where they are.
            self._weights = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), self._weights)
        providers = [(device.provider, device.options), *([] if on_cpu else ["CPUExecutionProvider"])]
        try:
            self._session = ort.InferenceSession(str(self.path), sess_options=options, providers=providers)
        except Exception as error:
            raise BackendError(f"{self.path}: onnxruntime cannot load it ({one_line(error, 300)})") from error
        # A provider that does not start is left out by onnxruntime with no more than a message.
        if device.provider not in self._session.get_providers():
            raise BackendError(f"{self.path}: {device.provider} does not start; it needs {device.package}")
        # Not every provider takes several runs at a time, and those that do need the memory of each.
        self._turn = nullcontext() if on_cpu else threading.Lock()
        self.input_names: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Arrays) -> Arrays:
        """Run the graph. See `Runner.run`."""
        check_names(str(self.path), list(inputs), self.input_names)
        try:
            with self._turn:
                values = self._session.run(list(self.output_names), inputs)
        except Exception as error:
            raise BackendError(f"{self.path}: the run failed ({one_line(error, 300)})") from error
        return dict(zip(self.output_names, values, strict=True))


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
