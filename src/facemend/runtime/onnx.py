"""Run ONNX files with onnxruntime."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from facemend.errors import BackendError, one_line
from facemend.runtime.cores import usable_cores
from facemend.runtime.devices import AUTO, CPU, Device, available, find_device
from facemend.runtime.optimised import can_keep, keep_form, kept_form, optimised_session
from facemend.runtime.runner import Array, Arrays, Opened, Runner, check_names
from facemend.weights.models import GraphFile

logger = logging.getLogger(__name__)


class OnnxRunner:
    """An onnxruntime session behind the `Runner` protocol. May be used from several threads at once.

    Args:
        path: the ONNX file; a `GraphFile` is checked before it is opened, and its optimised form is kept.
        threads: CPU threads inside one operator; default: all usable cores.
        device: where to run; default: the CPU. What the device cannot do runs on the CPU.
        weights: those that the file leaves out, by the names of its initializers.
        spinning: whether idle threads keep a core busy while they wait for the next operator: quicker for
            large ones, while small graphs that run often only take time from the rest.

    Raises:
        BackendError: the file is missing or is not a graph that onnxruntime can run, the device is not
            there or does not work, or `threads` is below 1.
        WeightsError: a `GraphFile` is missing, damaged or not acceptable.
    """

    def __init__(
        self,
        path: str | Path | GraphFile,
        *,
        threads: int | None = None,
        device: Device | None = None,
        weights: Mapping[str, Array] | None = None,
        spinning: bool = True,
    ) -> None:
        file = path if isinstance(path, GraphFile) else None
        self.path = file.path if file else Path(str(path))
        if threads is not None and threads < 1:
            raise BackendError(f"{self.path}: threads must be 1 or more, got {threads}")
        if not file and not self.path.is_file():
            raise BackendError(f"{self.path}: no such file")
        device = device or find_device(CPU)
        on_cpu = device.name == CPU
        options = partial(_session_options, threads, device, spinning)
        self._weights: list[Any] = []
        session = _kept_session(file, options) if file and on_cpu and not weights else None
        if file and session is None:
            file.verify()
        self._session = session or self._open(device, options(), weights)
        # A provider that does not start is left out by onnxruntime with no more than a message.
        if device.provider not in self._session.get_providers():
            raise BackendError(f"{self.path}: {device.provider} does not start; it needs {device.package}")
        # Not every provider takes several runs at a time, and those that do need the memory of each.
        self._turn = nullcontext() if on_cpu else threading.Lock()
        self.input_names: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def _open(self, device: Device, options: Any, weights: Mapping[str, Array] | None) -> Any:
        import onnxruntime as ort  # here, so that importing this module stays light

        if weights:
            # Kept: the session reads them where they are.
            self._weights = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), self._weights)
        others = [] if device.name == CPU else ["CPUExecutionProvider"]
        providers = [(device.provider, device.options), *others]
        try:
            return ort.InferenceSession(_source(self.path), sess_options=options, providers=providers)
        except Exception as error:
            raise BackendError(f"{self.path}: onnxruntime cannot load it ({one_line(error, 300)})") from error

    def run(self, inputs: Arrays) -> Arrays:
        """Run the graph. See `Runner.run`."""
        check_names(str(self.path), list(inputs), self.input_names)
        try:
            with self._turn:
                values = self._session.run(list(self.output_names), inputs)
        except Exception as error:
            raise BackendError(f"{self.path}: the run failed ({one_line(error, 300)})") from error
        return dict(zip(self.output_names, values, strict=True))


def _source(path: Path) -> str | bytes:
    """A graph as onnxruntime opens it: by its path, or read where the path is none that it takes."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return path.read_bytes()
    return str(path)


def _session_options(threads: int | None, device: Device, spinning: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only; they are raised as well
    options.enable_mem_pattern = device.name != "directml"  # which refuses it
    # Idle threads of one session must not spin while another session works.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def _kept_session(file: GraphFile, options: Callable[[], Any]) -> Any | None:
    """A session of the optimised form, which is made if it is not there; None where that cannot be.

    Raises:
        WeightsError: the form is to be made, and the file is missing, damaged or not acceptable.
    """
    form = kept_form(file)
    if form is None and can_keep(file):
        file.verify()
        keep_form(file, options())
        form = kept_form(file)
    if form is None:
        return None
    try:
        return optimised_session(form, options())
    except Exception as error:
        logger.debug("%s: cannot be opened (%s)", form, error)
        return None


def open_graphs(
    paths: Sequence[Path | GraphFile],
    device: str = AUTO,
    *,
    threads: int | None = None,
    any_shape: bool = False,
    weights: Mapping[str, Array] | None = None,
) -> Opened:
    """Open graphs with onnxruntime, all on one device.

    Args:
        paths: the ONNX files, see `OnnxRunner`.
        device: a name of the table; "auto" takes the first that opens all graphs.
        threads: CPU threads inside one operator; default: all usable cores.
        any_shape: "auto" takes only a device that does well on inputs of another shape each time; the graphs
            are taken for small ones that run often.
        weights: those that the files leave out, by name.

    Raises:
        BackendError: the device is not there or does not work, or a graph cannot be loaded.
        WeightsError: see `OnnxRunner`.
    """

    def opened(row: Device) -> tuple[Runner, ...]:
        how: Any = {"threads": threads, "device": row, "weights": weights, "spinning": not any_shape}
        return tuple(OnnxRunner(path, **how) for path in paths)

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
