"""Run ONNX files with onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facemend.errors import BackendError
from facemend.runtime.runner import Arrays, check_names

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)


def usable_cores() -> int:
    """How many cores this process may use (at least 1)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _short(error: Exception) -> str:
    """First line of an error's message, so that ours stays one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


class OnnxRunner:
    """An onnxruntime session behind the `Runner` protocol. May be used from several threads at once.

    Args:
        path: the ONNX file.
        threads: threads inside one operator; default: all usable cores.
        providers: execution providers in order of preference; default: CPU.

    Raises:
        BackendError: the file is missing or is not a graph that onnxruntime can run, a provider is not
            there, or `threads` is below 1.
    """

    def __init__(
        self, path: str | Path, *, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        import onnxruntime as ort  # here, so that importing this module stays light

        self.path = Path(path)
        if threads is not None and threads < 1:
            raise BackendError(f"{self.path}: threads must be 1 or more, got {threads}")
        wanted = list(providers or DEFAULT_PROVIDERS)
        missing = [name for name in wanted if name not in ort.get_available_providers()]
        if missing:
            raise BackendError(
                f"{self.path}: onnxruntime has no {missing[0]}; use {ort.get_available_providers()}"
            )
        if not self.path.is_file():
            raise BackendError(f"{self.path}: no such file")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors only; they are raised as well
        # Idle threads of one session must not spin while another session works.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = ort.InferenceSession(str(self.path), sess_options=options, providers=wanted)
        except Exception as error:
            raise BackendError(f"{self.path}: onnxruntime cannot load it ({_short(error)})") from error
        self.input_names: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Arrays) -> Arrays:
        """Run the graph. See `Runner.run`."""
        check_names(str(self.path), list(inputs), self.input_names)
        try:
            values = self._session.run(list(self.output_names), inputs)
        except Exception as error:
            raise BackendError(f"{self.path}: the run failed ({_short(error)})") from error
        return dict(zip(self.output_names, values, strict=True))
