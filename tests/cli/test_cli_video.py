"""`facemend video`, and `facemend restore` with films, from the outside."""

import io
import sys
from fractions import Fraction

import numpy as np
import pytest
from typer.testing import CliRunner

from facemend.cli._shared import films as video
from facemend.cli.app import app
from facemend.imaging import Picture
from film_files import make_film, packets, shown


@pytest.fixture
def cli(tiny_model):
    """Runs `facemend video`, or another command, with the tiny model in this process."""

    def run(*arguments, command="video"):
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, [command, *words, "--model", str(tiny_model), "--threads", "1"])

    return run


@pytest.fixture
def film(tmp_path, portrait: Picture):
    """A portrait that moves to the left, eight frames with sound."""
    small = portrait.resized(0.5).pixels
    frames = [np.ascontiguousarray(np.roll(small, -i, axis=1)) for i in range(8)]
    return make_film(tmp_path / "film.mp4", frames)


def test_a_film_becomes_a_film(cli, film, tmp_path):
    out = tmp_path / "new/out.mp4"
    result = cli(film, "-o", out, "-w", 0)
    assert result.exit_code == 0, result.output
    assert "8 frames, 1.0 faces a frame" in result.stdout
    before, after = shown(film), shown(out)
    assert [time for time, _ in after] == [time for time, _ in before]
    assert np.abs(after[4][1][50:120, 50:110].astype(int) - before[4][1][50:120, 50:110]).mean() > 4
    assert packets(out, "audio") == packets(film, "audio")


def test_w_is_that_of_films_unless_it_is_given(cli, film, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "facemend.video.restore.restore_video",
        lambda source, output, options, given, **more: (
            seen.append((output.name, options.w, given)) or _done(output)
        ),
    )
    assert cli(film).exit_code == 0
    assert cli(film, "-w", 0.5, "-o", tmp_path / "a.webm", "--crf", 30).exit_code == 0
    assert cli(film, "--start", "1:02.5", "--end", "1:00:00", "--codec", "h265").exit_code == 0
    (name, w, _), (_, other, webm), (_, _, part) = seen
    assert (name, w, other) == ("film_restored.mp4", 0.7, 0.5)
    assert (webm.coding.codec, webm.coding.crf) == ("vp9", 30)
    assert (part.span.start, part.span.end, part.coding.codec) == (Fraction("62.5"), 3600, "h265")


def test_restore_takes_films_too_and_names_the_command_with_their_options(cli, film, tmp_path):
    result = cli(film, "-w", 0, "-o", tmp_path / "out.mp4", command="restore")
    assert result.exit_code == 0, result.output
    assert (
        result.stderr
        == "facemend: `facemend video` has the options of films: their part, codec and quality\n"
    )
    assert cli(film, "-w", 0, "-o", tmp_path / "same.mp4").stderr == ""
    frames, same = shown(tmp_path / "out.mp4"), shown(tmp_path / "same.mp4")
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames, same, strict=True))
    assert cli(film, "--start", "1", command="restore").exit_code == 2


def _done(output):
    from facemend.video.restore import VideoResult

    return VideoResult(output, 1, 1, 0, ())


def test_several_films_go_to_a_folder_and_one_failure_does_not_stop_the_rest(cli, film, tmp_path):
    (tmp_path / "bad.mkv").write_bytes(b"no film")
    result = cli(tmp_path / "bad.mkv", film, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bad.mkv: no film that can be read" in result.stderr
    assert len(shown(tmp_path / "out/film.mp4")) == 8
    assert cli(film, film, "-o", tmp_path / "one.mp4").exit_code == 2


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("restore", ["film.mp4", "photo.jpg"], "do not go together"),
        ("restore", ["film.mp4", "--compare"], "--compare"),
        ("restore", ["film.mp4", "--jobs", "2"], "--jobs"),
        (
            "restore",
            ["film.mp4", "--upscale", "2", "--background", "realesrgan"],
            "background must be lanczos",
        ),
        ("video", ["film.mp4", "photo.jpg"], "photo.jpg: is no film by its name"),
        ("video", ["film.mp4", "--start", "soon"], "no time"),
        ("video", ["film.mp4", "--start", "5", "--end", "4"], "start"),
        ("video", ["film.mp4", "--codec", "divx"], "divx"),
        ("video", ["film.mp4", "--upscale", "3"], "upscale must be"),
    ],
)
def test_wrong_uses_say_what_is_wrong(cli, film, photo, monkeypatch, command, arguments, message):
    monkeypatch.chdir(film.parent)
    result = cli(*arguments, command=command)
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_ctrl_c_says_how_to_go_on(cli, film, tmp_path, monkeypatch):
    from facemend.video.encode import SegmentWriter

    def interrupted(self, frame):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write", interrupted)
        result = cli(film, "-o", tmp_path / "out.mp4")
    assert result.exit_code == 130
    assert "goes on from there" in result.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert cli(film, "-o", tmp_path / "out.mp4").exit_code == 0


def test_progress_shows_frames_a_second_and_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with video._progress("film.mp4") as on_frame:
        for done in range(101, 141):
            on_frame(done, 200)
        import time

        time.sleep(0.3)
        on_frame(141, 200)
    text = terminal.getvalue()
    assert "film.mp4" in text
    assert "fps" in text
    assert "141/200" in text
