"""How fast and how large the models are; kept apart from their quality, as times differ from run to run."""

from __future__ import annotations

import multiprocessing
import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from facemend.errors import BackendError
from facemend.evaluation.graph_cost import graph_cost
from facemend.evaluation.peers import open_peer
from facemend.hub.models import ModelInfo, find_model
from facemend.predictors.restorer import FaceRestorer
from facemend.runtime.onnx import usable_cores

BATCHES = (1, 4, 16)
REPEATS = 5


def measure_speed(models: Sequence[str], peers: Sequence[str] = (), side: int = 256) -> dict[str, Any]:
    """Measure each model and peer in a process of its own, so that its memory is its own.

    Args:
        models: names or folders.
        peers: as `open_peer` takes them; they are measured with single faces only.
        side: of the faces that peers get, pixels; models get their own size.

    Returns:
        `device`, `cores` and `rows`: name, parameters, gflop (a face, 2 x MAC), ms and faces_per_s by batch
        (median of 5), decode_ms (another w of a known face) and peak_mb of the process (None where the
        system does not tell).

    Raises:
        BackendError: the process died, for example for want of memory.
        FacemendError: a model cannot be used; the message says which and why.
    """
    rows = []
    for name in models:
        times = _apart(_measure, name)
        info = find_model(name)  # its graphs are counted here: that must not add to the memory measured there
        rows.append({"name": info.name, **_cost(info), **times})
    rows += [_apart(_measure_peer, spec, side) for spec in peers]
    return {"device": device(), "cores": usable_cores(), "rows": rows}


def device() -> str:
    """The processor in words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else (platform.processor() or platform.machine())


def _apart(work: Callable[..., dict[str, Any]], name: str, *arguments: Any) -> dict[str, Any]:
    """Run in a process of its own."""
    # Unlike multiprocessing.Pool, this one does not wait for ever for a process that was killed.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, name, *arguments).result()
        except BrokenProcessPool as error:
            raise BackendError(
                f"{name}: the process that measures its speed died, perhaps for want of memory; "
                "go on with --no-speed"
            ) from error


def _measure(name: str) -> dict[str, Any]:
    info = find_model(name)
    restorer = FaceRestorer.open(info)
    rng = np.random.default_rng(0)
    size = info.image_size
    row: dict[str, Any] = {"ms": {}, "faces_per_s": {}}
    for batch in BATCHES:
        faces = rng.random((batch, size, size, 3), dtype=np.float32)
        seconds = _median(lambda faces=faces: restorer.decode(restorer.encode(faces), 0.5))
        row["ms"][str(batch)] = round(1000 * seconds, 2)
        row["faces_per_s"][str(batch)] = round(batch / seconds, 2)
    encoded = restorer.encode(rng.random((1, size, size, 3), dtype=np.float32))
    row["decode_ms"] = round(1000 * _median(lambda: restorer.decode(encoded, 0.5)), 2)
    row["peak_mb"] = _peak_mb()
    return row


def _measure_peer(spec: str, side: int) -> dict[str, Any]:
    peer = open_peer(spec)
    face = np.random.default_rng(0).random((1, side, side, 3), dtype=np.float32)
    seconds = _median(lambda: peer(face))
    return {
        "name": peer.name,
        "parameters": None,
        "gflop": None,
        "ms": {"1": round(1000 * seconds, 2)},
        "faces_per_s": {"1": round(1 / seconds, 2)},
        "decode_ms": None,
        "peak_mb": _peak_mb(),
    }


def _cost(info: ModelInfo) -> dict[str, Any]:
    costs = [graph_cost(path) for path in (info.encode, info.decode)]
    macs = [cost.macs for cost in costs]
    return {
        "parameters": sum(cost.parameters for cost in costs),
        "gflop": None if None in macs else round(2e-9 * sum(m for m in macs if m is not None), 2),
    }


def _median(work: Any) -> float:
    work()  # the first run loads and allocates
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return median(seconds)


def _peak_mb() -> float | None:
    """Most memory that this process has held, in 10^6 bytes; None where the system does not tell."""
    try:
        # Not ru_maxrss there: Linux hands the parent's peak down to the processes that it starts.
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            peak = next(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:  # Windows
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return round(peak / 1e6, 1)
