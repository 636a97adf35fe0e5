"""A photo from stdin and to stdout; names, kinds and quality of outputs."""

import io
import os
import pty
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.imaging import read_picture


@pytest.fixture
def cli(tiny_model):
    def run(*arguments, **given):
        words = [*map(str, arguments), "--model", str(tiny_model), "--threads", "1"]
        return CliRunner().invoke(app, ["restore", *words], **given)

    return run


def told(result) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


def test_stdin_to_stdout_is_what_files_give(cli, photo, tmp_path):
    assert cli(photo, "-o", tmp_path / "out.jpg").exit_code == 0
    result = cli("-", "-o", "-", input=photo.read_bytes())
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == (tmp_path / "out.jpg").read_bytes()
    assert cli("-", input=photo.read_bytes()).stdout_bytes == result.stdout_bytes
    assert cli(photo, "-o", "-").stdout_bytes == result.stdout_bytes
    assert cli("-", "-o", tmp_path / "new/out.png", input=photo.read_bytes()).exit_code == 0
    assert read_picture(tmp_path / "new/out.png").format == "png"


def test_what_goes_to_stdout_is_of_the_kind_asked_for(cli, photo):
    for words, kind in (((), "JPEG"), (("--ext", "webp"), "WEBP"), (("--ext", ".PNG"), "PNG")):
        with Image.open(io.BytesIO(cli("-", *words, input=photo.read_bytes()).stdout_bytes)) as image:
            assert image.format == kind


def test_a_photo_without_a_face_comes_out_as_it_is(cli, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "blue").save(buffer, "jpeg", quality=40, comment=b"kept")
    result = cli("-", input=buffer.getvalue())
    assert result.stdout_bytes == buffer.getvalue()
    assert "stdin: no face found" in result.stderr


def test_auto_says_what_it_did(photo):
    result = CliRunner().invoke(
        app, ["restore", "-", "-w", "auto", "--upscale", "2"], input=photo.read_bytes()
    )
    assert "face 1: " in result.stderr


def test_each_note_is_told_once(cli, photo):
    result = cli("-", "-w", "auto", input=photo.read_bytes())
    notes = [line for line in result.stderr.splitlines() if "damage" in line]
    assert len(notes) == 1, result.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-", "PHOTO"], "- is one photo"),
        (["FOLDER", "-o", "-"], "- is one photo"),
        (["-", "-o", "FOLDER"], "name the file"),
        (["-", "--compare"], "--compare: not with stdin"),
        (["-", "--ext", "gif"], "--ext gif: use one of .png"),
        (["PHOTO", "--suffix", "a/b"], "a part of a name"),
        (["PHOTO", "-o", "FOLDER/x.png", "--ext", "jpg"], "leave out --ext"),
        (["PHOTO", "--quality", "101"], "--quality"),
        (["PHOTO", "--engine", "ray", "--ext", "png", "-o", "-"], ""),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_work(cli, photo, tmp_path, words, reason):
    places = {"PHOTO": str(photo), "FOLDER": str(tmp_path), "FOLDER/x.png": str(tmp_path / "x.png")}
    result = cli(*(places.get(word, word) for word in words), input=b"")
    if reason:
        assert result.exit_code == 2
        assert reason in told(result)
    else:
        assert result.exit_code == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "stdin: nothing came"), (b"no picture", "stdin: "), (b"\xff\xd8\xff", "stdin: ")],
)
def test_stdin_that_is_no_picture_is_one_line(cli, content, reason):
    result = cli("-", input=content)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert result.stderr.startswith(f"facemend: {reason}")
    assert result.stderr.count("\n") == 1


def test_films_are_not_piped():
    result = CliRunner().invoke(app, ["video", "-", "-o", "-"])
    assert result.exit_code == 2
    assert "films are files" in told(result)


def test_a_photo_is_not_written_to_a_terminal(photo):
    ours, theirs = pty.openpty()
    code = "from facemend.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "restore", str(photo), "-o", "-"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "not written to a terminal" in done.stderr


def test_a_reader_that_goes_away_is_one_line(photo, tiny_model):
    code = "from facemend.cli.app import main; main()"
    words = ["restore", str(photo), "-o", "-", "--model", str(tiny_model)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert errors == "facemend: stdout: cannot be written (Broken pipe)\n"


def test_suffix_and_kind_of_outputs(cli, photo, tmp_path):
    assert cli(photo, "--suffix", "-new", "--ext", "png").exit_code == 0
    assert read_picture(photo.with_name("photo-new.png")).format == "png"
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/a.jpg").write_bytes(photo.read_bytes())
    words = (tmp_path / "in", "-o", tmp_path / "out", "--suffix", "_x", "--ext", "webp")
    assert cli(*words).exit_code == 0
    assert (tmp_path / "out/deep/a_x.webp").is_file()
    assert "1 done before" in cli(*words).stdout


def test_quality_is_that_of_what_is_written_and_part_of_the_record(cli, photo, tmp_path):
    sizes = []
    for quality in ("0", "30", "90"):
        words = ("--quality", quality, "--overwrite", "-o", tmp_path / "out.jpg")
        assert cli(photo, *words).exit_code == 0
        sizes.append((tmp_path / "out.jpg").stat().st_size)
    assert sizes[1] < 0.5 * sizes[2]
    assert cli(photo, "-o", tmp_path / "same.jpg", "--quality", "90").exit_code == 0
    assert (tmp_path / "same.jpg").stat().st_size == sizes[2]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(photo.read_bytes())
    assert cli(tmp_path / "in", "-o", tmp_path / "all").exit_code == 0
    again = cli(tmp_path / "in", "-o", tmp_path / "all", "--quality", "30")
    assert "quality 0, now 30" in told(again)


def test_what_the_kind_cannot_hold_is_said(cli):
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 48), (1, 2, 3, 90)).save(buffer, "png")
    assert "jpeg has no transparency" in told(cli("-", "--ext", "jpg", input=buffer.getvalue()))


@pytest.mark.parametrize(("closed", "words"), [("<&-", "stdin: is closed"), (">&-", "stdout: is closed")])
def test_closed_pipes_are_one_line(tiny_model, photo, closed, words):
    command = f'"{sys.executable}" -m facemend restore - -o - --model "{tiny_model}" {closed}'
    given = None if closed == "<&-" else photo.read_bytes()
    done = subprocess.run(command, shell=True, input=given, capture_output=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
