"""`facemend watch` as a process of its own."""

import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from facemend.cli import watch
from facemend.cli.app import app
from facemend.errors import InputError
from facemend.imaging import read_picture


def wait_for(condition, what):
    end = time.monotonic() + 120  # a busy machine
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.slow
def test_photos_are_restored_as_they_come_and_half_written_ones_wait(photo, tiny_model, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    data = photo.read_bytes()
    (folder / "first.jpg").write_bytes(data)
    words = ["watch", folder, "-o", out, "--quiet", "1", "--model", tiny_model, "--threads", "1"]
    words += ["--background", "clean", "--grain", "keep"]
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from facemend.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_for((out / "first.jpg").is_file, "the photo that was there")
            (folder / "bad.png").write_bytes(b"no picture")
            (folder / "film.mp4").write_bytes(b"no picture")
            with (folder / "second.jpg").open("wb") as file:
                for part in range(4):  # 2 s in all, never quiet for one
                    file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
                    file.flush()
                    time.sleep(0.5)
                    assert not (out / "second.jpg").exists()
            report = out / "facemend.jsonl"
            wait_for(lambda: "second.jpg" in report.read_text(), "the photo that came")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "watching" in output
    assert "Traceback" not in errors
    assert "bad.png" in errors
    assert errors.count("film.mp4") == 1
    assert (out / "first.jpg").read_bytes() == (out / "second.jpg").read_bytes()
    assert read_picture(out / "second.jpg").width == 320


def test_a_folder_that_is_replaced_ends_the_watch(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()

    def changes(*_, **__):
        yield {"a change"}
        folder.rename(tmp_path / "was")  # as another disk at its place
        folder.mkdir()
        yield set()

    monkeypatch.setattr("watchfiles.watch", changes)
    wakes = watch._wakes(folder, 1)
    assert [next(wakes), next(wakes)] == [(), {"a change"}]
    with pytest.raises(InputError, match="in: was removed or replaced"):
        next(wakes)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere", "-o", "out"], "nowhere: is no folder"),
        (["."], "-o FOLDER"),
        ([".", "-o", "."], "-o FOLDER"),
        ([".", "-o", "-"], "need a folder"),
        ([".", "-o", "out", "--faces", "2"], "numbers go with one photo"),
        ([".", "-o", "out", "--report", "x.json"], "is the report"),
        ([".", "-o", "out", "--ext", "gif"], "use one of"),
    ],
)
def test_wrong_uses_are_told(tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["watch", *words])
    assert result.exit_code == 2
    assert reason in " ".join(result.stderr.replace("│", " ").split())
