"""`facemend restore` from the outside."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.imaging import Picture, read_picture, write_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights import models
from facemend.weights.models import find_model
from picture_files import file_with_secrets, secrets_in


@pytest.fixture
def cli(tiny_model):
    """Runs `facemend restore` with the tiny model in this process."""

    def run(*arguments):
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, ["restore", *words, "--model", str(tiny_model), "--threads", "1"])

    return run


def fresh(*arguments, **environment):
    """Runs `facemend` in a process of its own."""
    code = "from facemend.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_file_to_file(cli, photo, tmp_path):
    result = cli(photo, "-o", tmp_path / "new/out.png", "--upscale", 2, "-w", 0)
    assert result.exit_code == 0, result.output
    assert "1 face" in result.stdout
    assert read_picture(tmp_path / "new/out.png").pixels.shape == (800, 640, 3)
    assert cli(photo).exit_code == 0
    assert (tmp_path / "photo_restored.jpg").is_file()


def test_w_auto_says_what_it_found_and_did(cli, photo, tmp_path):
    result = cli(photo, "-o", tmp_path / "a.jpg", "-w", "auto")
    assert (result.exit_code, "so w is 0.5, its default" in result.stderr) == (0, True), result.output
    words = ["restore", photo, "-o", tmp_path / "b.jpg", "-w", "auto", "--report", tmp_path / "b.json"]
    result = CliRunner().invoke(app, list(map(str, words)))  # the shipped model
    (face,) = json.loads((tmp_path / "b.json").read_text())["files"][0]["faces"]
    assert f"face 1: {face['looks']}: " in result.stdout
    assert ("face 1 was left as it is" in result.stderr) == bool(face["left"])
    assert 1 < face["resolution"] < find_model(DEFAULT_MODEL).image_size + 0.5
    assert cli(photo, "-o", tmp_path / "c.jpg", "-w", "high").exit_code == 2


@pytest.mark.parametrize("command", ["restore", "video", "watch"])
def test_a_likeness_that_would_change_nothing_is_refused(command, photo, tmp_path):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" if command == "watch" else photo
    words = [command, str(source), "-o", str(tmp_path / "out"), "--likeness", "0.4"]
    for more in ([], ["-w", "0.5"]):
        result = CliRunner().invoke(app, words + more)
        assert (result.exit_code, "goes with -w auto" in result.stderr) == (2, True), result.output
    assert not (tmp_path / "out").exists()


def test_strip_metadata_leaves_nothing_in_any_output(cli, portrait, tmp_path):
    (tmp_path / "in").mkdir()
    lying = np.ascontiguousarray(np.rot90(portrait.pixels))
    for name in ("a.jpeg", "b.png"):
        (tmp_path / "in" / name).write_bytes(file_with_secrets(name[2:], lying))
    words = (tmp_path / "in", "-o", tmp_path / "out", "--compare", "--crops", tmp_path / "out/crops")
    assert cli(*words, "--strip-metadata").exit_code == 0
    made = [path for path in (tmp_path / "out").rglob("*.*") if path.suffix in (".jpg", ".jpeg", ".png")]
    assert len(made) == 8
    assert not any(secrets_in(path.read_bytes()) for path in made)
    assert "2 done before" in cli(*words, "--strip-metadata").stdout
    assert "strip_metadata True, now False" in " ".join(cli(*words).output.split())
    assert cli(*words, "--overwrite").exit_code == 0
    assert secrets_in((tmp_path / "out/a.jpeg").read_bytes())


def test_small_faces_make_the_photo_larger_and_it_is_told(portrait, tmp_path):
    (tmp_path / "in").mkdir()
    large = find_model(DEFAULT_MODEL).image_size / 128
    for name, scale in (("small.png", 0.5), ("large.png", large)):
        write_picture(tmp_path / "in" / name, portrait.resized(scale))
    words = ["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--strength", "0"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "small.png: 1 face, 4 times as large" in " ".join(result.stdout.split())
    assert "2 photos done (2 faces restored, 1 photo enlarged)" in result.stdout
    assert result.stderr.count("--upscale 1 keeps the size") == 1
    lines = (tmp_path / "out/facemend.jsonl").read_text().splitlines()[1:]
    assert {Path(line["output"]).name: line["factor"] for line in map(json.loads, lines)} == {
        "small.png": 4,
        "large.png": 1,
    }
    assert read_picture(tmp_path / "out/small.png").width == 640
    # Of strength 0 nothing is left but the size.
    assert (tmp_path / "out/large.png").read_bytes() == (tmp_path / "in/large.png").read_bytes()
    again = CliRunner().invoke(app, words)
    assert "2 done before" in again.stdout


def test_folder_report_crops_and_compare(cli, photo, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    photo.rename(tmp_path / "in/deep/photo.jpg")
    (tmp_path / "in/notes.txt").write_text("x")
    (tmp_path / "in/bad.png").write_text("x")
    options = ("--crops", tmp_path / "crops", "--compare", "--report", tmp_path / "report.json")
    result = cli(tmp_path / "in", "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "1 photo done (1 face restored), 1 failed" in result.stdout
    assert "bad.png" in result.stderr
    assert "notes.txt" in result.stderr
    for name in (
        "out/deep/photo.jpg",
        "crops/deep/photo_face1_before.png",
        "crops/deep/photo_face1_after.png",
    ):
        assert (tmp_path / name).is_file()
    assert read_picture(tmp_path / "out/deep/photo_compare.jpg").width > 2 * 320
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["restored"], report["failed"], len(report["ignored"])) == (1, 1, 1)


def test_faces_by_number(cli, portrait, tmp_path):
    couple = np.hstack([portrait.pixels, portrait.pixels])
    write_picture(tmp_path / "couple.png", Picture(couple))
    options = ("-w", 0, "--crops", tmp_path / "crops", "--report", tmp_path / "report.json")
    result = cli(tmp_path / "couple.png", "-o", tmp_path / "out.png", "--faces", "2", *options)
    assert result.exit_code == 0, result.output
    changed = np.abs(read_picture(tmp_path / "out.png").pixels.astype(int) - couple).max(axis=(0, 2))
    assert changed[:320].max() == 0
    assert changed[320:].max() > 10
    report = json.loads((tmp_path / "report.json").read_text())["files"][0]
    assert [face["number"] for face in report["faces"]] == [2]
    assert [face["reason"] for face in report["skipped"]] == ["not chosen"]
    assert {path.name[:12] for path in (tmp_path / "crops").iterdir()} == {"couple_face2"}
    both = cli(tmp_path / "couple.png", "-o", tmp_path / "both.png", "--faces", "2, 1,2")
    assert "both.png: 2 faces" in both.stdout


def test_faces_that_are_left_out_are_told_of(cli, portrait, tmp_path):
    couple = np.hstack([portrait.pixels, portrait.pixels])
    write_picture(tmp_path / "couple.png", Picture(couple))
    result = cli(tmp_path / "couple.png", "-o", tmp_path / "out.png", "--max-faces", "1")
    assert "couple.png: a face was left as it is: not among the 1 surest faces" in result.stderr
    result = cli(tmp_path / "couple.png", "-o", tmp_path / "b.png", "--max-faces", "1", "--faces", "2")
    assert "there is no face 2: 1 found, from left to right; 1 more: not among" in result.stderr


def test_a_photo_that_may_not_be_read_does_not_stop_the_others(cli, photo, tmp_path, monkeypatch):
    closed, read = tmp_path / "closed.jpg", Path.read_bytes
    closed.write_bytes(b"x")

    def refuse(path):
        if path == closed:
            raise PermissionError
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed)
    result = cli(closed, photo, "-o", tmp_path / "out")
    assert "closed.jpg: no permission to read it" in result.stderr
    assert (tmp_path / "out/photo.jpg").is_file()


def test_an_existing_report_stops_the_run_before_it_starts(cli, photo, tmp_path):
    (tmp_path / "report.json").write_text("mine")
    result = cli(photo, "-o", tmp_path / "out.jpg", "--report", tmp_path / "report.json")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert not (tmp_path / "out.jpg").exists()
    assert (tmp_path / "report.json").read_text() == "mine"


def test_aligned_keeps_the_size(cli, tmp_path, portrait):
    write_picture(tmp_path / "face.png", Picture(portrait.pixels[:300, :300].copy()))
    assert cli(tmp_path / "face.png", "-o", tmp_path / "out.png", "--aligned").exit_code == 0
    assert read_picture(tmp_path / "out.png").pixels.shape == (300, 300, 3)


def test_overwrite(cli, photo, tmp_path):
    out = tmp_path / "out.jpg"
    assert cli(photo, "-o", out).exit_code == 0
    assert cli(photo, "-o", out).exit_code == 1
    assert cli(photo, "-o", out, "--overwrite").exit_code == 0
    before = photo.read_bytes()
    assert cli(photo, "-o", photo, "--overwrite").exit_code == 1
    assert photo.read_bytes() == before


def test_an_empty_folder_is_a_failure(cli, tmp_path):
    (tmp_path / "in").mkdir()
    result = cli(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "no photos found" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("-w", "1.5"), 2, "w must be a number from 0 to 1, or auto, got 1.5"),
        (("-w", "much"), 2, "w must be a number from 0 to 1, or auto, got 'much'"),
        (("--upscale", "3"), 2, "upscale must be 1, 2, 4 or auto, got '3'"),
        (("--strength", "2"), 2, "strength"),
        (("--strength", "nan"), 2, "strength"),
        (("--faces", "1-2"), 2, "--faces 1-2: use all, largest, center, or numbers such as 2,5"),
        (("--size", "100"), 2, "--size 100: is of --aligned crops"),
        (("--faces", "0,1"), 2, "--faces counts from 1"),
        (("--faces", "1", "--aligned"), 2, "faces must be all with aligned"),
        (("--faces", "2"), 1, "photo.jpg: there is no face 2: 1 found"),
        (("--faces", "1", "-o", "out", "photo.jpg"), 2, "numbers go with one photo"),
        (("--weight", "0.5"), 2, "--weight"),
        (("--crf", "20"), 2, "--crf"),  # has `facemend video`
        (("photo.jpg",), 2, "several inputs need a folder"),
        (("--device", "toaster"), 2, "device must be one of"),
        (("--device", "tensorrt"), 1, "it comes with onnxruntime-gpu and TensorRT"),
        (("--backend", "tf"), 2, "onnx or torch"),
        (("--precision", "bf16"), 2, "fp32 with onnx"),
        (("--jobs", "-1"), 2, "jobs"),
    ],
)
def test_what_cannot_be_done_is_said(cli, photo, tmp_path, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    result = cli(photo, "-o", tmp_path / "out.png", *arguments)
    assert result.exit_code == status
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.png").exists()


def test_errors_are_one_line_without_traceback(photo, tmp_path):
    done = fresh("restore", photo, "-o", tmp_path / "out", "--model", "no-such-model")
    assert done.returncode == 1
    assert done.stderr.startswith("facemend: no model 'no-such-model'")
    assert done.stderr.count("\n") == 1
    for arguments, environment in ((("--debug",), {}), ((), {"FACEMEND_DEBUG": "1"})):
        words = (*arguments, "restore", photo, "-o", tmp_path / "out", "--model", "no-such-model")
        done = fresh(*words, **environment)
        assert done.returncode == 1
        assert "Traceback" in done.stderr


def test_the_exit_status_of_a_process(photo, tmp_path, tiny_model):
    (tmp_path / "bad.jpg").write_bytes(b"")
    done = fresh("restore", tmp_path / "bad.jpg", photo, "-o", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert (tmp_path / "out/photo.jpg").is_file()
    assert "bad.jpg: the file is empty" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no progress bar where there is no terminal
    assert fresh("restore").returncode == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.txt", b"this is no picture at all", "not a picture"),
        ("cut.jpg", None, "cut off"),
        ("missing.png", "", "no such file"),
    ],
)
def test_bad_files_are_one_line_and_the_run_goes_on(cli, photo, tmp_path, name, content, reason):
    if content != "":
        (tmp_path / name).write_bytes(content or photo.read_bytes()[:9000])
    result = cli(tmp_path / name, photo, "-o", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if name in line]
    assert reason in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]


def test_one_pixel_is_saved_with_a_notice(cli, tmp_path):
    write_picture(tmp_path / "dot.png", Picture(np.full((1, 1, 3), 7, np.uint8)))
    result = cli(tmp_path / "dot.png", "-o", tmp_path / "out.png", "--upscale", 4)
    assert result.exit_code == 0
    assert "no face found" in result.stderr
    assert read_picture(tmp_path / "out.png").pixels.shape == (4, 4, 3)


def test_interrupted_runs_say_what_is_done_and_keep_it(cli, photo, tmp_path, monkeypatch):
    from facemend.cli._shared import photos as command

    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(photo.read_bytes())

    def tell(item, told, *, auto):
        raise KeyboardInterrupt  # as Ctrl-C after the first photo

    monkeypatch.setattr(command, "tell", tell)
    result = cli(folder, "-o", tmp_path / "out", "--jobs", 1, "--report", tmp_path / "report.json")
    assert result.exit_code == 130
    assert "stopped after 1 of 3 photos" in result.stderr
    assert json.loads((tmp_path / "report.json").read_text())["restored"] == 1
    assert read_picture(tmp_path / "out/a.jpg").width == 320
    assert not list((tmp_path / "out").rglob("*.part"))


def test_what_is_true_of_all_photos_is_said_once(cli, photo, tmp_path, monkeypatch):
    from facemend.photo.restore import Restorer

    monkeypatch.setattr(Restorer, "_notes", lambda *_: ("cuda does not work: going on with cpu",))
    other = tmp_path / "b.jpg"
    other.write_bytes(photo.read_bytes())
    result = cli(photo, other, "-o", tmp_path / "out", "--report", tmp_path / "report.json")
    assert result.exit_code == 0
    assert result.stderr.count("going on with cpu") == 1
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert all("going on with cpu" in item["notes"][0] for item in files)


def test_a_model_is_looked_up_and_checked_once_for_all_photos(cli, photo, tmp_path, monkeypatch):
    reads, sums = Counter(), Counter()
    read, checksum = models.read_model, models.file_sha256
    monkeypatch.setattr(models, "read_model", lambda folder: reads.update([folder.name]) or read(folder))
    monkeypatch.setattr(models, "file_sha256", lambda path: sums.update([path.name]) or checksum(path))
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.jpg").write_bytes(photo.read_bytes())
    assert cli(tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert reads == {"tiny": 1, DEFAULT_MODEL: 1}  # those that ship are looked through by their names
    assert sums == {"encode.onnx": 1, "decode.onnx": 1}


@pytest.mark.parametrize(
    ("limit", "words", "told"),
    [
        (127_999, (), "320x400 = 0 megapixels is over the limit of 0 megapixels: shrink it first, or set"),
        (511_999, ("--upscale", 2), "320x400 at upscale 2 gives 1 megapixels, over the limit of 1: use a"),
    ],
)
def test_a_photo_over_the_limit_is_refused_before_it_is_decoded(
    cli, photo, tmp_path, monkeypatch, limit, words, told
):
    def decoded(*_):
        raise AssertionError("decoded")

    monkeypatch.setenv("FACEMEND_MAX_PIXELS", str(limit + 1))
    assert cli(photo, "-o", tmp_path / "good.png", *words).exit_code == 0
    monkeypatch.setenv("FACEMEND_MAX_PIXELS", str(limit))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    result = cli(photo, "-o", tmp_path / "out.png", *words)
    assert result.exit_code == 1
    message = " ".join(result.stderr.split())
    assert f"photo.jpg: {told}" in message
    assert "FACEMEND_MAX_PIXELS higher" in message
    assert not (tmp_path / "out.png").exists()


def test_names_that_no_file_can_have_are_one_line(cli, photo, tmp_path):
    long = "x" * 300
    for words in (
        (f"{long}.jpg", "-o", tmp_path / "o.jpg"),
        (photo, "-o", tmp_path / f"{long}.jpg"),
        (long, "-o", tmp_path / "o", "--engine", "ray"),
    ):
        result = cli(*words)
        assert result.exit_code in (1, 2)
        assert isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        assert "unexpected" not in result.output
    watched = CliRunner().invoke(app, ["watch", long, "-o", str(tmp_path / "o")])
    assert isinstance(watched.exception, SystemExit)


def test_names_that_the_terminals_encoding_lacks(photo, tiny_model, tmp_path):
    out = tmp_path / "사진.png"
    done = fresh("restore", photo, "-o", out, "--model", tiny_model, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\uc0ac\\uc9c4.png" in done.stdout
    assert out.is_file()


def test_crops_of_two_folders_stay_apart(cli, photo, tmp_path):
    for folder in ("2019/raw", "2020/raw"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.jpg").write_bytes(photo.read_bytes())
    result = cli(tmp_path / "2019/raw", tmp_path / "2020/raw", "--crops", tmp_path / "crops")
    assert result.exit_code == 0, result.output
    made = sorted(
        path.relative_to(tmp_path / "crops").as_posix() for path in (tmp_path / "crops").rglob("*.png")
    )
    sides = [f"{folder}/x_face1_{when}.png" for folder in ("raw", "raw_2") for when in ("after", "before")]
    assert made == sides


def test_crops_in_the_input_are_no_photos(cli, photo, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(photo.read_bytes())
    for _ in range(2):
        assert (
            cli(tmp_path / "in", "-o", tmp_path / "in/out", "--crops", tmp_path / "in/crops").exit_code == 0
        )
    assert sorted(path.name for path in (tmp_path / "in/out").iterdir() if path.suffix == ".jpg") == ["a.jpg"]
    assert not (tmp_path / "in/out/crops").exists()
