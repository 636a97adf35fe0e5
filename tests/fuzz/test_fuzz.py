"""Broken files: no crash but an error of ours with one clear line, no hang, nothing half-written."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from mutations import mutated, seeds

from facemend.errors import InputError
from facemend.imaging import WRITABLE, encode_picture, read_picture

LIMIT = 10.0
"""Seconds that one broken file may take."""
START = 120.0
"""Seconds that a process may take to load everything."""


class Worker:
    """The process of worker.py, and its lines as they come."""

    def __init__(self, kind: str, model: Path, folder: Path, first: int, last: int) -> None:
        command = [sys.executable, Path(__file__).with_name("worker.py"), kind, model, folder, first, last]
        self._process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def line(self, seconds: float) -> dict[str, object] | None:
        """The next line; None at the end. Raises queue.Empty if none comes in time."""
        line = self._lines.get(timeout=seconds)
        return None if line is None else json.loads(line)

    def end(self) -> int:
        """End the process, if it still runs; its exit status."""
        self._process.kill()
        self._reader.join()
        return self._process.wait()


def run(model: Path, folder: Path, count: int, kind: str = "pictures", first: int = 0) -> Counter[str]:
    """Let workers go through the files; how many had which outcome, problems by their text."""
    outcomes: Counter[str] = Counter()
    at, end = first, first + count
    while at < end:
        worker = Worker(kind, model, folder, at, end)
        name, limit, problem = "nothing", START, "the process died"
        try:
            while (line := worker.line(limit)) is not None:
                limit = LIMIT
                name = str(line.get("begin", name))
                if "done" in line:
                    at = int(name[:5]) + 1
                    outcomes[str(line.get("outcome") or f"{name}: {line['problem']}")] += 1
        except queue.Empty:
            problem = f"took longer than {limit:g} s"
        finally:
            status = worker.end()
        assert name != "nothing", f"the worker does not start (status {status})"
        if at < end:
            outcomes[f"{name}: {problem} (status {status})"] += 1
            at = int(name[:5]) + 1
    return outcomes


@pytest.mark.parametrize("name", sorted(seeds()))
def test_what_is_broken_was_good(name: str) -> None:
    refused = name == "tif-dng-sensor"
    with pytest.raises(InputError, match="raw file") if refused else nullcontext():
        picture = read_picture(seeds()[name])
        format = picture.format if picture.format in WRITABLE.values() else "png"
        assert read_picture(encode_picture(picture, format)).pixels.shape == picture.pixels.shape


def check(outcomes: Counter[str], count: int) -> None:
    problems = sorted(outcomes.keys() - {"restored", "refused"})
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems[:10])
    assert outcomes["restored"] + outcomes["refused"] == count
    # Damage that is never seen, or always, would test nothing.
    assert min(outcomes["restored"], outcomes["refused"]) > count / 10


def test_broken_files_are_restored_or_refused(tiny_model: Path, tmp_path: Path) -> None:
    check(run(tiny_model, tmp_path, 160), 160)


@pytest.mark.long
def test_three_thousand_broken_files_are_restored_or_refused(tiny_model: Path, tmp_path: Path) -> None:
    check(run(tiny_model, tmp_path, 3000), 3000)


def test_broken_films_are_restored_or_refused(tiny_model: Path, tmp_path: Path) -> None:
    # Among these is one (117) whose decoder refuses its arguments, and not a packet.
    check(run(tiny_model, tmp_path, 18, "films", first=102), 18)


@pytest.mark.long
def test_a_hundred_broken_films_are_restored_or_refused(tiny_model: Path, tmp_path: Path) -> None:
    check(run(tiny_model, tmp_path, 100, "films"), 100)


def test_the_command_line_goes_on_after_broken_files(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    files = seeds()
    for number in range(1000, 1060):
        name, data = mutated(number, files)
        (folder / name).write_bytes(data)
    code = "from facemend.cli.app import main; main()"
    words = [
        "restore",
        folder,
        "-o",
        tmp_path / "out",
        "--model",
        tiny_model,
        "--report",
        tmp_path / "r.json",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    errors = [item["error"] for item in report["files"] if item["error"]]
    assert len(report["files"]) == 60
    assert not [error for error in errors if "unexpected" in error or "\n" in error]
    written = {path.name for path in (tmp_path / "out").iterdir()} - {".facemend", "facemend.jsonl"}
    assert written == {Path(item["output"]).name for item in report["files"] if not item["error"]}
