"""`facemend restore` of a folder that goes on where an earlier run ended."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import OutputError
from facemend.imaging import Outputs, read_picture, write_picture

COUNT = 300


def words_of(tiny_model, *arguments):
    return ["restore", *map(str, arguments), "--model", str(tiny_model)]


@pytest.fixture
def cli(tiny_model):
    """Runs `facemend restore` with the tiny model in this process."""
    return lambda *arguments: CliRunner().invoke(app, words_of(tiny_model, *arguments))


@pytest.fixture
def album(tmp_path, portrait):
    """Three photos, one in a folder below, and one that is none."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "sub/c.webp"):
        write_picture(root / name, portrait)
    (root / "z.jpg").write_bytes(b"none")
    return root


def told(out):
    """The lines of the last run's report."""
    lines = [json.loads(line) for line in (out / "facemend.jsonl").read_text().splitlines()]
    last = max(number for number, line in enumerate(lines) if "run" in line)
    return {os.path.basename(line["source"]): line for line in lines[last + 1 :]}


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if ".facemend" not in path.parts}


def test_a_second_run_does_only_what_is_missing(cli, album, tmp_path):
    out = tmp_path / "out"
    assert cli(album, "-o", out, "--compare").exit_code == 1  # z.jpg
    assert [line["done_before"] for line in told(out).values()] == [False] * 4
    before = stamps(out)
    (out / "b.png").unlink()
    (album / "z.jpg").write_bytes((album / "a.jpg").read_bytes())
    result = cli(album, "-o", out, "--compare")
    assert result.exit_code == 0
    assert "2 photos done (2 faces restored), 2 done before, 0 failed" in result.output
    lines = told(out)
    assert {name: line["done_before"] for name, line in lines.items()} == {
        "a.jpg": True, "b.png": False, "c.webp": True, "z.jpg": False,
    }  # fmt: skip
    assert len(lines["a.jpg"]["faces"]) == 1  # as the first run told
    after = stamps(out)
    assert all(after[path] == before[path] for path in before if path.name[0] in "ac")
    assert (out / "z_compare.jpg").is_file()


@pytest.mark.parametrize("name", ["report.json", "report.jsonl"])
def test_the_same_command_goes_on_with_its_report(cli, album, tmp_path, name):
    words = (album, "-o", tmp_path / "out", "--report", tmp_path / name)
    assert cli(*words).exit_code == 1  # z.jpg
    first = (tmp_path / name).read_text()
    (album / "z.jpg").write_bytes((album / "a.jpg").read_bytes())
    again = cli(*words)
    assert again.exit_code == 0, again.output
    report = (tmp_path / name).read_text()
    assert report != first
    assert report.count('"done_before": true') == 3
    (tmp_path / name).write_text("mine")
    assert "exists already" in cli(*words).stderr
    assert (tmp_path / name).read_text() == "mine"


def test_a_changed_photo_or_other_options_need_leave_to_overwrite(cli, album, tmp_path, portrait):
    out = tmp_path / "out"
    (album / "z.jpg").unlink()
    assert cli(album, "-o", out).exit_code == 0
    write_picture(album / "a.jpg", portrait.with_pixels(portrait.as_float() * 0.5), overwrite=True)
    changed = cli(album, "-o", out)
    assert changed.exit_code == 1
    assert "a.jpg: exists already; use --overwrite" in changed.stderr
    assert "2 done before, 1 failed" in changed.output
    assert "2 done before, 0 failed" in cli(album, "-o", out, "--overwrite").output
    before = stamps(out)
    other = cli(album, "-o", out, "-w", "1")
    assert other.exit_code == 1
    told_of = "3 photos were made with other options (w 0.5, now 1.0): --overwrite makes them anew, or give"
    assert [told_of in line for line in other.stderr.splitlines()] == [True]
    assert "0 photos done (0 faces restored), 3 with other options, 0 failed" in other.stdout
    assert {line["other_options"] for line in told(out).values()} == {"w 0.5, now 1.0"}
    del before[out / "facemend.jsonl"]
    assert before.items() <= stamps(out).items()
    again = cli(album, "-o", out, "-w", "1", "--overwrite")
    assert "3 photos done (3 faces restored), 0 failed" in again.output
    assert "3 done before" in cli(album, "-o", out, "-w", "1").output


def test_what_could_not_be_replaced_is_not_done(cli, tmp_path, portrait, monkeypatch):
    album, out = tmp_path / "in", tmp_path / "out"
    album.mkdir()
    write_picture(album / "a.bmp", portrait)
    assert cli(album, "-o", out).exit_code == 0
    size = (out / "a.bmp").stat().st_size

    def full(*_):
        raise OutputError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "save_content", full)
        assert "no space" in cli(album, "-o", out, "-w", "1", "--overwrite").output
    again = cli(album, "-o", out, "-w", "1", "--overwrite")
    assert [line["done_before"] for line in told(out).values()] == [False], again.output
    assert (out / "a.bmp").stat().st_size == size  # by which the old one would have passed for it


