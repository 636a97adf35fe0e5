"""`facemend restore --engine ray` over a Ray cluster of this machine."""

import json
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import install_line
from facemend.imaging import write_picture

COUNT = 84


def started(*arguments):
    code = "from facemend.cli.app import main; main()"
    words = [sys.executable, "-c", code, "restore", *map(str, arguments), "--engine", "ray"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers(run):
    """The processes that restore."""
    children = psutil.Process(run.pid).children(recursive=True)
    found = []
    for child in children:
        try:
            if "PhotoWorker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.long
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path, portrait, tiny_model):
    small = portrait.resized(0.3)
    folder, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        path = folder / f"{number % 7}/{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, small.with_pixels(small.as_float() * np.float32(0.5 + 0.5 * number / COUNT)))
    (folder / "bad.jpg").write_bytes(b"none")
    arguments = (folder, "-o", out, "--model", tiny_model, "--jobs", 2, "--report", tmp_path / "run.jsonl")
    run = started(*arguments)
    deadline = time.monotonic() + 300
    while len(list(out.rglob("*.png"))) < COUNT // 4:
        assert time.monotonic() < deadline
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    before = workers(run)
    before[0].kill()
    kept = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*.png")}
    _, errors = run.communicate(timeout=300)
    assert len(before) == 2
    assert len(kept) < COUNT
    assert run.returncode == 1, errors  # for bad.jpg
    told = [line for line in errors.splitlines() if not line.startswith("[")]  # Ray speaks of its log level
    assert len(told) == 1, errors
    assert "bad.jpg: not a picture that can be read" in told[0]

    made = list(out.rglob("*.png"))
    assert len(made) == COUNT
    assert not list(out.rglob("*.part"))
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == was for path, was in kept.items())
    for report in (tmp_path / "run.jsonl", out / "facemend.jsonl"):
        lines = [json.loads(line) for line in report.read_text().splitlines()][1:]
        assert sorted(line["source"] for line in lines) == sorted(
            str(path) for path in folder.rglob("*.*")
        )  # each once
        assert sum(line["error"] is None for line in lines) == COUNT

    # Nothing is left to do, for either engine; and the results are those of one machine without Ray.
    words = ["restore", str(folder), "--model", str(tiny_model)]
    again = CliRunner().invoke(app, [*words, "-o", str(out)])
    assert f"{COUNT} done before, 1 failed" in again.output
    CliRunner().invoke(
        app, ["restore", str(folder / "3"), "--model", str(tiny_model), "-o", str(tmp_path / "alone")]
    )
    for path in (tmp_path / "alone").glob("*.png"):
        assert path.read_bytes() == (out / "3" / path.name).read_bytes()


def test_what_a_cluster_cannot_do_is_said_before_it_starts(tmp_path, portrait, tiny_model):
    write_picture(tmp_path / "in.png", portrait)
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in/a.png", portrait)
    for arguments, message in (
        (("in", "-o", "out", "--engine", "spark"), "is not one of 'local', 'ray'"),
        (("in", "-o", "out", "--engine", "ray", "--compare"), "--compare: not with --engine ray"),
        (("in", "--engine", "ray"), "one folder"),
        (("in", "-o", "out", "--report", "r.json", "--engine", "ray"), "--report must be FILE.jsonl"),
        (("in", "-o", "out", "--engine", "ray", "--faces", "2"), "--faces 2: not with --engine ray"),
        (("in", "in", "-o", "out", "--engine", "ray"), "one folder"),
        (("in", "-o", "in/out", "--engine", "ray"), "lies in the folder of photos"),
    ):
        words = [str(tmp_path / word) if word.startswith(("in", "out")) else word for word in arguments]
        result = CliRunner().invoke(app, ["restore", *words, "--model", str(tiny_model)])
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.replace("│", " ").split())


def test_one_file_needs_no_cluster(photo, tiny_model, tmp_path):
    words = ["restore", str(photo), "--model", str(tiny_model), "--compare"]
    for engine in ("ray", "local"):
        result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / f"{engine}.jpg"), "--engine", engine])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "ray.jpg").read_bytes() == (tmp_path / "local.jpg").read_bytes()


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("facemend.errors.find_spec", lambda name: None)
    result = CliRunner().invoke(
        app, ["restore", str(tmp_path), "-o", str(tmp_path / "out"), "--engine", "ray"]
    )
    assert result.exit_code == 1
    assert install_line("ray") in result.stderr
