"""Time and memory of pieces of work, measured so that they can be compared; and what machine it was."""

from __future__ import annotations

import multiprocessing
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from importlib import metadata
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

from facemend.errors import BackendError
from facemend.runtime.cores import usable_cores

REPEATS = 5
_PACKAGES = ("facemend", "numpy", "onnxruntime", "opencv-python-headless", "torch")
Result = TypeVar("Result")


def machine() -> dict[str, Any]:
    """Processor, cores, system and versions."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "versions": versions(_PACKAGES),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of Python, and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def processor() -> str:
    """The processor in words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else (platform.processor() or platform.machine())


def peak_mb() -> float | None:
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


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, list[float]]:
    """Seconds of each run of each candidate, which take turns, so that what disturbs one disturbs all.

    Args:
        candidates: what to run, by name; each runs once more before, to load and allocate.
        repeats: runs that count.
    """
    for work in candidates.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, work in candidates.items():
            start = perf_counter()
            work()
            seconds[name].append(perf_counter() - start)
    return seconds


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median of the runs of one candidate, after one that does not count."""
    return median(interleaved({"it": work}, repeats)["it"])


def apart(
    what: str, work: Callable[..., Result], *arguments: Any, hint: str = "use a smaller model"
) -> Result:
    """Run a function in a process of its own, so that its memory is its own.

    Args:
        what: name of it in messages.
        work: function of a module.
        arguments: of the function; all must be picklable.
        hint: what the user can do if the process dies.

    Raises:
        BackendError: the process died, for example for want of memory.
    """
    # Unlike multiprocessing.Pool, this one does not wait for ever for a process that was killed.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            raise BackendError(
                f"{what}: the process that measures it died, perhaps for want of memory; {hint}"
            ) from error