def test_what_is_asked_for_besides_is_made_and_the_rest_stays(cli, album, tmp_path):
    out, crops = tmp_path / "out", tmp_path / "crops"
    (album / "z.jpg").unlink()
    cli(album, "-o", out)
    before = stamps(out)
    del before[out / "facemend.jsonl"]
    for more, made in (
        (("--compare",), out / "a_compare.jpg"),
        (("--crops", crops), crops / "a_face1_after.png"),
        (("--report", tmp_path / "report.json"), None),
    ):
        result = cli(album, "-o", out, *more)
        assert result.exit_code == 0, result.output
        assert ("3 done before" in result.output) == (made is None)
        assert made is None or made.is_file()
        assert before.items() <= stamps(out).items()
    assert "3 done before" in cli(album, "-o", out, "--compare", "--crops", crops).output
    (out / "a_compare.jpg").unlink()
    assert "3 done before" in cli(album, "-o", out).output  # nobody asks for it now
    assert "1 photo done" in cli(album, "-o", out, "--compare").output
    assert before.items() <= stamps(out).items()


def test_crops_are_part_of_what_is_done(cli, album, tmp_path):
    out, crops = tmp_path / "out", tmp_path / "crops"
    (album / "z.jpg").unlink()
    cli(album, "-o", out, "--crops", crops)
    assert "3 done before" in cli(album, "-o", out, "--crops", crops).output
    (crops / "a_face1_after.png").unlink()  # as if killed among the outputs of one photo
    result = cli(album, "-o", out, "--crops", crops)
    assert "1 photo done (1 face restored), 2 done before, 0 failed" in result.output
    assert (crops / "a_face1_after.png").is_file()
    (out / "a.jpg").write_bytes(b"mine")
    assert "a.jpg: exists already" in cli(album, "-o", out, "--crops", crops).stderr
    assert (out / "a.jpg").read_bytes() == b"mine"


def test_a_restored_folder_is_an_input_like_others(cli, album, tmp_path):
    (album / "z.jpg").unlink()
    cli(album, "-o", tmp_path / "once")
    result = cli(tmp_path / "once", "-o", tmp_path / "twice")
    assert "3 photos done" in result.output
    assert "no pictures" not in result.output  # the report and the records are not offered as photos


def test_the_report_of_lines_elsewhere(cli, album, tmp_path):
    cli(album, "-o", tmp_path / "out", "--report", tmp_path / "report.jsonl")
    head, *lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert head["run"]["options"]["w"] == 0.5
    assert [line["error"] is None for line in lines] == [True, True, False, True]


def test_a_line_that_was_cut_off_is_ended(cli, album, tmp_path):
    out = tmp_path / "out"
    cli(album, "-o", out)
    with (out / "facemend.jsonl").open("a") as file:
        file.write('{"source": "cut')
    cli(album, "-o", out)
    lines = (out / "facemend.jsonl").read_text().splitlines()
    assert sum(line.startswith('{"run"') for line in lines) == 2


def test_a_forged_record_removes_nothing(cli, album, tmp_path):
    """A record that names other files, with their true checksums, in the hope that they are "made again"."""
    out = tmp_path / "out"
    (album / "z.jpg").unlink()
    cli(album, "-o", out)
    victims = [tmp_path / "precious.txt", out / "b.png", album / "b.png"]
    victims[0].write_text("mine")
    for file in (out / ".facemend").rglob("*.json"):
        record = json.loads(file.read_text())
        if record["source"] == "a.jpg":
            for path in victims:
                data = path.read_bytes()
                item = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                record["outputs"].append({"path": os.path.relpath(path, out), **item})
            file.write_text(json.dumps(record))
    (out / "a.jpg").unlink()
    before = [path.read_bytes() for path in victims]
    assert "1 photo done" in cli(album, "-o", out).output
    assert [path.read_bytes() for path in victims] == before


def content(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*.png")
    }


@pytest.mark.long
def test_killed_three_times_at_random(cli, tiny_model, tmp_path, portrait):
    """300 photos: complete in the end, equal to what an undisturbed run gives, and none restored twice."""
    random.seed(str(tmp_path))  # other moments in each run
    small = portrait.resized(0.3)
    folder, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        path = folder / f"{number % 7}/{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        light = np.float32(0.5 + 0.5 * number / COUNT)
        write_picture(path, small.with_pixels(small.as_float() * light))
    words = words_of(tiny_model, folder, "-o", out, "--jobs", "2")
    code = "from facemend.cli.app import main; main()"
    kept = {}
    for moment in sorted(random.sample(range(1, COUNT - 20), 3)):
        with subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL) as run:
            deadline = time.monotonic() + 120
            while len(list(out.rglob("*.png"))) < moment:
                assert time.monotonic() < deadline
                assert run.poll() is None
                time.sleep(random.random() * 0.02)
            run.send_signal(signal.SIGKILL)
        for path in out.rglob("*.png"):
            status = path.stat()
            kept.setdefault(path, (status.st_ino, status.st_mtime_ns))
            assert read_picture(path).width == small.width  # whole
    result = cli(folder, "-o", out, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert f"{len(kept)} done before, 0 failed" in result.output
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == was for path, was in kept.items())
    assert not list(out.rglob("*.part"))

    lines = [json.loads(line) for line in (out / "facemend.jsonl").read_text().splitlines()]
    fresh = [line["output"] for line in lines if not line.get("run") and not line["done_before"]]
    assert len(fresh) == len(set(fresh))  # no photo was told of as restored twice
    assert {path for path in fresh if path} <= {str(path) for path in out.rglob("*.png")}

    cli(folder / "3", "-o", tmp_path / "undisturbed", "--jobs", 2)
    assert len(content(out)) == COUNT
    assert content(out / "3") == content(tmp_path / "undisturbed")
