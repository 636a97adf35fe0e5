"""Ctrl-C: a process that is in a call into C stops at once, says what is done, leaves no half files."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facemend.imaging import read_picture
from film_files import make_film, shown, texture

SLOW = """
import hashlib, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to it
def stuck(*arguments, **options):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, and no signal is heard in it
def after(calls, work):
    count = iter(range(calls))
    return lambda *args, **options: (stuck if next(count, None) is None else work)(*args, **options)
import {module} as module
{where} = after({calls}, {where})
from facemend.cli.app import main
main()
"""
LOADING = "facemend.photo.networks", "module.Networks.load"
WORKING = "facemend.photo.restore", "module.Restorer.restore"
WRITING = "facemend.files", "module.move"
FRAME = "facemend.video.encode", "module.SegmentWriter.write"


def stopped(slow, calls, *words):
    """Runs `facemend` until its call number `calls` of something is in C, and presses Ctrl-C there."""
    code = SLOW.format(module=slow[0], where=slow[1], calls=calls)
    # A process of its own group, as terminals make them.
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n", process.stderr.read()
            time.sleep(0.3)  # others get done, and the main thread waits
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert time.monotonic() - start < 3  # a busy machine; by itself it is .1 s
    assert "Traceback" not in errors
    return output, errors


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("slow", [LOADING, WORKING, WRITING])
def test_one_photo(photo, tiny_model, tmp_path, slow):
    out = tmp_path / "new"
    _, errors = stopped(slow, 0, "restore", photo, "-o", out / "out.jpg", "--model", tiny_model)
    assert errors.startswith("facemend: stopped")
    assert errors.count("\n") == 1
    assert not out.exists() or names(out) == []


def test_a_folder(photo, tiny_model, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.jpg").write_bytes(photo.read_bytes())
    words = ("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", tiny_model, "--jobs", 1)
    output, errors = stopped(WORKING, 1, *words)
    assert "stopped after 1 of 3 photos: 2 are left, and the same command goes on from there" in errors
    assert output.endswith(f"-> {tmp_path / 'out'}\n")
    assert read_picture(tmp_path / "out/a.jpg").width == 320
    assert [name for name in names(tmp_path / "out") if name.endswith(("jpg", "part"))] == ["a.jpg"]
    code = "from facemend.cli.app import main; main()"
    again = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert "2 photos done (2 faces restored), 1 done before, 0 failed" in again.stdout


@pytest.mark.parametrize(("calls", "kept"), [(3, 0), (250, 240)])
def test_a_film(tiny_model, tmp_path, rng, calls, kept):
    film = make_film(tmp_path / "film.mp4", [texture(rng, 32, 48)] * 260, audio=None)
    out = tmp_path / "new"
    words = ("video", film, "-o", out / "out.mp4", "--model", tiny_model, "--threads", 1)
    _, errors = stopped(FRAME, calls, *words)
    if kept:
        assert "stopped in" in errors
        assert "240 frames of it are kept; the same command goes on from there" in errors
        assert [name for name in names(out) if name.endswith(("mp4", "part"))] == []
        code = "from facemend.cli.app import main; main()"
        again = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
        )
        assert "260 frames, 240 of them before" in again.stdout
        assert len(shown(out / "out.mp4")) == 260
    else:
        assert "nothing of it is kept; the same command begins it anew" in errors
        assert names(out) == []
