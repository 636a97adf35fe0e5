"""Whole commands: how long they take, ours beside another program's, and where the time goes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from facemend.errors import BackendError, ConfigError
from facemend.photo.timing import interleaved, median_seconds

INPUT, OUTPUT = "{input}", "{output}"
_PYTHON = (sys.executable, "-c", "pass")
_OURS = (sys.executable, "-m", "facemend", "restore", INPUT, "-o", OUTPUT, "--upscale", "1")


def places_missing(command: str) -> list[str]:
    """Which of {input} and {output} a command lacks; none of the empty one.

    Raises:
        ConfigError: it cannot be read.
    """
    words = _words(command)
    return [place for place in (INPUT, OUTPUT) if words and not any(place in word for word in words)]


def measure_commands(source: Path, against: str, repeats: int) -> list[dict[str, Any]]:
    """Median seconds of whole processes on a photo: ours with the default model, and the other's.

    Args:
        source: the photo.
        against: command of another program with {input} and {output} in it, such as another version of this
            one; empty: none.
        repeats: runs that count.

    Returns:
        For each `command` its seconds, `s`, and `ratio`: ours over it.

    Raises:
        BackendError: it cannot be started, fails or writes nothing.
    """
    commands = {"facemend restore": list(_OURS)} | ({against: _words(against)} if against else {})
    with tempfile.TemporaryDirectory() as folder:
        outputs = (Path(folder) / f"{number}.png" for number in count())
        works = {name: partial(_run, words, source, outputs) for name, words in commands.items()}
        seconds = {name: median(runs) for name, runs in interleaved(works, repeats).items()}
    ours = seconds["facemend restore"]
    return [{"command": name, "s": round(s, 3), "ratio": round(ours / s, 3)} for name, s in seconds.items()]


def where_time_goes(source: Path, repeats: int) -> dict[str, float]:
    """Median seconds of the parts of one `facemend restore`, in order.

    Returns:
        `python` (until it runs anything), `start` (imports, networks, and the end of the process), `files`
        (reading and writing), and the parts of the restoration.

    Raises:
        BackendError: see `measure_commands`.
    """
    python = median_seconds(partial(subprocess.run, _PYTHON, check=True), repeats)
    runs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats + 1):  # the first does not count
            report = Path(folder) / f"{number}.json"
            begin = perf_counter()
            _run([*_OURS, "--report", str(report)], source, iter([report.with_suffix(".png")]))
            whole = perf_counter() - begin
            parts = json.loads(report.read_text(encoding="utf-8"))["files"][0]["seconds"]
            total = parts.pop("total")
            files = total - sum(parts.values())
            runs.append({"python": python, "start": whole - total - python, "files": files, **parts})
    return {part: round(median(run[part] for run in runs[1:]), 4) for part in runs[0]}


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the command to compare with cannot be read ({error})") from None


def _run(words: Sequence[str], source: Path, outputs: Iterator[Path]) -> None:
    """Run a command, never through a shell; its output is the next of `outputs`.

    Raises:
        BackendError: it cannot be started, fails or writes nothing.
    """
    output = next(outputs)
    line = [word.replace(INPUT, str(source)).replace(OUTPUT, str(output)) for word in words]
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BackendError(f"{words[0]}: cannot be started ({error.strerror})") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise BackendError(f"{words[0]}: failed with status {done.returncode} ({last[:200]})")
    if not output.exists():
        raise BackendError(f"{words[0]}: wrote nothing to {OUTPUT}")
